//! `proofload plan`: how many replicas bear a load, and what a setting would change, from what a search or a run has found. Drives
//! nothing.

use std::path::Path;

use anyhow::{Context as _, bail};
use proofload_analyzer::model::replicas::{Basis, replicas};
use proofload_analyzer::model::{capacity_model, together};
use proofload_daemon::profile::file::{Curve, Point, Profile};
use proofload_run::findings::{BatchTime, CapacityModel, Replicas, Service};
use proofload_run::units::{format_duration_ns, significant};
use proofload_run::verdict::Verdict;
use serde::Serialize;

use crate::args::PlanArgs;
use crate::capacity;
use crate::console::print;

/// What is printed as JSON.
#[derive(Serialize)]
struct Plan {
    replicas: Replicas,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<CapacityModel>,
}

/// Reads the folder of a search or of a run, and says what it takes.
pub(crate) fn plan_command(args: &PlanArgs) -> anyhow::Result<Verdict> {
    if args.headroom >= 1.0 {
        bail!("--headroom has to be below 100 %: nothing would be left to use");
    }
    let (basis, model) = found(args)?;
    let plan = Plan { replicas: replicas(&basis, &args.rates, args.headroom, args.spare), model };
    print(&if args.json { serde_json::to_string_pretty(&plan)? } else { told(&plan) });
    Ok(Verdict::Pass)
}

/// What one bears, and the model of it.
fn found(args: &PlanArgs) -> anyhow::Result<(Basis, Option<CapacityModel>)> {
    let folder = &args.folder;
    let batches = args.profile.as_deref().map(|file| profiled(file, args.engine.as_deref())).transpose()?;
    // Steps still say what requests met; what batches take is then the profile's.
    let service = |seen: Option<Service>| match (&batches, seen) {
        (Some(batches), Some(seen)) => Some(Service { batches: batches.clone(), ..seen }),
        (_, seen) => seen,
    };
    if let Some((search, steps)) = capacity::read(folder)? {
        let found = search.found.as_ref().context("the search is not over: repeat its command to go on with it")?;
        let basis = Basis::of_capacity(found)
            .context("the search found no rate that is borne, so there is nothing to plan with")?;
        let service = service(together(steps.iter().map(|step| step.service.as_ref())));
        return Ok((basis, service.map(|service| capacity_model(&service, Some(&search.rules.slo), Some(found)))));
    }
    let findings =
        proofload_analyzer::analyze(folder).with_context(|| format!("cannot analyse {}", folder.display()))?;
    let basis = Basis::of_run(&findings).with_context(|| {
        format!(
            "{} says of no rate that it was borne: a plan needs a search (proofload capacity), a climb in steps with a service level, \
             or a run that kept its service level",
            folder.display()
        )
    })?;
    let slo = findings.run.slo;
    let model =
        service(findings.service).map(|service| capacity_model(&service, slo.as_ref(), findings.capacity.as_ref()));
    Ok((basis, model))
}

/// How long batches take by a profile: its medians, with their intervals as how sure they are.
fn profiled(file: &Path, engine: Option<&str>) -> anyhow::Result<Vec<BatchTime>> {
    let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let profile: Profile =
        serde_json::from_slice(&text).with_context(|| format!("{} is no profile of a model", file.display()))?;
    let known: Vec<&str> = profile.curves.iter().map(|curve| curve.engine.as_str()).collect();
    let wanted = |curve: &&Curve| engine.is_none_or(|engine| curve.engine == engine);
    let curve = profile.curves.iter().find(wanted).with_context(|| {
        format!(
            "{} says nothing of the engine '{}', but of {}",
            file.display(),
            engine.unwrap_or_default(),
            known.join(", ")
        )
    })?;
    let time = |point: &Point| {
        // The 95th percentile of a normal lies so many deviations above its median; of few executions the median's interval tells.
        let by_p95 = point.p95_ms.map(|p95| (p95 - point.median_ms.value).max(0.0) / 1.645);
        let by_median = (point.median_ms.high - point.median_ms.low) / (2.0 * 1.96) * (point.executions as f64).sqrt();
        BatchTime {
            batch: point.batch,
            n: point.executions as u64 * u64::from(point.batch),
            mean_ns: point.median_ms.value * 1e6,
            deviation_ns: by_p95.unwrap_or(by_median) * 1e6,
        }
    };
    Ok(curve.points.iter().map(time).collect())
}

fn told(plan: &Plan) -> String {
    let found = &plan.replicas;
    let mut lines = vec![
        format!("one replica bears {}/s ({})", significant(found.sustainable_per_s), found.basis),
        format!("replicas = {}", found.formula),
        String::new(),
        format!(
            "{:>12}  {:>8}  {:>9}  {:>14}",
            "peak",
            "replicas",
            "each used",
            format!("with {} failed", found.spare)
        ),
    ];
    let percent = |share: f64| format!("{} %", significant(share * 100.0));
    lines.extend(found.rows.iter().map(|row| {
        let peak = format!("{}/s", significant(row.peak_per_s));
        format!(
            "{peak:>12}  {:>8}  {:>9}  {:>14}",
            row.replicas,
            percent(row.used_share),
            percent(row.used_share_failed)
        )
    }));
    lines.extend(plan.model.iter().flat_map(settings));
    lines.join("\n")
}

fn settings(model: &CapacityModel) -> Vec<String> {
    if model.settings.is_empty() {
        return Vec::new();
    }
    let head = format!("what a setting of '{}' would change: a MODEL, no measurement", model.model);
    let mut lines = vec![String::new(), head];
    lines.extend(model.settings.iter().map(|setting| {
        let capacity = format!("{}/s", significant(setting.capacity_per_s));
        let (batch, delay) = (setting.max_batch, format_duration_ns(setting.delay_ns as f64));
        format!(
            "  {:<44} {capacity:>10}  {:>6} ×   ({} instances, batches up to {batch}, delay {delay})",
            setting.what,
            significant(setting.factor),
            setting.instances,
        )
    }));
    lines.extend(model.notes.iter().map(|note| format!("  {note}")));
    lines
}
