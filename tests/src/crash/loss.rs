//! What of the unsynced changes reached the medium.

use super::disk::{Change, Disk};
use super::record::{Event, Recording, What, apply};

/// Bytes that reach a disk together.
const SECTOR_BYTES: u64 = 512;

/// Which changes that were not synced reached the medium before the power went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// All of them did: what a kill leaves.
    Nothing,
    /// None did.
    Everything,
    /// Those before some point did.
    Tail,
    /// Some did, in any order.
    Some,
    /// Some did, and of writes only some sectors.
    Torn,
    /// Names and lengths did, the bytes did not: zeros stand in their place.
    Bytes,
    /// Files did, with everything in them; their names did not.
    Names,
}

impl Loss {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Nothing, Self::Everything, Self::Tail, Self::Some, Self::Torn, Self::Bytes, Self::Names];
}

/// A small generator of numbers: the same seed, the same numbers.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// From a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number (`SplitMix64`).
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub const fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { (self.next() % n as u64) as usize }
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

impl Recording {
    /// The directory after a power cut behind the first `cut` events.
    #[must_use]
    pub fn after_cut(&self, cut: usize, loss: Loss, seed: u64) -> Disk {
        let events = &self.events[..cut];
        let durable = durable(events);
        let n_open = durable.iter().filter(|durable| !**durable).count();
        let mut rng = Rng::new(seed);
        let tail = rng.below(n_open + 1);
        let mut disk = self.start.clone();
        let mut nth_open = 0;
        for (event, durable) in events.iter().zip(durable) {
            if durable {
                apply(&mut disk, event);
                continue;
            }
            nth_open += 1;
            let is_name = matches!(event.what, What::Names(_));
            match loss {
                Loss::Nothing => apply(&mut disk, event),
                Loss::Tail if nth_open <= tail => apply(&mut disk, event),
                Loss::Some | Loss::Torn if is_name && rng.coin() => apply(&mut disk, event),
                Loss::Some if !is_name && rng.coin() => apply(&mut disk, event),
                Loss::Torn if !is_name => tear(&mut disk, event, &mut rng),
                Loss::Bytes => hollow(&mut disk, event),
                Loss::Names if !is_name => apply(&mut disk, event),
                Loss::Everything | Loss::Tail | Loss::Some | Loss::Torn | Loss::Names => {}
            }
        }
        disk
    }
}

/// For each event whether a later sync made it durable.
fn durable(events: &[Event]) -> Vec<bool> {
    let mut durable = vec![false; events.len()];
    for (index, sync) in events.iter().enumerate() {
        let What::Sync(synced) = sync.what else { continue };
        for (event, durable) in events[..index].iter().zip(&mut durable).filter(|(event, _)| event.ended < sync.began) {
            *durable |= match &event.what {
                What::Data(inode, _) => *inode == synced,
                // A rename between two directories is one change; the target's sync settles it.
                What::Names(names) => names.last().is_some_and(|(dir, ..)| *dir == synced),
                What::Sync(_) | What::Said(_) => false,
            };
        }
    }
    durable
}

/// Some sectors of a write; other changes by chance.
fn tear(disk: &mut Disk, event: &Event, rng: &mut Rng) {
    let What::Data(inode, Change::Write { at, bytes }) = &event.what else {
        if rng.coin() {
            apply(disk, event);
        }
        return;
    };
    let end = at + bytes.len() as u64;
    let mut from = *at;
    while from < end {
        let to = end.min((from / SECTOR_BYTES + 1) * SECTOR_BYTES);
        if rng.coin() {
            let part = |offset: u64| usize::try_from(offset - at).expect("within the write");
            let sector = Change::Write { at: from, bytes: bytes[part(from)..part(to)].to_vec() };
            disk.change(*inode, &sector, event.at);
        }
        from = to;
    }
}

/// The length without the bytes.
fn hollow(disk: &mut Disk, event: &Event) {
    let What::Data(inode, Change::Write { at, bytes }) = &event.what else { return apply(disk, event) };
    let length = (disk.bytes(*inode).len() as u64).max(at + bytes.len() as u64);
    disk.change(*inode, &Change::Length(length), event.at);
}
