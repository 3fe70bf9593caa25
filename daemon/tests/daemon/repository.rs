//! Models that come and go while the daemon serves.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proofload_daemon::DaemonArgs;
use proofload_daemon::app::App;
use proofload_daemon::engine::Engine;
use proofload_daemon::repository::origin::Given;
use proofload_wire::infer::InferRequest;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{arguments, ask, exchange, request, simulated, start};

const PATIENCE: Duration = Duration::from_secs(20);

/// A daemon and its repository.
struct Daemon {
    app: App,
    folder: TempDir,
}

impl Daemon {
    async fn start(models: &[(&str, &str)], mode: DaemonArgs) -> Self {
        let folder = tempfile::tempdir().unwrap();
        models.iter().for_each(|(name, config)| write(folder.path(), name, config));
        let given = arguments(vec![folder.path().to_owned()], Duration::from_secs(5));
        let args = DaemonArgs { model_repository: given.model_repository, grace: given.grace, ..mode };
        let args = DaemonArgs { http_port: Some(0), grpc_port: Some(0), ..args };
        Self { app: start(&args).await, folder }
    }

    async fn explicit(models: &[(&str, &str)], load: &[&str]) -> Self {
        let load_model = load.iter().map(|name| (*name).to_owned()).collect();
        let mode = Some("explicit".to_owned());
        Self::start(models, DaemonArgs { model_control_mode: mode, load_model, ..DaemonArgs::default() }).await
    }

    fn engine(&self) -> &Engine {
        self.app.engine()
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Loads or unloads: the status, and the error if there is one.
    async fn control(&self, model: &str, verb: &str, body: &str) -> (u16, String) {
        let path = format!("/v2/repository/models/{model}/{verb}");
        let answer = exchange(self.app.http(), "POST", &path, body.to_owned()).await.unwrap();
        let error = serde_json::from_slice(&answer.body).map(|body: Value| body["error"].as_str().unwrap().to_owned());
        (answer.status.as_u16(), error.unwrap_or_default())
    }

    /// The index, as one line.
    async fn index(&self) -> String {
        let answer = exchange(self.app.http(), "POST", "/v2/repository/index", String::new()).await.unwrap();
        let entries: Vec<Value> = serde_json::from_slice(&answer.body).unwrap();
        let shown = |entry: &Value| {
            let words = ["name", "version", "state", "reason"].map(|key| entry[key].as_str().unwrap_or_default());
            words.join(" ").trim_end().to_owned()
        };
        entries.iter().map(shown).collect::<Vec<_>>().join(", ")
    }

    async fn until_index(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let index = self.index().await;
            if holds(&index) {
                return index;
            }
            assert!(begun.elapsed() < PATIENCE, "{what}: never; {index}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The name of the output that a model answers with, or what is wrong.
    async fn asked(&self, model: &str) -> String {
        match ask(self.engine(), to(model), None).await {
            Ok(inference) => inference.response.outputs[0].name.clone(),
            Err(error) => error.to_string(),
        }
    }
}

fn write(root: &Path, model: &str, config: &str) {
    fs::create_dir_all(root.join(model)).unwrap();
    fs::write(root.join(model).join("config.pbtxt"), config).unwrap();
}

/// A simulated model whose output has this name.
fn answering(output: &str, mean_ms: f64) -> String {
    simulated(mean_ms, 1, "").replace("name: \"y\"", &format!("name: \"{output}\""))
}

fn to(model: &str) -> InferRequest {
    InferRequest { model_name: model.to_owned(), ..request(&[0.5]) }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_loads_models_unless_the_mode_says_so() {
    for mode in ["none", "poll"] {
        let mode = DaemonArgs { model_control_mode: Some(mode.to_owned()), ..DaemonArgs::default() };
        let daemon = Daemon::start(&[("a", &answering("y", 0.0))], mode).await;
        for verb in ["load", "unload"] {
            let refused = (503, "explicit model load / unload is not allowed if polling is enabled".to_owned());
            assert_eq!(daemon.control("a", verb, "").await, refused);
        }
        assert_eq!((daemon.asked("a").await.as_str(), daemon.index().await.as_str()), ("y", "a 1 READY"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_load_and_unload() {
    let model = answering("y", 0.0);
    let daemon = Daemon::explicit(&[("a", &model), ("b", &model)], &["a"]).await;
    assert_eq!(daemon.index().await, "a 1 READY, b");
    assert!(daemon.asked("b").await.contains("'b' is not found"));
    assert_eq!(daemon.control("b", "load", "").await, (200, String::new()));
    assert_eq!(daemon.asked("b").await, "y");
    assert_eq!(daemon.control("a", "unload", r#"{"parameters":{"unload_dependents":true}}"#).await.0, 200);
    assert!(daemon.asked("a").await.contains("'a' has no available versions"));
    assert!(daemon.engine().statistics(Some("a"), None).is_err(), "its counts end with it");
    daemon.until_index("unloaded", |index| index == "a 1 UNAVAILABLE unloaded, b 1 READY").await;
    assert_eq!(daemon.control("a", "load", "{}").await.0, 200);
    assert_eq!(daemon.asked("a").await, "y");
    let unknown = (500, "failed to load 'c', failed to poll from model repository".to_owned());
    assert_eq!(daemon.control("c", "load", "").await, unknown);
    assert_eq!(daemon.control("c", "unload", "").await.0, 200);
    assert_eq!(daemon.control("..", "load", "").await.0, 500);
    assert_eq!(daemon.control("a", "unload", r#"{"parameters":{"unload_dependents":1}}"#).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_on_their_way_finish_on_what_they_began_with() {
    let daemon = Daemon::explicit(&[("a", &answering("old", 300.0))], &["*"]).await;
    let ask_one = || {
        let engine = daemon.engine().clone();
        tokio::spawn(async move { ask(&engine, to("a"), None).await.unwrap().response.outputs[0].name.clone() })
    };
    let old: Vec<_> = (0..3).map(|_| ask_one()).collect();
    while daemon.engine().in_flight() < 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    write(daemon.folder.path(), "a", &answering("new", 0.0));
    let begun = Instant::now();
    assert_eq!(daemon.control("a", "load", "").await.0, 200);
    assert_eq!(daemon.asked("a").await, "new");
    assert!(old.iter().any(|old| !old.is_finished()) || begun.elapsed() > Duration::from_millis(900), "side by side");
    for old in old {
        assert_eq!(old.await.unwrap(), "old");
    }
    write(daemon.folder.path(), "a", &answering("last", 300.0));
    assert_eq!(daemon.control("a", "load", "").await.0, 200);
    let last = ask_one();
    while daemon.engine().in_flight() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(daemon.control("a", "unload", "").await.0, 200);
    assert_eq!(last.await.unwrap(), "last");
    daemon.until_index("unloaded", |index| index == "a 1 UNAVAILABLE unloaded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_loaded_leaves_what_serves() {
    let daemon = Daemon::explicit(&[("a", &answering("y", 0.0))], &["a"]).await;
    write(daemon.folder.path(), "a", "backend: \"simulated\" nonsense: 1");
    let (status, error) = daemon.control("a", "load", "").await;
    assert_eq!(status, 400);
    let place = daemon.path("a/config.pbtxt");
    let expected = format!("load failed for model 'a': {}:1: unknown field 'nonsense'", place.display());
    assert!(error.starts_with(&expected), "{error}");
    assert_eq!(daemon.asked("a").await, "y");
    let index = daemon.index().await;
    assert!(index.starts_with("a 1 READY") && index.contains("unknown field 'nonsense'"), "{index}");
    write(daemon.folder.path(), "b", "max_batch_size: x");
    assert_eq!(daemon.control("b", "load", "").await.0, 400);
    let index = daemon.index().await;
    assert!(index.contains(", b  UNAVAILABLE ") && index.contains("'max_batch_size' must be"), "{index}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_model_keeps_the_daemon_from_starting_only_if_asked_to() {
    let lenient = DaemonArgs { exit_on_error: Some(false), ..DaemonArgs::default() };
    let daemon = Daemon::start(&[("a", &answering("y", 0.0)), ("b", "nonsense: 1")], lenient).await;
    assert_eq!(daemon.asked("a").await, "y");
    let index = daemon.index().await;
    assert!(index.starts_with("a 1 READY, b  UNAVAILABLE") && index.contains("nonsense"), "{index}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_bring_the_configuration_and_the_files() {
    let daemon = Daemon::explicit(&[("a", &answering("y", 0.0))], &["a"]).await;
    let given = answering("given", 0.0);
    let parsed = proofload_daemon::repository::pbtxt::parse(&given).config;
    let config = serde_json::to_string(&parsed).unwrap();
    let body = json!({"parameters": {"config": config}}).to_string();
    assert_eq!(daemon.control("a", "load", &body).await, (200, String::new()));
    assert_eq!(daemon.asked("a").await, "given");
    assert_eq!(daemon.control("a", "load", "").await.0, 200);
    assert_eq!(daemon.asked("a").await, "y", "the repository's own again");
    let body = json!({"parameters": {"config": "{\"max_batch_size\": -1}"}}).to_string();
    let (status, error) = daemon.control("a", "load", &body).await;
    assert!(status == 400 && error.contains("the given configuration of 'a': "), "{error}");
    let body = json!({"parameters": {"config": "{}", "file:1/model.onnx": "bm8gbW9kZWw="}}).to_string();
    let (status, error) = daemon.control("new", "load", &body).await;
    assert!(status == 400 && error.contains("is no ONNX model"), "{error}");
    assert_eq!(daemon.asked("a").await, "y");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_ready_when_it_is_warm() {
    let sample = |elements: u32, count: u32| {
        let input = "key: \"x\" value { data_type: TYPE_FP32 dims: 2 random_data: true }";
        format!("model_warmup {{ name: \"w\" batch_size: {elements} count: {count} inputs {{ {input} }} }}")
    };
    let batched = |warm_up: &str| format!("{} max_batch_size: 2 {warm_up}", answering("y", 50.0));
    let daemon = Daemon::explicit(&[("a", &batched(&sample(2, 3))), ("b", &batched(&sample(3, 1)))], &[]).await;
    let begun = Instant::now();
    assert_eq!(daemon.control("a", "load", "").await, (200, String::new()));
    assert!(begun.elapsed() >= Duration::from_millis(150), "three executions in {:?}", begun.elapsed());
    let counts = daemon.engine().statistics(Some("a"), None).unwrap().remove(0);
    assert_eq!((counts.inference_count, counts.execution_count), (0, 0), "warming is no request");
    let text = daemon.engine().metrics_text();
    let took = |phase: &str| {
        let start = format!("proofload_load_seconds{{model=\"a\",version=\"1\",phase=\"{phase}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&start)).unwrap().parse::<f64>().unwrap()
    };
    assert!(took("warm_up") >= 0.15 && took("read") > 0.0 && took("start") < took("warm_up"), "{text}");
    let (status, error) = daemon.control("b", "load", "").await;
    assert!(status == 400 && error.contains("sample \"w\" of 'model_warmup': inference request batch-size"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_begins_to_serve_after_the_end() {
    let sample = "inputs { key: \"x\" value { data_type: TYPE_FP32 dims: 1 zero_data: true } }";
    let slow = format!("{} model_warmup {{ name: \"w\" {sample} }}", answering("y", 500.0));
    let daemon = Daemon::explicit(&[("a", &slow)], &[]).await;
    let (engine, given) = (daemon.engine().clone(), Given::default());
    let load = tokio::spawn(async move { engine.load_model("a".to_owned(), given).await });
    daemon.until_index("the load is on its way", |index| index == "a 1 LOADING").await;
    daemon.engine().close();
    let refused = load.await.unwrap().unwrap_err().to_string();
    assert_eq!(refused, "load failed for model 'a': the daemon is stopping");
    let late = daemon.engine().load_model("a".to_owned(), Given::default()).await.unwrap_err();
    assert_eq!(late.to_string(), "the server is stopping");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_machines_have_no_say() {
    let args = DaemonArgs { bind: Some("0.0.0.0".to_owned()), ..DaemonArgs::default() };
    let daemon = Daemon::start(&[("a", &answering("y", 0.0))], args).await;
    for verb in ["load", "unload"] {
        let (status, error) = daemon.control("a", verb, "").await;
        assert!(status == 501 && error.contains("bound to a loopback address"), "{status} {error}");
    }
    assert_eq!(daemon.index().await, "a 1 READY");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_repository_is_watched() {
    let mode = DaemonArgs {
        model_control_mode: Some("poll".to_owned()),
        repository_poll_secs: Some(0.1),
        ..DaemonArgs::default()
    };
    let versions = format!("{} version_policy {{ all {{ }} }}", answering("y", 0.0));
    let daemon = Daemon::start(&[("a", &versions)], mode).await;
    assert_eq!(daemon.asked("a").await, "y");
    write(daemon.folder.path(), "b", &answering("z", 0.0));
    daemon.until_index("a model more", |index| index == "a 1 READY, b 1 READY").await;
    assert_eq!(daemon.asked("b").await, "z");
    fs::create_dir_all(daemon.path("a/1")).unwrap();
    fs::create_dir_all(daemon.path("a/2")).unwrap();
    daemon.until_index("a version more", |index| index == "a 1 READY, a 2 READY, b 1 READY").await;
    let counted = daemon.engine().statistics(Some("a"), Some("1")).unwrap()[0].inference_count;
    assert_eq!(counted, 1, "a version that has not changed serves on");
    write(daemon.folder.path(), "b", "max_batch_size: what");
    let broken = |index: &str| index.contains("b 1 READY") && index.contains("must be a whole number");
    daemon.until_index("a broken change", broken).await;
    assert_eq!(daemon.asked("b").await, "z");
    write(daemon.folder.path(), "b", &answering("mended", 0.0));
    daemon.until_index("a mended change", |index| index.ends_with("b 1 READY")).await;
    assert_eq!(daemon.asked("b").await, "mended");
    fs::remove_dir_all(daemon.path("a/1")).unwrap();
    daemon.until_index("a version less", |index| index.starts_with("a 1 UNAVAILABLE unloaded, a 2 READY")).await;
    fs::remove_dir_all(daemon.path("b")).unwrap();
    daemon.until_index("a model less", |index| !index.contains(", b")).await;
    assert!(daemon.asked("b").await.contains("'b' is not found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stays_of_models_that_come_and_go() {
    let daemon = Daemon::explicit(&[("a", &answering("y", 0.0)), ("b", &answering("y", 0.0))], &["b"]).await;
    let threads = || fs::read_dir("/proc/self/task").unwrap().count();
    let series = || daemon.engine().metrics_text().lines().filter(|line| !line.contains("\"b\"")).count();
    let before = series();
    let with_one = {
        assert_eq!(daemon.control("a", "load", "").await.0, 200);
        (series(), threads())
    };
    for _ in 0..50 {
        assert_eq!(daemon.control("a", "load", "").await.0, 200);
        assert_eq!(daemon.asked("a").await, "y");
        assert_eq!(daemon.control("a", "unload", "").await.0, 200);
    }
    daemon.until_index("unloaded", |index| index.starts_with("a 1 UNAVAILABLE")).await;
    assert_eq!(series(), before, "no series of it is left");
    assert!(with_one.0 > before);
    assert_eq!(daemon.control("a", "load", "").await.0, 200);
    assert_eq!(series(), with_one.0);
    // Other tests of this process come and go, too: one thread of each load would be 50 more.
    let left = threads().saturating_sub(with_one.1);
    assert!(left < 45, "{left} threads more");
}
