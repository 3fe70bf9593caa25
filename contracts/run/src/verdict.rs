//! The verdict on a run and its exit code. No judging happens here: this is the vocabulary.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a run came to. The order is by strength: a stronger verdict wins over a weaker one, so the verdict of a
/// whole is the maximum over its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Every threshold was met, with enough data to say so.
    Pass,
    /// There is too little data to decide.
    Inconclusive,
    /// A threshold was missed, or the target stopped answering.
    Fail,
    /// The run cannot be trusted: the generator, not the target, was the bottleneck.
    Invalid,
}

impl Verdict {
    /// The process exit code that goes with the verdict (2 is for usage and configuration errors).
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Fail => 1,
            Self::Inconclusive => 3,
            Self::Invalid => 4,
        }
    }

    /// The word that is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Inconclusive => "INCONCLUSIVE",
            Self::Fail => "FAIL",
            Self::Invalid => "INVALID",
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_verdict_wins() {
        let all = [Verdict::Pass, Verdict::Inconclusive, Verdict::Fail, Verdict::Invalid];
        assert!(all.is_sorted());
        assert_eq!(all.iter().max(), Some(&Verdict::Invalid));
        assert_eq!(all.map(Verdict::exit_code), [0, 3, 1, 4]);
    }
}
