//! What a step of a search showed, from its run folder.

use std::path::Path;

use proofload_run::capacity::{Planned, Second, Seen};
use proofload_run::findings::Findings;
use proofload_run::folder::RunFolder;
use proofload_run::sample::Outcome;
use proofload_run::table;
use proofload_run::units::NS_PER_S;

use crate::AnalyzeError;
use crate::load::{Run, load};
use crate::scope::{Scope, Seen as Sample};
use crate::slo::Levels;

/// Time over which latencies are averaged to see whether a target is warm.
const PACE_NS: u64 = NS_PER_S / 4;

/// Reads the run of a step. Returns what it showed and the findings on it.
///
/// # Errors
/// When the folder is no run, or one of its files cannot be read.
pub fn observe(folder: &Path, planned: Planned) -> Result<(Seen, Findings), AnalyzeError> {
    let folder = RunFolder::open(folder)?;
    table::seal(&folder)?;
    let run = load(&folder)?;
    let findings = crate::assemble::findings(&run)?;
    let (seconds, paces_ns) = measured(&run, planned.settle_ns)?;
    Ok((Seen { planned, seconds, paces_ns, sound: findings.audit.trustworthy }, findings))
}

/// The measured part of a step, by second, and how latencies went.
fn measured(run: &Run, settle_ns: u64) -> Result<(Vec<Second>, Vec<f64>), AnalyzeError> {
    let (scope, levels) = (Scope::new(run), Levels::new(&run.manifest));
    let (mut seconds, mut paces) = (Vec::new(), Vec::new());
    run.samples.each(|row| {
        let seen = scope.see(row);
        let Some(since_ns) = row.intended_ns.checked_sub(settle_ns).filter(|_| row.intended_ns < scope.driven_ns)
        else {
            return;
        };
        count(&mut seconds, (since_ns / NS_PER_S) as usize, &seen, &levels);
        if row.outcome == Outcome::Ok {
            let (sum, n) = at(&mut paces, (since_ns / PACE_NS) as usize);
            (*sum, *n) = (*sum + row.latency_ns() as f64, *n + 1.0);
        }
    })?;
    let paces = paces.into_iter().filter(|(_, n): &(f64, f64)| *n > 0.0).map(|(sum, n)| sum / n);
    Ok((seconds, paces.collect()))
}

/// What is not known to be good or bad is left out: it was still in flight, and not too late yet.
fn count(seconds: &mut Vec<Second>, second: usize, seen: &Sample<'_>, levels: &Levels) {
    let Some(bad) = levels.is_bad(seen) else { return };
    let second = at(seconds, second);
    second.n += 1;
    second.bad += u64::from(bad);
    second.errors += u64::from(seen.row.outcome.is_error());
}

fn at<T: Clone + Default>(table: &mut Vec<T>, index: usize) -> &mut T {
    if table.len() <= index {
        table.resize(index + 1, T::default());
    }
    &mut table[index]
}
