//! A demand that grows against a capacity that does not: when the service level is missed. Arithmetic on what was measured and
//! what is stated; dates come out as seconds of the calendar that go in.

use proofload_run::capacity::Capacity;
use proofload_run::findings::StepFindings;
use proofload_run::units::significant;
use serde::Serialize;

use super::Series;
use crate::calendar;
use proofload_statistics::slope::{self, Z_95};

/// Seconds of a mean month: 365.25 days / 12.
const MONTH_S: f64 = 365.25 / 12.0 * 86_400.0;
/// Farther ahead a rate of growth means nothing.
const MOST_MONTHS: f64 = 120.0;

/// Growth of a demand: a share a month, such as 0.08, with its interval where it is an estimate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Growth {
    /// It.
    pub a_month: f64,
    /// Its interval.
    pub interval: Option<[f64; 2]>,
}

/// A demand that grows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Demand {
    /// The peak at the beginning, requests per second, above 0.
    pub peak_per_s: f64,
    /// When that is, seconds since 1970-01-01 UTC.
    pub from_unix_s: u64,
    /// How it grows.
    pub growth: Growth,
}

/// When the service level is missed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Missed {
    /// The demand.
    pub demand: Demand,
    /// What is borne with a probability of 95 %, the estimate, and its upper end, requests per second.
    pub borne_per_s: [Option<f64>; 3],
    /// Months until the demand reaches these, fast growth with little capacity first; `None` where it is farther than ten years, or
    /// never.
    pub months: [Option<f64>; 3],
    /// The same as days of the calendar, `YYYY-MM-DD`.
    pub days: [Option<String>; 3],
    /// Month by month: what the demand is, and the latency that was measured at such a rate.
    pub by_month: Vec<MonthAhead>,
    /// All of it in a sentence.
    pub sentence: String,
}

/// A month to come.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MonthAhead {
    /// `YYYY-MM`.
    pub month: String,
    /// The peak, requests per second.
    pub peak_per_s: f64,
    /// 95th percentile measured at that rate, between the two nearest steps, ns; `None` beyond what was measured.
    pub p95_ns: Option<f64>,
    /// The share of the capacity's estimate that the peak takes.
    pub share_of_capacity: Option<f64>,
}

/// How a demand grew by its history: the slope of its logarithm (Theil and Sen), with an interval of 95 %. `None` where a value is not
/// above zero, or neighbours resemble each other so much that no interval would hold.
pub fn growth_of(history: &Series) -> Option<Growth> {
    history.values.iter().all(|value| *value > 0.0).then_some(())?;
    // A season is no growth: whole ones are averaged.
    let length = history.period.unwrap_or(1);
    let start = history.values.len() % length;
    let seasons = history.values[start..].chunks(length).map(|season| season.iter().sum::<f64>() / length as f64);
    let months = history.step_s * length as f64 / MONTH_S;
    let points: Vec<slope::Point> = seasons.enumerate().map(|(at, value)| (at as f64 * months, value.ln())).collect();
    let widen = slope::widening(&[&points], slope::value(&points));
    let found = slope::slope(&points, Z_95, widen).filter(|_| widen.is_finite())?;
    Some(Growth { a_month: found.value.exp_m1(), interval: Some([found.low.exp_m1(), found.high.exp_m1()]) })
}

/// Holds a demand against a capacity and, where a climb was measured, its steps. `None` where nothing of the capacity is known.
pub fn missed(demand: Demand, capacity: &Capacity, steps: &[StepFindings]) -> Option<Missed> {
    let [low, high] = capacity.interval_per_s.map_or([None, None], |[low, high]| [Some(low), Some(high)]);
    let borne_per_s = [capacity.sustainable_per_s.or(low), capacity.estimate_per_s, high];
    borne_per_s.iter().any(Option::is_some).then_some(())?;
    let Growth { a_month, interval } = demand.growth;
    let [slow, fast] = interval.unwrap_or([a_month; 2]);
    let months = [(borne_per_s[0], fast), (borne_per_s[1], a_month), (borne_per_s[2], slow)];
    let months = months.map(|(borne, growth)| until(demand.peak_per_s, borne?, growth));
    let days = months.map(|months| Some(calendar::day(demand.from_unix_s + (months? * MONTH_S) as u64)));
    let by_month = (0..=12).map(|month| ahead(&demand, f64::from(month), borne_per_s[1], steps)).collect();
    let sentence = sentence(&demand, &months, &days);
    Some(Missed { demand, borne_per_s, months, days, by_month, sentence })
}

/// Months until a demand that grows reaches what is borne: ln(borne / peak) / ln(1 + growth); 0 where it has.
fn until(peak_per_s: f64, borne_per_s: f64, growth: f64) -> Option<f64> {
    if peak_per_s >= borne_per_s {
        return Some(0.0);
    }
    let months = (borne_per_s / peak_per_s).ln() / growth.ln_1p();
    (growth > 0.0 && months <= MOST_MONTHS).then_some(months)
}

fn ahead(demand: &Demand, months: f64, capacity: Option<f64>, steps: &[StepFindings]) -> MonthAhead {
    let peak_per_s = demand.peak_per_s * (1.0 + demand.growth.a_month).powf(months);
    MonthAhead {
        month: calendar::day(demand.from_unix_s + (months * MONTH_S) as u64)[..7].to_owned(),
        peak_per_s,
        p95_ns: measured_p95(steps, peak_per_s),
        share_of_capacity: capacity.filter(|capacity| *capacity > 0.0).map(|capacity| peak_per_s / capacity),
    }
}

/// The 95th percentile at a rate, between the two steps around it.
fn measured_p95(steps: &[StepFindings], per_s: f64) -> Option<f64> {
    let of = |step: &StepFindings| {
        let p95 = step.latency.as_ref()?.percentile(95.0).filter(|p| p.enough)?;
        (!step.warm_up).then_some((step.rates.intended_per_s, p95.latency_ns as f64))
    };
    let mut curve: Vec<(f64, f64)> = steps.iter().filter_map(of).collect();
    curve.sort_by(|a, b| a.0.total_cmp(&b.0));
    let after = curve.iter().position(|point| point.0 >= per_s)?;
    let (right, left) = (curve[after], *curve.get(after.checked_sub(1)?)?);
    let share = (per_s - left.0) / (right.0 - left.0);
    Some(left.1 + share * (right.1 - left.1))
}

fn sentence(demand: &Demand, months: &[Option<f64>; 3], days: &[Option<String>; 3]) -> String {
    let growth = significant(demand.growth.a_month * 100.0);
    let from = format!("at {growth} % growth a month from a peak of {}/s", significant(demand.peak_per_s));
    let month = |day: &Option<String>| day.as_ref().map(|day| day[..7].to_owned());
    match (months, [month(&days[0]), month(&days[1]), month(&days[2])]) {
        ([Some(0.0), ..], _) => format!("{from} the service level may be missed already"),
        (_, [Some(earliest), Some(middle), Some(latest)]) => {
            format!(
                "{from} the service level is missed in {middle} (from {earliest} to {latest}, with the capacity's interval)"
            )
        }
        (_, [Some(earliest), Some(middle), None]) => {
            format!("{from} the service level is missed in {middle}, {earliest} at the earliest")
        }
        (_, [Some(earliest), None, _]) => format!("{from} the service level is kept until {earliest} at least"),
        (_, [None, ..]) => format!("{from} the service level is not missed within ten years"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proofload_run::capacity::Limit;
    use proptest::prelude::*;

    fn capacity(low: f64, estimate: Option<f64>, high: Option<f64>) -> Capacity {
        Capacity {
            limit: Limit::Knee,
            sustainable_per_s: Some(low),
            not_borne_per_s: None,
            estimate_per_s: estimate,
            interval_per_s: high.map(|high| [low, high]),
            soak_kept: None,
            saturated: Vec::new(),
            sentence: String::new(),
        }
    }

    fn demand(peak_per_s: f64, a_month: f64, interval: Option<[f64; 2]>) -> Demand {
        // 2026-11-22.
        Demand { peak_per_s, from_unix_s: 1_795_305_600, growth: Growth { a_month, interval } }
    }

    #[test]
    fn when_the_service_level_is_missed() {
        let check = |demand: Demand, capacity: Capacity, days: [Option<&str>; 3], part: &str| {
            let found = missed(demand, &capacity, &[]).unwrap();
            assert_eq!(found.days.each_ref().map(Option::as_deref), days, "{found:?}");
            assert!(found.sentence.contains(part), "{}", found.sentence);
        };
        // ln(130/100) / ln 1.08 = 3.41 months of 30.44 days: 103.8 days after November 22.
        let known = capacity(126.0, Some(130.0), Some(136.0));
        let days = [Some("2027-02-21"), Some("2027-03-05"), Some("2027-03-23")];
        check(demand(100.0, 0.08, None), known.clone(), days, "is missed in 2027-03 (from 2027-02 to 2027-03");
        let wider = [Some("2027-02-05"), Some("2027-03-05"), Some("2027-06-01")];
        check(demand(100.0, 0.08, Some([0.05, 0.097])), known.clone(), wider, "from 2027-02 to 2027-06");
        check(demand(100.0, 0.0, None), known.clone(), [None; 3], "within ten years");
        check(demand(100.0, -0.1, None), known, [None; 3], "within ten years");
        let borne = capacity(126.0, None, None);
        check(demand(100.0, 0.08, None), borne, [Some("2027-02-21"), None, None], "is kept until 2027-02 at least");
        let over = capacity(90.0, Some(95.0), Some(120.0));
        let now = Some("2026-11-22");
        check(demand(100.0, 0.08, None), over, [now, now, Some("2027-02-02")], "may be missed already");
    }

    /// Days of a demand that grows by 8 % a month, with a week and noise of a tenth.
    fn history(seed: u64) -> Series {
        let mut state = seed;
        let mut unit = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let value = |day: u32| {
            let week = 1.0 - 0.3 * f64::from(u8::from(day % 7 > 4));
            100.0 * 1.08_f64.powf(f64::from(day) * 86_400.0 / MONTH_S) * week * (0.9 + 0.2 * unit())
        };
        let values = (0..140).map(value).collect();
        Series { name: String::new(), unit: String::new(), start_s: 0.0, step_s: 86_400.0, values, period: Some(7) }
    }

    #[test]
    fn growth_is_the_historys_and_its_interval_holds() {
        let found: Vec<Growth> = (1..=100).map(|seed| growth_of(&history(seed)).unwrap()).collect();
        let held = found.iter().filter(|g| g.interval.is_some_and(|[low, high]| low <= 0.08 && 0.08 <= high)).count();
        let near = found.iter().filter(|g| (g.a_month - 0.08).abs() < 0.015).count();
        println!("growth of 8 %: {near} of 100 within 1.5 points, {held} intervals hold it");
        assert!(held >= 88 && near >= 95, "{held} {near}");
        let zero = Series { values: vec![0.0; 140], ..history(1) };
        assert_eq!(growth_of(&zero), None);
    }

    proptest! {
        /// More capacity is never reached earlier, more growth never later; at the day that is said the demand is the capacity.
        #[test]
        fn dates_are_consistent(peak in 1.0..100.0_f64, growth in 0.005..0.5_f64, room in 1.01..3.0_f64, more in 1.0..2.0_f64) {
            let at = until(peak, peak * room, growth);
            let reached = |months: Option<f64>| months.map(|months| peak * (1.0 + growth).powf(months));
            if let Some(found) = reached(at) {
                prop_assert!((found / (peak * room) - 1.0).abs() < 1e-9);
            }
            let never = f64::INFINITY;
            prop_assert!(until(peak, peak * room * more, growth).unwrap_or(never) >= at.unwrap_or(never));
            prop_assert!(until(peak, peak * room, growth * more).unwrap_or(never) <= at.unwrap_or(never));
        }
    }
}
