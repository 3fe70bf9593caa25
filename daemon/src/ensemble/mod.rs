//! Ensembles: models that are made of others. A graph of steps is checked against the models that it names when it is
//! loaded (`graph`), and a request goes through it tensor by tensor (`flow`); where its time went is told from what its
//! steps spent (`spent`). Pure: which models there are is `lifecycle`'s affair, asking them the engine's.

pub mod flow;
pub mod graph;
pub mod spent;

/// The steps of an ensemble, as its configuration has them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EnsembleSpec {
    /// In the order in which they are written, which means nothing.
    pub steps: Vec<StepSpec>,
    /// Where each input of the ensemble is declared, for messages.
    pub inputs_at: Vec<String>,
    /// Where each output is.
    pub outputs_at: Vec<String>,
}

/// A step of an ensemble.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StepSpec {
    /// The model that computes it.
    pub model: String,
    /// Which version of it; `None` for the newest that serves.
    pub version: Option<i64>,
    /// What its inputs are.
    pub inputs: Vec<Link>,
    /// What its outputs become.
    pub outputs: Vec<Link>,
    /// Where it is written, for messages.
    pub at: String,
}

/// A tensor of a step's model, and the tensor of the ensemble that it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// The model's name for it.
    pub port: String,
    /// The ensemble's.
    pub tensor: String,
    /// Where it is written, for messages.
    pub at: String,
}

/// How a message names a step.
pub fn step_name(number: usize, model: &str) -> String {
    format!("step {} (model '{model}')", number + 1)
}
