//! What requests cost: what was measured that a price can be put on, and the figures that came of it, each with its formula.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the requests of a run cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cost {
    /// What was measured. Other prices can be put on it without looking at the samples again.
    pub measured: CostBasis,
    /// The machine that was paid for; `None` where it is not known, or has no price.
    pub machine: Option<PricedMachine>,
    /// The figures, in the order in which they are shown.
    pub figures: Vec<CostFigure>,
    /// What is not said, and what would have to be given for it: a sentence each.
    pub missing: Vec<String>,
    /// The most telling figure in a sentence.
    pub sentence: String,
}

/// A figure that is an estimate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Estimate {
    /// It.
    pub value: f64,
    /// Its interval (95 %); `None` where there is too little data for one.
    pub interval: Option<[f64; 2]>,
    /// Of how many.
    pub n: u64,
}

/// What a price can be put on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CostBasis {
    /// What it was measured over: the run, or the step with the most good answers where the load climbs.
    pub over: String,
    /// How long that was.
    pub measured_ns: u64,
    /// Successful answers per second.
    pub answered_per_s: Estimate,
    /// Those within the service level's latency, per second.
    pub good_per_s: Estimate,
    /// Bodies of successes, bytes per second; of meshes alone where the run asks for meshes.
    pub output_bytes_per_s: Estimate,
    /// Whether `output_bytes_per_s` is of meshes.
    pub output_is_meshes: bool,
    /// Time of computing, by what the answers state; `None` where they state none.
    pub computing: Option<Computing>,
    /// Power of the target's GPUs, W, by their counters of energy; `None` without them or without ten seconds.
    pub power_w: Option<Estimate>,
    /// The same while nothing was under way; `None` where there were no ten such seconds.
    pub idle_power_w: Option<Estimate>,
    /// The counter that both come from; empty without one.
    pub energy_counter: String,
}

/// Time that the server's instances spent computing. A batch's time is shared by its requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Computing {
    /// Seconds a success, those from a cache included.
    pub per_success_s: Estimate,
    /// Seconds a success that was computed; `None` where none was.
    pub per_miss_s: Option<f64>,
    /// Share of the successes that came from a cache.
    pub hit_share: f64,
    /// Share of the time of computing that the cache saved: what the hits would have taken, of what all would have taken.
    pub saved_share: f64,
}

/// What is paid for a unit of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PriceUnit {
    /// A GPU, with the machine around it.
    Gpu,
    /// A logical processor.
    Core,
    /// The machine as a whole.
    Machine,
}

impl PriceUnit {
    /// The word for people, and in price tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gpu => "gpu",
            Self::Core => "core",
            Self::Machine => "machine",
        }
    }
}

/// A machine with its price.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PricedMachine {
    /// Its name in the price table.
    pub name: String,
    /// How it is known that the run was on it.
    pub known_by: String,
    /// What the price is for.
    pub unit: PriceUnit,
    /// How many of these a machine has.
    pub units: f64,
    /// How many such machines served.
    pub replicas: u32,
    /// Price of a unit for an hour.
    pub unit_per_hour: f64,
    /// Range in which prices of a unit were seen; `None` for one price.
    pub unit_range_per_hour: Option<[f64; 2]>,
    /// Price of all machines for an hour: units × price × machines.
    pub per_hour: f64,
    /// Currency, such as `USD`.
    pub currency: String,
    /// Day of the price, `YYYY-MM-DD`.
    pub date: String,
    /// Where the price comes from.
    pub source: String,
}

/// One figure, and how it was computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CostFigure {
    /// What programs know it by, such as `per_1k_good`.
    pub key: String,
    /// What people know it by.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// It.
    pub value: f64,
    /// Its interval; `None` where it is no estimate, or there is too little data.
    pub interval: Option<[f64; 2]>,
    /// Of how many.
    pub n: u64,
    /// How it is computed.
    pub formula: String,
    /// The same with the numbers put in.
    pub numbers: String,
    /// What should be known of it; may be empty.
    pub note: String,
}
