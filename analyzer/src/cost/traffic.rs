//! A demand over the hours of a day or a week, and what it takes to serve it for a month. Knows machines by what they
//! sustain and cost, and nothing of runs.

use serde::{Deserialize, Serialize};

use super::terms::Problem;

/// Hours of a mean month: 365.25 · 24 / 12.
pub(super) const HOURS_A_MONTH: f64 = 730.5;

/// A `[traffic]` table as written: a rate for each hour of a day or a week, or a day's curve.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TrafficAsWritten {
    /// 24 rates from midnight on, or 168 from Monday's midnight on.
    #[serde(skip_serializing_if = "Option::is_none")]
    hourly_per_s: Option<Vec<f64>>,
    /// Of a curve between this …
    #[serde(skip_serializing_if = "Option::is_none")]
    lowest_per_s: Option<f64>,
    /// … and this.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_per_s: Option<f64>,
    /// Hour of the day with the peak, 14 where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_hour: Option<f64>,
}

/// A file with a `[traffic]` table alone, or with its keys at the top.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrafficFile {
    traffic: TrafficAsWritten,
}

impl TrafficAsWritten {
    /// Reads TOML with the keys of a `[traffic]` table, or CSV with the rate of an hour a line, last column.
    pub(super) fn read(text: &str) -> Result<Self, Problem> {
        let is_toml = text.lines().map(str::trim).any(|line| !line.starts_with('#') && line.contains('='));
        if !is_toml {
            return Ok(Self { hourly_per_s: Some(csv(text)?), ..Self::default() });
        }
        let whole = toml::from_str::<TrafficFile>(text).map(|file| file.traffic);
        whole.or_else(|_| toml::from_str(text)).map_err(|error: toml::de::Error| {
            let keys = "keys are hourly_per_s, or lowest_per_s, peak_per_s and peak_hour";
            Problem::new("traffic", error.message().trim().replace('\n', " "), keys)
        })
    }

    /// The traffic, where nothing is wrong with it.
    pub(super) fn validated(&self, problems: &mut Vec<Problem>) -> Option<Traffic> {
        let is_rate = |rate: &f64| rate.is_finite() && *rate >= 0.0;
        match (&self.hourly_per_s, self.peak_per_s) {
            (Some(hours), None) if self.lowest_per_s.is_none() => {
                let whole = [24, 168].contains(&hours.len()) && hours.iter().all(is_rate);
                if whole && hours.iter().any(|rate| *rate > 0.0) {
                    return Some(Traffic { hourly_per_s: hours.clone() });
                }
                let what = format!("{} numbers that are no day or week of rates", hours.len());
                problems.push(Problem::new("traffic, hourly_per_s", what, "write 24 or 168 rates, not all 0"));
            }
            (None, Some(peak)) => {
                let (lowest, hour) = (self.lowest_per_s.unwrap_or(peak), self.peak_hour.unwrap_or(14.0));
                if is_rate(&lowest) && peak.is_finite() && peak > 0.0 && lowest <= peak && (0.0..24.0).contains(&hour) {
                    return Some(Traffic::curve(lowest, peak, hour));
                }
                let remedy = "write lowest_per_s from 0 to peak_per_s, and peak_hour from 0 to 23";
                problems.push(Problem::new("traffic, peak_per_s", "no day's curve", remedy));
            }
            _ => {
                let remedy = "write hourly_per_s, or peak_per_s with lowest_per_s";
                problems.push(Problem::new("traffic", "it says nothing, or two things", remedy));
            }
        }
        None
    }
}

/// Rates of a CSV file: its last column; a first line of words is a head.
fn csv(text: &str) -> Result<Vec<f64>, Problem> {
    let mut rates = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let last = line.rsplit(',').next().unwrap_or_default().trim();
        match last.parse::<f64>() {
            Ok(rate) => rates.push(rate),
            Err(_) if number == 0 || line.trim().is_empty() => {}
            Err(_) => {
                let place = format!("traffic, line {}", number + 1);
                return Err(Problem::new(place, format!("{last:?} is no rate"), "write a number per second"));
            }
        }
    }
    Ok(rates)
}

/// A demand: the rates of the hours of a day or a week, requests per second.
#[derive(Debug, Clone, PartialEq)]
pub struct Traffic {
    hourly_per_s: Vec<f64>,
}

/// What a demand takes in a month.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Month {
    /// Machines for its busiest hour.
    pub peak_replicas: u32,
    /// Price of these all month.
    pub fixed: f64,
    /// Price where every hour has the machines that it needs.
    pub by_hour: f64,
    /// Requests in a month.
    pub requests: f64,
}

impl Traffic {
    /// A day's curve: a sine between two rates.
    pub fn curve(lowest_per_s: f64, peak_per_s: f64, peak_hour: f64) -> Self {
        let (middle, half) = ((peak_per_s + lowest_per_s) / 2.0, (peak_per_s - lowest_per_s) / 2.0);
        let rate = |hour: u32| middle + half * ((f64::from(hour) - peak_hour) / 24.0 * std::f64::consts::TAU).cos();
        Self { hourly_per_s: (0..24).map(rate).collect() }
    }

    /// One rate all day.
    pub fn steady(per_s: f64) -> Self {
        Self { hourly_per_s: vec![per_s; 24] }
    }

    /// The busiest hour's rate.
    pub fn peak_per_s(&self) -> f64 {
        self.hourly_per_s.iter().copied().fold(0.0, f64::max)
    }

    /// What it takes in a month of machines that each sustain so much and cost so much an hour.
    pub(super) fn month(&self, fleet: &Fleet) -> Month {
        let hours = HOURS_A_MONTH / self.hourly_per_s.len() as f64;
        let machines: f64 = self.hourly_per_s.iter().map(|rate| f64::from(fleet.replicas(*rate))).sum();
        let peak_replicas = fleet.replicas(self.peak_per_s());
        Month {
            peak_replicas,
            fixed: f64::from(peak_replicas) * fleet.replica_per_hour * HOURS_A_MONTH,
            by_hour: machines * hours * fleet.replica_per_hour,
            requests: self.hourly_per_s.iter().sum::<f64>() * hours * 3600.0,
        }
    }
}

/// Equal machines.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Fleet {
    /// What one sustains, requests per second, above 0.
    pub(super) sustained_per_s: f64,
    /// What one costs for an hour.
    pub(super) replica_per_hour: f64,
    /// Share of what is sustained that is left free.
    pub(super) headroom: f64,
    /// Machines beyond those that are needed.
    pub(super) spare: u32,
}

impl Fleet {
    /// How many machines a rate needs: ceil(rate / (sustained · (1 − headroom))) + spare, and at least one.
    pub(super) fn replicas(&self, per_s: f64) -> u32 {
        // A rate that is a multiple of what a machine takes needs no further one for rounding.
        let needed = (per_s / (self.sustained_per_s * (1.0 - self.headroom)) - 1e-9).ceil();
        needed.clamp(1.0, 1e9) as u32 + self.spare
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FLEET: Fleet = Fleet { sustained_per_s: 100.0, replica_per_hour: 2.0, headroom: 0.2, spare: 1 };

    #[test]
    fn machines_for_a_rate() {
        let check = |per_s: f64, expected: u32| assert_eq!(FLEET.replicas(per_s), expected, "{per_s}");
        check(0.0, 2);
        check(80.0, 2);
        check(80.1, 3);
        check(240.0, 4);
    }

    #[test]
    fn traffic_is_read_from_toml_and_csv() {
        let check = |text: &str, hours: usize, peak: f64| {
            let mut problems = Vec::new();
            let found = TrafficAsWritten::read(text).unwrap().validated(&mut problems).expect(text);
            assert!(problems.is_empty());
            assert_eq!((found.hourly_per_s.len(), found.peak_per_s()), (hours, peak), "{text}");
        };
        check("hour,per_s\n".to_owned().add_hours(24).as_str(), 24, 23.0);
        check(String::new().add_hours(168).as_str(), 168, 167.0);
        check("[traffic]\npeak_per_s = 50.0\nlowest_per_s = 10.0\npeak_hour = 20\n", 24, 50.0);
        check("peak_per_s = 50.0\n", 24, 50.0);
        let wrong = |text: &str| TrafficAsWritten::read(text).unwrap_err().to_string();
        assert!(wrong("hour,per_s\n0,many\n").starts_with("traffic, line 2: \"many\" is no rate"));
        assert!(wrong("peak = 3\n").contains("unknown field `peak`"));
    }

    trait AddHours {
        fn add_hours(self, hours: u32) -> String;
    }

    impl AddHours for String {
        fn add_hours(self, hours: u32) -> String {
            (0..hours).fold(self, |text, hour| text + &format!("{hour},{hour}\n"))
        }
    }

    #[test]
    fn a_month_of_a_steady_rate() {
        let month = Traffic::steady(160.0).month(&FLEET);
        assert_eq!((month.peak_replicas, month.fixed, month.by_hour), (3, 3.0 * 2.0 * HOURS_A_MONTH, month.fixed));
        assert!((month.requests - 160.0 * 3600.0 * HOURS_A_MONTH).abs() < 1.0);
    }

    proptest! {
        /// Machines by the hour never cost more than the peak's all month; prices scale; more demand never costs less.
        #[test]
        fn months_are_consistent(rates in proptest::collection::vec(0.1..1e4_f64, 24), more in 1.0..3.0_f64, price in 0.1..10.0_f64) {
            let traffic = Traffic { hourly_per_s: rates.clone() };
            let month = traffic.month(&FLEET);
            prop_assert!(month.by_hour <= month.fixed * (1.0 + 1e-9));
            let dearer = traffic.month(&Fleet { replica_per_hour: FLEET.replica_per_hour * price, ..FLEET });
            prop_assert!((dearer.fixed - month.fixed * price).abs() <= 1e-6 * dearer.fixed);
            prop_assert!((dearer.by_hour - month.by_hour * price).abs() <= 1e-6 * dearer.by_hour);
            let grown = Traffic { hourly_per_s: rates.iter().map(|rate| rate * more).collect() }.month(&FLEET);
            prop_assert!(grown.fixed >= month.fixed && grown.by_hour >= month.by_hour);
        }
    }
}
