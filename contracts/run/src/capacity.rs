//! `capacity.json`: a search for the highest rate that keeps a service level, step by step, and what it found. Written after
//! every step, so that a search can go on where it was stopped. Plain data; the search itself is the analyzer's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::criteria::Slo;

/// The whole of `capacity.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CapacitySearch {
    /// [`crate::FORMAT_VERSION`] at the time of writing.
    pub format_version: u32,
    /// The scenario's name.
    pub scenario: String,
    /// Its file's path and text.
    pub scenario_path: String,
    /// See `scenario_path`.
    pub scenario_as_written: String,
    /// `--set` overrides.
    pub overrides: Vec<String>,
    /// Base URLs of the target; none where proofload started its own daemon.
    pub target_urls: Vec<String>,
    /// What is searched, and how.
    pub rules: Rules,
    /// Time spent so far, between steps included.
    pub spent_ns: u64,
    /// The steps, in the order in which they were driven. The n-th is the run folder `steps/n`, from 1.
    pub steps: Vec<Seen>,
    /// What came of it; `None` while it goes on.
    pub found: Option<Capacity>,
}

/// What is searched, and how.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rules {
    /// The service level.
    pub slo: Slo,
    /// A first guess, arrivals per second.
    pub guess_per_s: f64,
    /// No step is driven above this rate; `None` for no such limit.
    pub most_per_s: Option<f64>,
    /// How long to search; the soak comes on top.
    pub budget_ns: u64,
    /// The search ends once half the 90 % interval is narrower than this share of the estimate.
    pub half_width_share: f64,
    /// Length of the soak; 0 for none.
    pub soak_ns: u64,
    /// What is asked for; `None` where whatever is found is well.
    pub at_least_per_s: Option<f64>,
}

/// What a step is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// So that the target is warm.
    WarmUp,
    /// To find out roughly where it breaks.
    Bracket,
    /// To find out exactly.
    Search,
    /// To see that it bears what was found.
    Soak,
}

/// A step that is to be driven, in an open model; what is in flight at its end is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Planned {
    /// What it is for.
    pub kind: StepKind,
    /// Arrivals per second.
    pub rate_per_s: f64,
    /// Its start, which is not measured.
    pub settle_ns: u64,
    /// What is measured, at most: a step that is hopeless may end early.
    pub hold_ns: u64,
}

impl Planned {
    /// Its whole length.
    pub fn length_ns(&self) -> u64 {
        self.settle_ns + self.hold_ns
    }
}

/// A second of the measured part, by when requests were intended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Second {
    /// Requests.
    pub n: u64,
    /// Bad ones: late, failed, shed.
    pub bad: u64,
    /// Failed ones.
    pub errors: u64,
}

/// What a step showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Seen {
    /// As it was planned.
    pub planned: Planned,
    /// Its measured part.
    pub seconds: Vec<Second>,
    /// Mean latencies of successes, ns, of short equal times one after the other.
    pub paces_ns: Vec<f64>,
    /// Whether the generator kept up, so that what is bad is the target's.
    pub sound: bool,
}

impl Seen {
    /// The share of bad requests; `None` of none.
    pub fn bad_share(&self) -> Option<f64> {
        let (n, bad) = self.seconds.iter().fold((0, 0), |(n, bad), second| (n + second.n, bad + second.bad));
        (n > 0).then(|| bad as f64 / n as f64)
    }
}

/// What kind of limit was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Bad requests grow over a range of rates.
    Knee,
    /// They appear all at once.
    Cliff,
    /// The rate hardly matters: some requests take too long whatever the load.
    ServiceTimeTail,
    /// The generator could drive no more.
    Generator,
    /// The highest rate that was driven was borne.
    LowerBound,
    /// Not even next to no load was borne.
    UpperBound,
    /// Nothing can be said.
    Unknown,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Capacity {
    /// What kind of limit it is.
    pub limit: Limit,
    /// The rate that is borne with a probability of 95 %, or the highest that was seen to be borne where there is no estimate; `None`
    /// where none was.
    pub sustainable_per_s: Option<f64>,
    /// The lowest rate that was clearly not borne; `None` where there was none.
    #[serde(default)]
    pub not_borne_per_s: Option<f64>,
    /// The estimate, where there is one.
    pub estimate_per_s: Option<f64>,
    /// Its 90 % interval.
    pub interval_per_s: Option<[f64; 2]>,
    /// Whether a soak at the sustainable rate kept the service level; `None` without one.
    pub soak_kept: Option<bool>,
    /// What had no more to give near the limit, the surest first; empty where nothing that was watched explains it.
    #[serde(default)]
    pub saturated: Vec<Saturated>,
    /// All of it in a sentence.
    pub sentence: String,
}

/// Something that had no more to give near the limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Saturated {
    /// What.
    pub what: Resource,
    /// The figures that say so.
    pub evidence: String,
}

/// What can have no more to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// A GPU's time.
    Gpu,
    /// A GPU's memory.
    GpuMemory,
    /// The machine's processors.
    Cpu,
    /// The instances of a model: requests wait for them.
    Queue,
    /// The generator.
    Generator,
}

impl Resource {
    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gpu => "GPU",
            Self::GpuMemory => "GPU memory",
            Self::Cpu => "CPU",
            Self::Queue => "queue",
            Self::Generator => "generator",
        }
    }
}
