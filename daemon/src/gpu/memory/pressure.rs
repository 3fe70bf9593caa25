//! How close a device is to the end of its memory: its budget, what is used of it, and whether that will be too much soon.
//! Pure.

use schemars::JsonSchema;
use serde::Serialize;

use super::growth::{Growth, Point, growth};

/// Of a device's memory, what may be used where nothing else is said.
pub const BUDGET_SHARE: f64 = 0.75;
/// From this share of the budget on, memory is tight whatever it does.
pub const TIGHT: f64 = 0.9;
/// A limit that is this close is a danger, if only at the near end of what is likely.
pub const SOON_S: f64 = 600.0;

/// How a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[schemars(rename = "MemoryPressure")]
#[serde(rename_all = "snake_case")]
pub enum Pressure {
    /// There is room.
    Low,
    /// It grows, and the limit is far.
    Rising,
    /// The limit is near, or will be soon.
    High,
    /// More is used than should be.
    Over,
}

/// What is known of a device's memory.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "MemoryProfile")]
pub struct Profile {
    /// All of it.
    pub total_bytes: u64,
    /// What of it should be used at most.
    pub budget_bytes: u64,
    /// What is.
    pub used_bytes: u64,
    /// The most that was, as long as is known.
    pub high_water_bytes: u64,
    /// What is left of the budget; 0 beyond it.
    pub free_bytes: u64,
    /// What it does.
    pub growth: Growth,
    /// How close it is.
    pub pressure: Pressure,
}

impl Profile {
    /// Of a device whose memory was used like this, oldest first; `None` without a reading.
    pub fn of(total_bytes: u64, budget_share: f64, points: &[Point]) -> Option<Self> {
        let used_bytes = points.last()?.used_bytes as u64;
        let budget_bytes = (total_bytes as f64 * budget_share) as u64;
        let growth = growth(points, budget_bytes as f64);
        let most = points.iter().map(|point| point.used_bytes).fold(0.0, f64::max);
        Some(Self {
            total_bytes,
            budget_bytes,
            used_bytes,
            high_water_bytes: most as u64,
            free_bytes: budget_bytes.saturating_sub(used_bytes),
            growth,
            pressure: pressure(used_bytes, budget_bytes, &growth),
        })
    }
}

fn pressure(used_bytes: u64, budget_bytes: u64, growth: &Growth) -> Pressure {
    let soon = matches!(growth, Growth::Growing { limit_in_s, .. } if limit_in_s.low < SOON_S);
    match () {
        () if used_bytes > budget_bytes => Pressure::Over,
        () if soon || used_bytes as f64 > TIGHT * budget_bytes as f64 => Pressure::High,
        () if matches!(growth, Growth::Growing { .. }) => Pressure::Rising,
        () => Pressure::Low,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten minutes from one use to another, in MB, of 1,000 MB of which 800 may be used.
    fn profile(from_mb: f64, to_mb: f64) -> Profile {
        let at = |s: u32| Point {
            at_s: f64::from(s),
            used_bytes: (from_mb + (to_mb - from_mb) * f64::from(s) / 599.0) * 1e6,
        };
        Profile::of(1_000_000_000, 0.8, &(0..600).map(at).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn pressure_is_about_what_is_used_and_where_it_goes() {
        let check = |from_mb: f64, to_mb: f64, expected| {
            let found = profile(from_mb, to_mb);
            assert_eq!(found.pressure, expected, "{from_mb} {to_mb}: {found:?}");
        };
        check(100.0, 100.0, Pressure::Low);
        check(500.0, 100.0, Pressure::Low);
        check(100.0, 110.0, Pressure::Rising);
        check(100.0, 600.0, Pressure::High);
        check(790.0, 790.0, Pressure::High);
        check(800.0, 900.0, Pressure::Over);
    }

    #[test]
    fn figures_of_a_profile() {
        let found = profile(300.0, 100.0);
        assert_eq!((found.budget_bytes, found.used_bytes, found.free_bytes), (800_000_000, 100_000_000, 700_000_000));
        assert_eq!(found.high_water_bytes, 300_000_000);
        assert_eq!(profile(900.0, 900.0).free_bytes, 0);
        assert_eq!(Profile::of(1, 0.75, &[]), None);
    }
}
