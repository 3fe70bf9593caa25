//! The capacity model against simulated batching servers: fitted to what a few steps show, held against what the same servers
//! bear with other settings, which a long simulation of the daemon's own batcher tells.

use std::collections::BTreeMap;

use proofload_analyzer::model::capacity_model;
use proofload_run::criteria::Slo;
use proofload_run::findings::{BatchTime, CapacityModel, ServedStep, Service};

use super::random::Random;
use super::server::{Answered, Law, Server, truth_per_s};
use super::{law, quantile};

const NS: f64 = 1e9;
/// The steps that are shown, in shares of saturation, and their length.
const STEPS: [f64; 5] = [0.3, 0.5, 0.7, 0.8, 0.9];
const STEP_S: f64 = 30.0;
const TRUTH_S: f64 = 250.0;

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn deviation(values: &[f64]) -> f64 {
    let middle = mean(values);
    mean(&values.iter().map(|value| (value - middle).powi(2)).collect::<Vec<_>>()).sqrt()
}

/// What a run folder would say of a step.
fn step(name: &str, answered: &[Answered]) -> ServedStep {
    let of = |each: &dyn Fn(&Answered) -> f64| answered.iter().map(|one| each(one) * NS).collect::<Vec<f64>>();
    let (wait, service) = (of(&|one| one.began_s - one.came_s), of(&|one| one.went_s - one.began_s));
    let busy = of(&|one| (one.went_s - one.began_s) / f64::from(one.batch));
    let per_s = answered.len() as f64 / STEP_S;
    ServedStep {
        step: name.to_owned(),
        arrivals_per_s: per_s,
        dispersion: None,
        n: answered.len() as u64,
        success_share: 1.0,
        wait_ns: mean(&wait),
        wait_deviation_ns: deviation(&wait),
        service_ns: mean(&service),
        service_deviation_ns: deviation(&service),
        busy_ns: mean(&busy),
        batch: answered.len() as f64 / answered.iter().map(|one| 1.0 / f64::from(one.batch)).sum::<f64>(),
        latency_ns: mean(&of(&|one| one.went_s - one.came_s)),
        throughput_per_s: per_s,
    }
}

/// What a climb over the steps shows of a warm server.
fn shown(law: Law, seed: u64) -> Service {
    let mut server = Server::new(Law { cold: 0.0, ..law }, seed);
    let mut by_size: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    let mut steps = Vec::new();
    for share in STEPS {
        let answered = server.drive(law.saturation_per_s() * share, STEP_S, |_, _| false);
        server.rest(0.5);
        answered.iter().for_each(|one| by_size.entry(one.batch).or_default().push((one.went_s - one.began_s) * NS));
        steps.push(step(&format!("{share}"), &answered));
    }
    let time = |(batch, times): (u32, Vec<f64>)| BatchTime {
        batch,
        n: times.len() as u64,
        mean_ns: mean(&times),
        deviation_ns: deviation(&times),
    };
    Service {
        model: "simulated".to_owned(),
        instances: Some(law.instances as u32),
        max_batch: Some(law.max_batch),
        delay_ns: Some((law.delay_s * NS) as u64),
        elements_per_request: 1,
        batches: by_size.into_iter().map(time).collect(),
        steps,
    }
}

/// The server with a setting of the model's.
fn with(law: Law, setting: &proofload_run::findings::Setting) -> Law {
    Law {
        instances: setting.instances as usize,
        max_batch: setting.max_batch,
        delay_s: setting.delay_ns as f64 / NS,
        ..law
    }
}

/// Errors of the predicted capacities of one server, by what is changed.
fn errors_of(configuration: u64) -> Vec<(&'static str, f64)> {
    let mut random = Random(configuration);
    let law = law(&mut random);
    let latency_s = random.between(1.6, 4.0) * law.full_batch_s() + law.delay_s;
    let slo = Slo::new((latency_s * NS) as u64, 95.0, 0.01);
    let model: CapacityModel = capacity_model(&shown(law, 7 + configuration), Some(&slo), None);
    let fitted = model.roofline.as_ref().unwrap();
    println!(
        "{configuration}: fixed {:.1} of {:.1} ms, each {:.2} of {:.2} ms, spread {:.2}",
        fitted.fixed_ns.value / 1e6,
        law.fixed_s * 1e3,
        fitted.each_ns.value / 1e6,
        law.each_s * 1e3,
        fitted.spread,
    );
    let one = |setting: &proofload_run::findings::Setting| {
        let changed = with(law, setting);
        let truth = truth_per_s(changed, latency_s, 0.05, TRUTH_S);
        let error = setting.capacity_per_s / truth - 1.0;
        println!(
            "   {:<36} {:.1}/s, truth {truth:.1}/s ({:+.1} %)",
            setting.what,
            setting.capacity_per_s,
            error * 100.0
        );
        let kind = match setting.what.as_str() {
            "as it is" => "now",
            what if what.contains("instance") => "instances",
            what if what.starts_with("batches") => "batch",
            _ => "delay",
        };
        // What keeps the level at no rate to speak of has no capacity.
        (truth > 0.45 * changed.saturation_per_s()).then_some((kind, error))
    };
    model.settings.iter().filter_map(one).collect()
}

#[test]
fn settings_change_what_the_model_says_they_do() {
    let configurations: Vec<u64> = (1..7).collect();
    let errors: Vec<(&str, f64)> = std::thread::scope(|scope| {
        let threads: Vec<_> = configurations
            .chunks(3)
            .map(|part| {
                scope.spawn(|| part.iter().flat_map(|configuration| errors_of(*configuration)).collect::<Vec<_>>())
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    for kind in ["now", "instances", "batch", "delay"] {
        let of_kind: Vec<f64> = errors.iter().filter(|one| one.0 == kind).map(|one| one.1).collect();
        let sizes: Vec<f64> = of_kind.iter().map(|error| error.abs()).collect();
        let (median, p90) = (quantile(sizes.clone(), 0.5), quantile(sizes, 0.9));
        println!(
            "{kind}: {} predictions, median error {:.1} %, p90 {:.1} %, mean {:+.1} %",
            of_kind.len(),
            median * 100.0,
            p90 * 100.0,
            mean(&of_kind) * 100.0
        );
        assert!(of_kind.len() >= 6 && median <= 0.07 && p90 <= 0.12, "{kind}: median {median}, p90 {p90}");
    }
}

/// Waits below nine tenths of saturation agree with the simulation.
#[test]
fn waits_are_those_that_were_seen() {
    let mut errors = Vec::new();
    for configuration in 1..9 {
        let law = law(&mut Random(configuration));
        let model = capacity_model(&shown(law, 70 + configuration), None, None);
        for wait in model.waits.iter().filter(|wait| wait.utilisation < 0.85) {
            let simulated = wait.simulated_ns.unwrap();
            errors.push((simulated / wait.observed_ns - 1.0).abs());
            println!("{configuration} at {}: {:.2} of {:.2} ms", wait.step, simulated / 1e6, wait.observed_ns / 1e6);
        }
    }
    let (n, median, p90) = (errors.len(), quantile(errors.clone(), 0.5), quantile(errors, 0.9));
    println!("{n} waits: median error {:.1} %, p90 {:.1} %", median * 100.0, p90 * 100.0);
    assert!(median <= 0.08 && p90 <= 0.25, "median {median}, p90 {p90}");
}
