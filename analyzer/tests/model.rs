//! The model of what bears the load, by runs of a server whose law is known: four slots, exponential service times of 10 ms.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with the line it stands on")]

mod support;

use proofload_analyzer::{analyze, write_reports};
use proofload_run::criteria::Slo;
use proofload_run::findings::Findings;
use proofload_run::manifest::ScenarioKind;
use support::{MS, Recorded, Server, manifest, step};

const SERVER: Server = Server { slots: 4, service_ns: 10e6, exponential: true, shed_after_ns: None, down: None };

/// A climb in steps of 40 s, all of it to one model, with what the target states of it.
fn climb(levels: &[f64], config: &str) -> Findings {
    let steps = (0..).zip(levels).map(|(at, level)| step(&format!("at {level}"), at * 40, at * 40 + 40, *level, 1));
    let slo = Some(Slo::new(80 * MS, 95.0, 0.01));
    let plan = manifest(ScenarioKind::Stress, steps.collect(), slo, &[]);
    let mut recorded = Recorded::simulate(plan, SERVER, false, 11).completed();
    recorded.samples.iter_mut().for_each(|sample| sample.entry = 1);
    let config: serde_json::Value = serde_json::from_str(config).unwrap();
    recorded.manifest.target.models = serde_json::json!({"tiny_mlp": {"config": config}});
    let folder = tempfile::tempdir().unwrap();
    recorded.write(folder.path());
    let findings = analyze(folder.path()).unwrap();
    write_reports(folder.path(), &findings).unwrap();
    findings
}

const FOUR: &str = r#"{"max_batch_size": 0, "instance_group": [{"count": 4}]}"#;

#[test]
fn waits_are_predicted_and_instances_counted() {
    let found = climb(&[150.0, 250.0, 320.0, 350.0], FOUR);
    let service = found.service.as_ref().unwrap();
    assert_eq!((service.instances, service.max_batch, service.model.as_str()), (Some(4), Some(1), "tiny_mlp"));
    let model = found.model.unwrap();
    assert_eq!(model.waits.len(), 4);
    for (wait, busy) in model.waits.iter().zip([0.375, 0.625, 0.8, 0.875]) {
        assert!((wait.utilisation / busy - 1.0).abs() < 0.08, "{wait:?}");
        let (formula, simulated) = (wait.allen_cunneen_ns.unwrap(), wait.simulated_ns.unwrap());
        let near = |ns: f64, other: f64| (0.5..2.0).contains(&(ns / other)) || (ns - other).abs() < 5e5;
        assert!(near(formula, wait.observed_ns) && near(simulated, wait.observed_ns), "{wait:?}");
    }
    let eight = model.settings.iter().find(|setting| setting.what == "8 instances").unwrap();
    // M/M/m: twice as many bear more than twice as much within the same time.
    assert!((2.0..2.4).contains(&eight.factor), "{eight:?}");
    assert!(!model.settings.iter().any(|setting| setting.what.contains("batches")), "it has none");
    assert!(model.no_usl.contains("4 steps are too few"), "{}", model.no_usl);
}

#[test]
fn what_is_not_stated_is_said_and_not_made_up() {
    let found = climb(&[150.0, 250.0], "null");
    let model = found.model.unwrap();
    assert!(model.notes.join("\n").contains("does not state how many instances"), "{:?}", model.notes);
    // 250 a second of 10 ms keep two and a half busy, so three are taken.
    assert!(model.notes.join("\n").contains(": 3 is taken"), "{:?}", model.notes);
    assert!((model.waits[1].utilisation / 0.833 - 1.0).abs() < 0.08, "{:?}", model.waits);
    assert!(found.replicas.is_none() || found.capacity.is_some(), "a climb without a break bears no rate for sure");
}
