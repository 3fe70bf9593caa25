//! Computes ONNX models by the plans of the CUDA executor, on the CPU or on a GPU: what `scripts/conformance/plans_check.py`
//! compares with ONNX Runtime. Each folder holds `model.onnx`, and `input_0.pb` and so on as ONNX's own test cases do; `plan_0.pb` and
//! so on are written beside them. Prints a line of JSON for each folder.
//!
//! `plan_twin fp32|fp16|int8|plain [--gpu] FOLDER…`   plain: FP32, one step for each operator; --gpu: by CUDA, not by its twin

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use proofload_daemon::gpu::cuda::{CudaError, Device, Instance, Model};
use proofload_daemon::gpu::graph::initial::{encoded, tensor};
use proofload_daemon::gpu::graph::tensor::{Data, Tensor};
use proofload_daemon::gpu::graph::{self, Graph};
use proofload_daemon::gpu::memory::budget::Budget;
use proofload_daemon::gpu::plan::{Plan, Precision, Settings, plan, twin};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).peekable();
    let settings = match arguments.next().as_deref() {
        Some("fp32") => Settings::default(),
        Some("fp16") => Settings { precision: Precision::Fp16, ..Settings::default() },
        Some("int8") => Settings { int8: true, ..Settings::default() },
        Some("plain") => Settings { optimised: false, ..Settings::default() },
        other => return Err(format!("'{}' is none of fp32, fp16, int8, plain", other.unwrap_or_default()).into()),
    };
    let device = arguments
        .next_if(|argument| argument == "--gpu")
        .map(|_| Device::open(0, Budget::default(), &[]))
        .transpose()?;
    for folder in arguments {
        let said = compute(Path::new(&folder), settings, device.as_ref())
            .unwrap_or_else(|(stage, what)| serde_json::json!({ "folder": folder, "stage": stage, "error": what }));
        #[allow(clippy::print_stdout)]
        {
            println!("{said}");
        }
    }
    Ok(())
}

/// What was planned; or where it went wrong, and how.
fn compute(
    folder: &Path,
    settings: Settings,
    device: Option<&Arc<Device>>,
) -> Result<serde_json::Value, (&'static str, String)> {
    let files = |error: std::io::Error| ("files", error.to_string());
    let model = fs::read(folder.join("model.onnx")).map_err(files)?;
    let graph: Graph = graph::read(model.clone().into()).map_err(|error| ("graph", error.to_string()))?;
    let mut inputs: Vec<Tensor> = Vec::new();
    for at in 0..graph.inputs.len() {
        let bytes = fs::read(folder.join(format!("input_{at}.pb"))).map_err(files)?;
        inputs.push(tensor(bytes.into()).map_err(|error| ("input", error))?.1);
    }
    let shapes: Vec<Vec<usize>> = inputs.iter().map(|tensor| tensor.shape().to_vec()).collect();
    let plan: Plan = plan(&graph, &shapes, settings).map_err(|error| ("plan", error.to_string()))?;
    let outputs = match device {
        None => twin::run(&plan, &inputs),
        Some(device) => on_gpu(model.into(), device, settings, &shapes, &inputs).map_err(|error| error.to_string()),
    };
    let outputs = outputs.map_err(|error| ("run", error))?;
    for (at, (output, outlet)) in outputs.iter().zip(&plan.outputs).enumerate() {
        fs::write(folder.join(format!("plan_{at}.pb")), encoded(&outlet.name, output)).map_err(files)?;
    }
    let steps: Vec<&str> = plan.steps.iter().map(|step| step.operation.name()).collect();
    Ok(serde_json::json!({
        "folder": folder,
        "nodes": graph.nodes.len(),
        "steps": steps,
        "arena_bytes": plan.arena_bytes,
        "values_bytes": plan.values_bytes,
        "constant_bytes": plan.constant_bytes(),
    }))
}

/// Twice, the second time from what was recorded the first time; that is what is given.
fn on_gpu(
    model: bytes::Bytes,
    device: &Arc<Device>,
    settings: Settings,
    shapes: &[Vec<usize>],
    inputs: &[Tensor],
) -> Result<Vec<Tensor>, CudaError> {
    let mut instance = Instance::new(Arc::new(Model::new("model", 0, model, device, settings)?))?;
    let mut outputs = Vec::new();
    for _ in 0..2 {
        outputs = instance.run(
            shapes.to_vec(),
            |run| {
                for (at, input) in inputs.iter().enumerate() {
                    let to = run.input(at).ok_or_else(|| CudaError::Inputs("an input is missing".to_owned()))?;
                    to.copy_from_slice(&input.data().to_bytes(input.element()));
                }
                Ok(())
            },
            |run| {
                let outputs = run.outputs().map(|(outlet, bytes)| {
                    let data = Data::from_bytes(outlet.operand.element, bytes, outlet.operand.count);
                    let tensor = |data| Tensor::new(outlet.operand.element, outlet.shape.clone(), data);
                    data.and_then(tensor).ok_or_else(|| CudaError::Inputs(format!("output '{}' is none", outlet.name)))
                });
                outputs.collect::<Result<Vec<_>, _>>()
            },
        )?;
    }
    Ok(outputs)
}
