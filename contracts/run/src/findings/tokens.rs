//! What is known of the tokens of a run's answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Latency;

/// Tokens of the measured successes. Times are those of streamed answers; counts are the server's where it states
/// them, else each piece of a stream counts as one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tokens {
    /// Successes whose first token's time is known, or whose tokens are.
    pub n: u64,
    /// Of these, those whose server stated how many tokens there were.
    pub stated_n: u64,
    /// From the intended arrival to the first token.
    pub ttft: Option<Latency>,
    /// Inter-token latency: the mean time between the tokens of an answer, one figure an answer of two tokens or more.
    pub itl: Option<Latency>,
    /// The longest wait between two pieces of an answer, one figure an answer of two pieces or more.
    pub longest_gap: Option<Latency>,
    /// Mean tokens of a prompt, as the server states them; 0 where it does not.
    pub mean_in: f64,
    /// Mean tokens of an answer.
    pub mean_out: f64,
    /// Tokens of the answers that came in the measured time.
    pub out: u64,
    /// The same per second. What failed or was given up in the middle is left out.
    pub out_per_s: f64,
}
