//! More than 100,000 damaged or forged proofs (65,000), notes (25,000) and fork proofs (12,000), and 100,000 attempts to frame
//! an honest log; none may be accepted.
//!
//! Every class is tried on every kind that it makes sense for. A mutation that gives the same bytes is drawn again.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::rng::Rng;
use super::*;
use crate::codec;
use fork::ForkProof;
use note::Note;
use proof::{ConsistencyProof, InclusionProof};

const SIZE: u64 = 300;
/// Where the forked log leaves the honest one.
const FORK: u64 = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    BitFlip,
    Swap,
    Drop,
    Duplicate,
    SizeUp,
    SizeDown,
    Splice,
    OtherKey,
    Truncated,
    Extended,
}

const CLASSES: [Class; 10] = [
    Class::BitFlip,
    Class::Swap,
    Class::Drop,
    Class::Duplicate,
    Class::SizeUp,
    Class::SizeDown,
    Class::Splice,
    Class::OtherKey,
    Class::Truncated,
    Class::Extended,
];

/// One writer with an honest log and a forked one, and a stranger.
struct World {
    honest: Rc<Log>,
    forked: Rc<Log>,
    stranger: Rc<Log>,
    rng: Rng,
    tried: BTreeMap<(&'static str, Class), u64>,
}

impl World {
    fn new(seed: u64) -> Self {
        let [honest, forked, stranger] =
            [(1, u64::MAX), (1, FORK), (2, 0)].map(|(n, fork)| Rc::new(log(n, SIZE, fork)));
        Self { honest, forked, stranger, rng: Rng::new(seed), tried: BTreeMap::new() }
    }

    /// Draws mutations until one differs from `original`, counts it, and wants it refused.
    fn refuse(
        &mut self,
        kind: &'static str,
        class: Class,
        original: &[u8],
        mutate: impl Fn(&mut Rng) -> Vec<u8>,
        accepts: impl Fn(&[u8]) -> bool,
    ) {
        let differs = (0..64).map(|_| mutate(&mut self.rng)).find(|bytes| bytes != original);
        let Some(mutant) = differs else { return };
        assert!(!accepts(&mutant), "{kind} {class:?} was accepted: {mutant:?}");
        *self.tried.entry((kind, class)).or_default() += 1;
    }

    /// Two sizes `0 < m < n`.
    fn sizes(&mut self) -> (u64, u64) {
        let n = self.rng.below(SIZE - 1) + 2;
        (self.rng.below(n - 1) + 1, n)
    }

    fn report(&self, at_least: u64) {
        let mut total = 0;
        for ((kind, class), n) in &self.tried {
            println!("{n:>7} {kind} {class:?}");
            total += n;
        }
        println!("{total:>7} refused, none accepted");
        assert!(total >= at_least, "only {total} mutants");
    }
}

/// Mutations of raw bytes; `None` for the classes that need to know what the bytes are.
fn mutate_bytes(class: Class, bytes: &[u8], rng: &mut Rng) -> Option<Vec<u8>> {
    let (mut out, at) = (bytes.to_vec(), rng.index(bytes.len()));
    match class {
        Class::BitFlip => out[at] ^= 1 << rng.below(8),
        Class::Truncated => out.truncate(at),
        Class::Extended => {
            let len = rng.index(40) + 1;
            out.extend(rng.bytes(len));
        }
        Class::Swap => {
            let other = rng.index(out.len());
            out.swap(at, other);
        }
        Class::Drop => drop(out.remove(at)),
        Class::Duplicate => out.insert(at, out[at]),
        _ => return None,
    }
    Some(out)
}

/// Mutations of a list of hashes, with `foreign` the same list from another tree.
fn mutate_hashes(class: Class, hashes: &[LogHash], foreign: &[LogHash], rng: &mut Rng) -> Option<Vec<LogHash>> {
    if hashes.is_empty() {
        return None;
    }
    let (mut out, at) = (hashes.to_vec(), rng.index(hashes.len()));
    match class {
        Class::Swap => {
            let other = rng.index(out.len());
            out.swap(at, other);
        }
        Class::Drop => drop(out.remove(at)),
        Class::Duplicate => out.insert(at, out[at]),
        Class::Splice => out[at] = foreign[rng.index(foreign.len())],
        _ => return None,
    }
    Some(out)
}

fn mutate_proof(class: Class, proof: (u64, u64, &[LogHash]), foreign: &[LogHash], rng: &mut Rng) -> Vec<u8> {
    let (mut low, mut size, hashes) = proof;
    if let Some(hashes) = mutate_hashes(class, hashes, foreign, rng) {
        return codec::encode(&(low, size, hashes));
    }
    let number = if rng.below(2) == 0 { &mut low } else { &mut size };
    match class {
        Class::SizeUp => *number += 1,
        Class::SizeDown => *number = number.wrapping_sub(1),
        _ => {
            let bytes = codec::encode(&(low, size, hashes));
            return mutate_bytes(class, &bytes, rng).unwrap_or(bytes);
        }
    }
    codec::encode(&(low, size, hashes))
}

#[test]
fn mutated_proofs() {
    let mut world = World::new(1);
    for _ in 0..2_500 {
        let (m, n) = world.sizes();
        let (old, new) = (*head_of(&world.honest, m).checkpoint(), *head_of(&world.honest, n).checkpoint());
        let (leaf, inclusion) = (world.honest.leaf(m - 1).expect("held"), world.honest.prove_inclusion(m - 1, n));
        let inclusion = inclusion.expect("inside");
        let consistency = world.honest.prove_consistency(m, n).expect("inside");
        let prefix = world.honest.prove_prefix(m, n).expect("inside");
        let foreign = world.forked.prove_prefix(m, n).expect("inside").hashes().to_vec();
        for class in CLASSES.into_iter().filter(|class| *class != Class::OtherKey) {
            world.refuse(
                "inclusion",
                class,
                &inclusion.encode(),
                |rng| mutate_proof(class, (inclusion.index(), n, inclusion.hashes()), &foreign, rng),
                |bytes| InclusionProof::decode(bytes).is_ok_and(|proof| proof.verify(&leaf, &new).is_ok()),
            );
            world.refuse(
                "consistency",
                class,
                &consistency.encode(),
                |rng| mutate_proof(class, (m, n, consistency.hashes()), &foreign, rng),
                |bytes| ConsistencyProof::decode(bytes).is_ok_and(|proof| proof.verify(&old, &new).is_ok()),
            );
            world.refuse(
                "prefix",
                class,
                &prefix.encode(),
                |rng| mutate_proof(class, (m, n, prefix.hashes()), &foreign, rng),
                |bytes| PrefixProof::decode(bytes).is_ok_and(|proof| proof.verify(&old, &new).is_ok()),
            );
        }
        // A true proof of one log is none of another's, whatever its sizes.
        let stranger = Checkpoint { origin: origin(2), ..old };
        assert_eq!(consistency.verify(&stranger, &new), Err(ProofError::OtherStatement));
        assert_eq!(prefix.verify(&stranger, &new), Err(ProofError::OtherStatement));
    }
    world.report(65_000);
}

/// Heads are signed afresh for each size: only their signatures cost time, so proofs do not need them.
fn head_of(log: &Log, size: u64) -> Head {
    thread_local! {
        static KNOWN: std::cell::RefCell<BTreeMap<(String, u64, LogHash), Head>> = std::cell::RefCell::default();
    }
    let root = log.root_at(size).expect("held");
    let writer = if *log.origin() == origin(1) { 1 } else { 2 };
    KNOWN.with_borrow_mut(|known| {
        let key = (log.origin().to_string(), size, root);
        known.entry(key).or_insert_with(|| head(writer, log, size)).clone()
    })
}

/// The lines of a note; its text are the first three, then the blank one.
fn lines(note: &[u8]) -> Vec<String> {
    let text = core::str::from_utf8(note).expect("a note is text");
    text.split_terminator('\n').map(str::to_owned).collect()
}

fn join(lines: &[String]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line, "\n"]).collect::<String>().into_bytes()
}

/// `others` are true notes: of the same log at another size, of its fork, of a stranger.
fn mutate_note(class: Class, note: &[u8], others: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut own = lines(note);
    let at = rng.index(own.len());
    match class {
        Class::Swap if rng.below(2) == 0 => {
            let other = rng.index(own.len());
            own.swap(at, other);
        }
        Class::Drop if rng.below(2) == 0 => drop(own.remove(at)),
        Class::Duplicate if rng.below(2) == 0 => own.insert(at, own[at].clone()),
        Class::SizeUp => own[1] = (own[1].parse::<u64>().expect("a size") + 1).to_string(),
        Class::SizeDown => own[1] = (own[1].parse::<u64>().expect("a size") - 1).to_string(),
        // A line of another true note in the place of ours; the stranger's are for the next class.
        Class::Splice => {
            let other = lines(&others[rng.index(others.len() - 1)]);
            own[[1, 2, 4][rng.index(3)]] = other[[1, 2, 4][rng.index(3)]].clone();
        }
        Class::OtherKey => return other_key(&own, &lines(&others[others.len() - 1]), rng),
        _ => return mutate_bytes(class, note, rng).expect("a class of bytes"),
    }
    join(&own)
}

/// The same text under a stranger's signature, in all ways that it could be dressed up.
fn other_key(own: &[String], stranger: &[String], rng: &mut Rng) -> Vec<u8> {
    let text = join(&own[..3]);
    let text = core::str::from_utf8(&text).expect("text");
    let (us, them) = (&own[0], &stranger[0]);
    let seed = rng.bytes(32).try_into().expect("32 bytes");
    let forged = |name: &str| lines(&note::sign(text, name, &DeviceSecret::from_seed(&seed)))[4].clone();
    let mut out = own.to_vec();
    match rng.below(5) {
        0 => out[4] = stranger[4].clone(),
        1 => out[4] = forged(us),
        2 => out[4] = forged(them),
        3 => out[0] = them.clone(),
        _ => {
            // The stranger's signature under our name and our key id.
            let (ours, theirs) = (own[4].rsplit_once(' ').expect("a line"), forged(us));
            let theirs = theirs.rsplit_once(' ').expect("a line").1.to_owned();
            let decode = |base64: &str| data_encoding::BASE64.decode(base64.as_bytes()).expect("base64");
            let mixed = [&decode(ours.1)[..4], &decode(&theirs)[4..]].concat();
            out[4] = format!("{} {}", ours.0, data_encoding::BASE64.encode(&mixed));
        }
    }
    join(&out)
}

#[test]
fn mutated_notes() {
    let mut world = World::new(2);
    for _ in 0..2_600 {
        let (m, n) = world.sizes();
        let note = head_of(&world.honest, n).note().to_vec();
        let others = [
            head_of(&world.honest, m).note().to_vec(),
            head_of(&world.forked, n).note().to_vec(),
            head_of(&world.forked, m).note().to_vec(),
            head_of(&world.stranger, n).note().to_vec(),
        ];
        for class in CLASSES {
            let mutate = |rng: &mut Rng| mutate_note(class, &note, &others, rng);
            // Splicing lines of true notes can rebuild a true note, which is no forgery.
            let accepts = |bytes: &[u8]| Head::verify(bytes).is_ok() && !others.iter().any(|other| other == bytes);
            world.refuse("note", class, &note, mutate, accepts);
        }
    }
    world.report(25_000);
}

#[derive(Clone)]
struct Parts {
    older: Vec<u8>,
    newer: Vec<u8>,
    hashes: Vec<LogHash>,
}

impl Parts {
    fn encode(&self) -> Vec<u8> {
        codec::encode(&(1_u8, &self.older, &self.newer, &self.hashes))
    }
}

fn parts(proof: &ForkProof) -> Parts {
    let (_, older, newer, hashes): (u8, Vec<u8>, Vec<u8>, Vec<LogHash>) =
        codec::decode(&proof.encode(), limits::FORK_PROOF_BYTES).expect("its own encoding");
    Parts { older, newer, hashes }
}

/// `parts` are about the sizes `m <= n`; `honest` are the heads of both sizes with which nothing conflicts but the fork;
/// `foreign` has hashes of another tree.
fn mutate_fork(
    class: Class,
    parts: &Parts,
    (m, n): (u64, u64),
    (honest, foreign): (&Log, &Log),
    rng: &mut Rng,
) -> Vec<u8> {
    let bytes = parts.encode();
    let mut out = parts.clone();
    let in_notes = rng.below(2) == 0 || out.hashes.is_empty();
    let others = if m < n {
        foreign.prove_prefix(m, n).expect("held").hashes().to_vec()
    } else {
        vec![LogHash::from_bytes([0; 32])]
    };
    match class {
        Class::BitFlip | Class::Truncated | Class::Extended => {
            return mutate_bytes(class, &bytes, rng).expect("a class of bytes");
        }
        Class::Swap if in_notes => std::mem::swap(&mut out.older, &mut out.newer),
        Class::Drop if in_notes => out.older.clear(),
        Class::Duplicate if in_notes => out.older = out.newer.clone(),
        Class::Splice if in_notes => {
            // The writer's true head of that size in the place of the false one: then nothing conflicts.
            out.older = head_of(honest, m).note().to_vec();
            out.newer = head_of(honest, n).note().to_vec();
        }
        Class::OtherKey => {
            let note = if rng.below(2) == 0 { &mut out.older } else { &mut out.newer };
            let size = lines(note)[1].parse().expect("a size");
            let others = [head_of(foreign, size).note().to_vec()];
            *note = if rng.below(2) == 0 { others[0].clone() } else { mutate_note(class, note, &others, rng) };
        }
        Class::SizeUp | Class::SizeDown => {
            let note = if rng.below(2) == 0 { &mut out.older } else { &mut out.newer };
            *note = mutate_note(class, note, &[], rng);
        }
        _ => {
            out.hashes = match mutate_hashes(class, &out.hashes, &others, rng) {
                Some(hashes) => hashes,
                None => others,
            };
        }
    }
    out.encode()
}

#[test]
fn mutated_fork_proofs() {
    let mut world = World::new(3);
    let mut longest = 0;
    for round in 0..1_200 {
        let (m, n) = world.sizes();
        let (m, n) = (m.max(FORK + 1), n.max(FORK + 2));
        let (older, newer) = (head_of(&world.forked, m), head_of(&world.honest, if round % 4 == 0 { m } else { n }));
        let proof = ForkProof::from_log(&world.honest, &older, &newer).expect("a fork");
        let bytes = proof.encode();
        assert_eq!(ForkProof::verify(&bytes).as_ref(), Ok(&proof));
        longest = longest.max(bytes.len());
        for class in CLASSES {
            let (honest, stranger) = (world.honest.clone(), world.stranger.clone());
            let (sizes, parts) = ((proof.older().size(), proof.newer().size()), parts(&proof));
            let mutate = |rng: &mut Rng| mutate_fork(class, &parts, sizes, (&honest, &stranger), rng);
            world.refuse("fork proof", class, &bytes, mutate, |bytes| ForkProof::verify(bytes).is_ok());
        }
    }
    println!("longest fork proof of {SIZE} entries: {longest} bytes");
    world.report(12_000);
}

/// A writer who never forked, and somebody who has all that the writer ever signed and wants to prove the opposite: with
/// true heads and true hashes, changed in every way that could make them contradict each other, with hashes of a tree that
/// the writer never signed, and with signatures of other keys under the writer's name.
#[test]
fn no_honest_log_is_framed_by_what_can_be_made_of_it() {
    let mut world = World::new(4);
    for round in 0..11_000 {
        let (m, n) = world.sizes();
        let n = if round % 4 == 0 { m } else { n };
        let hashes = world.honest.prove_prefix(m, n).map(|proof| proof.hashes().to_vec()).unwrap_or_default();
        let note = |size| head_of(&world.honest, size).note().to_vec();
        let parts = Parts { older: note(m), newer: note(n), hashes };
        let bytes = parts.encode();
        assert!(ForkProof::verify(&bytes).is_err(), "a true history is no fork");
        for class in CLASSES {
            // The hashes of a tree that is not the writer's, and a stranger's heads over it: the writer signed none.
            let (honest, foreign) = (world.honest.clone(), world.stranger.clone());
            let mutate = |rng: &mut Rng| mutate_fork(class, &parts, (m, n), (&honest, &foreign), rng);
            world.refuse("frame", class, &bytes, mutate, |bytes| ForkProof::verify(bytes).is_ok());
        }
    }
    world.report(100_000);
}

/// All true heads of an honest log, with all hashes that anybody could come by: no fork proof.
#[test]
fn an_honest_log_cannot_be_framed() {
    let (honest, forked, stranger) = (log(1, 40, u64::MAX), log(1, 40, 3), log(2, 40, 0));
    let mut n_tries = 0;
    for n in 1..=40 {
        for m in 0..=n {
            let (old, new) = (head_of(&honest, m), head_of(&honest, n));
            assert!(ForkProof::new(&old, &new, None).is_err());
            assert!(ForkProof::from_log(&honest, &old, &new).is_err());
            for log in [&honest, &forked, &stranger] {
                let Ok(proof) = log.prove_prefix(m, n) else { continue };
                assert_eq!(ForkProof::new(&old, &new, Some(&proof)), Err(fork::ForkError::NoConflict));
                let bytes = codec::encode(&(1_u8, old.note(), new.note(), proof.hashes()));
                assert_eq!(ForkProof::verify(&bytes), Err(fork::ForkError::NoConflict));
                n_tries += 2;
            }
        }
    }
    println!("{n_tries} attempts to frame an honest log");
}

/// What only looks like a fork proof, or is one in another spelling.
#[test]
fn fork_proofs_have_one_form() {
    let (honest, forked) = (log(1, 40, u64::MAX), log(1, 40, 3));
    let (old, new) = (head_of(&forked, 7), head_of(&honest, 20));
    let proof = ForkProof::from_log(&honest, &new, &old).expect("a fork, in any order of the heads");
    assert_eq!((proof.older(), proof.newer(), *proof.origin()), (&old, &new, origin(1)));
    assert_eq!(
        ForkProof::from_log(&forked, &new, &old),
        Err(fork::ForkError::NotHeld { size: 20 }),
        "the forked log does not hold the newer head"
    );
    assert_eq!(ForkProof::new(&old, &head(2, &log(2, 20, 0), 20), None), Err(fork::ForkError::OtherLog));
    let of_other_sizes = honest.prove_prefix(7, 21).expect("held");
    assert!(ForkProof::new(&old, &new, Some(&of_other_sizes)).is_err());
    assert!(ForkProof::new(&old, &new, None).is_err());

    // A power of two as the older size: the old root itself is the first hash.
    let pair = ForkProof::from_log(&honest, &head_of(&forked, 8), &new).expect("a fork");
    assert_eq!(ForkProof::verify(&pair.encode()), Ok(pair));

    // Cosignatures are stripped when made, refused when found.
    let line = "\u{2014} w.example AAAAAAA=\n";
    let cosigned = Head::verify(&[old.note(), line.as_bytes()].concat()).expect("a head");
    assert_eq!(ForkProof::from_log(&honest, &cosigned, &new).as_ref(), Ok(&proof));
    let hashes = honest.prove_prefix(7, 20).expect("held").hashes().to_vec();
    let encode = |older: &[u8], newer: &[u8]| codec::encode(&(1_u8, older, newer, &hashes));
    assert_eq!(encode(old.note(), new.note()), proof.encode());
    assert_eq!(ForkProof::verify(&encode(cosigned.note(), new.note())), Err(fork::ForkError::NotCanonical));
    let format = codec::encode(&(2_u8, old.note(), new.note(), &hashes));
    assert_eq!(ForkProof::verify(&format), Err(fork::ForkError::Format(2)));

    // Equal sizes: no hashes, the smaller root first.
    let (a, b) = (head_of(&honest, 20), head_of(&forked, 20));
    let same = ForkProof::new(&a, &b, None).expect("a fork");
    assert_eq!(ForkProof::new(&b, &a, None).as_ref(), Ok(&same));
    let swapped = codec::encode(&(1_u8, same.newer().note(), same.older().note(), Vec::<LogHash>::new()));
    assert_eq!(ForkProof::verify(&swapped), Err(fork::ForkError::NotCanonical));
    let superfluous = codec::encode(&(1_u8, same.older().note(), same.newer().note(), vec![a.root()]));
    assert!(ForkProof::verify(&superfluous).is_err());
    assert!(Note::parse(same.older().note()).is_ok());
}
