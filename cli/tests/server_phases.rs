//! Phases by the server's counters beside those on its answers, through the real binary: the embedded daemon states
//! both, so that the one can be checked against the other.

mod support;

use proofload_run::findings::ServerPhases;
use proofload_run::sample::{Outcome, Sample, flags};
use proofload_run::table::read_samples;
use support::{Place, findings, run, text};

const SLOTS: &str = r#"
kind = "sustained"
seed = 5
[load]
rate = "300/s"
duration = "6s"
[[mix]]
name = "slots"
protocol = "kserve-http-binary"
model = "sim_4x10ms"
inputs = [{ name = "input", datatype = "FP32", shape = [16], data = "random" }]
"#;

/// Means of queue, copy-in, compute and copy-out over the successes whose answers came between the two scrapes.
fn on_answers(samples: &[Sample], counted: &ServerPhases) -> [f64; 4] {
    let between = |s: &&Sample| s.outcome() == Outcome::Ok && s.done_ns > counted.from_ns && s.done_ns <= counted.to_ns;
    let told: Vec<[u64; 4]> = samples
        .iter()
        .filter(between)
        .filter(|sample| sample.flags & flags::HAS_PHASES != 0)
        .map(|s| [s.queue_ns, s.copy_in_ns, s.compute_ns, s.copy_out_ns])
        .collect();
    assert!(told.len() > 1000, "{} answers with phases", told.len());
    std::array::from_fn(|phase| told.iter().map(|phases| phases[phase] as f64).sum::<f64>() / told.len() as f64)
}

#[test]
fn means_by_counters_are_those_of_the_answers() {
    let place = Place::new();
    let folder = place.path("run");
    let scenario = place.scenario(SLOTS);
    let output = run(&["run", "--quiet", scenario.to_str().unwrap(), "--out", folder.to_str().unwrap()]);
    let found = findings(&folder);
    assert_eq!(found.server_phases.len(), 1, "{}", text(&output.stderr));
    let counted = &found.server_phases[0];
    assert_eq!((counted.model.as_str(), counted.source.as_str(), counted.resets), ("sim_4x10ms", "v2/models/stats", 0));

    let mut samples = Vec::new();
    read_samples(&folder.join("samples-00000.parquet"), |batch| samples.extend_from_slice(batch)).unwrap();
    let told = on_answers(&samples, counted);
    for (part, told_ns) in counted.parts.iter().zip(told) {
        let allowed_ns = told_ns * 0.02 + 1000.0;
        assert!(
            (part.mean_ns - told_ns).abs() <= allowed_ns,
            "{}: {} ns, answers {told_ns} ns",
            part.name,
            part.mean_ns
        );
    }
    let parts_ns: f64 = counted.parts.iter().map(|part| part.mean_ns).sum();
    assert!((parts_ns / counted.mean_request_ns - 1.0).abs() < 0.001, "phases sum to the whole: {counted:?}");
}
