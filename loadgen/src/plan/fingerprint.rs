//! A fingerprint of a plan: two runs with the same one were asked for the same load.

use std::fmt;

use proofload_run::manifest::Step;

use super::Arrival;

/// FNV-1a, 64 bits: no protection against an adversary, plenty against an accident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(u64);

impl Default for Fingerprint {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fingerprint {
    /// Takes in bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// Takes in a word, little-endian.
    pub fn word(&mut self, word: u64) {
        self.bytes(&word.to_le_bytes());
    }

    /// Takes in a step.
    pub fn step(&mut self, step: &Step) {
        for word in [step.start_ns, step.end_ns, step.level_start.to_bits(), step.level_end.to_bits()] {
            self.word(word);
        }
    }

    /// Takes in an arrival.
    pub fn arrival(&mut self, arrival: &Arrival) {
        self.word(arrival.intended_ns);
        self.word(u64::from(arrival.payload) << 32 | u64::from(arrival.step) << 16 | u64::from(arrival.entry));
        if arrival.content != arrival.unique {
            self.word(arrival.content);
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::profile::tests::steps;
    use super::super::{Arrivals, Burst, Mix, Process, Profile, Recording, Timing};
    use super::*;

    fn print(timing: impl Into<Timing>, seed: u64) -> String {
        let profile = Profile::new(steps(&[(2.0, 100.0, 100.0), (3.0, 50.0, 400.0)]));
        let mut fingerprint = Fingerprint::default();
        for step in profile.steps() {
            fingerprint.step(step);
        }
        for arrival in Arrivals::new(profile, Mix::new([(3.0, 2), (1.0, 1)]), timing, seed) {
            fingerprint.arrival(&arrival);
        }
        fingerprint.to_string()
    }

    /// These values are promises: a change here changes the load of every existing scenario.
    #[test]
    fn the_plan_of_a_seed_never_changes() {
        let prints = [print(Process::Constant, 1), print(Process::Poisson, 1), print(Process::Poisson, 2)];
        assert_eq!(prints, ["2861f894d459cb0f", "1b764073fc850943", "92c78117b2ab6642"]);
        let bursty = Process::Gamma { burstiness: 4.0 };
        let burst = Some(Burst { every_ns: 700_000_000, length_ns: 100_000_000 });
        let recording = Recording::new((0..900).map(|n| n * n * 5000).collect(), Vec::new(), 1.5);
        let prints = [
            print(bursty, 1),
            print(Process::Gamma { burstiness: 0.3 }, 2),
            print(Timing::Drawn { process: bursty, burst }, 1),
            print(Timing::Replayed(std::sync::Arc::new(recording)), 1),
        ];
        assert_eq!(prints, ["94cf804358f48b89", "2928141946622b54", "059cef87674a13bd", "5aca042238c5b121"]);
    }
}
