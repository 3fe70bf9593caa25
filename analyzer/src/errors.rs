//! What went wrong, grouped by entry, outcome and status, with what the server or the system said. The whole run
//! counts here, warm-up included: an error is worth knowing whenever it happens.

use std::collections::BTreeMap;

use proofload_run::events::{Event, EventKind};
use proofload_run::findings::ErrorClass;
use proofload_run::manifest::Entry;
use proofload_run::sample::Outcome;

use crate::samples::Row;

/// Messages kept of each class.
const MAX_EXAMPLES: usize = 3;

/// What went wrong in one way: how often, first and last.
#[derive(Debug, Clone, Copy)]
struct Class {
    count: u64,
    first_ns: u64,
    last_ns: u64,
}

/// All that is neither a success nor still in flight.
#[derive(Debug, Clone, Default)]
pub(crate) struct Errors {
    of_entry: BTreeMap<u16, u64>,
    classes: BTreeMap<(u16, Outcome, u16), Class>,
}

impl Errors {
    pub(crate) fn add(&mut self, row: &Row) {
        *self.of_entry.entry(row.entry).or_default() += 1;
        if matches!(row.outcome, Outcome::Ok | Outcome::InFlight) {
            return;
        }
        let at = if row.done_ns == 0 { row.intended_ns } else { row.done_ns };
        let none = Class { count: 0, first_ns: u64::MAX, last_ns: 0 };
        let class = self.classes.entry((row.entry, row.outcome, row.status)).or_insert(none);
        *class = Class { count: class.count + 1, first_ns: class.first_ns.min(at), last_ns: class.last_ns.max(at) };
    }

    /// The most frequent first.
    pub(crate) fn classes(&self, entries: &[Entry], events: &[Event]) -> Vec<ErrorClass> {
        let of_class = |(&(entry, outcome, status), class): (&(u16, Outcome, u16), &Class)| ErrorClass {
            entry: entry_name(entries, entry),
            outcome: outcome.as_str().to_owned(),
            status,
            count: class.count,
            share: class.count as f64 / self.of_entry[&entry] as f64,
            first_ns: class.first_ns,
            last_ns: class.last_ns,
            examples: examples(events, entry, outcome, status),
        };
        let mut found: Vec<ErrorClass> = self.classes.iter().map(of_class).collect();
        found.sort_by_key(|class| std::cmp::Reverse(class.count));
        found
    }
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
