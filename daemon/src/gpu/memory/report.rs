//! All that is known of a device's managed memory, as a document. Decides nothing.

use std::time::Instant;

use schemars::JsonSchema;
use serde::Serialize;

use super::clean::Tenant;
use super::cleaner::{CleanUp, Refused};
use super::ledger::{Class, Line, Sum};
use super::manager::Manager;
use super::pool::Figures;
use super::pressure::Profile;

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "GpuManagedMemory")]
pub struct Report {
    /// All that the device has.
    pub total_bytes: u64,
    /// What may be used of it.
    pub budget_bytes: u64,
    /// What of the budget the driver and its libraries have for this process; 0 where the driver does not say.
    pub outside_pool_bytes: u64,
    /// Blocks that were taken from the driver, and what lies in them.
    pub pool: Figures,
    /// All that is handed out, and the most that ever was.
    pub used: Sum,
    /// What it does; absent in the first moments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlook: Option<Profile>,
    /// By what it is for.
    pub classes: Vec<OfClass>,
    /// By whose it is.
    pub ledger: Vec<Line>,
    /// The models on the device.
    pub models: Vec<Model>,
    /// What was given back and why, oldest first.
    pub clean_ups: Vec<CleanUp>,
    /// Models that were not taken because they do not fit, oldest first.
    pub refusals: Vec<Refused>,
}

/// The memory of a class.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "GpuMemoryOfClass")]
pub struct OfClass {
    /// Which.
    pub class: Class,
    /// Whether it is the device's memory and within the budget; else it is the host's.
    pub on_device: bool,
    /// How much.
    #[serde(flatten)]
    pub sum: Sum,
}

/// A model on the device.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "GpuMemoryModel")]
pub struct Model {
    /// Its name.
    pub model: String,
    /// Whether it computes.
    pub running: bool,
    /// How long nobody has asked for it.
    pub idle_s: f64,
    /// Its weights on the device; 0 after it was moved to the host.
    pub weight_bytes: u64,
    /// The largest batch that may be formed now.
    pub batch: u32,
    /// The largest that its configuration allows.
    pub max_batch: u32,
    /// What a batch element takes; 0 while that is not known.
    pub element_bytes: u64,
    /// Plans that are kept for shapes that come again.
    pub plans: Vec<Plan>,
}

/// A plan that is kept.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "GpuMemoryPlan")]
pub struct Plan {
    /// Of which instance.
    pub instance: usize,
    /// For inputs of which shapes.
    pub shapes: Vec<Vec<usize>>,
    /// What only it has.
    pub bytes: u64,
    /// How long it took to make.
    pub made_in_ms: f64,
    /// How long it has not been used.
    pub idle_s: f64,
    /// Seconds that a byte of it saves, halved with every minute without use: the least goes first.
    pub worth: f64,
}

impl Manager {
    /// All that is known at `now`.
    pub fn report(&self, now: Instant) -> Report {
        let tenants = self.situation(now).tenants;
        let (outlook, outside_pool_bytes) = (self.outlook(), self.outside_bytes());
        let (clean_ups, refusals, pool) = (self.clean_ups(), self.refusals(), self.figures());
        let state = self.state();
        let class = |class: Class| OfClass { class, on_device: class.on_device(), sum: state.ledger.class(class) };
        Report {
            total_bytes: self.total_bytes(),
            budget_bytes: self.budget_bytes(),
            outside_pool_bytes,
            pool,
            used: state.ledger.device(),
            outlook,
            classes: Class::ALL.map(class).to_vec(),
            ledger: state.ledger.lines(),
            models: tenants.into_iter().map(model).collect(),
            clean_ups,
            refusals,
        }
    }
}

fn model(tenant: Tenant) -> Model {
    let plan = |(instance, facts): (usize, super::shelf::Facts)| Plan {
        instance,
        worth: facts.worth(),
        bytes: facts.bytes,
        made_in_ms: facts.made_in.as_secs_f64() * 1e3,
        idle_s: facts.idle.as_secs_f64(),
        shapes: facts.shapes,
    };
    Model {
        model: tenant.model.to_string(),
        running: tenant.running,
        idle_s: tenant.idle.as_secs_f64(),
        weight_bytes: tenant.weight_bytes,
        batch: tenant.batch,
        max_batch: tenant.max_batch,
        element_bytes: tenant.element_bytes,
        plans: tenant.warm.into_iter().map(plan).collect(),
    }
}
