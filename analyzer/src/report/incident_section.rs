//! What happened that the load does not explain, by name, as a table.

use proofload_run::findings::{Findings, Incident};

use super::format::{count, duration};
use super::sections::Section;
use super::tables::{Table, head, num, text};

pub(super) fn section(findings: &Findings) -> Section {
    let row = |incident: &Incident| {
        vec![
            num(duration(incident.start_ns as f64)),
            num(duration(incident.end_ns.saturating_sub(incident.start_ns) as f64)),
            text(incident.kind.as_str()),
            text(incident.entry.clone().unwrap_or_else(|| "all".to_owned())),
            text(super::page::sentence(&incident.sentence)),
            num(count(incident.n)),
        ]
    };
    let table = Table {
        title: "What happened",
        note: "Found by rules, against the rest of the same run; times are on the run's clock. n is requests, or readings \
               of two seconds."
            .to_owned(),
        head: head(&["#From", "#Length", "What", "Entry", "Seen by", "#n"]),
        rows: findings.incidents.iter().map(row).collect(),
    };
    Section::new("incidents", "Incidents", [], [table])
}
