//! Whether a device's memory grows, and when it will be at its budget, as the daemon says it to others: the types of its
//! answers. How it is found out is the method that the analyzer shares (`proofload_statistics::growth`).

use proofload_statistics::growth as method;
use schemars::JsonSchema;
use serde::Serialize;

pub use method::Point;

/// An estimate with the interval in which it lies nine times out of ten.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Estimate")]
pub struct Estimate {
    /// Its lower end.
    pub low: f64,
    /// The estimate.
    pub value: f64,
    /// Its upper end; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
}

/// What memory does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "MemoryGrowth")]
#[serde(tag = "trend", rename_all = "snake_case")]
pub enum Growth {
    /// Too little is known.
    Unknown,
    /// It does not grow, or not by the same all the time.
    Steady,
    /// It grows.
    Growing {
        /// Bytes a second.
        bytes_per_s: Estimate,
        /// Seconds until its peaks reach the limit; 0 where they have.
        limit_in_s: Estimate,
    },
}

/// What memory does that was used like this, in order of time, on the way to a limit.
pub fn growth(points: &[Point], limit_bytes: f64) -> Growth {
    match method::growth(points, limit_bytes) {
        method::Growth::Unknown => Growth::Unknown,
        method::Growth::Steady => Growth::Steady,
        method::Growth::Growing { bytes_per_s, limit_in_s } => {
            Growth::Growing { bytes_per_s: said(bytes_per_s), limit_in_s: said(limit_in_s) }
        }
    }
}

fn said(estimate: method::Estimate) -> Estimate {
    let method::Estimate { low, value, high } = estimate;
    Estimate { low, value, high }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_is_what_is_said() {
        let line = |bytes_per_s: f64, n: u32| {
            let points: Vec<Point> =
                (0..n).map(|s| Point { at_s: f64::from(s), used_bytes: bytes_per_s * f64::from(s) }).collect();
            serde_json::to_value(growth(&points, 5e6)).unwrap()
        };
        let estimate = |value: f64| serde_json::json!({ "low": value, "value": value, "high": value });
        let growing =
            serde_json::json!({ "trend": "growing", "bytes_per_s": estimate(1000.0), "limit_in_s": estimate(4401.0) });
        assert_eq!(line(1000.0, 600), growing);
        assert_eq!(line(0.0, 600), serde_json::json!({ "trend": "steady" }));
        assert_eq!(line(1000.0, 30), serde_json::json!({ "trend": "unknown" }));
    }
}
