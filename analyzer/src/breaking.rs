//! The breaking point: the first step that misses the service level, together with the last one before it that met
//! it. Knows levels and whether they were kept, nothing else.

use proofload_run::findings::{BreakingKind, BreakingPoint, Kept};
use proofload_run::manifest::LoadModel;
use proofload_run::units::significant;

/// A step as far as this analysis is concerned.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judged {
    pub(crate) name: String,
    pub(crate) level: f64,
    pub(crate) kept: Kept,
    pub(crate) clear: bool,
    pub(crate) goodput_per_s: f64,
}

/// Finds it among the judged steps, in the order in which they were driven.
pub(crate) fn breaking_point(steps: &[Judged], model: LoadModel) -> BreakingPoint {
    let missed = steps.iter().position(|step| step.kept == Kept::Missed);
    let before = &steps[..missed.unwrap_or(steps.len())];
    let met = before.iter().rfind(|step| step.kept == Kept::Met);
    let first_missed = missed.map(|index| &steps[index]);
    let after = missed.map_or(&[][..], |index| &steps[index + 1..]);
    let mut found = BreakingPoint {
        level_unit: match model {
            LoadModel::Open => "arrivals per second".to_owned(),
            LoadModel::Closed => "users".to_owned(),
        },
        kind: match (first_missed, met) {
            (Some(_), Some(_)) => BreakingKind::Between,
            (Some(_), None) => BreakingKind::UpperBound,
            (None, Some(_)) => BreakingKind::LowerBound,
            (None, None) => BreakingKind::Unknown,
        },
        first_missed_level: first_missed.map(|step| step.level),
        first_missed_step: first_missed.map(|step| step.name.clone()),
        last_met_level: met.map(|step| step.level),
        last_met_step: met.map(|step| step.name.clone()),
        clear: first_missed.is_some_and(|step| step.clear),
        met_again: after.iter().filter(|step| step.kept == Kept::Met).count() as u64,
        inconclusive: before.iter().filter(|step| step.kept == Kept::Inconclusive).count() as u64,
        best_goodput_per_s: steps.iter().map(|step| step.goodput_per_s).fold(0.0, f64::max),
        sentence: String::new(),
    };
    found.sentence = sentence(&found);
    found
}

fn sentence(found: &BreakingPoint) -> String {
    let level = |level: Option<f64>| significant(level.unwrap_or_default());
    let (missed, met, unit) = (level(found.first_missed_level), level(found.last_met_level), &found.level_unit);
    match found.kind {
        BreakingKind::Between => {
            format!("the service level broke at {missed} {unit}; the last step that met it was {met} {unit}")
        }
        BreakingKind::UpperBound => format!(
            "the service level was missed already at {missed} {unit}, the first step that could be judged: \
             the breaking point is at most that, start lower"
        ),
        BreakingKind::LowerBound => {
            format!("no step missed the service level up to {met} {unit}: only a lower bound, go on to higher load")
        }
        BreakingKind::Unknown => "no step had enough samples to be judged: make the steps longer".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Kept::{Inconclusive, Met, Missed};

    #[test]
    fn the_first_miss_and_the_last_met_before_it() {
        let check = |kept: &[Kept], kind, missed: Option<f64>, met: Option<f64>, met_again| {
            let steps: Vec<Judged> = (1_u32..)
                .zip(kept)
                .map(|(i, &kept)| Judged {
                    name: format!("step {i}"),
                    level: f64::from(i) * 100.0,
                    kept,
                    clear: true,
                    goodput_per_s: 1.0,
                })
                .collect();
            let found = breaking_point(&steps, LoadModel::Open);
            assert_eq!(found.kind, kind, "{kept:?}");
            assert_eq!((found.first_missed_level, found.last_met_level), (missed, met), "{kept:?}");
            assert_eq!(found.met_again, met_again, "{kept:?}");
        };
        check(&[Met, Met, Missed, Missed], BreakingKind::Between, Some(300.0), Some(200.0), 0);
        check(&[Met, Inconclusive, Missed], BreakingKind::Between, Some(300.0), Some(100.0), 0);
        check(&[Met, Missed, Met, Missed], BreakingKind::Between, Some(200.0), Some(100.0), 1);
        check(&[Missed, Missed], BreakingKind::UpperBound, Some(100.0), None, 0);
        check(&[Inconclusive, Missed], BreakingKind::UpperBound, Some(200.0), None, 0);
        check(&[Met, Met], BreakingKind::LowerBound, None, Some(200.0), 0);
        check(&[Inconclusive], BreakingKind::Unknown, None, None, 0);
        check(&[], BreakingKind::Unknown, None, None, 0);
    }
}
