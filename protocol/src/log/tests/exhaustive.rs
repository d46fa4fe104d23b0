//! Every tree of up to 256 leaves, every proof in it, against RFC 6962 written down as the recursion that it is.
//! Larger trees by samples, up to the largest log.

use std::collections::{BTreeSet, HashMap};

use super::rng::Rng;
use super::*;
use crate::codec;
use merkle::{EMPTY_ROOT, Frontier, node_hash};

const LEAVES: u64 = 256;

/// The definitions of RFC 6962 §2.1, remembered by range because they are asked for all sizes.
struct Naive {
    leaves: Vec<LogHash>,
    known: HashMap<(u64, u64), LogHash>,
}

impl Naive {
    /// MTH(D[from:to]).
    fn root(&mut self, from: u64, to: u64) -> LogHash {
        if from == to {
            return EMPTY_ROOT;
        }
        if to - from == 1 {
            return self.leaves[from as usize];
        }
        if let Some(known) = self.known.get(&(from, to)) {
            return *known;
        }
        let k = largest_power_below(to - from);
        let root = node_hash(&self.root(from, from + k), &self.root(from + k, to));
        self.known.insert((from, to), root);
        root
    }

    /// PATH(m, D[from:to]).
    fn path(&mut self, m: u64, from: u64, to: u64) -> Vec<LogHash> {
        if to - from == 1 {
            return Vec::new();
        }
        let k = largest_power_below(to - from);
        let (mut path, sibling) = if m < k {
            (self.path(m, from, from + k), self.root(from + k, to))
        } else {
            (self.path(m - k, from + k, to), self.root(from, from + k))
        };
        path.push(sibling);
        path
    }

    /// SUBPROOF(m, D[from:to], whole).
    fn subproof(&mut self, m: u64, from: u64, to: u64, whole: bool) -> Vec<LogHash> {
        if m == to - from {
            return if whole { Vec::new() } else { vec![self.root(from, to)] };
        }
        let k = largest_power_below(to - from);
        let (mut path, sibling) = if m <= k {
            (self.subproof(m, from, from + k, whole), self.root(from + k, to))
        } else {
            (self.subproof(m - k, from + k, to, false), self.root(from, from + k))
        };
        path.push(sibling);
        path
    }
}

fn largest_power_below(n: u64) -> u64 {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

fn naive() -> Naive {
    Naive { leaves: (0..LEAVES).map(|i| leaf_hash(&entry(i, false))).collect(), known: HashMap::new() }
}

#[test]
fn roots_of_all_trees_up_to_256_leaves() {
    let (mut naive, big) = (naive(), log(1, LEAVES, u64::MAX));
    let (mut frontier, mut growing) = (Frontier::default(), Tree::default());
    for n in 0..=LEAVES {
        let root = naive.root(0, n);
        assert_eq!(big.root_at(n), Some(root), "size {n} of a larger tree");
        assert_eq!(growing.root_at(n), Some(root), "size {n}");
        assert_eq!(growing.root_at(n + 1), None);
        assert_eq!((frontier.size(), frontier.root()), (n, root));
        assert_eq!(growing.frontier(), frontier);
        if n < LEAVES {
            let leaf = naive.leaves[n as usize];
            assert_eq!(big.leaf(n), Some(leaf));
            frontier.append(leaf);
            growing.append(leaf);
        }
    }
    assert_eq!(big.leaf(LEAVES), None);
}

#[test]
fn inclusion_of_every_leaf_in_every_tree_up_to_256_leaves() {
    let (mut naive, log) = (naive(), log(1, LEAVES, u64::MAX));
    let mut n_proofs = 0;
    for n in 1..=LEAVES {
        let at = Checkpoint { origin: origin(1), size: n, root: naive.root(0, n) };
        for i in 0..n {
            let proof = log.prove_inclusion(i, n).expect("inside");
            assert_eq!(proof.hashes(), naive.path(i, 0, n), "leaf {i} of {n}");
            assert_eq!(proof.verify(&naive.leaves[i as usize], &at), Ok(()), "leaf {i} of {n}");
            n_proofs += 1;
        }
        assert_eq!(log.prove_inclusion(n, n), Err(ProofError::Index { index: n, size: n }));
    }
    assert_eq!(log.prove_inclusion(0, LEAVES + 1), Err(ProofError::Index { index: 0, size: LEAVES + 1 }));
    println!("{n_proofs} inclusion proofs");
}

#[test]
fn consistency_of_every_pair_up_to_256_leaves() {
    let (mut naive, log) = (naive(), log(1, LEAVES, u64::MAX));
    let mut n_proofs = 0;
    for n in 0..=LEAVES {
        let new = Checkpoint { origin: origin(1), size: n, root: naive.root(0, n) };
        for m in 0..=n {
            let old = Checkpoint { origin: origin(1), size: m, root: naive.root(0, m) };
            let proof = log.prove_consistency(m, n).expect("inside");
            let expected = if m == 0 { Vec::new() } else { naive.subproof(m, 0, n, true) };
            assert_eq!(proof.hashes(), expected, "{m} to {n}");
            assert_eq!(proof.verify(&old, &new), Ok(()), "{m} to {n}");
            if m > 0 && m < n {
                let proof = log.prove_prefix(m, n).expect("inside");
                let expected = if m.is_power_of_two() { [vec![old.root], expected].concat() } else { expected };
                assert_eq!(proof.hashes(), expected, "{m} to {n}");
                assert_eq!(proof.verify(&old, &new), Ok(()), "{m} to {n}");
            }
            n_proofs += 1;
        }
        assert_eq!(log.prove_consistency(n + 1, n), Err(ProofError::Sizes { old: n + 1, new: n }));
        assert_eq!(log.prove_prefix(n, n), Err(ProofError::Sizes { old: n, new: n }));
        assert_eq!(log.prove_prefix(0, n), Err(ProofError::Sizes { old: 0, new: n }));
    }
    println!("{n_proofs} consistency proofs");
}

/// The largest log that there may be: sampled roots and proofs, the longest fork proofs, and no entry more.
#[test]
fn the_largest_log() {
    let mut rng = Rng::new(41);
    let samples: Vec<u64> = (0..200).map(|_| rng.below(limits::LOG_ENTRIES) + 1).collect();
    let stops: BTreeSet<u64> = samples.iter().copied().collect();
    let (mut log, mut roots) = (Log::new(origin(1)), HashMap::new());
    for index in 0..limits::LOG_ENTRIES {
        // The leaves are counted, not hashed: half the time, the same tree.
        let mut leaf = [0; 32];
        leaf[..8].copy_from_slice(&index.to_le_bytes());
        log.tree.append(LogHash::from_bytes(leaf));
        if stops.contains(&(index + 1)) {
            roots.insert(index + 1, log.root());
        }
    }
    assert_eq!(log.append(b"one more"), Err(AppendError::Full { max: limits::LOG_ENTRIES }));
    assert!(log.checkpoint_after(&[b"one more"]).is_err());
    let at = |size| Checkpoint { origin: origin(1), size, root: roots[&size] };
    for pair in samples.windows(2) {
        let (m, n) = (pair[0].min(pair[1]), pair[0].max(pair[1]));
        assert_eq!(log.root_at(n), Some(roots[&n]));
        log.prove_consistency(m, n).expect("held").verify(&at(m), &at(n)).expect("true");
        let index = rng.below(n);
        let leaf = log.leaf(index).expect("held");
        log.prove_inclusion(index, n).expect("held").verify(&leaf, &at(n)).expect("true");
    }
    let longest = [1, 3, limits::LOG_ENTRIES / 2 + 1, limits::LOG_ENTRIES - 1]
        .into_iter()
        .chain(samples)
        .filter(|old| *old < limits::LOG_ENTRIES)
        .map(|old| {
            let forged = Checkpoint { origin: origin(1), size: old, root: leaf_hash(b"another history") };
            let forged = Head::sign(&secret(1), forged).expect("own log");
            let bytes = fork::ForkProof::from_log(&log, &head(1, &log, log.size()), &forged).expect("a fork").encode();
            fork::ForkProof::verify(&bytes).expect("its own encoding");
            bytes.len()
        })
        .max();
    assert!(longest <= Some(limits::FORK_PROOF_BYTES), "{longest:?}");
    println!("longest fork proof: {longest:?} bytes");

    // Of two histories of the same hashes but one nothing is shared on the way up, and every path is of the longest.
    let (size, mut longest_point) = (limits::LOG_ENTRIES, 0);
    for index in [0, 1, size / 2, size / 3, size - 1] {
        let leaf = |other: bool| if other { leaf_hash(b"another history") } else { log.leaf(index).expect("held") };
        let path = log.prove_inclusion(index, size).expect("held");
        let root = |other| path.root_over(&leaf(other));
        let heads = [false, true].map(|other| {
            let checkpoint = Checkpoint { origin: origin(1), size, root: root(other) };
            Head::sign(&secret(1), checkpoint).expect("own log")
        });
        let proof = fork::ForkProof::new(&heads[0], &heads[1], None).expect("a fork");
        let is_other = proof.older() == &heads[1];
        let hashes = path.hashes();
        let bytes = codec::encode(&(1_u8, index, leaf(is_other), hashes, leaf(!is_other), hashes));
        let point = fork_point::ForkPoint::verify(proof.clone(), &bytes).expect("true");
        assert_eq!((point.n_common(), Some(point.root())), (index, log.root_at(index)));
        longest_point = longest_point.max(bytes.len());
        let warned = heads[0].with_evidence(Some(&proof), Some(&point), []);
        assert_eq!(fork_point::ForkPoint::carried_by(&warned), Some(point));
    }
    println!("longest fork point: {longest_point} bytes");
    let lines: usize =
        [longest.expect("some"), longest_point].map(|bytes| (bytes + 4).div_ceil(3) * 4 + 24).iter().sum();
    let bare = head(1, &log, log.size()).note().len();
    // Two hashes less in the one and four in the other.
    let of_a_quarter = lines - 6 * 32 * 4 / 3;
    assert!(bare + of_a_quarter <= limits::NOTE_BYTES, "{bare} and {lines}: a note has no room for both");
}
