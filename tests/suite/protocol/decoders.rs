//! What every decoder must withstand: all truncations and all one-bit flips of many seeds.

/// What came of a decoder's trial.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Trial {
    /// Damaged inputs tried.
    pub(crate) n_tried: usize,
    /// Damaged inputs accepted, each encoding to itself again.
    pub(crate) n_accepted: usize,
}

/// Gives `recode` each seed, every truncation, every one-bit flip, and each with a byte more. `recode` returns the bytes
/// of what it accepted; they must be the input. Seeds must be accepted.
pub(crate) fn try_decoder(name: &str, seeds: &[Vec<u8>], recode: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Trial {
    assert!(seeds.len() >= 20, "{name}: only {} seeds", seeds.len());
    let mut trial = Trial::default();
    for seed in seeds {
        assert_eq!(recode(seed).as_ref(), Some(seed), "{name}: a seed is not accepted as itself");
        let mut damaged = |bytes: &[u8]| {
            trial.n_tried += 1;
            if let Some(again) = recode(bytes) {
                assert_eq!(again, bytes, "{name}: accepted, but not the only spelling");
                trial.n_accepted += 1;
            }
        };
        for len in 0..seed.len() {
            damaged(&seed[..len]);
        }
        for extra in [0, 1, 0xff] {
            damaged(&[&seed[..], &[extra]].concat());
        }
        let mut flipped = seed.clone();
        for bit in 0..seed.len() * 8 {
            flipped[bit / 8] ^= 1 << (bit % 8);
            damaged(&flipped);
            flipped[bit / 8] ^= 1 << (bit % 8);
        }
    }
    trial
}
