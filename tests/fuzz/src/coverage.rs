//! Which branches were taken. LLVM's pass puts one counter byte at each; instrumented code tells us where they lie.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

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

/// What a target has reached so far.
#[derive(Debug)]
pub struct Map {
    counters: Vec<&'static [AtomicU8]>,
    /// Of each counter, which magnitudes were seen: 1, 2, 3, 4–7, 8–15, …
    seen: Vec<u8>,
}

impl Map {
    /// Over all instrumented code; empty without instrumentation.
    pub fn new() -> Self {
        let ranges = COUNTERS.lock().expect("nothing panics while it is held").clone();
        // SAFETY: the compiler laid these bytes out for the whole life of the program, writable, and everybody who
        // touches them after start-up is this thread, here or in instrumented code; any byte is a valid `AtomicU8`.
        let slice = |(start, end): (usize, usize)| unsafe {
            std::slice::from_raw_parts(start as *const AtomicU8, end.saturating_sub(start))
        };
        let counters: Vec<_> = ranges.into_iter().map(slice).collect();
        let n = counters.iter().map(|slice| slice.len()).sum();
        Self { counters, seen: vec![0; n] }
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
        self.counters.iter().flat_map(|slice| slice.iter()).for_each(|counter| counter.store(0, Ordering::Relaxed));
    }

    /// Takes in the last run; true if it reached something new, or something often enough to be new.
    pub fn take(&mut self) -> bool {
        let counters = self.counters.iter().flat_map(|slice| slice.iter());
        let mut is_new = false;
        for (counter, seen) in counters.zip(&mut self.seen) {
            let n = counter.load(Ordering::Relaxed);
            if n == 0 {
                continue;
            }
            let bit = 1 << n.ilog2().min(7);
            is_new |= *seen & bit == 0;
            *seen |= bit;
        }
        is_new
    }
}
