//! The manifest of a run, as planned.

use std::collections::BTreeSet;

use proofload_run::FORMAT_VERSION;
use proofload_run::manifest::{ClockAnchor, Entry, Load, Manifest, Scenario as ScenarioRecord, Target};

use super::{Plan, RunOptions};
use crate::clock::Anchor;
use crate::payload::Entry as Ready;
use crate::plan::{Arrivals, Fingerprint, UserPlan};
use crate::scenario::{CompletionProtocol, MixEntry, Model, RequestSpec, Scenario};

/// Arrivals up to which a plan is counted and fingerprinted whole; of a longer one the first so many are.
const MOST_COUNTED: usize = 10_000_000;
/// Turns of the first user that a closed plan's fingerprint covers.
const FINGERPRINTED_TURNS: usize = 1000;

pub(super) fn planned(scenario: &Scenario, options: &RunOptions, plan: &Plan, ready: &[Ready]) -> Manifest {
    let entries = scenario.mix.iter().zip(plan.doings.shares()).zip(ready);
    Manifest {
        format_version: FORMAT_VERSION,
        run_id: options.run_id.clone(),
        tool: options.tool.clone(),
        scenario: record(scenario),
        seed: scenario.seed,
        host: options.host.clone(),
        target: Target {
            http_url: options.target.http_url.clone().unwrap_or_default(),
            grpc_url: options.target.grpc_url.clone().unwrap_or_default(),
            embedded: options.target.embedded,
            ..Target::default()
        },
        load: load(scenario, plan),
        steps: scenario.load.steps.clone(),
        entries: entries.map(|((entry, share), ready)| describe(entry, share, ready.payloads.len())).collect(),
        slo: scenario.slo,
        thresholds: scenario.thresholds.clone(),
        clocks: Vec::new(),
        end: None,
    }
}

fn load(scenario: &Scenario, plan: &Plan) -> Load {
    let (planned_arrivals, fingerprint) = fingerprint(scenario, plan);
    Load {
        model: scenario.load.model.load_model(),
        arrivals: match &scenario.load.model {
            Model::Open { arrivals } => arrivals.as_str().to_owned(),
            Model::Closed { .. } => String::new(),
        },
        duration_ns: plan.profile.end_ns(),
        planned_arrivals,
        max_connections: plan.connections,
        connections_bound_by: plan.bound_by,
        request_timeout_ns: scenario.load.request_timeout_ns,
        plan_fingerprint: fingerprint.to_string(),
    }
}

pub(super) fn anchor(manifest: &mut Manifest, anchor: Anchor) {
    let Anchor { zero_unix_ns, error_bound_ns } = anchor;
    manifest.clocks = vec![ClockAnchor { shard: 0, zero_unix_ns, error_bound_ns }];
}

/// The models that the scenario asks for.
pub(super) fn models(scenario: &Scenario) -> BTreeSet<String> {
    let known = scenario.mix.iter().filter(|entry| is_known_to_kserve(&entry.request));
    let names = known.map(|entry| entry.request.model().to_owned());
    names.filter(|name| !name.is_empty()).collect()
}

/// Whether a KServe server may have metadata and statistics of the model. OpenAI's protocol has neither.
fn is_known_to_kserve(request: &RequestSpec) -> bool {
    match request {
        RequestSpec::Http(_) | RequestSpec::Kserve(_) => true,
        RequestSpec::Completion(spec) => spec.protocol == CompletionProtocol::Generate,
    }
}

fn record(scenario: &Scenario) -> ScenarioRecord {
    ScenarioRecord {
        name: scenario.name.clone(),
        description: scenario.description.clone(),
        kind: scenario.kind,
        path: scenario.source.path.display().to_string(),
        as_written: scenario.source.text.clone(),
        overrides: scenario.source.overrides.clone(),
        as_run: serde_json::to_value(scenario).unwrap_or_default(),
    }
}

fn describe(entry: &MixEntry, share: f64, payloads: usize) -> Entry {
    let (path, inferences_per_request) = match &entry.request {
        RequestSpec::Http(spec) => (spec.path.clone(), 1),
        RequestSpec::Completion(spec) => (spec.path.clone(), 1),
        RequestSpec::Kserve(spec) => {
            let batch = spec.inputs.first().and_then(|input| input.shape.first()).copied().unwrap_or(1);
            (String::new(), u32::try_from(batch.max(1)).unwrap_or(u32::MAX))
        }
    };
    Entry {
        name: entry.name.clone(),
        share,
        protocol: entry.request.protocol().to_owned(),
        model: if is_known_to_kserve(&entry.request) { entry.request.model().to_owned() } else { String::new() },
        path,
        payload_policy: entry.payload.as_str().to_owned(),
        payloads: payloads as u32,
        slo: entry.slo,
        inferences_per_request,
    }
}

fn fingerprint(scenario: &Scenario, plan: &Plan) -> (Option<u64>, Fingerprint) {
    let mut fingerprint = Fingerprint::default();
    fingerprint.word(scenario.seed);
    plan.profile.steps().iter().for_each(|step| fingerprint.step(step));
    match &scenario.load.model {
        Model::Open { arrivals } => {
            let mut count = 0;
            let arrivals = Arrivals::new(plan.profile.clone(), plan.mix.clone(), arrivals.clone(), scenario.seed);
            for arrival in arrivals.take(MOST_COUNTED) {
                fingerprint.arrival(&arrival);
                count += 1;
            }
            ((count < MOST_COUNTED).then_some(count as u64), fingerprint)
        }
        Model::Closed { think } => {
            let mut user = UserPlan::new(plan.doings.clone(), *think, scenario.seed, 0);
            for _ in 0..FINGERPRINTED_TURNS {
                let turn = user.turn();
                fingerprint.word(turn.think_ns);
                fingerprint.word(u64::from(turn.payload) << 16 | u64::from(turn.entry));
            }
            (None, fingerprint)
        }
    }
}
