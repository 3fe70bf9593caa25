//! `proofload capacity` itself, over sockets, against daemons whose models take as long as they declare.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use proofload_run::capacity::{Capacity, CapacitySearch, StepKind};

use crate::server::{Law, truth_per_s};
use crate::support::{Daemon, Place, proofload, run, text, within};

/// What a simulated model takes, and the service level that is asked of it.
struct Declared {
    instances: usize,
    max_batch: u32,
    delay_ms: f64,
    mean_ms: f64,
    per_element_ms: f64,
    cv: f64,
    latency_ms: f64,
}

impl Declared {
    fn config(&self) -> String {
        let Self { instances, max_batch, delay_ms, mean_ms, per_element_ms, cv, .. } = self;
        let delay_us = (delay_ms * 1000.0) as u64;
        let parameters: String = [
            ("service_time", "lognormal".to_owned()),
            ("mean_ms", mean_ms.to_string()),
            ("per_element_ms", per_element_ms.to_string()),
            ("cv", cv.to_string()),
        ]
        .iter()
        .map(|(key, value)| format!("parameters {{ key: \"{key}\" value {{ string_value: \"{value}\" }} }}\n"))
        .collect();
        format!(
            "backend: \"simulated\"\nmax_batch_size: {max_batch}\n\
             input {{ name: \"input\" data_type: TYPE_FP32 dims: [ 4 ] }}\n\
             output {{ name: \"output\" data_type: TYPE_FP32 dims: [ 4 ] }}\n\
             dynamic_batching {{ max_queue_delay_microseconds: {delay_us} }}\n\
             instance_group {{ count: {instances} kind: KIND_CPU }}\n{parameters}"
        )
    }

    fn law(&self) -> Law {
        Law {
            instances: self.instances,
            max_batch: self.max_batch,
            delay_s: self.delay_ms / 1e3,
            fixed_s: self.mean_ms / 1e3,
            each_s: self.per_element_ms / 1e3,
            spread: (self.cv * self.cv).ln_1p().sqrt(),
            drift: 0.0,
            drift_s: 1.0,
            cold: 0.0,
            cold_s: 1.0,
        }
    }

    fn serve(&self, place: &Place) -> Daemon {
        let model = place.path("models").join("declared");
        std::fs::create_dir_all(model.join("1")).unwrap();
        std::fs::write(model.join("config.pbtxt"), self.config()).unwrap();
        Daemon::with(&["--model-repository", place.path("models").to_str().unwrap()])
    }
}

fn scenario(place: &Place, http: &str, model: &str, shape: &str, rate: f64) -> std::path::PathBuf {
    place.scenario(&format!(
        "kind = \"sustained\"\nseed = 5\n[target]\nhttp = \"{http}\"\n[load]\nrate = {rate}\nduration = \"10s\"\n\
         request_timeout = \"5s\"\n[[mix]]\nname = \"slots\"\nprotocol = \"kserve-http-binary\"\nmodel = \"{model}\"\n\
         inputs = [{{ name = \"input\", datatype = \"FP32\", shape = {shape}, data = \"random\" }}]\n"
    ))
}

fn kept(folder: &Path) -> CapacitySearch {
    serde_json::from_slice(&std::fs::read(folder.join("capacity.json")).unwrap()).unwrap()
}

#[test]
fn a_search_over_sockets_is_stopped_goes_on_and_is_told_again() {
    let place = Place::new();
    let daemon = Daemon::start();
    let (scenario, folder) = (scenario(&place, &daemon.http, "sim_4x10ms", "[4]", 300.0), place.path("search"));
    let arguments = ["capacity", scenario.to_str().unwrap(), "--out", folder.to_str().unwrap()];
    let more = ["--slo", "p95<40ms,errors<1%", "--budget", "45s", "--soak", "4s"];
    let mut begun = proofload().args(arguments).args(more).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert!(within(Duration::from_secs(60), || folder.join("steps/2/run.json").exists()), "no second step");
    begun.kill().unwrap();
    begun.wait().unwrap();
    let before = kept(&folder);
    assert!(before.found.is_none() && !before.steps.is_empty());

    let output = run(&[&arguments[..], &more].concat());
    let said = text(&output.stdout);
    assert!(output.status.code().is_some_and(|code| code == 0 || code == 3), "{said}{}", text(&output.stderr));
    let search = kept(&folder);
    assert_eq!(search.steps[..before.steps.len()], before.steps[..], "what was driven counts");
    let found = search.found.unwrap();
    // Four slots of 10 ms bear a little less than 400/s within 40 ms; a short search on a shared machine may be off.
    let estimate = found.estimate_per_s.unwrap();
    assert!((300.0..450.0).contains(&estimate), "{}", found.sentence);
    assert!(search.steps.iter().any(|seen| seen.planned.kind == StepKind::Soak));
    let page = std::fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(page.contains("Bad arrivals against rate") && said.contains("sustainable"));

    let again = run(&["report", folder.to_str().unwrap()]);
    assert_eq!((again.status.code(), text(&again.stdout)), (output.status.code(), said));
    assert_eq!(std::fs::read_to_string(folder.join("report.html")).unwrap(), page, "the same folder, the same page");
    let twice = run(&[&arguments[..], &more].concat());
    assert_eq!(twice.status.code(), Some(2));
    assert!(text(&twice.stderr).contains("a search that is over"), "{}", text(&twice.stderr));
}

#[test]
fn what_cannot_be_searched_is_refused_before_anything_is_driven() {
    let place = Place::new();
    let check = |load: &str, more: &[&str], part: &str| {
        let file = place.scenario(&format!(
            "kind = \"sustained\"\n{load}\n[[mix]]\nname = \"a\"\nprotocol = \"http\"\npath = \"/\"\n"
        ));
        let folder = place.path("none");
        let output = run(&[&["capacity", file.to_str().unwrap(), "--out", folder.to_str().unwrap()], more].concat());
        assert_eq!(output.status.code(), Some(2), "{load}");
        assert!(text(&output.stderr).contains(part), "{}", text(&output.stderr));
        assert!(!folder.exists(), "nothing is left behind");
    };
    let open = "[load]\nrate = \"40/s\"\nduration = \"9s\"";
    check(open, &[], "states no service level");
    check(open, &["--slo", "p95"], "write a service level such as");
    check(&format!("{open}\n[load.burst]\nevery = \"1s\""), &["--slo", "p95<1s"], "leave [load.burst] out");
    check(open, &["--slo", "p95<1s", "--from", "0/s"], "above 0");
    check(open, &["--slo", "p50<1s"], "for p75 and above");
}

/// Over sockets and in real time: minutes each; `scripts/prove capacity`.
#[test]
#[ignore = "half an hour on a quiet machine"]
fn five_declared_servers_are_found_for_real() {
    let declared = [
        Declared {
            instances: 2,
            max_batch: 4,
            delay_ms: 2.0,
            mean_ms: 12.0,
            per_element_ms: 2.0,
            cv: 0.1,
            latency_ms: 60.0,
        },
        Declared {
            instances: 1,
            max_batch: 8,
            delay_ms: 5.0,
            mean_ms: 10.0,
            per_element_ms: 1.5,
            cv: 0.2,
            latency_ms: 70.0,
        },
        Declared {
            instances: 3,
            max_batch: 4,
            delay_ms: 1.0,
            mean_ms: 18.0,
            per_element_ms: 3.0,
            cv: 0.15,
            latency_ms: 90.0,
        },
        Declared {
            instances: 1,
            max_batch: 16,
            delay_ms: 4.0,
            mean_ms: 15.0,
            per_element_ms: 1.0,
            cv: 0.25,
            latency_ms: 80.0,
        },
        Declared {
            instances: 4,
            max_batch: 2,
            delay_ms: 3.0,
            mean_ms: 16.0,
            per_element_ms: 4.0,
            cv: 0.2,
            latency_ms: 75.0,
        },
    ];
    let mut held = 0;
    for (number, declared) in declared.iter().enumerate() {
        let place = Place::new();
        let (truth, found) =
            (truth_per_s(declared.law(), declared.latency_ms / 1e3, 0.05, 1500.0), found(declared, &place));
        let (estimate, [low, high]) = (found.estimate_per_s.unwrap(), found.interval_per_s.unwrap());
        let error = estimate / truth - 1.0;
        held += u32::from(low <= truth && truth <= high);
        println!("{number}: truth {truth:.1}/s, {estimate:.1}/s ({:+.1} %), {low:.1} to {high:.1}", error * 100.0);
        assert!(error.abs() <= 0.05, "{}", found.sentence);
    }
    assert!(held >= 4, "{held} of 5 intervals hold");
}

/// Searches with a guess that is far off.
fn found(declared: &Declared, place: &Place) -> Capacity {
    let daemon = declared.serve(place);
    let guess = 0.5 * declared.law().saturation_per_s();
    let (scenario, folder) = (scenario(place, &daemon.http, "declared", "[1, 4]", guess), place.path("search"));
    let level = format!("p95<{}ms,errors<1%", declared.latency_ms);
    let output = run(&[
        "capacity",
        scenario.to_str().unwrap(),
        "--out",
        folder.to_str().unwrap(),
        "--slo",
        &level,
        "--budget",
        "180s",
        "--width",
        "2%",
        "--soak",
        "0s",
    ]);
    println!("{}", text(&output.stdout));
    kept(&folder).found.unwrap_or_else(|| panic!("{}", text(&output.stderr)))
}
