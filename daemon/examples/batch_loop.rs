//! Runs an ONNX model of a repository in a loop, in batches of fixed sizes and without a server around it, on one thread:
//! what a server can reach at best. Prints one JSON object a size.
//!
//! `batch_loop REPOSITORY MODEL SECONDS SIZE…`

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proofload_daemon::backend::cpu::{Cpu, CpuModel, Graphs};
use proofload_daemon::backend::{Backend, Request, Stages};
use proofload_daemon::repository;
use proofload_daemon::repository::origin::Origin;
use proofload_daemon::repository::source::Source;
use proofload_daemon::repository::spec::{BackendSpec, ModelSpec};
use proofload_daemon::sched::queue::Limits;
use proofload_wire::tensor::Tensor;
use rten::ThreadPool;

/// The model's one input, of ones.
fn request(spec: &ModelSpec) -> Result<Request, Box<dyn Error>> {
    let input = spec.inputs.first().ok_or("the model has no input")?;
    let mut shape = vec![1];
    shape.extend(&input.dims);
    let numbers = vec![1.0; usize::try_from(shape.iter().product::<i64>())?];
    Ok(Request::new(vec![Tensor::from_f32(&input.name, shape, &numbers)?], 1))
}

/// Elements a second in batches of `size`.
fn rate(backend: &mut dyn Backend, spec: &ModelSpec, size: u32, during: Duration) -> Result<f64, Box<dyn Error>> {
    let requests = (0..size).map(|_| request(spec)).collect::<Result<Vec<_>, _>>()?;
    let (begun, mut executions) = (Instant::now(), 0u32);
    while begun.elapsed() < during {
        let now = Instant::now();
        backend.execute(&requests, &mut Stages::start(now, now))?;
        executions += 1;
    }
    Ok(f64::from(size) * f64::from(executions) / begun.elapsed().as_secs_f64())
}

#[allow(clippy::print_stdout)] // The figures are what this program is for.
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, model, seconds, sizes @ ..] = arguments.as_slice() else {
        return Err("usage: batch_loop REPOSITORY MODEL SECONDS SIZE…".into());
    };
    let during = Duration::from_secs_f64(seconds.parse()?);
    let source = Source::Folder(PathBuf::from(folder));
    let read = repository::read(model, &Origin::of(&source), Limits { requests: 1, bytes: usize::MAX });
    let mut spec = read.versions.into_iter().next_back().ok_or_else(|| read.errors.join("; "))?;
    let BackendSpec::Cpu { onnx, .. } = &mut spec.backend else { return Err("the model is no ONNX graph".into()) };
    let onnx = std::mem::take(onnx);
    let graph = CpuModel::load(onnx, &spec, &Graphs::default(), Arc::new(ThreadPool::with_num_threads(1)))?;
    let mut backend = Cpu::new(graph);
    rate(&mut backend, &spec, 1, Duration::from_millis(200))?;
    for size in sizes {
        let size = size.parse()?;
        let per_second = rate(&mut backend, &spec, size, during)?;
        println!("{{\"size\": {size}, \"per_second\": {per_second:.2}}}");
    }
    Ok(())
}
