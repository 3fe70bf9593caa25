//! The report's tables, as rows of cells.

use proofload_run::findings::{
    Balance, EntryFindings, Findings, Kept, Latency, Rates, ServerPhases, SloResult, StepFindings, ThresholdResult,
    Vitals,
};
use proofload_run::verdict::Verdict;

use super::format::{count, duration, number, percent, percentile, seconds, share, share_interval};

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) text: String,
    /// Class of the style sheet: empty, `num`, or a badge such as `badge pass`.
    pub(super) class: &'static str,
}

/// One table. Without rows it is not shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) title: &'static str,
    pub(super) note: String,
    pub(super) head: Vec<Cell>,
    pub(super) rows: Vec<Vec<Cell>>,
}

pub(super) fn text(text: impl Into<String>) -> Cell {
    Cell { text: text.into(), class: "" }
}

pub(super) fn num(text: impl Into<String>) -> Cell {
    Cell { text: text.into(), class: "num" }
}

/// Column heads: those that begin with `#` are over numbers.
pub(super) fn head(names: &[&str]) -> Vec<Cell> {
    names.iter().map(|name| name.strip_prefix('#').map_or_else(|| text(*name), num)).collect()
}

fn verdict_badge(verdict: Verdict) -> Cell {
    let class = match verdict {
        Verdict::Pass => "badge pass",
        Verdict::Inconclusive => "badge inconclusive",
        Verdict::Fail => "badge fail",
        Verdict::Invalid => "badge invalid",
    };
    Cell { text: verdict.to_string(), class }
}

fn kept_badge(kept: Kept) -> Cell {
    let (word, class) = match kept {
        Kept::Met => ("met", "badge pass"),
        Kept::Inconclusive => ("too few", "badge inconclusive"),
        Kept::Missed => ("missed", "badge fail"),
    };
    Cell { text: word.to_owned(), class }
}

pub(super) fn thresholds(results: &[ThresholdResult]) -> Table {
    let row = |result: &ThresholdResult| {
        let bound = if result.default { format!("{} (default)", result.text) } else { result.text.clone() };
        vec![
            text(bound),
            verdict_badge(result.verdict),
            num(result.value_text.clone()),
            num(count(result.n)),
            text(result.note.clone()),
        ]
    };
    Table {
        title: "Thresholds",
        note: "No data is never a pass; a percentile with fewer than ten samples beyond it decides nothing.".to_owned(),
        head: head(&["Threshold", "Verdict", "#Measured", "#n", "Note"]),
        rows: results.iter().map(row).collect(),
    }
}

pub(super) fn slos(results: &[SloResult]) -> Table {
    let row = |result: &SloResult| {
        let slo = &result.slo;
        let bound = |what: &str, ns: Option<u64>| ns.map(|ns| format!(", {what} within {}", duration(ns as f64)));
        let tokens = [bound("first token", slo.ttft_ns), bound("between tokens", slo.itl_ns)];
        let tokens: String = tokens.into_iter().flatten().collect();
        let level = format!("p{} within {}{tokens}", slo.percentile, duration(slo.latency_ns as f64));
        vec![
            text(result.entry.clone().unwrap_or_else(|| "run".to_owned())),
            text(level),
            kept_badge(result.kept),
            num(share(&result.bad)),
            num(share_interval(&result.bad)),
            num(percent(result.allowed_share)),
            num(count(result.bad.n)),
            num(count(result.unknown)),
        ]
    };
    Table {
        title: "Service level",
        note:
            "Bad is slow, failed, refused or timed out. Unknown is what was still in flight and young, or never sent."
                .to_owned(),
        head: head(&["Of", "Level", "Kept", "#Bad", "#95 % interval", "#Allowed", "#n", "#Unknown"]),
        rows: results.iter().map(row).collect(),
    }
}

pub(super) fn at(latency: Option<&Latency>, which: f64) -> Cell {
    num(latency.and_then(|l| l.percentile(which)).map_or_else(|| "–".to_owned(), percentile))
}

pub(super) fn steps(findings: &Findings) -> Table {
    let row = |step: &StepFindings| {
        let bad = step.slos.iter().map(|slo| &slo.bad).max_by(|a, b| a.share.total_cmp(&b.share));
        let kept = match step.kept {
            Some(kept) => kept_badge(kept),
            None if step.warm_up => text("warm-up"),
            None if step.cut_short && step.latency.is_some() => text("cut short"),
            None if step.cut_short => text("not run"),
            None => text("–"),
        };
        let n: u64 = step.outcomes.values().sum();
        vec![
            text(step.name.clone()),
            num(number(step.level)),
            num(seconds(step.rates.measured_ns)),
            num(count(n)),
            num(number(step.rates.throughput_per_s)),
            num(number(step.rates.goodput_per_s)),
            at(step.latency.as_ref(), 50.0),
            at(step.latency.as_ref(), 95.0),
            at(step.latency.as_ref(), 99.0),
            num(errors_after_retries(&step.rates)),
            num(share(&step.rates.sheds)),
            num(bad.map_or_else(|| "–".to_owned(), share)),
            kept,
        ]
    };
    Table {
        title: "Steps",
        note:
            "Level is arrivals per second or users. Settling time and warm-up are left out. * fewer than ten samples \
               beyond the percentile."
                .to_owned(),
        head: head(&[
            "Step",
            "#Level",
            "#Measured",
            "#n",
            "#Answers /s",
            "#Goodput /s",
            "#p50",
            "#p95",
            "#p99",
            "#Errors",
            "#Sheds",
            "#Bad",
            "Level kept",
        ]),
        rows: findings.steps.iter().map(row).collect(),
    }
}

pub(super) fn entries(entries: &[EntryFindings]) -> Table {
    let row = |entry: &EntryFindings| {
        let n: u64 = entry.outcomes.values().sum();
        vec![
            text(entry.name.clone()),
            text(format!("{} {}", entry.protocol, entry.what)),
            text(entry.payload_policy.clone()),
            num(count(n)),
            num(number(entry.rates.throughput_per_s)),
            num(number(entry.rates.goodput_per_s)),
            at(entry.latency.as_ref(), 50.0),
            at(entry.latency.as_ref(), 95.0),
            at(entry.latency.as_ref(), 99.0),
            num(entry.latency.as_ref().map_or_else(|| "–".to_owned(), |l| duration(l.max_ns as f64))),
            num(errors_after_retries(&entry.rates)),
            num(share(&entry.rates.sheds)),
            num(share(&entry.cache_hits)),
        ]
    };
    Table {
        title: "Entries of the mix",
        note: String::new(),
        head: head(&[
            "Entry",
            "Request",
            "Payloads",
            "#n",
            "#Answers /s",
            "#Goodput /s",
            "#p50",
            "#p95",
            "#p99",
            "#max",
            "#Errors",
            "#Sheds",
            "#Cache hits",
        ]),
        rows: entries.iter().map(row).collect(),
    }
}

pub(super) fn errors(findings: &Findings) -> Table {
    let row = |class: &proofload_run::findings::ErrorClass| {
        vec![
            text(class.entry.clone()),
            text(class.outcome.replace('_', " ")),
            num(if class.status == 0 { "–".to_owned() } else { class.status.to_string() }),
            num(count(class.count)),
            num(percent(class.share)),
            num(seconds(class.first_ns)),
            num(seconds(class.last_ns)),
            text(class.examples.join(" · ")),
        ]
    };
    Table {
        title: "What went wrong",
        note: "The whole run, warm-up included.".to_owned(),
        head: head(&["Entry", "Outcome", "#Status", "#Count", "#Share", "#First", "#Last", "In the server's words"]),
        rows: findings.errors.iter().map(row).collect(),
    }
}

pub(super) fn phases(findings: &Findings) -> Table {
    let rows = findings.phases.iter().flat_map(|breakdown| {
        breakdown.parts.iter().map(|part| {
            vec![
                text(breakdown.entry.clone()),
                text(part.name.clone()),
                num(duration(part.mean_ns)),
                num(duration(part.p95_ns)),
                num(percent(part.share)),
                num(count(breakdown.n)),
                text(breakdown.stated_by.clone()),
            ]
        })
    });
    Table {
        title: "Phases",
        note: "Means add up to the mean latency; percentiles of parts do not add up.".to_owned(),
        head: head(&["Entry", "Part", "#Mean", "#p95", "#Share of mean", "#n", "Stated by"]),
        rows: rows.collect(),
    }
}

/// Shown where answers do not say it better: the phases of each request have percentiles, and are of our requests.
pub(super) fn server_phases(findings: &Findings) -> Table {
    let answered = findings.entries.iter().filter(|entry| entry.latency.is_some()).count();
    let shown = if findings.phases.len() < answered { &findings.server_phases[..] } else { &[] };
    let row = |phases: &ServerPhases| {
        let mut cells = vec![text(phases.model.clone()), text(phases.step.clone())];
        cells.extend(phases.parts.iter().map(|part| num(duration(part.mean_ns))));
        let resets = if phases.resets > 0 { format!("{} resets", phases.resets) } else { String::new() };
        cells.extend([
            num(duration(phases.mean_request_ns)),
            num(count(phases.n)),
            text(phases.source.clone()),
            text(resets),
        ]);
        cells
    };
    Table {
        title: "Mean phases by the server's counters",
        note:
            "MEANS over the successes that the server counted between two scrapes of a step, whoever asked for them: \
               counters hold sums, so there are no percentiles of these. What was counted across a reset is left out."
                .to_owned(),
        head: head(&[
            "Model",
            "Step",
            "#Mean queue",
            "#Mean compute input",
            "#Mean compute infer",
            "#Mean compute output",
            "#Mean whole request",
            "#n",
            "Read from",
            "",
        ]),
        rows: shown.iter().map(row).collect(),
    }
}

pub(super) fn batches(findings: &Findings) -> Table {
    let row = |sizes: &proofload_run::findings::BatchSizes| {
        let each: Vec<String> =
            sizes.counts.iter().map(|(size, n)| format!("{size}: {}", percent(*n as f64 / sizes.n as f64))).collect();
        vec![text(sizes.entry.clone()), num(count(sizes.n)), num(number(sizes.mean)), text(each.join(", "))]
    };
    Table {
        title: "Batch sizes",
        note: "Over requests, as the server says: a batch of four counts four times.".to_owned(),
        head: head(&["Entry", "#n", "#Mean", "Share of requests by batch size"]),
        rows: findings.batches.iter().map(row).collect(),
    }
}

pub(super) fn conservation(findings: &Findings) -> Table {
    let row = |found: &proofload_run::findings::Conservation| {
        let badge = match found.balance {
            Balance::Balanced => Cell { text: "agree".to_owned(), class: "badge pass" },
            Balance::Deficit => Cell { text: "deficit".to_owned(), class: "badge fail" },
            Balance::Surplus => Cell { text: "surplus".to_owned(), class: "badge inconclusive" },
            Balance::Reset => Cell { text: "reset".to_owned(), class: "badge inconclusive" },
            Balance::NotCounted => Cell { text: "not counted".to_owned(), class: "badge inconclusive" },
        };
        vec![
            text(found.model.clone()),
            num(count(found.our_successes)),
            num(count(found.our_abandoned)),
            num(count(found.server_successes)),
            badge,
        ]
    };
    Table {
        title: "Conservation",
        note: "The server's own count of successes must lie between ours and ours plus what we gave up on.".to_owned(),
        head: head(&["Model", "#Our successes", "#Given up", "#Server's count", "Counts"]),
        rows: findings.conservation.iter().map(row).collect(),
    }
}

pub(super) fn audit(findings: &Findings) -> Table {
    let audit = &findings.audit;
    let successes = findings.latency.as_ref().map_or(0, |latency| latency.n);
    let mut rows = vec![
        vec![text("Own lateness p50 / p99 / max"), num(lateness(findings)), num(count(audit.n))],
        vec![
            text("Waiting for a connection p99 (not the generator's)"),
            num(duration(audit.connection_wait_p99_ns as f64)),
            num(count(audit.n)),
        ],
        vec![text("Arrivals never sent"), num(share(&audit.dropped)), num(count(audit.dropped.n))],
        vec![text("Samples that could not be written"), num(count(audit.lost_samples)), text("")],
    ];
    rows.insert(0, vec![text("The figures are"), num(audit.standing().as_str()), text("")]);
    rows.extend(vitals(&audit.vitals));
    rows.extend(audit.cpu_cores.map(|cores| vec![text("Processors used"), num(number(cores)), text("")]));
    rows.extend(audit.effects.iter().map(|effect| {
        let both = format!("{} / {}", duration(effect.measured_ns as f64), duration(effect.without_ns as f64));
        vec![
            text(format!("Latency p{} as measured / without own lateness", effect.percentile)),
            num(both),
            num(count(successes)),
        ]
    }));
    Table {
        title: "The generator",
        note:
            "A run is INVALID when the generator's own lateness is most of a percentile, or changes it by more than 10 % \
               and 1 ms and 5 % of the tightest bound on latency; when it sent less than 99 % of the plan; or when \
               samples are unaccounted for."
                .to_owned(),
        head: head(&["Check", "#Figure", "#n"]),
        rows,
    }
}

/// The share of errors, with the retries that it is after.
fn errors_after_retries(rates: &Rates) -> String {
    match rates.retries {
        0 => share(&rates.errors),
        retries => format!("{}, after {} retries", share(&rates.errors), count(retries)),
    }
}

fn vitals(vitals: &Vitals) -> Vec<Vec<Cell>> {
    let plain = |name: &str, value: String| vec![text(name), num(value), text("")];
    let seconds = |value: f64| duration(value * 1e9);
    let stalls = format!("{} / {}", count(vitals.stalls), duration(vitals.longest_stall_ns as f64));
    let worst = vitals.worst_second.map(|worst| {
        let at = duration(worst.from_ns as f64);
        plain(
            "Most arrivals sent over 100 ms late in a second",
            format!("{} of {}, at {at}", worst.behind, worst.intended),
        )
    });
    let waited = vitals.waited_for_cpu_s.map(|s| plain("The sending thread waited for a processor", seconds(s)));
    let preempted = vitals.preempted.map(|n| plain("The sending thread lost its processor", number(n)));
    let throttled = vitals.throttled_s.map(|s| plain("Held back by its control group", seconds(s)));
    let stalls = plain("Stalls of 100 ms and longer / longest", stalls);
    [Some(stalls), worst, waited, preempted, throttled].into_iter().flatten().collect()
}

fn lateness(findings: &Findings) -> String {
    let audit = &findings.audit;
    [audit.late_p50_ns, audit.late_p99_ns, audit.late_max_ns].map(|ns| duration(ns as f64)).join(" / ")
}

pub(super) fn totals(findings: &Findings) -> Table {
    let totals = &findings.totals;
    let measured = |outcome: &str| totals.measured_outcomes.get(outcome).copied().unwrap_or(0);
    let mut rows: Vec<Vec<Cell>> = totals
        .outcomes
        .iter()
        .map(|(outcome, n)| vec![text(outcome.replace('_', " ")), num(count(*n)), num(count(measured(outcome)))])
        .collect();
    rows.push(vec![text("all"), num(count(totals.samples)), num(count(totals.measured))]);
    Table {
        title: "Every arrival accounted for",
        note: format!(
            "{} belong to warm-up and {} to settling; they are counted here and left out of every other figure.",
            count(totals.warm_up),
            count(totals.settling)
        ),
        head: head(&["Outcome", "#Whole run", "#Measured"]),
        rows,
    }
}
