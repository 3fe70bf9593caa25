//! A model as it will run: validated, complete, and without anything the daemon does not act on. Made from a
//! configuration by `resolve`; read by the engine, the scheduler and the backends.

use std::time::Duration;

use proofload_wire::grpc::inference::ModelConfig;
use proofload_wire::tensor::DataType;
use std::sync::Arc;

use crate::admit::concurrency::Setting;
use crate::backend::cuda::PRECISION;
use crate::backend::identity::IdentitySpec;
use crate::backend::simulated::SimulatedSpec;
use crate::ensemble::EnsembleSpec;
use crate::profile::file::Profile;
use crate::sched::driver::Scheduling;
use crate::warm_up::Sample;

/// An input or output of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub datatype: DataType,
    /// Its dimensions as clients see them, without the batch dimension; -1 stands for any size.
    pub dims: Vec<i64>,
    /// The dimensions that the model itself sees, where they differ; none of them is variable.
    pub reshape: Option<Vec<i64>>,
    /// Names of its classes, for an output that has them; may be fewer than there are classes.
    pub labels: Arc<[String]>,
}

impl TensorSpec {
    /// The shape in metadata: with -1 in front for the batch dimension, where there is one.
    pub fn full_shape(&self, batched: bool) -> Vec<i64> {
        batched.then_some(-1).into_iter().chain(self.dims.iter().copied()).collect()
    }
}

/// What should compute an ONNX graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnnxEngine {
    /// ONNX Runtime where its library is there, and rten where it is not.
    Best,
    /// The built-in one.
    Rten,
}

/// Where the instances of a model run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// On a GPU if there is one and it computes all of the model.
    Auto,
    /// The same; that it does not is worth a warning.
    Gpu,
    /// On the CPU.
    Cpu,
}

/// What computes a model.
#[derive(Debug, Clone)]
pub enum BackendSpec {
    /// An ONNX graph on the CPU.
    Cpu {
        /// The file's content.
        onnx: Vec<u8>,
        /// What should compute it.
        engine: OnnxEngine,
    },
    /// Declared service times.
    Simulated(SimulatedSpec),
    /// Outputs that are inputs.
    Identity(IdentitySpec),
    /// Other models, step by step.
    Ensemble(EnsembleSpec),
}

/// One version of a model, ready to be started.
#[derive(Debug, Clone)]
pub struct ModelSpec {
    /// Its name.
    pub name: String,
    /// Its version: the name of its folder, above 0.
    pub version: i64,
    /// The largest batch; 0 for a model without a batch dimension.
    pub max_batch_size: u32,
    /// Its inputs.
    pub inputs: Vec<TensorSpec>,
    /// Its outputs.
    pub outputs: Vec<TensorSpec>,
    /// How requests are put together, and how they wait.
    pub scheduling: Scheduling,
    /// What its configuration says of a limit on its concurrency.
    pub concurrency: Option<Setting>,
    /// How many instances run side by side, at least 1; none for an ensemble.
    pub instances: usize,
    /// Whether they run on a GPU, where there is one.
    pub placement: Placement,
    /// Whether a request gets any number of responses instead of one.
    pub decoupled: bool,
    /// What computes it.
    pub backend: BackendSpec,
    /// What its instances compute before it takes requests.
    pub warm_up: Vec<Sample>,
    /// How long reading it took.
    pub reading: Duration,
    /// SHA-256 of its file: whether a version has changed shows in this and in its configuration.
    pub digest: [u8; 32],
    /// What was measured of it, if there is anything of this file.
    pub profile: Option<Arc<Profile>>,
    /// The configuration as clients may read it, completed from the model.
    pub config: ModelConfig,
}

impl ModelSpec {
    /// Whether the first dimension of every tensor is the batch.
    pub fn batched(&self) -> bool {
        self.max_batch_size > 0
    }

    /// In what a GPU computes it.
    pub fn precision(&self) -> &str {
        self.config.parameters.get(PRECISION).map_or("fp32", |parameter| &parameter.string_value)
    }

    /// The SHA-256 of its file in hexadecimal digits.
    pub fn sha256(&self) -> String {
        self.digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether it would do exactly what the other does.
    pub fn is_same(&self, other: &Self) -> bool {
        self.version == other.version
            && self.digest == other.digest
            && self.outputs == other.outputs
            && self.config == other.config
    }
}
