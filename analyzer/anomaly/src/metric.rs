//! What kind of figure a metric is: how it is transformed, what explains it, and how small a deviation means nothing.
//! Knows no values.

use serde::{Deserialize, Serialize};

/// What a metric measures, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Successful answers per second.
    Goodput,
    /// The median of latency.
    Latency,
    /// A high percentile of latency.
    TailLatency,
    /// Errors as a share of the answers.
    ErrorRate,
    /// Requests that wait, or are under way.
    Queue,
    /// How busy something is.
    Utilisation,
    /// Memory in use.
    Memory,
    /// Electrical power.
    Power,
    /// Temperature.
    Temperature,
    /// Share of the requests that a cache answers.
    HitRate,
    /// Anything else that depends on the load.
    Other,
}

/// A metric by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    /// As it is shown.
    pub name: String,
    /// What it measures.
    pub role: Role,
}

/// Parts of names by which a metric is told, the first that fits.
const BY_NAME: [(&str, Role); 16] = [
    ("error", Role::ErrorRate),
    ("hit", Role::HitRate),
    ("p50", Role::Latency),
    ("p9", Role::TailLatency),
    ("queue", Role::Queue),
    ("in_flight", Role::Queue),
    ("pending", Role::Queue),
    ("util", Role::Utilisation),
    ("cpu", Role::Utilisation),
    ("mem", Role::Memory),
    ("power", Role::Power),
    ("temp", Role::Temperature),
    ("rps", Role::Goodput),
    ("goodput", Role::Goodput),
    ("throughput", Role::Goodput),
    ("answered", Role::Goodput),
];

impl Metric {
    /// A metric whose role its name tells.
    pub fn named(name: &str) -> Self {
        let role = BY_NAME.iter().find(|(part, _)| name.contains(part)).map_or(Role::Other, |(_, role)| *role);
        Self { name: name.to_owned(), role }
    }
}

impl Role {
    /// The value on the scale on which deviations are alike at all loads: latencies, queues and rare errors by ratio,
    /// answers as a share of what was offered.
    pub fn transformed(self, value: f64, offered: f64) -> f64 {
        match self {
            Self::Goodput => value / offered.max(1.0),
            Self::Latency | Self::TailLatency => (value.max(0.0) + 1e-4).ln(),
            Self::ErrorRate => (value.max(0.0) + 1e-3).ln(),
            Self::Queue => value.max(0.0).ln_1p(),
            _ => value,
        }
    }

    /// Deviations on that scale that are no news, however steady the metric was. Of what has a unit of its own, the
    /// share of `typical` counts, the size that its values have.
    pub fn least_deviation(self, typical: f64) -> f64 {
        let share = match self {
            Self::Goodput => return 0.03,
            Self::Latency | Self::TailLatency => return 0.02,
            Self::ErrorRate | Self::Queue => return 0.05,
            Self::HitRate => return 0.005,
            Self::Temperature => return 0.4,
            Self::Utilisation => 0.015,
            Self::Memory => 0.0003,
            Self::Power => 0.005,
            Self::Other => 0.01,
        };
        (share * typical.abs()).max(1e-9)
    }

    /// Whether what a cache leaves over explains it better than what was offered.
    pub fn is_behind_the_cache(self) -> bool {
        !matches!(self, Self::HitRate | Self::ErrorRate | Self::Goodput)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_roles() {
        let check = |name: &str, expected: Role| assert_eq!(Metric::named(name).role, expected, "{name}");
        check("rps", Role::Goodput);
        check("p50_ms", Role::Latency);
        check("p95_ms", Role::TailLatency);
        check("p99_ms", Role::TailLatency);
        check("error_rate", Role::ErrorRate);
        check("queue_depth", Role::Queue);
        check("gpu_util_pct", Role::Utilisation);
        check("gpu_mem_mib", Role::Memory);
        check("power_w", Role::Power);
        check("temp_c", Role::Temperature);
        check("cache_hit", Role::HitRate);
        check("cpu_cores", Role::Utilisation);
        check("something", Role::Other);
    }
}
