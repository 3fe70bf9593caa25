//! The table of anomalies: when, in which metrics, how sure, and under which load.

use proofload_run::findings::{Anomalies, AnomalyEpisode, ComparedWith, Findings};

use super::format::{number, percent, seconds};
use super::tables::{Cell, Table, head, num, text};

/// Metrics named of an episode.
const MOST_NAMED: usize = 3;

/// What was odd and not explained by the load; without rows where nothing was looked at. That nothing was found is a row.
pub(super) fn anomalies(findings: &Findings) -> Table {
    let found = findings.anomalies.as_ref();
    let mut rows: Vec<Vec<Cell>> = found.into_iter().flat_map(|found| &found.episodes).map(row).collect();
    if found.is_some_and(|found| found.episodes.is_empty()) {
        rows.push(vec![text("none"), num(""), text(""), num(""), num(""), num(""), text("")]);
    }
    Table {
        title: "Anomalies",
        note: found.map_or_else(String::new, note),
        head: head(&["From", "#Length", "Metrics, the oddest first", "#p", "#Load, /s", "#Minute before, /s", "Chart"]),
        rows,
    }
}

fn row(episode: &AnomalyEpisode) -> Vec<Cell> {
    let named =
        |metric: &proofload_run::findings::AnomalousMetric| format!("{} ×{}", metric.name, number(metric.strength));
    // What is within the usual is not named, but for the first.
    let odd = episode.metrics.iter().enumerate().filter(|(place, metric)| *place == 0 || metric.strength >= 1.0);
    let metrics: Vec<String> = odd.take(MOST_NAMED).map(|(_, metric)| named(metric)).collect();
    vec![
        text(seconds(episode.start_ns)),
        num(seconds(episode.end_ns.saturating_sub(episode.start_ns))),
        text(metrics.join(", ")),
        num(episode.p.map_or_else(|| "–".to_owned(), number)),
        num(number(episode.offered_per_s)),
        num(number(episode.offered_before_per_s)),
        text(episode.chart.clone()),
    ]
}

/// What the run was compared with, and what that means.
pub(super) fn note(found: &Anomalies) -> String {
    let judged = found.windows - found.windows_unjudged.min(found.windows);
    let mut said = match found.compared_with {
        ComparedWith::HealthyRuns => format!(
            "Compared with {} healthy runs under the same load. p is the share of their windows that are as odd; {} of \
             {judged} windows were odd, where {} are by chance, and two in a row are an anomaly.",
            found.healthy_runs,
            found.windows_odd,
            percent(found.alpha),
        ),
        ComparedWith::Itself => {
            "Compared with itself, for want of earlier healthy runs: only what stands out within this \
             run is found, and what lasted is taken for usual. Add healthy runs with `proofload baseline add`."
                .to_owned()
        }
    };
    said.push_str(" ×1 is what three usual windows in a hundred exceed, ×2 ten times as rare, and so on; a change of load is none.");
    for further in &found.notes {
        said.push_str(&format!(" Note: {further}."));
    }
    said
}
