//! A threshold as files hold it: exact numbers, no units to parse.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Threshold, read_comparison};

impl Serialize for Threshold {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ThresholdRecord {
            entry: self.entry.clone(),
            metric: self.metric.to_string(),
            comparison: self.comparison.as_str().to_owned(),
            bound: self.bound,
            window_ns: self.window_ns,
            short_window_ns: self.short_window_ns,
            abort_after_ns: self.abort_after_ns,
        }
        .serialize(serializer)
    }
}

impl JsonSchema for Threshold {
    fn schema_name() -> Cow<'static, str> {
        "Threshold".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        ThresholdRecord::json_schema(generator)
    }
}

impl<'de> Deserialize<'de> for Threshold {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let record = ThresholdRecord::deserialize(deserializer)?;
        let (comparison, _) = read_comparison(&record.comparison)
            .ok_or_else(|| serde::de::Error::custom(format!("`{}` is not a comparison", record.comparison)))?;
        let metric = record.metric.parse().map_err(serde::de::Error::custom)?;
        let ThresholdRecord { entry, bound, window_ns, short_window_ns, abort_after_ns, .. } = record;
        Ok(Self { entry, metric, comparison, bound, window_ns, short_window_ns, abort_after_ns })
    }
}

/// A threshold in `run.json`: exact numbers, no units to parse.
#[derive(Serialize, Deserialize, JsonSchema)]
struct ThresholdRecord {
    /// The entry of the mix that it is about; without one, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entry: Option<String>,
    /// What is bounded.
    metric: String,
    /// `<`, `<=`, `>`, `>=`.
    comparison: String,
    /// In ns, shares, rates per second or factors, as the metric is.
    bound: f64,
    /// Length of the windows that it has to hold in; without one, the whole run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    window_ns: Option<u64>,
    /// Length of the short windows beside them, of a burn rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    short_window_ns: Option<u64>,
    /// After how long missing it ends the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    abort_after_ns: Option<u64>,
}
