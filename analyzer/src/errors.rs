//! What went wrong, grouped by entry, outcome and status, with what the server or the system said. The whole run
//! counts here, warm-up included: an error is worth knowing whenever it happens.

use std::collections::BTreeMap;

use proofload_run::events::{Event, EventKind};
use proofload_run::findings::ErrorClass;
use proofload_run::manifest::Entry;
use proofload_run::sample::Outcome;

use crate::scope::Scope;

/// Messages kept of each class.
const MAX_EXAMPLES: usize = 3;

/// All that is neither a success nor still in flight, the most frequent first.
pub(crate) fn errors(scope: &Scope<'_>) -> Vec<ErrorClass> {
    let mut of_entry: BTreeMap<u16, u64> = BTreeMap::new();
    let mut classes: BTreeMap<(u16, Outcome, u16), (u64, u64, u64)> = BTreeMap::new();
    for row in &scope.run.rows {
        *of_entry.entry(row.entry).or_default() += 1;
        if !matches!(row.outcome, Outcome::Ok | Outcome::InFlight) {
            let at = if row.done_ns == 0 { row.intended_ns } else { row.done_ns };
            let class = classes.entry((row.entry, row.outcome, row.status)).or_insert((0, u64::MAX, 0));
            *class = (class.0 + 1, class.1.min(at), class.2.max(at));
        }
    }
    let entries = &scope.manifest().entries;
    let mut found: Vec<ErrorClass> = classes
        .into_iter()
        .map(|((entry, outcome, status), (count, first_ns, last_ns))| ErrorClass {
            entry: entry_name(entries, entry),
            outcome: outcome.as_str().to_owned(),
            status,
            count,
            share: count as f64 / of_entry[&entry] as f64,
            first_ns,
            last_ns,
            examples: examples(&scope.run.events, entry, outcome, status),
        })
        .collect();
    found.sort_by_key(|class| std::cmp::Reverse(class.count));
    found
}

/// The name of an entry, also of one that the manifest does not know.
pub(crate) fn entry_name(entries: &[Entry], index: u16) -> String {
    entries.get(usize::from(index)).map_or_else(|| format!("entry {index}"), |entry| entry.name.clone())
}

fn examples(events: &[Event], of_entry: u16, of_outcome: Outcome, of_status: u16) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for event in events {
        let EventKind::ErrorExample { entry, outcome, status, message } = &event.kind else { continue };
        let same = *entry == of_entry && outcome == of_outcome.as_str() && *status == of_status;
        if same && found.len() < MAX_EXAMPLES && !found.contains(message) {
            found.push(message.clone());
        }
    }
    found
}
