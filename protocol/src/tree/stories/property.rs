//! Trees and changes drawn from a seed: whatever they are, they come back, and updates make the right segments.

use super::*;

/// SplitMix64: the same draws on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// A file's bytes: mostly small, sometimes of several segments, sometimes all the same byte.
    fn bytes(&mut self) -> Vec<u8> {
        let len = match self.below(10) {
            0 => 0,
            1..=6 => self.below(3000),
            7 | 8 => self.below(90 * KIB),
            _ => self.below(600 * KIB),
        };
        if self.below(8) == 0 { vec![7; len] } else { noise(&self.next().to_string(), len) }
    }

    fn path(&mut self) -> String {
        let dirs: String = (0..self.below(3)).map(|_| format!("{}/", ["a", "b-", "b", "Ö"][self.below(4)])).collect();
        format!("{dirs}f{}", self.below(30))
    }

    fn tree(&mut self) -> Files {
        let mut files = Files::default();
        for _ in 0..1 + self.below(25) {
            let bytes = self.bytes();
            files.put(&self.path(), bytes);
        }
        files
    }

    /// Some files edited, added, removed, moved, copied.
    fn change(&mut self, old: &Files) -> Files {
        let mut files = old.clone();
        for _ in 0..1 + self.below(5) {
            let keys: Vec<_> = files.0.keys().cloned().collect();
            let key = keys[self.below(keys.len())].clone();
            match self.below(5) {
                0 => {
                    let bytes = self.bytes();
                    files.put(&self.path(), bytes);
                }
                1 if files.0.len() > 1 => drop(files.0.remove(&key)),
                2 => {
                    let copy = files.0[&key].0.clone();
                    files.put(&self.path(), copy);
                }
                3 => {
                    let moved = files.0.remove(&key).unwrap();
                    files.put(&self.path(), moved.0);
                }
                _ => {
                    let insert = noise(&self.next().to_string(), self.below(2000));
                    let bytes = &mut files.0.get_mut(&key).unwrap().0;
                    let at = self.below(bytes.len() + 1);
                    let end = at + self.below(bytes.len() - at + 1).min(1500);
                    bytes.splice(at..end, insert);
                }
            }
        }
        files
    }
}

#[test]
fn drawn_trees_come_back_and_update() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let files = random.tree();
        let new_files = random.change(&files);
        let (old, new) = (files.pack(fine()), new_files.pack(fine()));
        assert_eq!(old.unpack(), files, "seed {seed}");
        assert_eq!(new.unpack(), new_files, "seed {seed}");
        assert_eq!(new_files.pack_in_steps(fine(), 1 + random.below(100 * KIB)), new, "seed {seed}");
        let plan = old.update_to(&new);
        assert!(plan.fetch_bytes + plan.copy_bytes <= new.index.stored_bytes(), "seed {seed}");
        assert_eq!(old.update_to(&old), SplicePlan::default(), "seed {seed}");
    }
}

/// What an unpacker relies on, checked without the code that promises it.
fn assert_safe(index: &ContentIndex) {
    let mut written = vec![Vec::new(); index.files().len()];
    for (at, segment) in index.segments().iter().enumerate() {
        for run in index.carried(at) {
            assert!(run.len > 0 && u64::from(run.offset) + u64::from(run.len) <= u64::from(segment.size));
            written[run.file as usize].push((run.file_offset, run.len));
        }
    }
    for (file, mut runs) in index.files().iter().zip(written) {
        runs.sort_unstable();
        let end = runs.iter().fold(0, |end, (offset, len)| {
            assert_eq!(*offset, end, "runs neither overlap nor leave holes");
            end + u64::from(*len)
        });
        assert_eq!(end, file.entry.size);
    }
}

/// A publisher may sign any bytes: whatever a damaged root node says, an accepted index is safe to follow.
#[test]
fn damaged_nodes_never_make_an_unsafe_index() {
    let (mut n_accepted, mut n_refused) = (0, 0);
    for seed in 100..120 {
        let mut random = Random(seed);
        let mut files = Files::default();
        for n in 0..3 {
            let bytes = random.bytes();
            files.put(&format!("f{n}"), bytes);
        }
        let release = files.pack(fine());
        let root = &release.store.0[&release.index.nodes()[0]];
        for bit in 0..root.len() * 8 {
            let mut damaged = root.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let mut set = NodeSet::new(BlobId::of(&damaged));
            match set.insert(&damaged).ok().and_then(|_| set.derive().ok()) {
                Some(index) => {
                    assert_safe(&index);
                    n_accepted += 1;
                }
                None => n_refused += 1,
            }
        }
    }
    assert!(n_accepted > 1000 && n_refused > 1000, "{n_accepted} accepted, {n_refused} refused");
}
