//! Ensembles over time: what they need is loaded with them, they go with it and come back with it; and what waits in a
//! step leaves it when the request's time is over or its client gone.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use proofload_daemon::DaemonArgs;
use proofload_daemon::app::App;
use proofload_daemon::engine::{Engine, RequestContext, ServeError};
use proofload_daemon::repository::origin::Given;
use proofload_wire::infer::InferRequest;
use proofload_wire::tensor::{DataType, Tensor};
use tempfile::TempDir;

use crate::support::{arguments, ask, built_in, context, metric, request, simulated, start, until};

const PATIENCE: Duration = Duration::from_secs(20);

struct Daemon {
    app: App,
    folder: TempDir,
}

/// An ensemble of these steps, one after the other.
fn chain(models: &[&str]) -> String {
    let tensor = |number: usize| match number {
        0 => "x".to_owned(),
        last if last == models.len() => "y".to_owned(),
        other => format!("between_{other}"),
    };
    let step = |(number, model): (usize, &&str)| {
        let (from, to) = (tensor(number), tensor(number + 1));
        format!(
            r#"{{ model_name: "{model}" model_version: -1 input_map {{ key: "x" value: "{from}" }} output_map {{ key: "y" value: "{to}" }} }}"#
        )
    };
    let steps = models.iter().enumerate().map(step).collect::<Vec<_>>().join(", ");
    format!(
        r#"platform: "ensemble" input {{ name: "x" data_type: TYPE_FP32 dims: -1 }}
           output {{ name: "y" data_type: TYPE_FP32 dims: -1 }} ensemble_scheduling {{ step [ {steps} ] }}"#
    )
}

fn write(root: &Path, model: &str, config: &str) {
    fs::create_dir_all(root.join(model)).unwrap();
    fs::write(root.join(model).join("config.pbtxt"), config).unwrap();
}

impl Daemon {
    async fn start(models: &[(&str, String)], mode: DaemonArgs) -> Self {
        let folder = tempfile::tempdir().unwrap();
        models.iter().for_each(|(name, config)| write(folder.path(), name, config));
        let given = arguments(vec![folder.path().to_owned()], Duration::from_secs(5));
        let args = DaemonArgs {
            model_repository: given.model_repository,
            grace: given.grace,
            http_port: Some(0),
            grpc_port: Some(0),
            ..mode
        };
        Self { app: start(&args).await, folder }
    }

    async fn explicit(models: &[(&str, String)], load: &[&str]) -> Self {
        let load_model = load.iter().map(|name| (*name).to_owned()).collect();
        let model_control_mode = Some("explicit".to_owned());
        Self::start(models, DaemonArgs { model_control_mode, load_model, ..DaemonArgs::default() }).await
    }

    fn engine(&self) -> &Engine {
        self.app.engine()
    }

    async fn load(&self, model: &str) -> Result<(), ServeError> {
        self.engine().load_model(model.to_owned(), Given::default()).await
    }

    async fn unload(&self, model: &str, dependents: bool) {
        self.engine().unload_model(model.to_owned(), dependents).await.unwrap();
    }

    /// The index, as one line; waits until what is being unloaded is.
    async fn index(&self) -> String {
        let begun = Instant::now();
        loop {
            let entries = self.engine().repository_index(false).await.unwrap();
            if entries.iter().all(|entry| entry.state != "UNLOADING") {
                let words = entries.iter().map(|e| format!("{} {} {}", e.name, e.state, e.reason).trim().to_owned());
                return words.collect::<Vec<_>>().join(", ");
            }
            assert!(begun.elapsed() < PATIENCE, "{entries:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn asked(&self, model: &str) -> Result<Vec<f32>, ServeError> {
        let inference = ask(self.engine(), to(model), None).await?;
        Ok(inference.response.outputs[0].to_f32().unwrap())
    }
}

fn to(model: &str) -> InferRequest {
    InferRequest { model_name: model.to_owned(), ..request(&[0.5]) }
}

fn quick() -> String {
    simulated(0.0, 1, "")
}

fn counted(engine: &Engine, model: &str) -> u64 {
    engine.statistics(Some(model), None).unwrap()[0].inference_stats.success.count
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_ensemble_needs_is_loaded_and_unloaded_with_it() {
    let models = [
        ("a", quick()),
        ("b", quick()),
        ("c", quick()),
        ("inner", chain(&["a", "b"])),
        ("outer", chain(&["inner", "c", "a"])),
    ];
    let daemon = Daemon::explicit(&models, &["c"]).await;
    assert_eq!(daemon.index().await, "a, b, c READY, inner, outer");
    daemon.load("outer").await.unwrap();
    assert_eq!(daemon.index().await, "a READY, b READY, c READY, inner READY, outer READY");
    assert_eq!(daemon.asked("outer").await, Ok(vec![0.5]));
    let counts = ["a", "b", "c", "inner", "outer"].map(|model| counted(daemon.engine(), model));
    assert_eq!(counts, [2, 1, 1, 1, 1]);
    daemon.unload("outer", true).await;
    let gone = "a UNAVAILABLE unloaded, b UNAVAILABLE unloaded, c READY, inner UNAVAILABLE unloaded, outer UNAVAILABLE unloaded";
    assert_eq!(daemon.index().await, gone, "c was asked for by name");
    daemon.load("outer").await.unwrap();
    daemon.load("a").await.unwrap();
    daemon.unload("outer", false).await;
    assert_eq!(daemon.index().await, "a READY, b READY, c READY, inner READY, outer UNAVAILABLE unloaded");
    daemon.load("outer").await.unwrap();
    daemon.unload("outer", true).await;
    let kept = "a READY, b UNAVAILABLE unloaded, c READY, inner UNAVAILABLE unloaded, outer UNAVAILABLE unloaded";
    assert_eq!(daemon.index().await, kept, "a was asked for by name meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ensemble_goes_and_comes_back_with_its_steps() {
    let models = [("a", quick()), ("b", quick()), ("inner", chain(&["a", "b"])), ("outer", chain(&["inner", "a"]))];
    let daemon = Daemon::explicit(&models, &["*"]).await;
    assert_eq!(daemon.asked("outer").await, Ok(vec![0.5]));
    daemon.unload("b", false).await;
    let index = daemon.index().await;
    assert!(
        index.contains("inner UNAVAILABLE") && index.contains("step 2 (model 'b'): it does not serve: unload"),
        "{index}"
    );
    assert!(
        index.contains("outer UNAVAILABLE") && index.contains("step 1 (model 'inner'): it does not serve"),
        "{index}"
    );
    let refused = daemon.asked("outer").await.unwrap_err().to_string();
    assert!(refused.contains("'outer' has no available versions"), "{refused}");
    daemon.load("b").await.unwrap();
    assert_eq!(daemon.index().await, "a READY, b READY, inner READY, outer READY");
    assert_eq!(daemon.asked("outer").await, Ok(vec![0.5]));
    // Another shape does not fit any more; the same model made anew does, and counts go on.
    let before = counted(daemon.engine(), "inner");
    write(daemon.folder.path(), "a", &quick().replace("FP32", "INT32"));
    daemon.load("a").await.unwrap();
    let index = daemon.index().await;
    assert!(index.contains("input 'x' takes INT32, but tensor 'x' is FP32"), "{index}");
    write(daemon.folder.path(), "a", &simulated(0.0, 2, ""));
    daemon.load("a").await.unwrap();
    assert_eq!(daemon.asked("inner").await, Ok(vec![0.5]));
    write(daemon.folder.path(), "a", &simulated(0.0, 3, ""));
    daemon.load("a").await.unwrap();
    assert_eq!(daemon.asked("inner").await, Ok(vec![0.5]));
    assert!(counted(daemon.engine(), "inner") >= 2, "{before}");
    // A change of its own that cannot be leaves it as it is.
    write(daemon.folder.path(), "inner", &chain(&["a", "nowhere"]));
    let error = daemon.load("inner").await.unwrap_err().to_string();
    assert!(error.contains("step 2 (model 'nowhere'): there is no such model"), "{error}");
    assert_eq!(daemon.asked("inner").await, Ok(vec![0.5]));
    assert!(daemon.index().await.contains("inner READY") && daemon.index().await.contains("nowhere"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_named_with_its_line() {
    let check = async |models: &[(&str, String)], load: &str, parts: &[&str]| {
        let daemon = Daemon::explicit(models, &[]).await;
        let error = daemon.load(load).await.unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    };
    let line = "e/config.pbtxt:2: ";
    check(&[("a", quick()), ("e", chain(&["a", "b"]))], "e", &[line, "step 2 (model 'b'): there is no such model"])
        .await;
    let round = [("e", chain(&["f"])), ("f", chain(&["g"])), ("g", chain(&["e"]))];
    check(&round, "f", &["ensembles need each other: e -> f -> g -> e"]).await;
    check(&[("e", chain(&["e"]))], "e", &["ensembles need each other: e -> e"]).await;
    let decoupled = r#"backend: "identity" model_transaction_policy { decoupled: true }
        input { name: "x" data_type: TYPE_FP32 dims: -1 } output { name: "y" data_type: TYPE_FP32 dims: -1 }"#;
    check(&[("d", decoupled.to_owned()), ("e", chain(&["d"]))], "e", &[line, "(model 'd'): it is decoupled"]).await;
    let version = chain(&["a"]).replace("-1 input_map", "3 input_map");
    check(&[("a", quick()), ("e", version)], "e", &[line, "step 1 (model 'a'): it has no version 3"]).await;
    check(&[("e", chain(&["a"]).replace("\"a\"", "\"\""))], "e", &[line, "step 1 (model ''): it has no 'model_name'"])
        .await;
    let steps = format!("{} ensemble_scheduling {{ step {{ model_name: \"a\" }} }}", quick());
    check(&[("e", steps)], "e", &["'ensemble_scheduling' needs 'platform: \"ensemble\"'"]).await;
    check(&[("e", format!("{} instance_group {{ }}", chain(&["a"])))], "e", &["an ensemble has no 'instance_group'"])
        .await;
    check(&[("e", format!("{} dynamic_batching {{ }}", chain(&["a"])))], "e", &["'dynamic_batching' is one too many"])
        .await;
    check(
        &[("e", "platform: \"ensemble\"".to_owned())],
        "e",
        &["needs 'ensemble_scheduling' with at least one 'step'"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_on_their_way_finish_on_the_steps_they_began_with() {
    let daemon =
        Daemon::explicit(&[("a", simulated(300.0, 1, "")), ("b", quick()), ("e", chain(&["a", "b"]))], &["*"]).await;
    let engine = daemon.engine().clone();
    let running = tokio::spawn(async move { ask(&engine, to("e"), None).await });
    until(daemon.engine(), 1, 0).await;
    daemon.unload("b", false).await;
    assert!(daemon.asked("e").await.is_err());
    assert_eq!(running.await.unwrap().unwrap().response.outputs[0].to_f32().unwrap(), [0.5]);
    assert!(daemon.index().await.contains("b UNAVAILABLE unloaded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn patience_and_cancellation_reach_the_steps() {
    let daemon =
        Daemon::explicit(&[("a", simulated(300.0, 1, "")), ("z", quick()), ("e", chain(&["z", "a"]))], &["*"]).await;
    let engine = daemon.engine();
    let spawn = |request: InferRequest, context: RequestContext| {
        let engine = engine.clone();
        tokio::spawn(async move { engine.infer(request, context, Ok).await.map_err(|failed| failed.error) })
    };
    let first = spawn(to("e"), context());
    until(engine, 1, 0).await;
    let timeout = Some(Duration::from_millis(20));
    let impatient = spawn(to("e"), RequestContext { timeout, ..context() }).await.unwrap().unwrap_err();
    assert!(
        matches!(&impatient, ServeError::Overdue { message, .. } if message.contains("step 2 (model 'a'): Request timeout expired"))
    );
    let deadline = Some(Instant::now() + Duration::from_millis(20));
    let late = spawn(to("e"), RequestContext { deadline, ..context() }).await.unwrap().unwrap_err();
    assert!(matches!(&late, ServeError::DeadlineExceeded(message) if message.contains("in ensemble 'e', step 2")));
    let leaving = spawn(to("e"), context());
    until(engine, 2, 1).await;
    leaving.abort();
    until(engine, 1, 0).await;
    first.await.unwrap().unwrap();
    let outcomes = |model: &str| {
        ["success", "timed_out", "deadline_exceeded", "cancelled"].map(|outcome| {
            let labels = [format!("model=\"{model}\""), format!("outcome=\"{outcome}\"")];
            metric(engine, "proofload_requests_total", &[&labels[0], &labels[1]])
        })
    };
    assert_eq!([outcomes("e"), outcomes("a")], [[1; 4]; 2]);
}

/// A grey ball before a grey wall, lit from the upper left, as red, green and blue; and which pixels show it.
fn ball(side: usize) -> (Vec<u8>, Vec<bool>) {
    let pixel = |at: usize| {
        let [x, y] = [at % side, at / side].map(|place| (place as f32 + 0.5) / side as f32 * 2.0 - 1.0);
        let inside = 0.36 - x * x - y * y;
        let lit = (-0.4 * x - 0.5 * y + 0.77 * inside.max(0.0).sqrt()) / 0.6;
        let light = if inside > 0.0 { 0.15 + 0.8 * lit.max(0.0) } else { 0.35 };
        ([(light * 255.0) as u8; 3], inside > 0.0)
    };
    let (pixels, shown): (Vec<_>, Vec<_>) = (0..side * side).map(pixel).unzip();
    (pixels.concat(), shown)
}

fn of_model(model: &str, input: Tensor) -> InferRequest {
    InferRequest { model_name: model.to_owned(), inputs: vec![input], ..InferRequest::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn priority_reaches_the_steps() {
    let levels = "max_batch_size: 1 dynamic_batching { priority_levels: 2 default_priority_level: 2 }";
    let ensemble = format!("max_batch_size: 1 {}", chain(&["a"]));
    let daemon = Daemon::explicit(&[("a", simulated(200.0, 1, levels)), ("e", ensemble)], &["*"]).await;
    let answered = Arc::<Mutex<Vec<&str>>>::default();
    let mut tasks = Vec::new();
    for (waiting, (name, priority)) in (0..).zip([("running", 2), ("low", 2), ("high", 1)]) {
        let (engine, answered) = (daemon.engine().clone(), Arc::clone(&answered));
        tasks.push(tokio::spawn(async move {
            let mut request = to("e");
            request.inputs[0].shape.insert(0, 1);
            engine.infer(request, RequestContext { priority, ..context() }, Ok).await.map_err(|failed| failed.error)?;
            answered.lock().unwrap().push(name);
            Ok::<_, ServeError>(())
        }));
        until(daemon.engine(), tasks.len(), waiting).await;
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(*answered.lock().unwrap(), ["running", "high", "low"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ensembles_follow_a_repository_that_is_polled() {
    let mode = DaemonArgs {
        model_control_mode: Some("poll".to_owned()),
        repository_poll_secs: Some(0.1),
        ..DaemonArgs::default()
    };
    let daemon = Daemon::start(&[("a", quick())], mode).await;
    let until_index = async |part: &str| {
        let begun = Instant::now();
        while !daemon.index().await.contains(part) {
            assert!(begun.elapsed() < PATIENCE, "{part}: never; {}", daemon.index().await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    write(daemon.folder.path(), "e", &chain(&["a", "b"]));
    until_index("step 2 (model 'b'): there is no such model").await;
    write(daemon.folder.path(), "b", &quick());
    until_index("e READY").await;
    assert_eq!(daemon.asked("e").await, Ok(vec![0.5]));
    fs::remove_dir_all(daemon.folder.path().join("b")).unwrap();
    until_index("e UNAVAILABLE").await;
    assert!(daemon.asked("e").await.is_err());
    write(daemon.folder.path(), "b", &quick());
    until_index("e READY").await;
    assert_eq!(daemon.asked("e").await, Ok(vec![0.5]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_in_relief_gives_the_heights_of_pictures() {
    const SIDE: usize = 64;
    let app = built_in().await;
    let shape = |channels: i64| vec![2, channels, SIDE as i64, SIDE as i64];
    let (pixels, shown) = ball(SIDE);
    let data = [pixels, vec![128; 3 * SIDE * SIDE]].concat();
    let planes: Vec<f32> = data
        .chunks(3 * SIDE * SIDE)
        .flat_map(|picture| (0..3).flat_map(|plane| picture.iter().skip(plane).step_by(3)))
        .map(|&light| f32::from(light) / 255.0)
        .collect();
    let whole = vec![2, SIDE as i64, SIDE as i64, 3];
    let picture = Tensor::new("picture", DataType::Uint8, whole, Bytes::from(data)).unwrap();
    let answer = ask(app.engine(), of_model("relief", picture), None).await.unwrap().response;
    assert_eq!(counted(app.engine(), "relief_depth"), 1);
    let [height, depth] = &answer.outputs[..] else { panic!("{answer:?}") };
    assert_eq!((height.name.as_str(), depth.name.as_str()), ("height", "depth"));
    assert_eq!((&height.shape, &depth.shape), (&shape(1), &shape(1)));
    let (heights, depths) = (height.to_f32().unwrap(), depth.to_f32().unwrap());
    let image = Tensor::from_f32("image", shape(3), &planes).unwrap();
    let alone = ask(app.engine(), of_model("relief_depth", image), None).await.unwrap().response;
    let near = |one: &[f32], other: &[f32]| one.iter().zip(other).all(|(one, other)| (one - other).abs() < 1e-4);
    assert!(near(&alone.outputs[0].to_f32().unwrap(), &depths), "the depth model is asked for the same picture");
    for (height, depth) in heights.chunks(SIDE * SIDE).zip(depths.chunks(SIDE * SIDE)) {
        let [least, most] = [f32::min, f32::max].map(|pick| depth.iter().copied().reduce(pick).unwrap());
        let stretched: Vec<f32> = depth.iter().map(|depth| (depth - least) / (most - least).max(1e-4)).collect();
        assert!(near(height, &stretched), "heights are the depths, stretched over 0 to 1");
    }
    let mean = |ball: bool| {
        let picked: Vec<f32> =
            heights.iter().zip(&shown).filter(|(_, shown)| **shown == ball).map(|(h, _)| *h).collect();
        picked.iter().sum::<f32>() / picked.len() as f32
    };
    assert!(mean(true) > mean(false) + 0.3, "the ball stands out: {} and {}", mean(true), mean(false));
    app.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_relief_is_not_stretched() {
    let app = built_in().await;
    let depths = [vec![0.4; 6], vec![0.4, 0.40005, 0.4, 0.4, 0.4, 0.4], vec![0.1, 0.2, 0.3, 0.1, 0.2, 0.3]].concat();
    let depth = Tensor::from_f32("depth", vec![3, 1, 2, 3], &depths).unwrap();
    let answer = ask(app.engine(), of_model("relief_height", depth), None).await.unwrap().response;
    let heights = answer.outputs[0].to_f32().unwrap();
    let (flat, rising) = heights.split_at(12);
    assert!(flat[..6].iter().all(|height| *height < 0.1) && flat[7] < 0.6, "{flat:?}");
    assert!(rising.chunks(3).all(|row| row[0] < row[1] && row[1] < row[2]), "{rising:?}");
    assert!(rising.contains(&0.0) && rising.iter().any(|height| (height - 1.0).abs() < 1e-6), "{rising:?}");
    app.drain().await;
}
