//! In what a model should compute, and in which batches: from what was measured of it, the memory that is free, and how many
//! wait. Pure.

use schemars::JsonSchema;
use serde::Serialize;

/// An error against FP32 above this is another answer: what an FP16 answer may be off by.
pub const TOLERANCE: f64 = 1e-2;
/// A precision is worth its error where it is so much faster, or takes so much less memory.
const FASTER: f64 = 1.05;
const SMALLER: f64 = 0.75;
/// What everything is compared with.
const REFERENCE: &str = "fp32";

/// What was measured of a precision, at the batch that serves most.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Its name.
    pub precision: String,
    /// The largest error against FP32, as a share of the largest value; `None` where it was not measured.
    pub error: Option<f64>,
    /// Batch elements a second.
    pub per_s: f64,
    /// What it takes.
    pub memory_bytes: u64,
}

/// What a model should compute in.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "GpuPrecisionRecommendation")]
pub struct Recommendation {
    /// `fp32`, `fp16` or `int8`.
    pub precision: String,
    /// Why.
    pub reason: String,
}

/// The fastest precision whose error is tolerable and that is worth it; `None` where FP32 was not measured.
pub fn precision(measured: &[Measured]) -> Option<Recommendation> {
    let full = measured.iter().find(|one| one.precision == REFERENCE)?;
    let tolerable = |one: &&Measured| one.precision != REFERENCE && one.error.is_some_and(|error| error <= TOLERANCE);
    let pays = |one: &&Measured| {
        one.per_s >= FASTER * full.per_s
            || (one.per_s >= full.per_s && one.memory_bytes as f64 <= SMALLER * full.memory_bytes as f64)
    };
    let best = measured.iter().filter(tolerable).filter(pays).max_by(|one, other| one.per_s.total_cmp(&other.per_s));
    Some(best.map_or_else(|| stays(measured), |best| changes(best, full)))
}

fn changes(best: &Measured, full: &Measured) -> Recommendation {
    let (speed, memory) = (best.per_s / full.per_s, best.memory_bytes as f64 / full.memory_bytes.max(1) as f64);
    let error = best.error.unwrap_or(0.0);
    let reason = format!(
        "{speed:.2} times as fast as FP32 with {memory:.2} times its memory; its largest error is {error:.1e} of the largest \
         value, and {TOLERANCE} is tolerable"
    );
    Recommendation { precision: best.precision.clone(), reason }
}

fn stays(measured: &[Measured]) -> Recommendation {
    let why_not = |one: &Measured| match one.error {
        None => format!("the error of {} is not known", one.precision),
        Some(error) if error > TOLERANCE => format!("the error of {} is {error:.1e}, above {TOLERANCE}", one.precision),
        Some(_) => format!("{} is not worth its error", one.precision),
    };
    let others: Vec<_> = measured.iter().filter(|one| one.precision != REFERENCE).map(why_not).collect();
    let reason = if others.is_empty() { "no other precision was measured".to_owned() } else { others.join("; ") };
    Recommendation { precision: REFERENCE.to_owned(), reason }
}

/// How long a batch takes, as it was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timed {
    /// Batch elements.
    pub batch: u32,
    /// Seconds.
    pub latency_s: f64,
}

/// How many batch elements find room where so many bytes are free; at least one, because less cannot be tried.
pub fn fits(free_bytes: u64, element_bytes: u64) -> u32 {
    let elements = free_bytes.checked_div(element_bytes).unwrap_or(u64::MAX);
    u32::try_from(elements).unwrap_or(u32::MAX).max(1)
}

/// The largest batch that is worth forming: of those that find room, the one with which `waiting` elements are served the
/// soonest, and of several the smallest. `timed` is in order of size; where nothing was measured, only room counts.
pub fn batch(max: u32, fits: u32, waiting: u64, timed: &[Timed]) -> u32 {
    let most = max.min(fits).max(1);
    // A queue that is not full yet may be so soon: nobody should be kept from a batch that could still grow.
    let waiting = waiting.max(u64::from(most));
    let sizes = timed.iter().map(|timed| timed.batch).filter(|size| (1..=most).contains(size));
    let mut best: Option<(u32, f64)> = None;
    for size in sizes.chain([most]) {
        let took_s = served_in_s(waiting, size, timed);
        if best.is_none_or(|(_, least_s)| took_s < least_s) {
            best = Some((size, took_s));
        }
    }
    best.map_or(most, |(size, _)| size)
}

/// How long it takes to serve what waits in batches of a size, one after the other.
fn served_in_s(waiting: u64, size: u32, timed: &[Timed]) -> f64 {
    let (whole, rest) = (waiting / u64::from(size), waiting % u64::from(size));
    let rest_s = if rest == 0 { 0.0 } else { latency_s(rest as f64, timed) };
    whole as f64 * latency_s(f64::from(size), timed) + rest_s
}

/// On lines through what was measured; beyond the largest, on the line through the last two.
fn latency_s(elements: f64, timed: &[Timed]) -> f64 {
    let at = |index: usize| timed.get(index).map(|timed| (f64::from(timed.batch), timed.latency_s));
    let above = timed.iter().position(|timed| f64::from(timed.batch) >= elements).unwrap_or(timed.len());
    let (low, high) = match (above.checked_sub(1).and_then(at), at(above)) {
        (Some(low), Some(high)) => (low, high),
        (None, Some(only)) => return only.1,
        (Some(last), None) => match above.checked_sub(2).and_then(at) {
            Some(before) => (before, last),
            None => return last.1 * elements / last.0,
        },
        (None, None) => return elements,
    };
    low.1 + (high.1 - low.1).max(0.0) * (elements - low.0) / (high.0 - low.0).max(1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_precision_is_recommended_where_it_pays_and_is_right() {
        let one = |(precision, error, per_s, memory_bytes): &(&str, Option<f64>, f64, u64)| Measured {
            precision: (*precision).to_owned(),
            error: *error,
            per_s: *per_s,
            memory_bytes: *memory_bytes,
        };
        let check = |rows: &[(&str, Option<f64>, f64, u64)], expected: Option<(&str, &str)>| {
            let found = precision(&rows.iter().map(one).collect::<Vec<_>>());
            let (Some(found), Some((name, part))) = (&found, expected) else {
                return assert_eq!((found.is_some(), expected.is_some()), (false, false), "{rows:?}");
            };
            assert!(found.precision == name && found.reason.contains(part), "{rows:?}: {found:?}");
        };
        let full = ("fp32", Some(0.0), 100.0, 1000);
        check(&[], None);
        check(&[("fp16", Some(1e-4), 200.0, 500)], None);
        check(&[full], Some(("fp32", "no other precision")));
        check(&[full, ("fp16", Some(1e-4), 190.0, 500)], Some(("fp16", "1.90 times as fast as FP32 with 0.50")));
        check(&[full, ("fp16", Some(2e-2), 190.0, 500)], Some(("fp32", "error of fp16 is 2.0e-2, above 0.01")));
        check(&[full, ("fp16", None, 190.0, 500)], Some(("fp32", "is not known")));
        check(&[full, ("fp16", Some(1e-4), 104.0, 900)], Some(("fp32", "fp16 is not worth its error")));
        check(&[full, ("fp16", Some(1e-4), 101.0, 600)], Some(("fp16", "0.60 times its memory")));
        check(&[full, ("fp16", Some(1e-4), 190.0, 500), ("int8", Some(9e-3), 300.0, 300)], Some(("int8", "3.00")));
        check(&[full, ("fp16", Some(1e-4), 190.0, 500), ("int8", Some(9e-2), 300.0, 300)], Some(("fp16", "1.90")));
    }

    fn timed(rows: &[(u32, f64)]) -> Vec<Timed> {
        rows.iter().map(|(batch, ms)| Timed { batch: *batch, latency_s: ms / 1e3 }).collect()
    }

    #[test]
    fn the_batch_is_the_one_that_serves_soonest_of_those_that_fit() {
        let check = |rows: &[(u32, f64)], max, fits, waiting, expected| {
            assert_eq!(batch(max, fits, waiting, &timed(rows)), expected, "{rows:?} {max} {fits} {waiting}");
        };
        check(&[], 32, 8, 100, 8);
        check(&[], 32, 0, 100, 1);
        let flat = [(1, 10.0), (2, 11.0), (4, 13.0), (8, 17.0), (16, 25.0)];
        check(&flat, 16, 99, 0, 16);
        check(&flat, 16, 5, 100, 5);
        check(&flat, 8, 99, 100, 8);
        // A cliff: two batches of 8 are faster than one of 16.
        let cliff = [(1, 10.0), (2, 11.0), (4, 13.0), (8, 17.0), (16, 60.0)];
        check(&cliff, 16, 99, 16, 8);
        check(&cliff, 16, 99, 1000, 8);
        // Batches gain nothing: the smallest.
        check(&[(1, 10.0), (2, 20.0), (4, 40.0)], 4, 4, 10, 1);
        check(&[(4, 10.0)], 16, 16, 16, 4);
        check(&[(4, 10.0)], 2, 2, 16, 2);
    }

    #[test]
    fn room_is_counted_in_elements() {
        assert_eq!([fits(100, 30), fits(29, 30), fits(5, 0), fits(u64::MAX, 1)], [3, 1, u32::MAX, u32::MAX]);
    }

    proptest! {
        #[test]
        fn a_batch_never_exceeds_what_fits(
            rows in proptest::collection::btree_map(1_u32..64, 1.0_f64..100.0, 0..8),
            max in 1_u32..64, room in 0_u32..64, waiting in 0_u64..500,
        ) {
            let rows: Vec<_> = rows.into_iter().collect();
            let found = batch(max, room, waiting, &timed(&rows));
            prop_assert!(found >= 1 && found <= max.min(room.max(1)));
        }
    }
}
