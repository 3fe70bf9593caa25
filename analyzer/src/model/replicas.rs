//! How many replicas bear a load: ceil(peak / (sustainable · (1 − headroom))) + spare, where sustainable is what one bears for
//! sure. Pure.

use proofload_run::capacity::Capacity;
use proofload_run::findings::{Findings, Kept, Replicas, ReplicasFor};
use proofload_run::units::significant;

/// Loads that are shown where none is asked for, in multiples of what one replica bears.
const LADDER: [f64; 8] = [0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0];
/// The share that is left free where nothing else is asked for.
pub const HEADROOM: f64 = 0.3;
/// Replicas that may fail where nothing else is asked for.
pub const SPARE: u32 = 1;

/// What one replica bears, and where that is from.
#[derive(Debug, Clone, PartialEq)]
pub struct Basis {
    /// Requests per second that one bears for sure.
    pub sustainable_per_s: f64,
    /// The interval of the estimate.
    pub interval_per_s: Option<[f64; 2]>,
    /// What it is, in words.
    pub words: String,
}

impl Basis {
    /// By a search, or by the steps of a climb; `None` where no rate was borne.
    pub fn of_capacity(found: &Capacity) -> Option<Self> {
        let words = match found.interval_per_s {
            Some(_) => "the rate that one bears with a probability of 95 %",
            None => "the highest rate that one was seen to bear: a lower bound",
        };
        let soaked = if found.soak_kept == Some(false) { ", which a soak did NOT confirm" } else { "" };
        let sustainable_per_s = found.sustainable_per_s.filter(|rate| *rate > 0.0)?;
        Some(Self { sustainable_per_s, interval_per_s: found.interval_per_s, words: format!("{words}{soaked}") })
    }

    /// By a run: its capacity where it climbed, or else the rate that it was driven at, where that kept the service level.
    pub fn of_run(findings: &Findings) -> Option<Self> {
        let by_steps = findings.capacity.as_ref().and_then(Self::of_capacity);
        let met = !findings.slos.is_empty() && findings.slos.iter().all(|slo| slo.kept == Kept::Met);
        let steady = met && findings.audit.trustworthy && !findings.run.kind.overloads();
        let rate = findings.rates.intended_per_s;
        let by_rate = (steady && rate > 0.0).then(|| Self {
            sustainable_per_s: rate,
            interval_per_s: None,
            words: "the rate of this run, which kept its service level: a lower bound".to_owned(),
        });
        by_steps.or(by_rate)
    }
}

/// The replicas for each of these peaks, requests per second; for a ladder of them where there are none. A headroom of 1 or more
/// leaves nothing to use, and gives no rows.
pub fn replicas(basis: &Basis, peaks_per_s: &[f64], headroom: f64, spare: u32) -> Replicas {
    let one = basis.sustainable_per_s;
    let ladder: Vec<f64> = LADDER.iter().map(|factor| rounded(one * factor)).collect();
    let peaks = if peaks_per_s.is_empty() { &ladder[..] } else { peaks_per_s };
    let usable = one * (1.0 - headroom);
    let row = |peak_per_s: &f64| {
        // A quotient that is whole but for rounding is that number.
        let needed = (peak_per_s / usable - 1e-9).ceil().max(1.0);
        let replicas = needed as u64 + u64::from(spare);
        ReplicasFor {
            peak_per_s: *peak_per_s,
            replicas,
            used_share: peak_per_s / (replicas as f64 * one),
            used_share_failed: peak_per_s / (needed * one),
        }
    };
    Replicas {
        sustainable_per_s: one,
        basis: basis.words.clone(),
        interval_per_s: basis.interval_per_s,
        headroom,
        spare,
        formula: format!("ceil(peak / ({}/s · (1 − {}))) + {spare}", significant(one), significant(headroom)),
        rows: if usable > 0.0 { peaks.iter().map(row).collect() } else { Vec::new() },
    }
}

/// To two digits, so that the ladder reads well.
fn rounded(value: f64) -> f64 {
    let unit = 10_f64.powf(value.log10().floor() - 1.0);
    (value / unit).round() * unit
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn basis(sustainable_per_s: f64) -> Basis {
        Basis { sustainable_per_s, interval_per_s: None, words: String::new() }
    }

    #[test]
    fn replicas_follow_the_formula() {
        let check = |one: f64, peak: f64, headroom: f64, spare: u32, expected: u64| {
            let found = replicas(&basis(one), &[peak], headroom, spare);
            assert_eq!(found.rows[0].replicas, expected, "{one} {peak} {headroom} {spare}");
        };
        check(100.0, 1000.0, 0.0, 0, 10);
        check(100.0, 1000.0, 0.3, 1, 16);
        check(100.0, 1001.0, 0.0, 0, 11);
        check(100.0, 1.0, 0.3, 1, 2);
        check(0.1 * 3.0, 0.9, 0.0, 0, 3);
        assert_eq!(replicas(&basis(100.0), &[1.0], 1.0, 0).rows, []);
        let ladder: Vec<f64> = replicas(&basis(473.2), &[], 0.3, 1).rows.iter().map(|row| row.peak_per_s).collect();
        assert_eq!(ladder, [240.0, 470.0, 950.0, 1400.0, 2400.0, 4700.0, 9500.0, 24_000.0]);
    }

    proptest! {
        /// With the spare ones gone the headroom is still there, and with one fewer it would not be.
        #[test]
        fn the_headroom_is_kept_and_no_replica_is_idle(
            one in 0.1_f64..1e4, peak in 0.1_f64..1e6, headroom in 0.0_f64..0.9, spare in 0_u32..4,
        ) {
            let row = replicas(&basis(one), &[peak], headroom, spare).rows[0];
            prop_assert!(row.used_share_failed <= 1.0 - headroom + 1e-6);
            let fewer = row.replicas - u64::from(spare) - 1;
            prop_assert!(fewer == 0 || peak / (fewer as f64 * one) > 1.0 - headroom - 1e-6);
            prop_assert!(row.used_share <= row.used_share_failed + 1e-12);
        }
    }
}
