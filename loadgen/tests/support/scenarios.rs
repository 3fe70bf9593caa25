//! Scenarios made in code, driven into a temporary folder, and their samples.

use std::collections::BTreeMap;

use proofload_loadgen::run::{ResolvedTarget, RunOptions, RunSummary, run};
use proofload_loadgen::scenario::{HttpSpec, Load, MixEntry, Model, PayloadPolicy, RequestSpec, Scenario, Source};
use proofload_loadgen::stop::StopHandle;
use proofload_loadgen::transport::ConnectionPolicy;
use proofload_run::folder::RunFolder;
use proofload_run::journal::JournalReader;
use proofload_run::manifest::{End, Host, Manifest, ScenarioKind, Step, Tool};
use proofload_run::sample::Sample;

pub(crate) type Failure = Box<dyn std::error::Error>;

/// A `GET /` at one level for so many seconds.
pub(crate) fn get(model: Model, level: f64, seconds: u64, max_connections: Option<u32>) -> Scenario {
    let step = Step {
        name: "hold".to_owned(),
        start_ns: 0,
        end_ns: seconds * 1_000_000_000,
        level_start: level,
        level_end: level,
        settle_ns: 0,
        warm_up: false,
    };
    let request = HttpSpec {
        method: "GET".to_owned(),
        path: "/".to_owned(),
        headers: BTreeMap::new(),
        files: Vec::new(),
        body: String::new(),
        model: String::new(),
        expect_status: None,
        expect_min_bytes: 0,
        expect_content_type: None,
        captures: BTreeMap::new(),
    };
    Scenario {
        name: "get".to_owned(),
        description: String::new(),
        kind: ScenarioKind::Sustained,
        seed: 1,
        source: Source::default(),
        target: None,
        load: Load {
            model,
            steps: vec![step],
            max_connections,
            connections: ConnectionPolicy::default(),
            retries: None,
            request_timeout_ns: 5_000_000_000,
            drain_ns: 2_000_000_000,
            traces: 0.0,
            stop_after_break: false,
        },
        mix: vec![MixEntry {
            name: "get".to_owned(),
            weight: 1.0,
            payload: PayloadPolicy::Fixed,
            request: RequestSpec::Http(request),
            slo: None,
        }],
        journeys: Vec::new(),
        slo: None,
        thresholds: Vec::new(),
    }
}

/// A finished run.
pub(crate) struct Driven {
    pub(crate) samples: Vec<Sample>,
    pub(crate) manifest: Manifest,
    pub(crate) end: End,
    pub(crate) folder: tempfile::TempDir,
}

/// Drives a scenario at a target.
pub(crate) fn drive(scenario: &Scenario, url: &str) -> Result<Driven, Failure> {
    drive_until(scenario, url, StopHandle::default())
}

/// Drives a scenario at the gRPC side of a target that has no other.
pub(crate) fn drive_grpc(scenario: &Scenario, url: &str) -> Result<Driven, Failure> {
    let target = ResolvedTarget { grpc_url: Some(url.to_owned()), ..ResolvedTarget::default() };
    drive_at(scenario, target, StopHandle::default())
}

/// Drives a scenario at a target; whoever has the handle may end it.
pub(crate) fn drive_until(scenario: &Scenario, url: &str, stop: StopHandle) -> Result<Driven, Failure> {
    drive_at(scenario, ResolvedTarget { http_url: Some(url.to_owned()), ..ResolvedTarget::default() }, stop)
}

/// Drives a scenario at any target; whoever has the handle may end it.
pub(crate) fn drive_at(scenario: &Scenario, target: ResolvedTarget, stop: StopHandle) -> Result<Driven, Failure> {
    let folder = tempfile::tempdir()?;
    let options = RunOptions {
        folder: folder.path().join("run"),
        run_id: "test".to_owned(),
        target,
        tool: Tool { name: "proofload".to_owned(), version: String::new(), git_commit: None },
        host: Host::default(),
        stop,
        progress: tokio::sync::watch::Sender::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let RunSummary { folder: run_folder, end } = runtime.block_on(run(scenario, options))?;
    Ok(Driven { samples: samples(&run_folder)?, manifest: run_folder.read_manifest()?, end, folder })
}

fn samples(folder: &RunFolder) -> Result<Vec<Sample>, Failure> {
    let mut reader = JournalReader::open(&folder.sample_journal(0))?;
    let (mut all, mut chunk) = (Vec::new(), Vec::new());
    while reader.next_chunk(&mut chunk)? {
        all.append(&mut chunk);
    }
    all.sort_by_key(|sample| sample.sequence);
    Ok(all)
}
