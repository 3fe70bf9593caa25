//! What of the time in a queue can have been waiting for a batch to fill: no more than the model's `max_queue_delay_microseconds`,
//! which the target states in its configuration. A bound, since answers do not say which it was.

use std::collections::BTreeMap;

use proofload_run::manifest::Manifest;
use proofload_run::sample::flags;
use serde_json::Value;

use crate::samples::Row;

/// How long each entry's model lets a batch wait to fill.
#[derive(Debug, Clone)]
pub(super) struct Delays {
    of_entry: Vec<Option<u64>>,
}

impl Delays {
    /// By the configurations that the target stated.
    pub(super) fn new(manifest: &Manifest) -> Self {
        let of_model = |model: &str| delay_ns(manifest.target.models.get(model)?.get("config")?);
        let mut known: BTreeMap<&str, Option<u64>> = BTreeMap::new();
        let of_entry = manifest.entries.iter().map(|entry| {
            let model = entry.model.as_str();
            *known.entry(model).or_insert_with(|| of_model(model))
        });
        Self { of_entry: of_entry.collect() }
    }

    /// In ns; `None` where it is not known.
    pub(super) fn of(&self, entry: u16) -> Option<u64> {
        self.of_entry.get(usize::from(entry)).copied().flatten()
    }
}

/// Of a model's configuration in JSON; `None` where others than its own batcher hold requests back.
fn delay_ns(config: &Value) -> Option<u64> {
    let others = ["sequence_batching", "ensemble_scheduling"];
    if !config.is_object() || others.iter().any(|other| config.get(other).is_some_and(|it| !it.is_null())) {
        return None;
    }
    let stated = config.get("dynamic_batching").and_then(|batching| batching.get("max_queue_delay_microseconds"));
    let Some(stated) = stated.filter(|stated| !stated.is_null()) else { return Some(0) };
    // JSON made of protocol buffers states 64-bit numbers as text.
    let microseconds = stated.as_u64().or_else(|| stated.as_str()?.parse().ok())?;
    microseconds.checked_mul(1000)
}

/// The sums with one more request, slow or typical; `None` once it is not known of one.
pub(super) fn added(sums: Option<[u128; 2]>, row: &Row, delay_ns: Option<u64>, slow: bool) -> Option<[u128; 2]> {
    if row.flags & flags::HAS_PHASES == 0 {
        return sums;
    }
    let mut sums = sums?;
    sums[usize::from(!slow)] += u128::from(row.phases_ns[0].min(delay_ns?));
    Some(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_those_of_the_configuration() {
        let check = |config: &str, expected: Option<u64>| {
            assert_eq!(delay_ns(&serde_json::from_str(config).unwrap()), expected, "{config}");
        };
        check(r#"{"dynamic_batching": {"max_queue_delay_microseconds": 500}}"#, Some(500_000));
        check(r#"{"dynamic_batching": {"max_queue_delay_microseconds": "2000"}}"#, Some(2_000_000));
        check(r#"{"dynamic_batching": {"preferred_batch_size": [4]}}"#, Some(0));
        check(r#"{"max_batch_size": 8}"#, Some(0));
        check(r#"{"ensemble_scheduling": {"step": []}}"#, None);
        check(r#"{"sequence_batching": {}}"#, None);
        check(r#"{"dynamic_batching": {"max_queue_delay_microseconds": "soon"}}"#, None);
        check("null", None);
    }

    #[test]
    fn a_wait_is_no_longer_than_the_delay_nor_than_the_queue() {
        let row = |queue_ns| Row { phases_ns: [queue_ns, 0, 0, 0], flags: flags::HAS_PHASES, ..Row::EMPTY };
        let two = added(Some([0, 0]), &row(700), Some(500), true);
        assert_eq!(added(two, &row(100), Some(500), false), Some([500, 100]));
        assert_eq!(added(two, &row(100), None, true), None);
        assert_eq!(added(two, &Row::EMPTY, None, true), two, "who states no queue has none that could be told");
    }
}
