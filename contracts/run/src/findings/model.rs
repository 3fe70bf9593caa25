//! A model of what bears the load: how long batches take, how long requests wait for it, how many replicas are needed, and what
//! a setting would change. Estimates, each beside what was observed. Nothing is computed here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was seen of one model's instances: enough to fit the rest to, also over several runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Service {
    /// The model's name.
    pub model: String,
    /// Instances, as the target states them; `None` where it does not.
    pub instances: Option<u32>,
    /// The largest batch, as the target states it; `None` where it does not.
    pub max_batch: Option<u32>,
    /// How long a batch may wait to fill, as the target states it.
    pub delay_ns: Option<u64>,
    /// Batch elements in each request.
    pub elements_per_request: u32,
    /// How long batches took, by size, ascending.
    pub batches: Vec<BatchTime>,
    /// The steps in which any of its requests succeeded.
    pub steps: Vec<ServedStep>,
}

/// How long batches of a size took, by their requests: copy-in, compute and copy-out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BatchTime {
    /// Elements.
    pub batch: u32,
    /// Requests that were in such batches.
    pub n: u64,
    /// Mean.
    pub mean_ns: f64,
    /// Standard deviation.
    pub deviation_ns: f64,
}

/// What the requests of the model met in a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServedStep {
    /// Its name.
    pub step: String,
    /// Arrivals that were intended, per second.
    pub arrivals_per_s: f64,
    /// Variance over mean of the arrivals in each second; 1 for independent callers. `None` of too few seconds.
    pub dispersion: Option<f64>,
    /// Successes that state their phases.
    pub n: u64,
    /// Of all arrivals, those that succeeded.
    pub success_share: f64,
    /// Their mean time in the queue.
    pub wait_ns: f64,
    /// Standard deviation of the same.
    pub wait_deviation_ns: f64,
    /// Their mean time from copy-in to copy-out.
    pub service_ns: f64,
    /// Standard deviation of the same.
    pub service_deviation_ns: f64,
    /// Mean time that an instance spent on each: the time of its batch over the requests in it.
    pub busy_ns: f64,
    /// Mean number of requests in a batch, over batches.
    pub batch: f64,
    /// Mean latency.
    pub latency_ns: f64,
    /// Successes per second.
    pub throughput_per_s: f64,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CapacityModel {
    /// The model that it is of.
    pub model: String,
    /// How long a batch takes by its size; `None` where answers do not say, or had one size only.
    pub roofline: Option<Roofline>,
    /// Waiting, step by step: observed and predicted.
    pub waits: Vec<WaitCheck>,
    /// The universal scalability law; `None` where its conditions do not hold.
    pub usl: Option<Usl>,
    /// Why there is none.
    pub no_usl: String,
    /// What a setting would change.
    pub settings: Vec<Setting>,
    /// What a reader must know of it, first how the model compares with what was observed.
    pub notes: Vec<String>,
}

/// A figure with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Fitted {
    /// Lower end.
    pub low: f64,
    /// The figure.
    pub value: f64,
    /// Upper end.
    pub high: f64,
}

/// A batch of B elements takes `fixed + each · B`, so that k instances serve k·B / (fixed + each · B) at most.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Roofline {
    /// What a batch costs whatever its size, ns.
    pub fixed_ns: Fitted,
    /// What each element costs, ns.
    pub each_ns: Fitted,
    /// Batches that it was fitted to, about.
    pub batches: u64,
    /// Standard deviation of a batch's time over its mean.
    pub spread: f64,
    /// Instances.
    pub instances: u32,
    /// Whether the target states them; otherwise as many as were busy on average in the busiest step.
    pub instances_stated: bool,
    /// Requests per second by batch size, as far as batches may be.
    pub by_batch: Vec<(u32, Fitted)>,
    /// The same by the mean time of the batches of each size that was seen.
    pub seen: Vec<(u32, f64)>,
}

/// Waiting in a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WaitCheck {
    /// The step.
    pub step: String,
    /// Arrivals per second.
    pub arrivals_per_s: f64,
    /// Share of the time in which instances are busy, by the observed batches; above 1 they cannot keep up.
    pub utilisation: f64,
    /// Mean time in the queue, observed, with its n.
    pub observed_ns: f64,
    /// Successes.
    pub n: u64,
    /// By Allen and Cunneen's approximation for G/G/m; `None` where requests are batched or instances cannot keep up.
    pub allen_cunneen_ns: Option<f64>,
    /// By simulating the batcher; `None` where instances cannot keep up.
    pub simulated_ns: Option<f64>,
    /// Whether the simulation is off by more than half and by more than a millisecond.
    pub departs: bool,
}

/// The universal scalability law: throughput at N requests under way is λN / (1 + σ(N − 1) + κN(N − 1)).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Usl {
    /// λ: throughput of one alone, per second.
    pub alone_per_s: Fitted,
    /// σ: contention.
    pub contention: Fitted,
    /// κ: coherency.
    pub coherency: Fitted,
    /// The highest throughput, per second.
    pub most_per_s: Fitted,
    /// With so many under way.
    pub most_at: Fitted,
    /// Steps that it was fitted to.
    pub steps: u64,
    /// Of these, beyond saturation.
    pub beyond: u64,
}

/// What the capacity would be with other settings, by simulation. A model, no measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Setting {
    /// What differs from how it is now, such as `2 instances`; `as it is` for nothing.
    pub what: String,
    /// Instances.
    pub instances: u32,
    /// Largest batch, elements.
    pub max_batch: u32,
    /// How long a batch may wait to fill.
    pub delay_ns: u64,
    /// The highest rate that keeps the service level, requests per second.
    pub capacity_per_s: f64,
    /// The same over that of `as it is`.
    pub factor: f64,
}

/// How many replicas bear how much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Replicas {
    /// What one bears for sure, per second.
    pub sustainable_per_s: f64,
    /// What that is.
    pub basis: String,
    /// What one bears by the estimate's interval, per second.
    pub interval_per_s: Option<[f64; 2]>,
    /// The share of it that is left free.
    pub headroom: f64,
    /// Replicas that may fail.
    pub spare: u32,
    /// The formula, as it is computed.
    pub formula: String,
    /// By the load that is asked for.
    pub rows: Vec<ReplicasFor>,
}

/// One load.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReplicasFor {
    /// Requests per second at the peak.
    pub peak_per_s: f64,
    /// Replicas, spare ones included.
    pub replicas: u64,
    /// What each of them gets while all run, of what it bears.
    pub used_share: f64,
    /// The same while as many as are spare have failed.
    pub used_share_failed: f64,
}
