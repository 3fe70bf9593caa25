//! What a search found: the estimate with its interval, what kind of limit it is, and a sentence that says so. Pure.

use proofload_run::capacity::{Capacity, Limit};
use proofload_run::criteria::Slo;
use proofload_run::units::{format_duration_ns, significant};

use super::belief::Belief;

/// Half of all requests are bad at a rate less than so much above the estimate: a cliff.
const CLIFF: f64 = 1.06;
/// It takes more than so much more load: the rate hardly matters.
const FLAT: f64 = 2.0;

/// The rates between which the limit lies, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bounds {
    /// The highest that clearly lies below.
    pub(super) low: Option<f64>,
    /// The lowest that clearly was not.
    pub(super) high: Option<f64>,
    /// The highest that kept the service level, with none below it that did not.
    pub(super) borne: Option<f64>,
    /// Whether the lowest that was not borne is next to no load.
    pub(super) is_least: bool,
    /// The lowest at which the generator did not keep up.
    pub(super) generator: Option<f64>,
}

impl Bounds {
    /// Both, where both are known.
    pub(super) fn bracket(&self) -> Option<[f64; 2]> {
        Some([self.low?, self.high?])
    }
}

/// What was found. `soak` is the rate of the last one, and whether it was borne.
pub(super) fn describe(slo: &Slo, bounds: &Bounds, belief: Option<&Belief>, soak: Option<(f64, bool)>) -> Capacity {
    let quantiles = belief.map(|belief| belief.quantiles([0.05, 0.5, 0.95]));
    let limit = match (belief, bounds.borne, bounds.high) {
        (Some(belief), ..) if belief.gentleness() < CLIFF => Limit::Cliff,
        (Some(belief), ..) if belief.gentleness() > FLAT => Limit::ServiceTimeTail,
        (Some(_), ..) => Limit::Knee,
        (None, ..) if bounds.generator.is_some() => Limit::Generator,
        (None, Some(_), _) => Limit::LowerBound,
        (None, None, Some(_)) if bounds.is_least => Limit::UpperBound,
        (None, None, _) => Limit::Unknown,
    };
    // What a soak has shown narrows the belief, but nothing above its rate was borne for so long.
    let soaked = |low: f64| soak.map_or(low, |(rate, _)| low.min(rate));
    let mut found = Capacity {
        limit,
        sustainable_per_s: quantiles.map(|[low, ..]| soaked(low)).or(bounds.borne),
        not_borne_per_s: bounds.high,
        estimate_per_s: quantiles.map(|[_, middle, _]| middle),
        interval_per_s: quantiles.map(|[low, _, high]| [low, high]),
        soak_kept: soak.map(|(_, kept)| kept),
        saturated: Vec::new(),
        sentence: String::new(),
    };
    found.sentence = sentence(slo, bounds, &found);
    found
}

fn sentence(slo: &Slo, bounds: &Bounds, found: &Capacity) -> String {
    let rate = |rate: Option<f64>| format!("{}/s", significant(rate.unwrap_or_default()));
    let level = format!(
        "p{} within {} and errors within {} %",
        slo.percentile,
        format_duration_ns(slo.latency_ns as f64),
        significant(slo.error_rate * 100.0)
    );
    match found.limit {
        Limit::Knee | Limit::Cliff | Limit::ServiceTimeTail => {
            let [low, high] = found.interval_per_s.unwrap_or_default();
            let how = match found.limit {
                Limit::Cliff => "; beyond it nearly everything is late at once",
                Limit::ServiceTimeTail => {
                    "; that limit is set by requests that take long whatever the load, so its rate is uncertain by nature"
                }
                _ => "",
            };
            let soak = match found.soak_kept {
                Some(true) => "; a soak at the sustainable rate kept the level",
                Some(false) => "; a soak at that rate did NOT keep the level, so plan with less",
                None => "",
            };
            format!(
                "{} is sustainable ({level}); the limit is about {}, between {} and {} with 90 % probability{how}{soak}",
                rate(found.sustainable_per_s),
                rate(found.estimate_per_s),
                rate(Some(low)),
                rate(Some(high)),
            )
        }
        Limit::Generator if bounds.borne.is_none() => format!(
            "nothing is known of the target ({level}): already at {} this machine could not drive the load as planned",
            rate(bounds.generator)
        ),
        Limit::Generator => format!(
            "only a lower bound: {} was borne ({level}), and at {} this machine could no longer drive the load as planned",
            rate(bounds.borne),
            rate(bounds.generator)
        ),
        Limit::LowerBound => match bounds.high {
            Some(high) => format!(
                "the limit lies between {} and {} ({level}); the time did not suffice for more: raise the budget",
                rate(bounds.borne),
                rate(Some(high))
            ),
            None => {
                format!("only a lower bound: {} was borne ({level}), and nothing higher was driven", rate(bounds.borne))
            }
        },
        Limit::UpperBound => {
            format!("not even {} was borne ({level}): the service level cannot be kept at any rate", rate(bounds.high))
        }
        Limit::Unknown => match bounds.high {
            Some(high) => format!(
                "already {} was too much ({level}), and no lower rate kept it; go on from less with --from",
                rate(Some(high))
            ),
            None => "nothing can be said: no step was long enough to judge; raise the budget".to_owned(),
        },
    }
}
