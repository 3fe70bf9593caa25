//! `proofload capacity`: searches the highest rate that keeps a service level. Each step of the search is a run of its own
//! below the search's folder; what is driven next is the analyzer's to say.

mod kept;
mod lines;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, bail};
use proofload_analyzer::capacity::{MOST_ALLOWED, Next, Search, observe, saturation, verdict, write_page};
use proofload_loadgen::host;
use proofload_loadgen::progress::Snapshot;
use proofload_loadgen::run::{ResolvedTarget, RunOptions, run};
use proofload_loadgen::scenario::{Held, Scenario};
use proofload_loadgen::stop::StopHandle;
use proofload_run::capacity::{Capacity, CapacitySearch, Planned, Rules, Seen};
use proofload_run::criteria::Slo;
use proofload_run::findings::Findings;
use proofload_run::manifest::EndReason;
use proofload_run::verdict::Verdict;
use tokio::sync::watch;

use crate::args::CapacityArgs;
use crate::console::{note, print};
use crate::embedded::EmbeddedDaemon;
use crate::run::{DEFAULT_FOLDER, obey_sigterm, tool};
use crate::target;
use kept::Kept;

/// First guess where neither the command line nor the scenario has one.
const GUESS_PER_S: f64 = 10.0;

/// Searches, and says the verdict.
pub(crate) fn capacity_command(args: &CapacityArgs) -> anyhow::Result<Verdict> {
    let scenario = Scenario::load(&args.scenario, &args.overrides).map_err(|errors| anyhow::anyhow!("{errors}"))?;
    let problem = scenario.cannot_be_held().or_else(|| target::problem(&args.target, &scenario));
    if let Some(problem) = problem {
        bail!("nothing was driven: {problem}");
    }
    let (rules, folder) = (rules(args, &scenario)?, folder(args, &scenario));
    let target = target::named_target(&args.target, scenario.target.as_ref());
    let kept = Kept::open(&folder, &scenario, target.as_ref(), rules)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let stop = StopHandle::default();
    stop.obey_ctrl_c();
    runtime.spawn(obey_sigterm(stop.clone()));
    host::connection_limit();
    let quiet = args.output.quiet;
    let driver = Driver { scenario, slo: rules.slo, folder, stop, quiet };
    runtime.block_on(driver.go(target, kept))
}

fn folder(args: &CapacityArgs, scenario: &Scenario) -> PathBuf {
    args.out.clone().unwrap_or_else(|| {
        let now = chrono::Utc::now().format("%Y%m%d-%H%M%S");
        Path::new(DEFAULT_FOLDER).join(format!("capacity-{}-{now}", scenario.name))
    })
}

fn rules(args: &CapacityArgs, scenario: &Scenario) -> anyhow::Result<Rules> {
    let slo = args.slo.or(scenario.slo).with_context(|| {
        format!(
            "nothing was driven: {} states no service level; add --slo 'p95<200ms,errors<1%', or [slo] to the file",
            args.scenario.display()
        )
    })?;
    if slo.bad_fraction() > MOST_ALLOWED {
        bail!("nothing was driven: capacity is searched for p75 and above, and not for p{}", slo.percentile);
    }
    if let Some(entry) = scenario.mix.iter().find(|entry| args.slo.is_none() && entry.slo.is_some()) {
        bail!(
            "nothing was driven: entry `{}` of {} has a service level of its own, and capacity is searched for one: \
             state it with --slo",
            entry.name,
            args.scenario.display()
        );
    }
    Ok(Rules {
        slo,
        guess_per_s: args.from.or_else(|| scenario.first_rate_per_s()).unwrap_or(GUESS_PER_S),
        most_per_s: args.most,
        budget_ns: args.budget,
        half_width_share: args.width,
        soak_ns: args.soak,
        at_least_per_s: args.at_least,
    })
}

/// Writes the page of a search that is over, and says what was found.
fn tell(kept: &Kept, all: &[Findings]) -> anyhow::Result<Verdict> {
    let found = kept.search().found.as_ref().context("the search is not over: repeat its command to go on with it")?;
    let (verdict, why) = verdict(found, kept.rules().at_least_per_s);
    let page = write_page(kept.folder(), kept.search(), all, verdict, &why)?;
    print(&lines::found(found, verdict, &why));
    print(&format!("report  {}", std::path::absolute(&page).unwrap_or(page).display()));
    Ok(verdict)
}

/// The search in a folder and the findings on its steps; `None` where there is no search.
pub(crate) fn read(folder: &Path) -> anyhow::Result<Option<(CapacitySearch, Vec<Findings>)>> {
    Kept::read(folder)?.map(|kept| Ok((kept.search().clone(), kept.findings()?))).transpose()
}

/// Writes the page of the search in a folder again; `None` where there is no search.
pub(crate) fn told_again(folder: &Path) -> anyhow::Result<Option<Verdict>> {
    Kept::read(folder)?.map(|kept| tell(&kept, &kept.findings()?)).transpose()
}

/// The findings of a search's last step, with what was found; `None` where there is no search.
pub(crate) fn findings_with_capacity(folder: &Path) -> anyhow::Result<Option<Findings>> {
    let Some(kept) = Kept::read(folder)? else { return Ok(None) };
    let mut findings = kept.last_findings()?;
    findings.capacity.clone_from(&kept.search().found);
    findings.run.slo = Some(kept.rules().slo);
    Ok(Some(findings))
}

/// What a search needs to drive its steps.
struct Driver {
    scenario: Scenario,
    slo: Slo,
    folder: PathBuf,
    stop: StopHandle,
    quiet: bool,
}

/// A step that was driven.
struct Driven {
    seen: Seen,
    findings: Findings,
}

impl Driver {
    /// Searches, whoever the target is, and stops what it started.
    async fn go(&self, named: Option<ResolvedTarget>, kept: Kept) -> anyhow::Result<Verdict> {
        let (target, daemon) = if let Some(target) = named {
            (target, None)
        } else {
            let daemon = EmbeddedDaemon::start(&self.folder.join("daemon.log")).await?;
            (daemon.target(), Some(daemon))
        };
        let outcome = self.search(&target, kept).await;
        if let Some(daemon) = daemon {
            daemon.stop().await.unwrap_or_else(|error| note(&format!("proofload: {error:#}")));
        }
        outcome
    }

    async fn search(&self, target: &ResolvedTarget, mut kept: Kept) -> anyhow::Result<Verdict> {
        let mut search = Search::new(kept.rules(), kept.steps().to_vec());
        let mut all = kept.findings()?;
        self.say(&lines::head(&kept.rules(), kept.steps().len()));
        let (before_ns, begun) = (kept.spent_ns(), Instant::now());
        let spent_ns = || before_ns + u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let found = loop {
            let planned = match search.next(spent_ns()) {
                Next::Done(found) => break *found,
                Next::Drive(planned) => planned,
            };
            let Some(Driven { seen, findings }) = self.drive(target, planned, kept.next_folder()?).await? else {
                return Ok(self.interrupted());
            };
            self.say(&lines::step(kept.steps().len() + 1, &seen, &findings));
            kept.add(seen.clone(), spent_ns())?;
            search.show(seen);
            all.push(findings);
        };
        kept.close(Capacity { saturated: saturation(kept.steps(), &all, &found), ..found })?;
        tell(&kept, &all)
    }

    fn say(&self, line: &str) {
        if !self.quiet {
            note(line);
        }
    }

    fn interrupted(&self) -> Verdict {
        note(&format!(
            "proofload: stopped by {}; what was found so far is kept, and the same command with --out {} goes on with it",
            self.stop.by(),
            self.folder.display()
        ));
        Verdict::Inconclusive
    }

    /// Drives one step; `None` when it was stopped.
    async fn drive(
        &self,
        target: &ResolvedTarget,
        planned: Planned,
        (number, folder): (u64, PathBuf),
    ) -> anyhow::Result<Option<Driven>> {
        let Planned { rate_per_s, settle_ns, hold_ns, .. } = planned;
        let scenario = self.scenario.held(Held { number, rate_per_s, settle_ns, hold_ns }, self.slo);
        let (progress, snapshots) = watch::channel(Snapshot::default());
        let options = RunOptions {
            folder: folder.clone(),
            run_id: format!("{}-capacity-{number}", self.scenario.name),
            target: target.clone(),
            tool: tool(),
            host: host::probe(),
            stop: self.stop.clone(),
            progress,
        };
        let summary = run(&scenario, options).await.with_context(|| scenario.source.path.display().to_string())?;
        drop(snapshots);
        match summary.end.reason {
            EndReason::Interrupted => return Ok(None),
            EndReason::TargetLost | EndReason::GeneratorFailed => {
                bail!("step {number} at {rate_per_s:.1}/s: {}; it is kept in {}", summary.end.detail, folder.display())
            }
            EndReason::Completed | EndReason::LimitFound | EndReason::Aborted => {}
        }
        let (seen, findings) =
            observe(&folder, planned).with_context(|| format!("cannot analyse {}", folder.display()))?;
        Ok(Some(Driven { seen, findings }))
    }
}
