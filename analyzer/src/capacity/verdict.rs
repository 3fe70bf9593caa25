//! What a search comes to, for a machine that gates on it. Pure.

use proofload_run::capacity::{Capacity, Limit};
use proofload_run::units::significant;
use proofload_run::verdict::Verdict;

/// The verdict, and why. Without a rate that is asked for, finding an estimate is a pass.
pub fn verdict(found: &Capacity, at_least_per_s: Option<f64>) -> (Verdict, String) {
    let rate = |rate: f64| format!("{}/s", significant(rate));
    if found.limit == Limit::UpperBound {
        return (Verdict::Fail, "the service level cannot be kept at any rate".to_owned());
    }
    let sustainable = found.sustainable_per_s.unwrap_or(0.0);
    let highest = found.interval_per_s.map(|[_, high]| high).or(found.not_borne_per_s);
    let soaked = found.soak_kept != Some(false);
    match at_least_per_s {
        Some(wanted) if sustainable >= wanted && soaked => {
            (Verdict::Pass, format!("{} is sustainable, {} is asked for", rate(sustainable), rate(wanted)))
        }
        Some(wanted) if highest.is_some_and(|high| high < wanted && found.limit != Limit::Generator) => {
            let why =
                format!("{} is asked for, and the limit is at most {}", rate(wanted), rate(highest.unwrap_or(0.0)));
            (Verdict::Fail, why)
        }
        _ if found.limit == Limit::Generator => {
            (Verdict::Invalid, "the generator was the limit: use another machine, or fewer other processes".to_owned())
        }
        _ if !soaked => (Verdict::Inconclusive, "what the search found was not borne for longer".to_owned()),
        Some(wanted) => {
            let why = format!("{} is asked for, and {} is sustainable for sure", rate(wanted), rate(sustainable));
            (Verdict::Inconclusive, format!("{why}: raise the budget"))
        }
        None if found.interval_per_s.is_some() => (Verdict::Pass, "the limit was found".to_owned()),
        None => (Verdict::Inconclusive, "the limit was not found".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Fail, Inconclusive, Invalid, Pass};

    #[test]
    fn a_search_comes_to() {
        let check = |limit, interval: Option<[f64; 2]>, soak_kept, at_least, expected: Verdict| {
            let found = Capacity {
                limit,
                sustainable_per_s: interval.map(|[low, _]| low).or((limit != Limit::Unknown).then_some(90.0)),
                not_borne_per_s: if limit == Limit::Unknown { Some(50.0) } else { None },
                estimate_per_s: None,
                interval_per_s: interval,
                soak_kept,
                saturated: Vec::new(),
                sentence: String::new(),
            };
            assert_eq!(verdict(&found, at_least).0, expected, "{limit:?} {interval:?} {soak_kept:?} {at_least:?}");
        };
        let interval = Some([100.0, 110.0]);
        check(Limit::Knee, interval, Some(true), None, Pass);
        check(Limit::Knee, interval, Some(true), Some(100.0), Pass);
        check(Limit::Knee, interval, Some(true), Some(105.0), Inconclusive);
        check(Limit::Cliff, interval, None, Some(111.0), Fail);
        check(Limit::Cliff, interval, Some(false), None, Inconclusive);
        check(Limit::Cliff, interval, Some(false), Some(90.0), Inconclusive);
        check(Limit::Generator, None, None, None, Invalid);
        check(Limit::Generator, None, None, Some(80.0), Pass);
        check(Limit::Generator, None, None, Some(95.0), Invalid);
        check(Limit::LowerBound, None, None, None, Inconclusive);
        check(Limit::LowerBound, None, None, Some(90.0), Pass);
        check(Limit::UpperBound, None, None, None, Fail);
        check(Limit::Unknown, None, None, None, Inconclusive);
        check(Limit::Unknown, None, None, Some(40.0), Inconclusive);
        check(Limit::Unknown, None, None, Some(60.0), Fail);
    }
}
