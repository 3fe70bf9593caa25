//! Markdown: `summary.md`, short enough for a comment on a change, and `report.md`, which has every table of the page and
//! says of every chart in words what it shows.

use std::fmt::Write;

use proofload_run::findings::Findings;
use proofload_run::verdict::Verdict;

use super::anomaly_table::note;
use super::attribution_section;
use super::format::{count, number, seconds};
use super::lead::lead;
use super::sections::{Section, sections};
use super::tables::Table;
use super::tiles::tiles;

/// Reasons and warnings shown of each: the report has them all.
const MOST: usize = 5;

/// `report.md` as text.
pub fn report_markdown(findings: &Findings) -> String {
    let run = &findings.run;
    let mut text = format!("# proofload: **{}** – {}\n\n", findings.verdict, cell(&run.scenario));
    for reason in &findings.reasons {
        let remedy = if reason.remedy.is_empty() { String::new() } else { format!("; {}", cell(&reason.remedy)) };
        line(&mut text, &format!("- {}: {}{remedy}", reason.verdict, cell(&reason.sentence)));
    }
    for caution in &findings.audit.cautions {
        line(&mut text, &format!("- **SUSPECT**: {}; {}", cell(&caution.sentence), cell(&caution.remedy)));
    }
    lead(findings).iter().for_each(|sentence| line(&mut text, &format!("\n{}", cell(sentence))));
    text.push_str("\n| figure | value | |\n|---|---:|---|\n");
    for tile in tiles(findings) {
        line(&mut text, &format!("| {} | {} {} | {} |", tile.label, tile.value, tile.unit, cell(&tile.note)));
    }
    for warning in &findings.warnings {
        line(&mut text, &format!("\nWarning: {}", cell(&warning.message)));
    }
    sections(findings).iter().for_each(|found| section(&mut text, found));
    let (samples, driven) = (count(findings.totals.samples), seconds(run.driven_ns));
    line(&mut text, &format!("\n{samples} requests in {driven}; run `{}`.", run.run_id));
    text
}

fn section(text: &mut String, section: &Section) {
    line(text, &format!("\n## {}", section.title));
    if !section.note.is_empty() {
        line(text, &format!("\n{}", cell(&section.note)));
    }
    section.charts.iter().for_each(|chart| line(text, &format!("\n{}.", cell(&chart.summary))));
    section.tables.iter().for_each(|found| table(text, found));
}

fn table(text: &mut String, table: &Table) {
    line(text, &format!("\n### {}\n", table.title));
    if !table.note.is_empty() {
        line(text, &format!("{}\n", cell(&table.note)));
    }
    let row = |cells: &[super::tables::Cell]| {
        format!("| {} |", cells.iter().map(|one| cell(&one.text)).collect::<Vec<_>>().join(" | "))
    };
    line(text, &row(&table.head));
    let marks: Vec<&str> = table.head.iter().map(|head| if head.class == "num" { "---:" } else { "---" }).collect();
    line(text, &format!("|{}|", marks.join("|")));
    table.rows.iter().for_each(|cells| line(text, &row(cells)));
}

/// `summary.md` as text.
pub fn summary_markdown(findings: &Findings) -> String {
    let run = &findings.run;
    let mut text = format!("## proofload: **{}** – {}\n\n", findings.verdict, cell(&run.scenario));
    for reason in findings.reasons.iter().take(MOST) {
        let remedy = if reason.remedy.is_empty() { String::new() } else { format!("; {}", cell(&reason.remedy)) };
        line(&mut text, &format!("- {}: {}{remedy}", reason.verdict, cell(&reason.sentence)));
    }
    more(&mut text, findings.reasons.len(), "reasons");
    for caution in &findings.audit.cautions {
        line(&mut text, &format!("- **SUSPECT**: {}; {}", cell(&caution.sentence), cell(&caution.remedy)));
    }
    text.push_str("\n| figure | value | |\n|---|---:|---|\n");
    for tile in tiles(findings) {
        line(&mut text, &format!("| {} | {} {} | {} |", tile.label, tile.value, tile.unit, cell(&tile.note)));
    }
    thresholds(&mut text, findings);
    anomalies(&mut text, findings);
    if let Some(slow) = attribution_section::line(findings) {
        line(&mut text, &format!("\nWhy the slow ones are slow: {}.", cell(slow)));
    }
    if !findings.warnings.is_empty() {
        text.push_str("\nWarnings:\n\n");
        findings
            .warnings
            .iter()
            .take(MOST)
            .for_each(|warning| line(&mut text, &format!("- {}", cell(&warning.message))));
        more(&mut text, findings.warnings.len(), "warnings");
    }
    let (samples, driven) = (count(findings.totals.samples), seconds(run.driven_ns));
    line(&mut text, &format!("\n{samples} requests in {driven}; run `{}`.", run.run_id));
    text
}

fn thresholds(text: &mut String, findings: &Findings) {
    if findings.thresholds.is_empty() {
        return;
    }
    text.push_str("\n| threshold | measured | n | |\n|---|---:|---:|---|\n");
    for result in &findings.thresholds {
        let verdict =
            if result.verdict == Verdict::Pass { "pass".to_owned() } else { format!("**{}**", result.verdict) };
        line(text, &format!("| {} | {} | {} | {verdict} |", cell(&result.text), result.value_text, count(result.n)));
    }
}

/// The anomalies that a comment should not be without; that there were none is not said.
fn anomalies(text: &mut String, findings: &Findings) {
    let Some(found) = findings.anomalies.as_ref().filter(|found| !found.episodes.is_empty()) else { return };
    line(text, &format!("\nAnomalies. {}\n", cell(&note(found))));
    for episode in found.episodes.iter().take(MOST) {
        let metrics: Vec<&str> = episode.metrics.iter().take(3).map(|metric| metric.name.as_str()).collect();
        let p = episode.p.map_or_else(String::new, |p| format!(", p = {}", number(p)));
        let (from, to) = (seconds(episode.start_ns), seconds(episode.end_ns));
        line(
            text,
            &format!("- {from} to {to}: {}{p}, at {} /s", cell(&metrics.join(", ")), number(episode.offered_per_s)),
        );
    }
    more(text, found.episodes.len(), "anomalies");
}

fn more(text: &mut String, all: usize, what: &str) {
    if all > MOST {
        line(text, &format!("- … and {} more {what} in the report", all - MOST));
    }
}

fn line(text: &mut String, line: &str) {
    // Writing into a string cannot fail.
    let _ = writeln!(text, "{line}");
}

/// Text that neither ends a table's cell nor becomes markup.
fn cell(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\r' => safe.push(' '),
            '<' => safe.push_str("&lt;"),
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' => safe.extend(['\\', character]),
            c => safe.push(c),
        }
    }
    safe
}
