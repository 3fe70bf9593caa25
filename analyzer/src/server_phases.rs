//! Where the server's own counters say that time went: the mean of each phase over the successes of a step. Counters
//! hold sums, so that there is a mean and no percentile; which answers they are of, nobody knows.

use std::collections::BTreeSet;

use proofload_run::findings::{ServerPhase, ServerPhases};

use crate::counters::{Count, Counters, counters};
use crate::scope::Scope;

const PARTS: [&str; 4] = ["queue", "compute input", "compute infer", "compute output"];

/// The phases of every model that the mix names, in every step in which the server counted successes.
pub(crate) fn server_phases(scope: &Scope<'_>) -> Vec<ServerPhases> {
    let models: BTreeSet<&str> = scope.manifest().entries.iter().map(|entry| entry.model.as_str()).collect();
    let of_model = |model: &&str| {
        let counters = counters(&scope.run.series, model);
        let windows = scope.windows.all.iter().filter(|window| window.measured_ns() > 0);
        let steps = windows.filter_map(|window| {
            let phases = between(&counters, window.measured_from_ns, window.end_ns)?;
            Some(ServerPhases { model: (*model).to_owned(), step: window.name.clone(), ..phases })
        });
        steps.collect::<Vec<_>>()
    };
    models.iter().filter(|model| !model.is_empty()).flat_map(of_model).collect()
}

/// Growth of the counters over all scrapes in this time, without what lies across a reset.
fn between(counters: &Counters, from_ns: u64, until_ns: u64) -> Option<ServerPhases> {
    let inside = |count: &&Count| (from_ns..=until_ns).contains(&count.t_ns);
    let counts: Vec<&Count> = counters.counts.iter().filter(inside).collect();
    let growth: Vec<Option<Count>> = counts.windows(2).map(|pair| pair[1].since(pair[0])).collect();
    let sum = |of: fn(&Count) -> f64| growth.iter().flatten().map(of).sum::<f64>();
    let n = sum(|count| count.successes);
    if !counters.has_times || n < 1.0 {
        return None;
    }
    let parts = [
        sum(|count| count.times_ns[1]),
        sum(|count| count.times_ns[2]),
        sum(|count| count.times_ns[3]),
        sum(|count| count.times_ns[4]),
    ];
    let part = |(name, total_ns): (&str, f64)| ServerPhase { name: name.to_owned(), mean_ns: total_ns / n };
    Some(ServerPhases {
        model: String::new(),
        step: String::new(),
        source: counters.source.to_owned(),
        from_ns: counts.first()?.t_ns,
        to_ns: counts.last()?.t_ns,
        n: n as u64,
        resets: growth.iter().filter(|growth| growth.is_none()).count() as u64,
        mean_request_ns: sum(|count| count.times_ns[0]) / n,
        parts: PARTS.into_iter().zip(parts).map(part).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counters_of(counts: &[(u64, f64, f64)]) -> Counters {
        let count = |&(t_ns, successes, time): &(u64, f64, f64)| Count { t_ns, successes, times_ns: [time; 5] };
        Counters { source: "test", has_times: true, counts: counts.iter().map(count).collect() }
    }

    #[test]
    fn means_are_of_the_scrapes_inside_and_of_no_reset() {
        // Times in seconds here, which is all the same to sums.
        let check = |counts: &[(u64, f64, f64)], expected: Option<(u64, u64, u64, u64, f64)>| {
            let found = between(&counters_of(counts), 10, 20);
            let found = found.map(|p| (p.from_ns, p.to_ns, p.n, p.resets, p.parts[0].mean_ns));
            assert_eq!(found, expected, "{counts:?}");
        };
        let steady = [(9, 0.0, 0.0), (10, 10.0, 100.0), (15, 20.0, 300.0), (20, 30.0, 500.0), (21, 99.0, 1e6)];
        check(&steady, Some((10, 20, 20, 0, 20.0)));
        check(&steady[..2], None);
        check(&steady[3..], None);
        check(&[], None);
        check(&[(10, 5.0, 5.0), (20, 5.0, 5.0)], None);
        check(&[(10, 50.0, 900.0), (12, 60.0, 950.0), (14, 2.0, 30.0), (16, 12.0, 90.0)], Some((10, 16, 20, 1, 5.5)));
        check(&[(10, 50.0, 900.0), (12, 60.0, 10.0)], None);
        check(&[(10, 9.0, 9.0), (12, 0.0, 0.0), (14, 0.0, 0.0), (16, 1.0, 4.0)], Some((10, 16, 1, 1, 4.0)));
    }

    #[test]
    fn counters_without_times_have_no_phases() {
        let counters = Counters { has_times: false, ..counters_of(&[(10, 0.0, 0.0), (20, 5.0, 0.0)]) };
        assert_eq!(between(&counters, 10, 20), None);
    }

    proptest! {
        /// Whatever is counted and whenever the server restarts, a mean lies between the least and the largest time
        /// that a success took, and no success is counted twice.
        #[test]
        fn means_lie_within_what_was_counted(
            scrapes in proptest::collection::vec((0u32..100, 1u32..1000, prop::bool::weighted(0.1)), 2..30),
        ) {
            let (mut successes, mut time, mut all) = (0.0, 0.0, 0.0);
            let mut counts = vec![(0, 0.0, 0.0)];
            for (at, &(more, each, restart)) in scrapes.iter().enumerate() {
                let more = if restart { 0.0 } else { f64::from(more) };
                let before = if restart { (0.0, 0.0) } else { (successes, time) };
                (successes, time) = (before.0 + more, before.1 + more * f64::from(each));
                all += more;
                counts.push((at as u64 + 1, successes, time));
            }
            let found = between(&counters_of(&counts), 0, u64::MAX);
            prop_assert_eq!(found.is_some(), all > 0.0);
            for part in found.iter().flat_map(|found| &found.parts) {
                let each = scrapes.iter().map(|scrape| f64::from(scrape.1));
                let (least, most) = each.fold((f64::MAX, 0.0_f64), |(least, most), each| (least.min(each), most.max(each)));
                prop_assert!(part.mean_ns >= least - 1e-9 && part.mean_ns <= most + 1e-9);
            }
            prop_assert_eq!(found.map_or(0, |found| found.n), all as u64);
        }
    }
}
