//! What was judged: service levels, the breaking point, thresholds, the generator, the server's counts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Share;
use crate::criteria::{Slo, Threshold};
use crate::verdict::Verdict;

/// Whether a service level was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// It was.
    Met,
    /// There is too little data to say.
    Inconclusive,
    /// It was not.
    Missed,
}

/// A service level held against samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SloResult {
    /// The entry it belongs to; `None` for the run's own, which covers the entries that have none.
    pub entry: Option<String>,
    /// The service level.
    pub slo: Slo,
    /// Bad arrivals (slow, failed, shed, timed out) as a share of those of which it is known.
    pub bad: Share,
    /// The largest bad share it allows.
    pub allowed_share: f64,
    /// Errors as a share of what was answered or failed.
    pub errors: Share,
    /// Arrivals of which it is not known: in flight and younger than the level's latency, or never sent.
    pub unknown: u64,
    /// Whether it was kept.
    pub kept: Kept,
    /// Whether the interval of the bad share lies wholly on that side.
    pub clear: bool,
}

/// How good the generator was.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Audit {
    /// Whether its figures can be believed.
    pub trustworthy: bool,
    /// Measured requests that were sent.
    pub n: u64,
    /// The generator's own lateness: median.
    pub late_p50_ns: u64,
    /// 99th percentile.
    pub late_p99_ns: u64,
    /// Largest.
    pub late_max_ns: u64,
    /// Waiting for a free connection, which is not the generator's lateness: 99th percentile.
    pub connection_wait_p99_ns: u64,
    /// What the generator's lateness did to the figures.
    pub effects: Vec<LateEffect>,
    /// Arrivals that it never sent through its own fault, of all intended.
    pub dropped: Share,
    /// Samples that it could not write.
    pub lost_samples: u64,
    /// Cores that its process used, on average.
    pub cpu_cores: Option<f64>,
    /// What is wrong; empty when trustworthy.
    pub faults: Vec<Fault>,
    /// What is to be known before a figure is believed. Absent in findings of earlier versions.
    #[serde(default)]
    pub cautions: Vec<Fault>,
    /// What the generator noted of itself.
    #[serde(default)]
    pub vitals: Vitals,
}

impl Audit {
    /// How far the figures can be trusted.
    pub fn standing(&self) -> Standing {
        match (self.faults.is_empty(), self.cautions.is_empty()) {
            (false, _) => Standing::Invalid,
            (true, false) => Standing::Suspect,
            (true, true) => Standing::Valid,
        }
    }
}

/// How far a generator's figures can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// They say what the target did.
    Valid,
    /// They do, but for what the cautions name. The verdict stands.
    Suspect,
    /// They say more about the generator than about the target.
    Invalid,
}

impl Standing {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "VALID",
            Self::Suspect => "SUSPECT",
            Self::Invalid => "INVALID",
        }
    }
}

/// What a generator noted of itself and of its machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Vitals {
    /// How often it was held up for 100 ms or longer in measured time.
    pub stalls: u64,
    /// For how long, in all.
    pub stalled_ns: u64,
    /// The longest of them.
    pub longest_stall_ns: u64,
    /// When that was, on the run's clock.
    pub longest_stall_at_ns: Option<u64>,
    /// How long its control group was held back for lack of a quota of processor time.
    pub throttled_s: Option<f64>,
    /// How long the thread that sends wanted a processor and had none.
    pub waited_for_cpu_s: Option<f64>,
    /// How often that thread lost its processor.
    pub preempted: Option<f64>,
    /// The second in which most was sent late, if anything was.
    pub worst_second: Option<BehindSecond>,
}

/// A second of the plan, and how many of its arrivals the generator sent more than 100 ms late by its own doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BehindSecond {
    /// When it began, on the run's clock.
    pub from_ns: u64,
    /// Arrivals that the plan intended in it.
    pub intended: u64,
    /// Those that were late.
    pub behind: u64,
}

/// Something that the generator, or the machine it runs on, did wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fault {
    /// One sentence.
    pub sentence: String,
    /// What to do about it.
    pub remedy: String,
}

/// A latency percentile as measured, and as it is with the generator's lateness taken off every request.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LateEffect {
    /// Which.
    pub percentile: f64,
    /// As measured.
    pub measured_ns: u64,
    /// Without the generator's lateness.
    pub without_ns: u64,
}

/// Where the service level broke.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BreakingPoint {
    /// `arrivals per second` or `users`.
    pub level_unit: String,
    /// What kind of answer it is.
    pub kind: BreakingKind,
    /// Level of the first step that missed the service level.
    pub first_missed_level: Option<f64>,
    /// Its name.
    pub first_missed_step: Option<String>,
    /// Level of the last step before it that met it.
    pub last_met_level: Option<f64>,
    /// Its name.
    pub last_met_step: Option<String>,
    /// Whether the interval of the missing step's bad share lies wholly above what is allowed.
    pub clear: bool,
    /// Judged steps after the first that missed which met it again: with any, the break is not a clean one.
    pub met_again: u64,
    /// Steps before the break that had too few samples to judge.
    pub inconclusive: u64,
    /// Highest goodput of any step.
    pub best_goodput_per_s: f64,
    /// One sentence.
    pub sentence: String,
}

/// What kind of answer a search for the breaking point gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BreakingKind {
    /// It lies between a step that met the service level and the next that missed it.
    Between,
    /// The first judged step missed it already: only an upper bound.
    UpperBound,
    /// No step missed it: only a lower bound.
    LowerBound,
    /// No step could be judged.
    Unknown,
}

/// One threshold and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ThresholdResult {
    /// The threshold.
    pub threshold: Threshold,
    /// The threshold as it reads.
    pub text: String,
    /// Whether it is one of the defaults, because the scenario states none.
    pub default: bool,
    /// The figure, in the metric's unit (ns, share, per second); `None` when there is no data.
    pub value: Option<f64>,
    /// The figure as it reads.
    pub value_text: String,
    /// Samples behind it.
    pub n: u64,
    /// What came of it.
    pub verdict: Verdict,
    /// Why, where it is not a plain comparison.
    pub note: String,
}

/// Our counts of one model against the server's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Conservation {
    /// The model.
    pub model: String,
    /// Successes that lie wholly between the server's first and last count.
    pub our_successes: u64,
    /// Requests that the server may have counted without our knowing: abandoned, or across the edge of the counts.
    pub our_abandoned: u64,
    /// By how much the server's own count of successes grew.
    pub server_successes: u64,
    /// What that means.
    pub balance: Balance,
    /// One sentence.
    pub sentence: String,
}

/// How two counts compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// The server's count lies where it must.
    Balanced,
    /// The server counted more than we can have sent: somebody else sends to it too.
    Surplus,
    /// The server counted fewer than the answers we hold: one of the two counts is wrong.
    Deficit,
    /// The server's counter went backwards: it was restarted.
    Reset,
    /// The server's counts are not there.
    NotCounted,
}

/// Something that makes a figure less trustworthy, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Warning {
    /// Short stable name, such as `fd_limit`.
    pub code: String,
    /// What, and the remedy.
    pub message: String,
}
