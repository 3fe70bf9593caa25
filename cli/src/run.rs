//! `proofload run`: everything is checked first; then each scenario gets its target, its load, its folder and its
//! report.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use proofload_loadgen::footprint::Footprint;
use proofload_loadgen::host;
use proofload_loadgen::progress::Snapshot;
use proofload_loadgen::run::{ResolvedTarget, RunOptions, run, scraped_points};
use proofload_loadgen::scenario::Scenario;
use proofload_loadgen::stop::StopHandle;
use proofload_run::manifest::{EndReason, Tool};
use proofload_run::verdict::Verdict;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::args::RunArgs;
use crate::console::note;
use crate::cost::Given;
use crate::disk;
use crate::embedded::EmbeddedDaemon;
use crate::progress::Progress;
use crate::report::report_on;
use crate::target;
use crate::tui::{self, Tui};

/// Where run folders go when `--out` does not say.
pub(crate) const DEFAULT_FOLDER: &str = "reports/runs";

/// Runs every scenario, one after the other, and says the strongest verdict.
pub(crate) fn run_command(args: &RunArgs) -> anyhow::Result<Verdict> {
    let planned = planned(args)?;
    let given = Given::read(&args.prices)?;
    if let Some(problem) = tui::problem().filter(|_| args.tui) {
        bail!("nothing was run: {problem}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let stop = StopHandle::default();
    stop.obey_ctrl_c();
    runtime.spawn(obey_sigterm(stop.clone()));
    // The embedded daemon inherits the limit, so it is raised before the first one starts.
    host::connection_limit();
    let mut worst = Verdict::Pass;
    for planned in planned {
        if stop.count() > 0 {
            note(&format!("proofload: {} was not run", planned.scenario.name));
            worst = worst.max(Verdict::Inconclusive);
            continue;
        }
        runtime.block_on(drive(args, &planned, &stop))?;
        given.lay_beside(&planned.folder)?;
        worst = worst.max(report_on(&planned.folder, args.baseline.as_deref(), args.output.quiet)?);
    }
    Ok(worst)
}

/// A scenario that may run, and where its folder will be.
struct Planned {
    scenario: Scenario,
    run_id: String,
    folder: PathBuf,
}

/// Reads and checks every file before the first socket opens, and says everything that is wrong with all of them.
fn planned(args: &RunArgs) -> anyhow::Result<Vec<Planned>> {
    let mut planned = Vec::new();
    let mut problems = Vec::new();
    for path in &args.scenarios {
        match Scenario::load(path, &args.overrides) {
            Ok(scenario) => {
                problems.extend(target::problem(&args.target, &scenario));
                planned.push(placed(args, scenario));
            }
            Err(errors) => problems.push(errors.to_string()),
        }
    }
    problems.extend(planned.iter().filter_map(occupied));
    problems.extend(shared_folder(&planned));
    if !problems.is_empty() {
        bail!("nothing was run:\n{}", problems.join("\n"));
    }
    Ok(planned)
}

fn placed(args: &RunArgs, scenario: Scenario) -> Planned {
    let now = chrono::Utc::now();
    let run_id = format!("{}-{}", scenario.name, now.format("%Y%m%d-%H%M%S"));
    let folder = match &args.out {
        Some(out) if args.scenarios.len() == 1 => out.clone(),
        Some(out) => out.join(&scenario.name),
        None => Path::new(DEFAULT_FOLDER).join(&run_id),
    };
    Planned { scenario, run_id, folder }
}

fn occupied(planned: &Planned) -> Option<String> {
    let taken = planned.folder.join("run.json").exists();
    taken.then(|| format!("{} holds a run already; choose another folder with --out", planned.folder.display()))
}

/// Two scenarios of one name would write into one folder.
fn shared_folder(planned: &[Planned]) -> Option<String> {
    let mut folders: Vec<&Path> = planned.iter().map(|planned| planned.folder.as_path()).collect();
    folders.sort();
    let twice = folders.windows(2).find(|pair| pair[0] == pair[1])?;
    let folder = twice[0].display();
    Some(format!("two scenarios would both write into {folder}; give them different names, or run them one by one"))
}

/// Starts a daemon where the scenario has no target, drives the load, and stops the daemon whatever happens.
async fn drive(args: &RunArgs, planned: &Planned, stop: &StopHandle) -> anyhow::Result<()> {
    let quiet = args.output.quiet;
    if let Some(dropped) = target::dropped_metrics(&args.target, &planned.scenario).filter(|_| !quiet) {
        note(&dropped);
    }
    let (target, daemon) = if let Some(target) = target::named_target(&args.target, planned.scenario.target.as_ref()) {
        (target, None)
    } else {
        let (target, daemon) = embedded(planned, quiet).await?;
        (target, Some(daemon))
    };
    let outcome = match make_room(args, planned, &target).await {
        Ok(()) => load(args, planned, target, stop).await,
        Err(full) => Err(full),
    };
    if let Some(daemon) = daemon {
        // The run is judged by its samples; how the daemon ended is told, and changes nothing.
        if let Err(error) = daemon.stop().await {
            note(&format!("proofload: {error:#}"));
        }
    }
    outcome
}

/// Says how much disk the run will take, and refuses to begin where there is not so much.
async fn make_room(args: &RunArgs, planned: &Planned, target: &ResolvedTarget) -> anyhow::Result<()> {
    let footprint = Footprint::of(&planned.scenario, scraped_points(target).await);
    let free_bytes = disk::free_bytes(&planned.folder);
    if !args.output.quiet {
        note(&format!("{}: {}", planned.scenario.name, disk::estimate(&footprint, free_bytes)));
    }
    if disk::is_too_little(&footprint, free_bytes) && !args.ignore_disk {
        bail!(
            "{}: {}; free some, choose another folder with --out, or run all the same with --ignore-disk",
            planned.scenario.source.path.display(),
            disk::estimate(&footprint, free_bytes)
        );
    }
    Ok(())
}

async fn embedded(planned: &Planned, quiet: bool) -> anyhow::Result<(ResolvedTarget, EmbeddedDaemon)> {
    std::fs::create_dir_all(&planned.folder)
        .with_context(|| format!("cannot make the run folder {}", planned.folder.display()))?;
    let daemon = EmbeddedDaemon::start(&planned.folder.join("daemon.log")).await?;
    if !quiet {
        note(&format!("{}: embedded daemon at {} (gRPC {})", planned.scenario.name, daemon.http_url, daemon.grpc_url));
    }
    Ok((daemon.target(), daemon))
}

async fn load(args: &RunArgs, planned: &Planned, target: ResolvedTarget, stop: &StopHandle) -> anyhow::Result<()> {
    let (progress, snapshots) = watch::channel(Snapshot::default());
    let tui = match args.tui {
        true => Some(Tui::start(&planned.scenario, snapshots.clone(), stop.clone())?),
        false => None,
    };
    let line = Progress::new(args.output.quiet || args.tui, &planned.scenario.name);
    let shown = tokio::spawn(show(line, snapshots));
    let options = RunOptions {
        folder: planned.folder.clone(),
        run_id: planned.run_id.clone(),
        target,
        tool: tool(),
        host: host::probe(),
        stop: stop.clone(),
        progress,
    };
    let outcome = run(&planned.scenario, options).await;
    drop(tui);
    // The sender is gone with the run, so this ends by itself.
    let _ = shown.await;
    let summary = outcome.with_context(|| planned.scenario.source.path.display().to_string())?;
    if summary.end.reason == EndReason::GeneratorFailed {
        // Said here too: on a full disk there may be no report to say it.
        note(&format!("proofload: {}; the run is kept in {}", summary.end.detail, summary.folder.path().display()));
    }
    Ok(())
}

async fn show(mut progress: Progress, mut snapshots: watch::Receiver<Snapshot>) {
    while snapshots.changed().await.is_ok() {
        progress.show(&snapshots.borrow_and_update());
    }
    progress.finish();
}

pub(crate) fn tool() -> Tool {
    let commit = env!("PROOFLOAD_GIT_COMMIT");
    Tool {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        git_commit: (!commit.is_empty()).then(|| commit.to_owned()),
    }
}

/// SIGTERM ends a run like Ctrl-C does.
pub(crate) async fn obey_sigterm(stop: StopHandle) {
    // Without a handler SIGTERM kills the process, which the journal survives.
    let Ok(mut terminated) = signal(SignalKind::terminate()) else { return };
    while terminated.recv().await.is_some() {
        stop.request("sigterm");
    }
}
