//! Answers out of a daemon's cache, through the real binary: the report says how many there were, so that a test of
//! capacity cannot become one of a cache unseen.

mod support;

use support::{Daemon, Place, findings, run, text};

const MODEL: &str = r#"backend: "simulated" response_cache { enable: true }
    input { name: "x" data_type: TYPE_FP32 dims: [ 16 ] } output { name: "y" data_type: TYPE_FP32 dims: [ 16 ] }
    parameters { key: "mean_ms" value { string_value: "1" } }"#;

/// Ten contents by popularity, as many that never come again, over both transports.
const REPEATED: &str = r#"
kind = "sustained"
seed = 5
[load]
rate = "100/s"
duration = "4s"
[[mix]]
name = "repeated"
protocol = "kserve-http-json"
model = "m"
payload = "zipf"
zipf = { items = 10, exponent = 1.0 }
inputs = [{ name = "x", datatype = "FP32", shape = [16], data = "random" }]
[[mix]]
name = "repeated over gRPC"
protocol = "kserve-grpc"
model = "m"
payload = "zipf"
zipf = { items = 10, exponent = 1.0 }
inputs = [{ name = "x", datatype = "FP32", shape = [16], data = "random" }]
[[mix]]
name = "unique"
protocol = "kserve-http-json"
model = "m"
inputs = [{ name = "x", datatype = "FP32", shape = [16], data = "random" }]
"#;

#[test]
fn a_report_says_how_many_answers_were_kept_ones() {
    let place = Place::new();
    std::fs::create_dir_all(place.path("models/m/1")).unwrap();
    std::fs::write(place.path("models/m/config.pbtxt"), MODEL).unwrap();
    std::fs::write(place.path("daemon.toml"), "[cache]\nenabled = true\n").unwrap();
    let (models, config) = (place.path("models"), place.path("daemon.toml"));
    let daemon = Daemon::with(&["--model-repository", models.to_str().unwrap(), "--config", config.to_str().unwrap()]);
    let (scenario, folder) = (place.scenario(REPEATED), place.path("run"));
    let output = run(&[
        "run",
        "--quiet",
        scenario.to_str().unwrap(),
        "--out",
        folder.to_str().unwrap(),
        "--target",
        &daemon.http,
        "--grpc-target",
        &daemon.grpc,
    ]);
    let found = findings(&folder);
    for entry in &found.entries {
        let (hits, of) = (entry.cache_hits.count, entry.cache_hits.n);
        assert!(of > 80, "{} has {of} answers: {}", entry.name, text(&output.stderr));
        let computed = if entry.name == "unique" { hits == 0 } else { of - hits <= 10 };
        assert!(computed, "{}: {hits} of {of}", entry.name);
    }
}
