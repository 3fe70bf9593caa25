//! Does the target answer, and has it the models that the scenario asks for?

use proofload_loadgen::run::{LoadError, ResolvedTarget, scraped_points};
use proofload_loadgen::scenario::{CompletionProtocol, RequestSpec, Scenario};
use proofload_loadgen::transport::{Address, HttpVersion, TlsOptions, probe};
use proofload_loadgen::watch::{fetch, find_metrics, server_name};

use super::check::{Check, State};
use super::requests;
use crate::args::TargetArgs;
use crate::calibrate::Scratch;
use crate::embedded::EmbeddedDaemon;

/// What was found at a target.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) checks: Vec<Check>,
    /// Values that a scrape brings.
    pub(crate) points_per_s: usize,
    /// How long the slowest of the right answers took.
    pub(crate) latency_ns: Option<u64>,
}

impl From<Check> for Found {
    fn from(check: Check) -> Self {
        Self { checks: vec![check], ..Self::default() }
    }
}

/// All checks of a target; of a daemon of our own where none is named, which is started for them as for a run.
pub(crate) fn checks(target: Option<&ResolvedTarget>, scenario: Option<&Scenario>) -> Found {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Check::in_the_way("target", error.to_string(), "free some memory or threads").into(),
    };
    runtime.block_on(async {
        match (target, scenario) {
            (Some(target), scenario) => look_at(target, scenario).await,
            (None, Some(scenario)) => embedded(scenario).await,
            (None, None) => Found::default(),
        }
    })
}

async fn embedded(scenario: &Scenario) -> Found {
    let in_the_way = |error: &anyhow::Error| {
        let remedy = "no run can start it either: mend what it says, or name a target with --target";
        Check::in_the_way("daemon", format!("{error:#}"), remedy)
    };
    // The folder has to outlive the daemon, whose messages go there.
    let scratch = match Scratch::new() {
        Ok(scratch) => scratch,
        Err(error) => return in_the_way(&error.into()).into(),
    };
    let daemon = match EmbeddedDaemon::start(&scratch.0.join("daemon.log")).await {
        Ok(daemon) => daemon,
        Err(error) => return in_the_way(&error).into(),
    };
    let mut found = look_at(&daemon.target(), Some(scenario)).await;
    let started = "no target is named: a run starts the embedded daemon, as was done for these checks";
    found.checks.insert(0, Check::fine("daemon", started));
    if let Err(error) = daemon.stop().await {
        found.checks.push(Check::doubtful(
            "daemon",
            format!("{error:#}"),
            "look at its messages (daemon.log of a run)",
        ));
    }
    found
}

async fn look_at(target: &ResolvedTarget, scenario: Option<&Scenario>) -> Found {
    let mut found = Found::default();
    if let Some(url) = &target.http_url {
        found.checks.extend(http_side(url, target.http().await, scenario).await);
    }
    if let Some(url) = &target.grpc_url {
        found.checks.push(grpc_side(url, &target.tls).await);
    }
    let reachable = found.checks.iter().all(|check| check.state != State::InTheWay || check.name == "model");
    if let Some(scenario) = scenario.filter(|_| reachable) {
        found.points_per_s = scraped_points(target).await;
        found.checks.extend(requests::inputs(scenario, target).await);
        let (checks, latency_ns) = requests::trials(scenario, target).await;
        found.checks.extend(checks);
        found.latency_ns = latency_ns;
    }
    found
}

/// What the command line lacks for the scenario.
pub(crate) fn problem(args: &TargetArgs, scenario: &Scenario) -> Option<Check> {
    let problem = crate::target::problem(args, scenario)?;
    Some(Check::in_the_way("target", problem, "name both sides of the target"))
}

async fn http_side(url: &str, address: Result<Option<Address>, LoadError>, scenario: Option<&Scenario>) -> Vec<Check> {
    let address = match address {
        Ok(Some(address)) => address,
        Ok(None) => return Vec::new(),
        Err(error) => return vec![Check::in_the_way("target", error.to_string(), "write the base URL of the target")],
    };
    if let Err(error) = probe(&address).await {
        let finding = format!("{url} does not accept connections: {error}");
        return vec![Check::in_the_way("target", finding, "start it, or name another with --target")];
    }
    let mut checks = vec![ready(url, &address).await, metrics(&address).await];
    for model in scenario.map(models).unwrap_or_default() {
        checks.push(model_ready(&address, &model).await);
    }
    checks
}

async fn ready(url: &str, address: &Address) -> Check {
    match fetch(address, "/v2/health/ready").await {
        Ok(_) => Check::fine("target", format!("{url} says that it is ready")),
        Err(error) => Check::doubtful(
            "target",
            format!("{url} accepts connections, but /v2/health/ready says: {error}"),
            "fine for a plain HTTP target; a KServe server is not ready yet",
        ),
    }
}

async fn metrics(address: &Address) -> Check {
    let page = find_metrics(address, server_name(address).await.as_deref()).await;
    let url = page.url();
    match fetch(&page, "").await {
        Ok(page) => Check::fine("metrics", format!("{url} has {} bytes", page.len())),
        Err(error) => Check::doubtful(
            "metrics",
            format!("{url}: {error}"),
            "the report will lack the server's side; set target.metrics if it is elsewhere",
        ),
    }
}

async fn model_ready(address: &Address, model: &str) -> Check {
    match fetch(address, &format!("/v2/models/{model}/ready")).await {
        Ok(_) => Check::fine("model", format!("{model} is ready")),
        Err(error) => Check::in_the_way(
            "model",
            format!("{model}: {error}"),
            "load it into the target, or correct the name in the scenario",
        ),
    }
}

async fn grpc_side(url: &str, tls: &TlsOptions) -> Check {
    let unreachable = |why: String| {
        Check::in_the_way("gRPC", format!("{url}: {why}"), "start it, or name another with --grpc-target")
    };
    match Address::reach(url, HttpVersion::Http2, tls).await {
        Err(error) => unreachable(error.to_string()),
        Ok(address) => match probe(&address).await {
            Ok(()) => Check::fine("gRPC", format!("{url} accepts connections")),
            Err(error) => unreachable(error.to_string()),
        },
    }
}

/// The KServe models that the mix asks for, each once.
fn models(scenario: &Scenario) -> Vec<String> {
    let asked = scenario.mix.iter().filter_map(|entry| match &entry.request {
        RequestSpec::Kserve(spec) => Some(spec.model.clone()),
        RequestSpec::Completion(spec) if spec.protocol == CompletionProtocol::Generate => Some(spec.model.clone()),
        RequestSpec::Http(_) | RequestSpec::Completion(_) => None,
    });
    let mut models: Vec<String> = asked.collect();
    models.sort();
    models.dedup();
    models
}
