//! The daemon with models on what it takes for a GPU: the stand-in for CUDA's libraries, which computes on the CPU. The
//! answers are the CPU's; memory that ends costs a retry; and a GPU that is lost takes its own models along and nothing else.

use std::fs;
use std::path::Path;

use proofload_daemon::DaemonArgs;
use proofload_daemon::app::App;
use proofload_daemon::engine::ServeError;
use proofload_wire::infer::InferRequest;
use proofload_wire::tensor::{DataType, Tensor};

use crate::standin::within;
use crate::support::{arguments, ask, start};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

fn name(test: &str) -> String {
    format!("on_gpu::{test}")
}

fn asynchronously(body: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(body);
}

async fn daemon(repository: Option<&Path>, more: &str) -> App {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("daemon.toml");
    fs::write(&config, more).unwrap();
    let given = arguments(repository.map(Path::to_owned).into_iter().collect(), PATIENCE);
    start(&DaemonArgs { config: Some(config), ..given }).await
}

/// Numbers that look random and are always the same.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|at| ((at * 2_654_435_761) % 1000) as f32 / 1000.0).collect()
}

fn of_numbers(model: &str, input: &str, shape: &[i64]) -> InferRequest {
    let count = shape.iter().product::<i64>() as usize;
    let inputs = vec![Tensor::from_f32(input, shape.to_vec(), &numbers(count)).unwrap()];
    InferRequest { model_name: model.to_owned(), inputs, ..InferRequest::default() }
}

fn of_a_picture(side: i64) -> InferRequest {
    let bytes: Vec<u8> = numbers((3 * side * side) as usize).iter().map(|number| (number * 255.0) as u8).collect();
    let picture = Tensor::new("picture", DataType::Uint8, vec![1, side, side, 3], bytes.into()).unwrap();
    InferRequest { model_name: "relief".to_owned(), inputs: vec![picture], ..InferRequest::default() }
}

async fn outputs(app: &App, request: InferRequest) -> Vec<Tensor> {
    ask(app.engine(), request, None).await.unwrap().response.outputs
}

const ON: &str = "[gpu]\nmode = \"on\"\n";

#[test]
fn the_built_in_models_answer_as_on_the_cpu() {
    let body = || {
        asynchronously(async {
            let (gpu, cpu) = (daemon(None, ON).await, daemon(None, "").await);
            for (model, input, shape) in [
                ("tiny_mlp", "input", &[3, 16][..]),
                ("relief_depth", "image", &[1, 3, 32, 32]),
                ("relief_depth", "image", &[2, 3, 24, 40]),
                ("relief_height", "depth", &[1, 1, 32, 32]),
            ] {
                let request = of_numbers(model, input, shape);
                must_agree(model, &outputs(&gpu, request.clone()).await, &outputs(&cpu, request).await);
            }
            must_agree("relief", &outputs(&gpu, of_a_picture(32)).await, &outputs(&cpu, of_a_picture(32)).await);
            let metrics = gpu.engine().metrics_text();
            for model in ["tiny_mlp", "relief_depth"] {
                let on_gpu = |line: &str| line.contains(&format!("\"{model}\"")) && line.contains("cuda");
                assert!(metrics.lines().any(on_gpu), "{model} is not on the GPU:\n{metrics}");
            }
            gpu.drain().await;
            cpu.drain().await;
        });
    };
    let Some(report) = within(&name("the_built_in_models_answer_as_on_the_cpu"), &[], body) else { return };
    assert_eq!(report.count("misuses"), 0, "{report:?}");
    assert!(report.count("graph_launches") >= 6, "{report:?}");
}

#[track_caller]
fn must_agree(model: &str, gpu: &[Tensor], cpu: &[Tensor]) {
    assert_eq!(gpu.len(), cpu.len());
    for (gpu, cpu) in gpu.iter().zip(cpu) {
        assert_eq!((&gpu.name, &gpu.shape), (&cpu.name, &cpu.shape), "{model}");
        let (gpu, cpu) = (gpu.to_f32().unwrap(), cpu.to_f32().unwrap());
        let scale = cpu.iter().fold(1e-3_f32, |scale, number| scale.max(number.abs()));
        let apart = gpu.iter().zip(&cpu).map(|(gpu, cpu)| (gpu - cpu).abs() / scale).fold(0.0, f32::max);
        assert!(apart <= 1e-4 && gpu.iter().all(|number| number.is_finite()), "{model}: {apart:.1e} apart");
    }
}

/// A repository with the built-in depth network under two names, one of which stays on the CPU.
fn repository(root: &Path) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/relief_depth/1/model.onnx");
    for (model, kind) in [("m", "KIND_AUTO"), ("on_cpu", "KIND_CPU")] {
        fs::create_dir_all(root.join(model).join("1")).unwrap();
        fs::copy(&file, root.join(model).join("1/model.onnx")).unwrap();
        let config = format!("max_batch_size: 8\ninstance_group {{ count: 1 kind: {kind} }}");
        fs::write(root.join(model).join("config.pbtxt"), config).unwrap();
    }
}

fn pictures(model: &str, count: i64, side: i64) -> InferRequest {
    of_numbers(model, "image", &[count, 3, side, side])
}

#[test]
fn a_batch_without_memory_is_computed_in_halves() {
    let test = name("a_batch_without_memory_is_computed_in_halves");
    let body = || {
        asynchronously(async {
            let models = tempfile::tempdir().unwrap();
            repository(models.path());
            // Scratch memory, weights, and the activations of a picture or two of this size.
            let app = daemon(Some(models.path()), &format!("{ON}memory_budget = \"46MiB\"\n")).await;
            let expected = outputs(&app, pictures("on_cpu", 7, 96)).await;
            must_agree("in halves", &outputs(&app, pictures("m", 7, 96)).await, &expected);
            let error = ask(app.engine(), pictures("m", 1, 480), None).await.unwrap_err();
            assert!(matches!(&error, ServeError::Internal(what) if what.contains("no memory left")), "{error}");
            assert!(app.engine().model_ready("m", None) && app.engine().is_live());
            outputs(&app, pictures("m", 1, 96)).await;
            app.drain().await;
        });
    };
    let Some(report) = within(&test, &[], body) else { return };
    assert_eq!(report.count("misuses"), 0, "{report:?}");
    assert!(report.count("peak_bytes") <= 46 << 20, "{report:?}");
}

#[test]
fn a_lost_gpu_takes_its_own_models_along_and_nothing_else() {
    let test = name("a_lost_gpu_takes_its_own_models_along_and_nothing_else");
    let scratch = tempfile::tempdir().unwrap();
    let trigger = scratch.path().join("trigger");
    let body = || {
        let trigger = std::env::var_os("STANDIN_ILLEGAL_IF_FILE").unwrap();
        asynchronously(async {
            let models = tempfile::tempdir().unwrap();
            repository(models.path());
            let app = daemon(Some(models.path()), ON).await;
            let engine = app.engine();
            outputs(&app, pictures("m", 2, 16)).await;
            assert!(engine.model_ready("m", None));
            fs::write(&trigger, "").unwrap();
            for _ in 0..2 {
                let error = ask(engine, pictures("m", 2, 16), None).await.unwrap_err();
                assert!(matches!(&error, ServeError::Internal(what) if what.contains("the GPU is lost")), "{error}");
            }
            assert!(!engine.model_ready("m", None) && engine.model_ready("on_cpu", None));
            assert!(engine.is_live() && engine.is_ready());
            outputs(&app, pictures("on_cpu", 2, 16)).await;
            app.drain().await;
        });
    };
    let settings = [("STANDIN_ILLEGAL_IF_FILE", trigger.to_str().unwrap())];
    let Some(report) = within(&test, &settings, body) else { return };
    assert_eq!((report.count("sticky"), report.count("misuses")), (700, 0), "{report:?}");
}
