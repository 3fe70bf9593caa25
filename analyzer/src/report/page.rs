//! The HTML report: what the template shows, as text.

use askama::Template;
use proofload_run::findings::{Fault, Findings, Reason, Warning};
use proofload_run::manifest::{EndReason, LoadModel};
use proofload_run::verdict::Verdict;

use super::chart::{Chart, Drawn, Mark, SHADES, darkness, shade, signs, svg};
use super::data::{Data, data, plain, scale};
use super::format::{calendar, count, number, seconds};
use super::lead::lead;
use super::sections::{Section, sections};
use super::tables::Table;
use super::tiles::{Tile, tiles};
use crate::AnalyzeError;

/// Width and height of a chart as shown, on a desk and on a phone.
const WIDE: (u32, u32) = (620, 250);
const NARROW: (u32, u32) = (350, 220);

/// What holds for the figures of a run.
const FINE: &str = "Intervals are 95 %, widened for the correlation between neighbouring requests. Latency is measured \
                    from the intended arrival, over successes.";

/// One entry of a legend.
pub(super) struct Legend {
    pub(super) variable: &'static str,
    pub(super) class: &'static str,
    /// What stands on the line besides.
    pub(super) sign: &'static str,
    /// How dark, 1 but for the shades of a heat map.
    pub(super) darkness: f64,
    pub(super) label: String,
}

/// One chart, drawn.
pub(super) struct Drawing {
    pub(super) title: String,
    pub(super) note: String,
    pub(super) legend: Vec<Legend>,
    pub(super) wide: Placed,
    pub(super) narrow: Placed,
    pub(super) data: Option<Data>,
    /// Scale and range of the x axis, for the script.
    pub(super) x: [String; 3],
}

/// A drawing, and where its axes lie in it, for the script.
pub(super) struct Placed {
    pub(super) svg: String,
    pub(super) plot: String,
}

/// One section, drawn.
pub(super) struct Shown {
    id: &'static str,
    title: &'static str,
    note: String,
    drawings: Vec<Drawing>,
    tables: Vec<Table>,
}

/// A name and what it stands for.
pub(super) struct Fact {
    pub(super) name: &'static str,
    pub(super) text: String,
}

#[derive(Template)]
#[template(path = "report.html")]
pub(super) struct Page<'a> {
    pub(super) title: String,
    pub(super) verdict: Verdict,
    pub(super) class: &'static str,
    pub(super) headline: Reason,
    /// What follows the reason: what was asked and answered, and whether it can be believed.
    pub(super) lead: Vec<String>,
    pub(super) others: Vec<Reason>,
    pub(super) cautions: Vec<Fault>,
    pub(super) subtitle: String,
    pub(super) tiles: Vec<Tile>,
    /// Of the tiles on a wide page: one full row, or two.
    pub(super) columns: usize,
    pub(super) sections: Vec<Shown>,
    pub(super) warnings: Vec<Warning>,
    pub(super) facts: Vec<Fact>,
    pub(super) scenario_path: &'a str,
    pub(super) scenario: &'a str,
    pub(super) reproduce: String,
    /// What holds for the figures.
    pub(super) fine: &'static str,
}

/// The whole page.
pub(super) fn html(findings: &Findings) -> Result<String, AnalyzeError> {
    let mut reasons = findings.reasons.iter().map(capitalised);
    let headline = reasons.next().ok_or(AnalyzeError::NoReason)?;
    let sections = sections(findings).into_iter().map(show).collect::<Result<_, _>>()?;
    let tiles = tiles(findings);
    let page = Page {
        title: format!("{}: {}", findings.verdict, findings.run.scenario),
        verdict: findings.verdict,
        class: class(findings.verdict),
        headline,
        lead: lead(findings),
        others: reasons.collect(),
        cautions: findings.audit.cautions.iter().map(caution).collect(),
        subtitle: subtitle(findings),
        columns: if tiles.len() <= 7 { tiles.len() } else { tiles.len().div_ceil(2) },
        tiles,
        sections,
        warnings: findings
            .warnings
            .iter()
            .map(|warning| Warning { message: sentence(&warning.message), ..warning.clone() })
            .collect(),
        facts: facts(findings),
        scenario_path: &findings.run.scenario_path,
        scenario: &findings.run.scenario_as_written,
        reproduce: reproduce(findings),
        fine: FINE,
    };
    Ok(page.render()?)
}

fn capitalised(reason: &Reason) -> Reason {
    Reason { sentence: sentence(&reason.sentence), remedy: sentence(&reason.remedy), ..reason.clone() }
}

fn caution(found: &Fault) -> Fault {
    Fault { sentence: sentence(&found.sentence), remedy: sentence(&found.remedy) }
}

/// A sentence begins with a capital, a name (`p95`, `error_rate`, `relief:`) as it is.
pub(super) fn sentence(text: &str) -> String {
    let first = text.split(' ').next().unwrap_or_default();
    match text.chars().next() {
        Some(initial) if first.chars().all(char::is_alphabetic) => {
            initial.to_uppercase().chain(text.chars().skip(1)).collect()
        }
        _ => text.to_owned(),
    }
}

/// The style sheet's class of a verdict.
pub(super) fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Inconclusive => "inconclusive",
        Verdict::Fail => "fail",
        Verdict::Invalid => "invalid",
    }
}

/// A section as the template shows it.
///
/// # Errors
/// When a chart cannot be drawn.
pub(super) fn show(section: Section) -> Result<Shown, AnalyzeError> {
    let drawings = section.charts.iter().map(draw).collect::<Result<_, _>>().map_err(AnalyzeError::Chart)?;
    Ok(Shown { id: section.id, title: section.title, note: section.note, drawings, tables: section.tables })
}

/// A chart, drawn for desks and for phones.
///
/// # Errors
/// When plotters cannot draw it.
pub(super) fn draw(chart: &Chart) -> Result<Drawing, Box<dyn std::error::Error + Send + Sync>> {
    Ok(Drawing {
        title: chart.title.clone(),
        note: chart.note.clone(),
        legend: legend(chart),
        wide: placed(svg(chart, WIDE.0, WIDE.1)?),
        narrow: placed(svg(chart, NARROW.0, NARROW.1)?),
        data: data(chart),
        x: [scale(chart.x.scale).to_owned(), plain(chart.x.from), plain(chart.x.to)],
    })
}

fn placed(drawn: Drawn) -> Placed {
    let plot = drawn.plot.map(|share| format!("{share:.4}")).join(" ");
    Placed { svg: drawn.svg, plot }
}

fn legend(chart: &Chart) -> Vec<Legend> {
    let plain = |variable: &'static str, class: &'static str, label: String| Legend {
        variable,
        class,
        sign: "",
        darkness: 1.0,
        label,
    };
    let blocks = chart.blocks.iter().map(|(label, ink, _)| plain(ink.variable(), "swatch box", label.clone()));
    let series = chart.series.iter().zip(signs(&chart.series)).map(|(series, sign)| {
        let class = match series.mark {
            Mark::Dashed => "swatch dashed",
            Mark::Dot => "swatch dot",
            Mark::Area => "swatch area",
            Mark::Line => "swatch",
        };
        Legend { sign: sign.as_str(), ..plain(series.ink.variable(), class, series.label.clone()) }
    });
    let limits = chart.limits.iter().map(|(label, _)| plain("--red", "swatch dashed", label.clone()));
    let shaded = chart.shaded.first().map(|_| plain("--shade", "swatch box", chart.shade_label.to_owned()));
    let all = series.chain(blocks).chain(shades(chart)).chain(limits).chain(shaded);
    all.filter(|entry| !entry.label.is_empty()).collect()
}

/// What the shades of a heat map stand for: those that some count has.
fn shades(chart: &Chart) -> Vec<Legend> {
    let fullest = chart.fullest();
    let of = |wanted: u32| {
        // Shades are ranges of counts of equal factors; the exact bounds follow from how counts are shaded.
        let edge = |shade: u32| (fullest.max(2) as f64).powf(f64::from(shade) / f64::from(SHADES)).ceil() as u64;
        let (from, to) = (edge(wanted).max(1), if wanted + 1 == SHADES { fullest } else { edge(wanted + 1) - 1 });
        let label = if from == to { count(from) } else { format!("{} to {}", count(from), count(to)) };
        let entry = Legend { variable: "--blue", class: "swatch box", sign: "", darkness: darkness(wanted), label };
        (from <= to && shade(from, fullest) == wanted).then_some(entry)
    };
    if chart.cells.is_empty() { Vec::new() } else { (0..SHADES).filter_map(of).collect() }
}

fn subtitle(findings: &Findings) -> String {
    let run = &findings.run;
    let when = run.clocks.first().map_or_else(String::new, |clock| format!(" · {}", calendar(clock.zero_unix_ns)));
    let target = [&run.target.http_url, &run.target.grpc_url].into_iter().find(|url| !url.is_empty());
    let target = target.map_or_else(String::new, |url| format!(" · {url}"));
    format!("{}{target}{when} · {} of load", run.scenario, seconds(run.driven_ns))
}

fn facts(findings: &Findings) -> Vec<Fact> {
    let run = &findings.run;
    let host = &run.host;
    let gpus = host.gpus.iter().map(|gpu| format!(", {}", gpu.name)).collect::<String>();
    let model = match run.load_model {
        LoadModel::Open => format!("open, {} arrivals", run.arrivals),
        LoadModel::Closed => "closed: users that wait for their answers".to_owned(),
    };
    let end = match run.end {
        None => "its process was killed".to_owned(),
        Some(EndReason::Completed) => "the plan was carried out".to_owned(),
        Some(EndReason::LimitFound) => "the limit was found, later steps were not run".to_owned(),
        Some(EndReason::Aborted) => "a threshold that ends the run was missed".to_owned(),
        Some(EndReason::Interrupted) => "stopped early".to_owned(),
        Some(EndReason::TargetLost) => "the target was lost".to_owned(),
        Some(EndReason::GeneratorFailed) => "the generator failed".to_owned(),
    };
    let fact = |name, text: String| Fact { name, text };
    let all = vec![
        fact("Run", run.run_id.clone()),
        fact("What for", run.description.clone()),
        fact("Load", model),
        fact("Ended", if run.end_detail.is_empty() { end } else { format!("{end}: {}", run.end_detail) }),
        fact("Measured", format!("{} of {} driven", seconds(run.measured_ns), seconds(run.driven_ns))),
        fact("Samples", count(findings.totals.samples)),
        fact("Target", target(findings)),
        fact(
            "Generated on",
            format!(
                "{}: {}, {} logical processors, {} GiB, {}{gpus}",
                host.name,
                host.cpu,
                host.cores,
                number(host.memory_bytes as f64 / f64::from(1 << 30)),
                host.os
            ),
        ),
        fact("Seed and plan", format!("{} · {}", run.seed, run.plan_fingerprint)),
        fact("Tool", tool(findings)),
    ];
    all.into_iter().filter(|fact| !fact.text.is_empty()).collect()
}

fn target(findings: &Findings) -> String {
    let target = &findings.run.target;
    let urls = [&target.http_url, &target.grpc_url].into_iter().filter(|url| !url.is_empty());
    let own = target.embedded.then(|| "started by proofload on the same machine".to_owned());
    urls.chain(&target.server).cloned().chain(own).collect::<Vec<_>>().join(" · ")
}

fn tool(findings: &Findings) -> String {
    let tool = &findings.run.tool;
    let commit = tool.git_commit.as_ref().map_or_else(String::new, |commit| format!(" ({commit})"));
    format!("{} {}{commit}", tool.name, tool.version)
}

/// The command that drives the same load again.
fn reproduce(findings: &Findings) -> String {
    let run = &findings.run;
    let target = if run.target.embedded || run.target.http_url.is_empty() {
        String::new()
    } else {
        format!(" --target {}", quote(&run.target.http_url))
    };
    let set: String = run.overrides.iter().map(|set| format!(" --set {}", quote(set))).collect();
    format!("proofload run {}{target}{set}", quote(&run.scenario_path))
}

/// A word as a shell takes it.
pub(super) fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,%+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}
