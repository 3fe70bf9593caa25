//! The plan: which request is due when. Pure and deterministic: the same steps, mix and seed give the same
//! arrivals, byte for byte, on every machine. It sends nothing and knows no wall clock.

mod arrivals;
mod burst;
mod closed;
mod fingerprint;
mod journey;
mod mix;
mod process;
mod profile;
mod recording;
mod zipf;

pub use arrivals::{Arrivals, Timing};
pub use burst::Burst;
pub use closed::{Think, Turn, UserPlan};
pub use fingerprint::Fingerprint;
pub use journey::Doings;
pub use mix::Mix;
pub use process::Process;
pub use profile::Profile;
pub use recording::Recording;
pub use zipf::Zipf;

/// One intended request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arrival {
    /// Place in the plan, from 0.
    pub sequence: u64,
    /// When it is due, ns since the run's zero.
    pub intended_ns: u64,
    /// What makes it unlike every other: the sequence in the open model, user and turn in the closed.
    pub unique: u64,
    /// What fills its payload: the same as `unique`, or the item where contents repeat.
    pub content: u64,
    /// Index of the payload within its entry.
    pub payload: u32,
    /// Index of the step it falls into.
    pub step: u16,
    /// Index of its entry of the mix.
    pub entry: u16,
}

/// A random stream of the plan. Streams with different numbers are independent, so that a change of the mix leaves
/// the arrival times alone.
pub(crate) fn stream(seed: u64, number: u64) -> rand_pcg::Pcg64 {
    // Spreading the seed keeps neighbouring seeds from starting in neighbouring states.
    rand_pcg::Pcg64::new(
        u128::from(mix64(seed)) << 64 | u128::from(mix64(seed ^ 0x9e37_79b9_7f4a_7c15)),
        u128::from(number),
    )
}

/// A bijection that spreads the bits of a word (the finaliser of `SplitMix64`, Steele et al. 2014).
pub fn mix64(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A uniform number in [0, 1) from 53 random bits.
pub(crate) fn uniform(rng: &mut rand_pcg::Pcg64) -> f64 {
    use rand_core::RngCore;
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// An exponential number with mean 1. `libm`'s logarithm gives the same bits on every machine.
fn exponential(rng: &mut rand_pcg::Pcg64) -> f64 {
    -libm::log(1.0 - uniform(rng))
}
