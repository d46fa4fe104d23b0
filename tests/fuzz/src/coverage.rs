//! Which branches were taken. LLVM's pass puts one counter byte at each; instrumented code tells us where they lie.

use std::sync::Mutex;

/// Where the counters of each instrumented unit begin and end.
static COUNTERS: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

/// Called at start-up by every instrumented unit.
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, end: *mut u8) {
    let range = (start as usize, end as usize);
    let mut counters = COUNTERS.lock().expect("nothing panics while it is held");
    if !counters.contains(&range) {
        counters.push(range);
    }
}

/// Counters looked at in one go: after most inputs nearly all are zero.
const BLOCK: usize = 512;
/// Counters of a block looked at in one go.
const WORD: usize = 16;

/// What a target has reached so far.
#[derive(Debug)]
pub struct Map {
    /// First counter and number of counters, of each instrumented unit.
    ranges: Vec<(*mut u8, usize)>,
    /// Of each counter, which magnitudes were seen: 1, 2, 3, 4–7, 8–15, …
    seen: Vec<u8>,
}

impl Map {
    /// Over all instrumented code; empty without instrumentation.
    pub fn new() -> Self {
        let ranges = COUNTERS.lock().expect("nothing panics while it is held").clone();
        let range = |(start, end): (usize, usize)| (start as *mut u8, end.saturating_sub(start));
        let ranges: Vec<_> = ranges.into_iter().map(range).collect();
        let n = ranges.iter().map(|(_, n)| n).sum();
        Self { ranges, seen: vec![0; n] }
    }

    /// That sees nothing, to compare with.
    pub fn blind() -> Self {
        Self { ranges: Vec::new(), seen: Vec::new() }
    }

    /// Whether there is anything to count with.
    pub fn is_instrumented(&self) -> bool {
        !self.seen.is_empty()
    }

    /// Branches reached since the map was made.
    pub fn n_reached(&self) -> usize {
        self.seen.iter().filter(|seen| **seen != 0).count()
    }

    /// Forgets the last run.
    pub fn reset(&self) {
        for (start, n) in &self.ranges {
            // SAFETY: the compiler laid these bytes out for the whole life of the program, writable, and everybody who
            // touches them after start-up is this thread, here or in instrumented code.
            unsafe { start.write_bytes(0, *n) };
        }
    }

    /// Takes in the last run; true if it reached something new, or something often enough to be new.
    pub fn take(&mut self) -> bool {
        let mut is_new = false;
        let mut base = 0;
        for (start, n) in &self.ranges {
            // SAFETY: as in `reset`; nobody writes while the slice lives, and it ends here.
            let counters = unsafe { std::slice::from_raw_parts(start.cast_const(), *n) };
            for (block, seen) in counters.chunks(BLOCK).zip(self.seen[base..base + n].chunks_mut(BLOCK)) {
                is_new |= is_touched(block) && note(block, seen);
            }
            base += n;
        }
        is_new
    }
}

/// One call of memcmp: this runs after every input, and this crate is not optimised, lest the compiler move code of the counted
/// crates into it.
fn is_touched(counters: &[u8]) -> bool {
    counters != &[0; BLOCK][..counters.len()]
}

fn note(counters: &[u8], seen: &mut [u8]) -> bool {
    let mut is_new = false;
    for (words, seen) in counters.chunks(WORD).zip(seen.chunks_mut(WORD)) {
        if words == &[0; WORD][..words.len()] {
            continue;
        }
        for (n, seen) in words.iter().zip(seen).filter(|(n, _)| **n != 0) {
            let bit = 1 << n.ilog2();
            is_new |= *seen & bit == 0;
            *seen |= bit;
        }
    }
    is_new
}
