//! Measures a model on the executors that serve it: a fresh instance for each batch size, the same inputs for all, one
//! execution after the other. What comes of it is in `file`.

use std::time::{Duration, Instant};

use proofload_wire::tensor::Tensor;

use super::file::{Curve, Deviation, LeftOut, Point};
use super::{inputs, machine, statistics};
use crate::backend::cuda::PRECISION;
use crate::backend::{Backend, Request, Stages};
use crate::engines;
use crate::gpu::memory::manager::Manager;
use crate::model::Means;
use crate::repository::spec::{ModelSpec, Placement};

use proofload_wire::grpc::inference::ModelParameter;

/// More executions say nothing more.
const MOST: usize = 20_000;
/// Executions before what is measured: what is made at the first one is made then.
const WARM_UP: usize = 2;
/// An execution may be so slow that there is not time for enough of them; then this many times the time is taken.
const PATIENCE: u32 = 10;

/// What is measured.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    /// Batch sizes, ascending.
    pub(super) batches: Vec<u32>,
    /// How long each of them.
    pub(super) lasts: Duration,
    /// The shapes of the inputs at a batch of one.
    pub(super) shapes: Vec<Vec<i64>>,
}

/// An engine and what it computes in.
pub(super) struct Executor<'a> {
    /// What it is called.
    pub(super) engine: &'static str,
    /// In what it computes.
    pub(super) precision: &'a str,
    /// It alone.
    pub(super) means: &'a Means,
}

/// What was measured of an executor, and what it answered to the first batch.
pub(super) struct Measured {
    pub(super) curve: Curve,
    pub(super) answer: Option<Vec<Tensor>>,
    pub(super) left_out: Vec<LeftOut>,
}

/// Measures an executor at every batch size; `progress` is told of each.
pub(super) fn executor(
    spec: &ModelSpec,
    executor: &Executor<'_>,
    wanted: &Wanted,
    mut progress: impl FnMut(&Point),
) -> Measured {
    let Executor { engine, precision, .. } = *executor;
    let curve = Curve { engine: engine.to_owned(), precision: precision.to_owned(), error: None, points: Vec::new() };
    let mut measured = Measured { curve, answer: None, left_out: Vec::new() };
    // Once for all: what an earlier batch has left behind would hide what a later one takes.
    let before = Before::now(executor.means);
    for batch in &wanted.batches {
        match point(spec, executor, wanted, *batch, &before) {
            Ok((point, answer)) => {
                progress(&point);
                measured.curve.points.push(point);
                measured.answer.get_or_insert(answer);
            }
            Err(why) => {
                let (engine, precision) = (engine.to_owned(), precision.to_owned());
                measured.left_out.push(LeftOut { engine, precision, batch: Some(*batch), why });
                // What is larger would not fare better.
                break;
            }
        }
    }
    measured
}

/// How far an executor is off another one, where both answered.
///
/// # Errors
/// When their answers cannot be compared.
pub(super) fn error(measured: &Measured, reference: &[Tensor]) -> Result<Option<Deviation>, String> {
    measured.answer.as_ref().map(|answer| statistics::deviation(answer, reference)).transpose()
}

fn point(
    spec: &ModelSpec,
    executor: &Executor<'_>,
    wanted: &Wanted,
    batch: u32,
    before: &Before,
) -> Result<(Point, Vec<Tensor>), String> {
    let request = [inputs::request(spec, &wanted.shapes, batch)?];
    let whole = machine::forget_peak();
    let (engine, mut instance) = instance(spec, executor)?;
    if engine != executor.engine {
        return Err(format!("{} does not compute it: it fell to {engine}, and the log says why", executor.engine));
    }
    let mut answer = Vec::new();
    for _ in 0..WARM_UP {
        answer = execute(instance.as_mut(), &request)?.1;
    }
    let mut times_ms = times(instance.as_mut(), &request, wanted.lasts)?;
    let memory_bytes = before.grown(executor.means, whole);
    times_ms.sort_unstable_by(f64::total_cmp);
    let median_ms = statistics::median(&times_ms).ok_or_else(|| {
        format!("only {} executions within {} times the time; give more --seconds", times_ms.len(), PATIENCE)
    })?;
    let point = Point {
        batch: request[0].elements,
        executions: times_ms.len(),
        median_ms,
        p95_ms: statistics::p95(&times_ms),
        per_s: statistics::per_s(request[0].elements, median_ms),
        memory_bytes,
    };
    Ok((point, answer))
}

/// An instance that computes in a precision, as it would serve.
fn instance(spec: &ModelSpec, executor: &Executor<'_>) -> Result<(&'static str, Box<dyn Backend>), String> {
    let mut spec = spec.clone();
    let precision = ModelParameter { string_value: executor.precision.to_owned() };
    spec.config.parameters.insert(PRECISION.to_owned(), precision);
    spec.instances = 1;
    if executor.means.gpu.is_some() {
        // Or it would say nothing of why it cannot.
        spec.placement = Placement::Gpu;
    }
    engines::instance(spec, executor.means).map_err(|error| error.to_string())
}

/// Times in milliseconds, for as long as asked, and longer where that would be too few.
fn times(instance: &mut dyn Backend, request: &[Request], lasts: Duration) -> Result<Vec<f64>, String> {
    let begun = Instant::now();
    let mut times_ms = Vec::new();
    while times_ms.len() < MOST {
        let elapsed = begun.elapsed();
        let enough = elapsed >= lasts && times_ms.len() >= statistics::LEAST;
        if enough || elapsed >= lasts * PATIENCE {
            break;
        }
        times_ms.push(execute(instance, request)?.0.as_secs_f64() * 1e3);
    }
    Ok(times_ms)
}

fn execute(instance: &mut dyn Backend, request: &[Request]) -> Result<(Duration, Vec<Tensor>), String> {
    let begun = Instant::now();
    let answers = instance.execute(request, &mut Stages::start(begun, begun));
    let took = begun.elapsed();
    let mut answers = answers.map_err(|error| error.to_string())?;
    Ok((took, answers.pop().ok_or("it answered nothing")?))
}

/// Memory before anything was measured.
struct Before {
    device: Option<u64>,
    process: Option<u64>,
}

impl Before {
    fn now(means: &Means) -> Self {
        let device = manager(means).map(|memory| memory.figures().used_bytes);
        Self { device, process: machine::resident_bytes() }
    }

    /// By how much there is more of it: now on a device; at most in this process, if its peak is that of this batch.
    fn grown(&self, means: &Means, whole: bool) -> Option<u64> {
        match (self.device, manager(means)) {
            (Some(before), Some(memory)) => Some(memory.figures().used_bytes.saturating_sub(before)),
            _ => Some(machine::peak_bytes().filter(|_| whole)?.saturating_sub(self.process?)),
        }
    }
}

fn manager(means: &Means) -> Option<&Manager> {
    means.gpu.as_ref().map(|device| device.manager().as_ref())
}
