//! Computes ONNX models by the plans of the CUDA executor, on the CPU: what `scripts/conformance/plans_check.py` compares
//! with ONNX Runtime. Each folder holds `model.onnx`, and `input_0.pb` and so on as ONNX's own test cases do; `plan_0.pb` and
//! so on are written beside them. Prints a line of JSON for each folder.
//!
//! `plan_twin fp32|fp16|int8|plain FOLDER…`   plain: FP32, one step for each operator

use std::error::Error;
use std::fs;
use std::path::Path;

use proofload_daemon::gpu::graph::initial::{encoded, tensor};
use proofload_daemon::gpu::graph::tensor::Tensor;
use proofload_daemon::gpu::graph::{self, Graph};
use proofload_daemon::gpu::plan::{Plan, Precision, Settings, plan, twin};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let settings = match arguments.next().as_deref() {
        Some("fp32") => Settings::default(),
        Some("fp16") => Settings { precision: Precision::Fp16, ..Settings::default() },
        Some("int8") => Settings { int8: true, ..Settings::default() },
        Some("plain") => Settings { optimised: false, ..Settings::default() },
        other => return Err(format!("'{}' is none of fp32, fp16, int8, plain", other.unwrap_or_default()).into()),
    };
    for folder in arguments {
        let said = compute(Path::new(&folder), settings)
            .unwrap_or_else(|(stage, what)| serde_json::json!({ "folder": folder, "stage": stage, "error": what }));
        #[allow(clippy::print_stdout)]
        {
            println!("{said}");
        }
    }
    Ok(())
}

/// What was planned; or where it went wrong, and how.
fn compute(folder: &Path, settings: Settings) -> Result<serde_json::Value, (&'static str, String)> {
    let files = |error: std::io::Error| ("files", error.to_string());
    let model = fs::read(folder.join("model.onnx")).map_err(files)?;
    let graph: Graph = graph::read(model.into()).map_err(|error| ("graph", error.to_string()))?;
    let mut inputs: Vec<Tensor> = Vec::new();
    for at in 0..graph.inputs.len() {
        let bytes = fs::read(folder.join(format!("input_{at}.pb"))).map_err(files)?;
        inputs.push(tensor(bytes.into()).map_err(|error| ("input", error))?.1);
    }
    let shapes: Vec<Vec<usize>> = inputs.iter().map(|tensor| tensor.shape().to_vec()).collect();
    let plan: Plan = plan(&graph, &shapes, settings).map_err(|error| ("plan", error.to_string()))?;
    let outputs = twin::run(&plan, &inputs).map_err(|error| ("run", error))?;
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
