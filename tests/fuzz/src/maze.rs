//! A maze in the form of a decoder: each step is a branch behind the branch before. Built with counters like our own crates, it
//! shows whether the runner follows them; without them its end is one input in 2^32.

#![forbid(unsafe_code)]

/// Whether these bytes lead through.
#[must_use]
pub fn is_solved(bytes: &[u8]) -> bool {
    // Opaque, so that the optimiser does not make one comparison of them all.
    let is = |at: usize, wanted: u8| std::hint::black_box(bytes.get(at)) == Some(&wanted);
    is(0, b'm') && is(1, 0xa7) && is(2, b'z') && is(3, 0x1e)
}
