//! The section on the capacity model: replicas, the curve of batches, waits, and what a setting would change.

use proofload_run::findings::{CapacityModel, Findings, Fitted, Replicas, ReplicasFor, Roofline, Setting, WaitCheck};

use super::chart::{Axis, Chart, Ink, Mark, Series};
use super::format::{count, duration, number, percent};
use super::page::sentence;
use super::sections::Section;
use super::tables::{Cell, Table, head, num, text};

const ID: &str = "model";
const TITLE: &str = "Replicas and settings";

/// Of a run; without charts and rows where it says too little.
pub(super) fn model(findings: &Findings) -> Section {
    section(findings.model.as_ref(), findings.replicas.as_ref())
}

/// Of a model and a plan, as far as there are.
pub(super) fn section(model: Option<&CapacityModel>, replicas: Option<&Replicas>) -> Section {
    let curve = model.and_then(|model| model.roofline.as_ref());
    let charts = [replicas.and_then(staircase), curve.and_then(per_batch)];
    let mut tables: Vec<Table> = replicas.map(replicas_table).into_iter().collect();
    tables.extend(model.map(settings));
    tables.extend(model.map(waits));
    tables.extend(model.map(laws));
    let notes = model.map_or(&[][..], |model| &model.notes);
    let note = notes.iter().map(|note| format!("{}.", sentence(note))).collect::<Vec<_>>().join(" ");
    Section { note, ..Section::new(ID, TITLE, charts, tables) }
}

/// Replicas against the load, for what one bears for sure and for the other end of what it may bear.
fn staircase(found: &Replicas) -> Option<Chart> {
    const POINTS: u32 = 120;
    let usable = found.sustainable_per_s * (1.0 - found.headroom);
    let widest = found.rows.iter().map(|row| row.peak_per_s).filter(|peak| *peak <= 12.0 * found.sustainable_per_s);
    let widest = widest.fold(found.sustainable_per_s * 2.0, f64::max);
    if usable <= 0.0 {
        return None;
    }
    let needed =
        |one: f64, peak: f64| (peak / (one * (1.0 - found.headroom)) - 1e-9).ceil().max(1.0) + f64::from(found.spare);
    // Two points at each rise, so that it stands upright.
    let stairs = |one: f64| {
        let each = one * (1.0 - found.headroom);
        let rises = (1..=((widest / each) as u32).min(POINTS)).map(|step| f64::from(step) * each);
        let edges = rises.flat_map(|at| [(at, needed(one, at)), (at, needed(one, at) + 1.0)]);
        let mut points = vec![(0.0, needed(one, 0.0))];
        points.extend(edges);
        points.push((widest, needed(one, widest)));
        points.into_iter().map(|(x, y)| (x, Some(y))).collect::<Vec<_>>()
    };
    let top = needed(found.sustainable_per_s, widest) + 1.0;
    let x = Axis::range("requests per second at the peak", 0.0, widest);
    let note = format!("{}: the last number is spare.", found.formula);
    let mut chart = Chart::new("Replicas for a load", &note, x, Axis::from_zero("", top));
    chart.series = vec![Series::new("by the sustainable rate", Ink::Blue, Mark::Line, stairs(found.sustainable_per_s))];
    if let Some([_, high]) = found.interval_per_s {
        chart.series.push(Series::new("by the upper end of the interval", Ink::Slate, Mark::Dashed, stairs(high)));
    }
    let words: Vec<String> =
        found.rows.iter().map(|row| format!("{}/s {}", number(row.peak_per_s), row.replicas)).collect();
    chart.summary = format!("Replicas for a load: {}", words.join(", "));
    Some(chart)
}

fn replicas_table(found: &Replicas) -> Table {
    let row = |row: &ReplicasFor| {
        vec![
            num(format!("{}/s", number(row.peak_per_s))),
            num(count(row.replicas)),
            num(percent(row.used_share)),
            num(percent(row.used_share_failed)),
        ]
    };
    let interval = found.interval_per_s.map_or_else(String::new, |[low, high]| {
        format!(" The limit of one lies between {}/s and {}/s with 90 % probability.", number(low), number(high))
    });
    Table {
        title: "Replicas for a load",
        note: format!(
            "{}, with {}/s: {}.{interval} Replicas are taken to share nothing and the load to be dealt out evenly. Other numbers: \
             proofload plan.",
            found.formula,
            number(found.sustainable_per_s),
            found.basis,
        ),
        head: head(&["#Peak", "#Replicas", "#Each used", &format!("#With {} failed", found.spare)]),
        rows: found.rows.iter().map(row).collect(),
    }
}

/// Requests per second by batch size.
fn per_batch(found: &Roofline) -> Option<Chart> {
    let highest =
        found.by_batch.iter().map(|(_, per_s)| per_s.high).filter(|high| high.is_finite()).reduce(f64::max)?;
    let most = f64::from(found.by_batch.last()?.0);
    let note = format!(
        "k·B / (fixed + each·B) with k = {}: when all batches are of that size. Bars are 95 % intervals.",
        found.instances
    );
    let x = Axis::range("batch size", 0.0, most * 1.04);
    let mut chart = Chart::new("Requests per second by batch size", &note, x, Axis::from_zero("", highest));
    let points = found.by_batch.iter().map(|(batch, per_s)| (f64::from(*batch), Some(per_s.value))).collect();
    let mut law = Series::new("by the fitted law", Ink::Slate, Mark::Line, points);
    law.intervals = found.by_batch.iter().map(|(batch, per_s)| (f64::from(*batch), per_s.low, per_s.high)).collect();
    let seen = found.seen.iter().filter(|(batch, per_s)| f64::from(*batch) <= most && *per_s <= highest);
    let seen = seen.map(|(batch, per_s)| (f64::from(*batch), Some(*per_s))).collect();
    chart.series = vec![law, Series::new("by batches as they were seen", Ink::Teal, Mark::Dot, seen)];
    let words: Vec<String> =
        found.by_batch.iter().map(|(batch, per_s)| format!("{batch}: {}/s", number(per_s.value))).collect();
    chart.summary = format!("Requests per second by batch size: {}", words.join(", "));
    Some(chart)
}

fn settings(model: &CapacityModel) -> Table {
    let row = |setting: &Setting| {
        vec![
            text(setting.what.clone()),
            num(count(u64::from(setting.instances))),
            num(count(u64::from(setting.max_batch))),
            num(duration(setting.delay_ns as f64)),
            num(format!("{}/s", number(setting.capacity_per_s))),
            num(format!("{} ×", number(setting.factor))),
        ]
    };
    Table {
        title: "What a setting would change",
        note: format!(
            "A MODEL of '{}', no measurement: its batcher simulated with Poisson arrivals, batches as they were seen to take, and the \
             service level of the run. How far it is off for things as they are is said above, where that is known.",
            model.model
        ),
        head: head(&["Setting", "#Instances", "#Largest batch", "#Delay", "#Capacity", "#Against now"]),
        rows: model.settings.iter().map(row).collect(),
    }
}

fn waits(model: &CapacityModel) -> Table {
    let time = |ns: Option<f64>| num(ns.map_or_else(|| "–".to_owned(), duration));
    let row = |wait: &WaitCheck| {
        vec![
            text(wait.step.clone()),
            num(format!("{}/s", number(wait.arrivals_per_s))),
            num(percent(wait.utilisation)),
            num(duration(wait.observed_ns)),
            num(count(wait.n)),
            time(wait.allen_cunneen_ns),
            time(wait.simulated_ns),
            match (wait.departs, wait.simulated_ns) {
                (true, _) => Cell { text: "departs".to_owned(), class: "badge inconclusive" },
                (false, Some(_)) => Cell { text: "agrees".to_owned(), class: "badge pass" },
                (false, None) => text("–"),
            },
        ]
    };
    Table {
        title: "Waiting, predicted and observed",
        note: format!(
            "Mean time in the queue of '{}'. Allen and Cunneen's formula for G/G/m holds for requests that are served one by one; the \
             simulation has the batcher too. Neither knows a load that instances cannot keep up with.",
            model.model
        ),
        head: head(&[
            "Step",
            "#Arrivals",
            "#Instances busy",
            "#Observed",
            "#n",
            "#Allen-Cunneen",
            "#Simulated",
            "Model",
        ]),
        rows: model.waits.iter().map(row).collect(),
    }
}

/// The fitted numbers.
fn laws(model: &CapacityModel) -> Table {
    let between = |estimate: &Fitted, written: &dyn Fn(f64) -> String| {
        format!("{} ({} to {})", written(estimate.value), written(estimate.low), written(estimate.high))
    };
    let mut rows = Vec::new();
    if let Some(law) = &model.roofline {
        let n = count(law.batches);
        let stated = if law.instances_stated { "stated by the target" } else { "assumed" };
        rows.push(vec![
            text("a batch costs, whatever its size"),
            num(between(&law.fixed_ns, &duration)),
            num(n.clone()),
        ]);
        rows.push(vec![text("each element of it"), num(between(&law.each_ns, &duration)), num(n.clone())]);
        rows.push(vec![text("spread of a batch's time over its mean"), num(percent(law.spread)), num(n)]);
        rows.push(vec![text(format!("instances, {stated}")), num(count(u64::from(law.instances))), num("")]);
    }
    if let Some(usl) = &model.usl {
        let n = || num(format!("{} steps, {} beyond", usl.steps, usl.beyond));
        let per_s = |value: f64| format!("{}/s", number(value));
        rows.push(vec![text("USL: one alone"), num(between(&usl.alone_per_s, &per_s)), n()]);
        rows.push(vec![text("USL: contention σ"), num(between(&usl.contention, &number)), n()]);
        rows.push(vec![text("USL: coherency κ"), num(between(&usl.coherency, &number)), n()]);
        rows.push(vec![text("USL: highest throughput"), num(between(&usl.most_per_s, &per_s)), n()]);
        rows.push(vec![text("USL: with so many under way"), num(between(&usl.most_at, &number)), n()]);
    } else if !rows.is_empty() {
        rows.push(vec![text("universal scalability law"), num("not fitted"), num(model.no_usl.clone())]);
    }
    Table {
        title: "Fitted",
        note: "With 95 % intervals. USL misfits dynamic batchers; it is beside the law of batches for comparison."
            .to_owned(),
        head: head(&["What", "#Figure", "#From"]),
        rows,
    }
}
