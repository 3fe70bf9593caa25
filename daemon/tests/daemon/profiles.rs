//! `daemon profile`: what it writes, and what a daemon that finds it does with it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use proofload_daemon::app::App;
use serde_json::Value;

use crate::support::{arguments, exchange, start};

/// Adaptive batching, so that what was measured has somewhere to begin.
const CONFIG: &str = r#"max_batch_size: 32
    input { name: "input" data_type: TYPE_FP32 dims: [ 16 ] } output { name: "output" data_type: TYPE_FP32 dims: [ 4 ] }
    dynamic_batching { } parameters { key: "adaptive_batching" value { string_value: "true" } }"#;

fn repository(root: &Path) {
    let folder = root.join("m").join("1");
    fs::create_dir_all(&folder).unwrap();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    fs::copy(models.join("tiny_mlp/1/model.onnx"), folder.join("model.onnx")).unwrap();
    fs::write(root.join("m/config.pbtxt"), CONFIG).unwrap();
}

fn profile(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_proofload-daemon"))
        .args(["--set", "models.onnxruntime=off", "--compute-threads=1", "profile"])
        .args(arguments)
        .output()
        .unwrap()
}

async fn get(app: &App, path: &str) -> Value {
    let answer = exchange(app.http(), "GET", path, String::new()).await.unwrap();
    assert_eq!(answer.status, 200, "{path}");
    serde_json::from_slice(&answer.body).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_measured_is_where_batching_begins() {
    let root = tempfile::tempdir().unwrap();
    repository(root.path());
    let dir = root.path().to_str().unwrap();
    let output =
        profile(&["m", "--repository", dir, "--batches", "1,8", "--seconds", "0.05", "--precision", "fp32,fp16"]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    for part in [
        "median ms",
        "rten         fp32           8",
        "rten in fp32: batch",
        "not measured: rten in fp16",
        "written to",
    ] {
        assert!(out.contains(part), "{part} in\n{out}");
    }
    let path = root.path().join("m/profile.json");
    let written: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let points = written["curves"][0]["points"].as_array().unwrap();
    assert_eq!(points.iter().map(|point| point["batch"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 8]);
    for point in points {
        let (median, executions) = (&point["median_ms"], point["executions"].as_u64().unwrap());
        let [low, value, high] = ["low", "value", "high"].map(|key| median[key].as_f64().unwrap());
        assert!(executions >= 6 && 0.0 < low && low <= value && value <= high, "{point}");
    }
    assert_eq!((&written["format"], &written["model"]), (&1.into(), &"m".into()));
    let mut args = arguments(vec![root.path().to_owned()], Duration::from_secs(5));
    args.set.push("models.onnxruntime=off".to_owned());
    let app = start(&args).await;
    let shown = get(&app, "/api/v1/gpu/profile").await;
    let model = &shown["models"][0];
    assert_eq!((&model["holds"], &model["engine"]), (&true.into(), &"rten".into()), "{model}");
    assert!(model["profile"]["sha256"] == written["sha256"] && model["precision"]["precision"] == "fp32", "{model}");
    let config = get(&app, "/v2/models/m/config").await.to_string();
    let best = model["batch"].as_u64().unwrap();
    assert!(config.contains(&format!("batch {best} serves most")), "{config}");
    app.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_of_another_file_has_no_effect() {
    let root = tempfile::tempdir().unwrap();
    repository(root.path());
    fs::write(root.path().join("m/profile.json"), r#"{"format": 1}"#).unwrap();
    let app = start(&arguments(vec![root.path().to_owned()], Duration::from_secs(5))).await;
    let shown = get(&app, "/api/gpu/profile").await;
    assert_eq!(shown["models"], Value::Array(Vec::new()), "{shown}");
    app.drain().await;
}

#[test]
fn what_cannot_be_measured_is_said() {
    let check = |arguments: &[&str], code: i32, part: &str| {
        let output = profile(arguments);
        let err = text(&output.stderr);
        assert!(output.status.code() == Some(code) && err.contains(part), "{arguments:?}: {:?} {err}", output.status);
    };
    check(&["nobody"], 2, "there is no model 'nobody'; there are relief");
    check(&["relief"], 2, "is an ensemble");
    check(&["tiny_mlp", "--batches", "0", "--seconds", "0"], 2, "--batches must be 1 or more");
    check(&["tiny_mlp", "--precision", "fp8"], 2, "must be fp32, fp16 or int8");
}
