//! What a spike did: how much of it was answered, refused or failed, and how long after it the target was as before. Knows the
//! steps and the timeline, nothing of samples. Its resolution is the timeline's.

use proofload_run::findings::{Bucket, Spike, StepFindings, Timeline, Within};
use proofload_run::units::{format_duration_ns, significant};

/// It is back for good when it is so for so many buckets in a row.
const IN_A_ROW: usize = 3;
/// The band reaches from the usual latency so much further up, where the usual load happened to be very even.
const GRACE: f64 = 1.2;

/// The spike of a run: the highest step, with others of one lower level on both sides; `None` where there is none.
pub(crate) fn spike(steps: &[StepFindings], timeline: &Timeline) -> Option<Spike> {
    let steps: Vec<&StepFindings> = steps.iter().filter(|step| !step.warm_up).collect();
    let at = (0..steps.len()).max_by(|a, b| steps[*a].level.total_cmp(&steps[*b].level))?;
    let (base, peak, recovery) = (steps[..at].last()?, steps[at], steps.get(at + 1)?);
    let within = |from_ns: u64, to_ns: u64| {
        timeline.buckets.iter().filter(move |b| b.t_ns >= from_ns && b.t_ns + timeline.bucket_ns <= to_ns)
    };
    let before: Vec<&Bucket> = within(base.measured_from_ns, peak.start_ns).collect();
    let after: Vec<&Bucket> = within(peak.end_ns, recovery.end_ns).collect();
    let band = Band::of(&before)?;
    let since = |t_ns: u64| t_ns.saturating_sub(peak.end_ns);
    let count = |word: &str| peak.outcomes.get(word).copied().unwrap_or(0);
    let arrivals: u64 = peak.outcomes.values().sum();
    let mut found = Spike {
        base_level: base.level,
        peak_level: peak.level,
        band_p95_ns: band.p95_ns,
        band_bad_per_s: band.bad_per_s,
        recovered: back(&after, |bucket| band.holds(bucket)).map(|at| passed(&after, at, since)),
        drained: after
            .iter()
            .position(|bucket| bucket.in_flight <= band.in_flight)
            .map(|at| Within { from_ns: since(after[at].t_ns), to_ns: since(after[at].t_ns + timeline.bucket_ns) }),
        watched_ns: since(recovery.end_ns),
        arrivals,
        in_time: in_time(peak),
        sheds: count("shed"),
        errors: arrivals - ["ok", "shed", "in_flight", "dropped"].map(count).iter().sum::<u64>(),
        sentence: String::new(),
    };
    found.sentence = sentence(&found);
    Some(found)
}

/// Arrivals of a step that kept the service level; without one, that succeeded.
fn in_time(step: &StepFindings) -> u64 {
    match &step.slos[..] {
        [] => step.outcomes.get("ok").copied().unwrap_or(0),
        slos => slos.iter().map(|slo| slo.bad.n - slo.bad.count).sum(),
    }
}

/// What the usual load is like.
struct Band {
    p95_ns: u64,
    bad_per_s: f64,
    in_flight: u64,
}

impl Band {
    fn of(before: &[&Bucket]) -> Option<Self> {
        let mut p95s: Vec<u64> = before.iter().filter_map(|bucket| bucket.p95_ns).collect();
        p95s.sort_unstable();
        let (median, most) = (*p95s.get(p95s.len() / 2)?, *p95s.last()?);
        let bad = |bucket: &&Bucket| bucket.errors_per_s + bucket.sheds_per_s;
        Some(Self {
            p95_ns: most.max((median as f64 * GRACE) as u64),
            bad_per_s: before.iter().map(bad).fold(0.0, f64::max),
            in_flight: before.iter().map(|bucket| bucket.in_flight).max()?,
        })
    }

    fn holds(&self, bucket: &Bucket) -> bool {
        let in_time = bucket.p95_ns.is_some_and(|p95_ns| p95_ns <= self.p95_ns);
        in_time && bucket.errors_per_s + bucket.sheds_per_s <= self.bad_per_s
    }
}

/// The first of several in a row that hold.
fn back(after: &[&Bucket], holds: impl Fn(&Bucket) -> bool) -> Option<usize> {
    after.windows(IN_A_ROW).position(|row| row.iter().all(|bucket| holds(bucket)))
}

/// It came back in the bucket before the first that holds, or before any was seen.
fn passed(after: &[&Bucket], at: usize, since: impl Fn(u64) -> u64) -> Within {
    let from_ns = if at == 0 { 0 } else { since(after[at - 1].t_ns) };
    Within { from_ns, to_ns: since(after[at].t_ns) }
}

fn sentence(found: &Spike) -> String {
    let time = |ns: u64| format_duration_ns(ns as f64);
    let span = |within: &Within| match within {
        Within { to_ns: 0, .. } => "at once".to_owned(),
        Within { from_ns: 0, to_ns } => format!("within {}", time(*to_ns)),
        Within { from_ns, to_ns } => format!("{} to {} after it", time(*from_ns), time(*to_ns)),
    };
    let share = |n: u64| format!("{} %", significant(100.0 * n as f64 / found.arrivals.max(1) as f64));
    let recovered = match &found.recovered {
        Some(within) => format!("back as before (p95 within {}) {}", time(found.band_p95_ns), span(within)),
        None => format!("NOT back as before (p95 within {}) in {}", time(found.band_p95_ns), time(found.watched_ns)),
    };
    let drained = match &found.drained {
        Some(within) => format!("no more under way than before {}", span(within)),
        None => "more under way than before until the end".to_owned(),
    };
    format!(
        "of {} arrivals of the peak {} were answered in time, {} refused, {} failed; {recovered}; {drained}",
        found.arrivals,
        share(found.in_time),
        share(found.sheds),
        share(found.errors)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;
    const MS: u64 = 1_000_000;

    fn buckets(p95_ms: &[u64], in_flight: &[u64], sheds: &[f64]) -> Vec<Bucket> {
        let rows = p95_ms.iter().zip(in_flight).zip(sheds).zip(0_u64..);
        rows.map(|(((p95, in_flight), sheds_per_s), second)| Bucket {
            t_ns: second * S,
            p95_ns: Some(p95 * MS),
            in_flight: *in_flight,
            sheds_per_s: *sheds_per_s,
            ..Bucket::default()
        })
        .collect()
    }

    fn parts(all: &[Bucket]) -> (Vec<&Bucket>, Vec<&Bucket>) {
        (all[..3].iter().collect(), all[3..].iter().collect())
    }

    #[test]
    fn back_inside_the_band() {
        let check = |p95_ms: &[u64], sheds: &[f64], expected: Option<(u64, u64)>| {
            let all = buckets(p95_ms, &vec![0; p95_ms.len()], sheds);
            let (before, after) = parts(&all);
            let band = Band::of(&before).unwrap();
            let at = back(&after, |bucket| band.holds(bucket));
            let found = at.map(|at| passed(&after, at, |t_ns| t_ns - 3 * S)).map(|w| (w.from_ns / S, w.to_ns / S));
            assert_eq!(found, expected, "{p95_ms:?} {sheds:?}");
        };
        let none = [0.0; 9];
        check(&[10, 11, 10, 10, 10, 11, 10, 10, 10], &none, Some((0, 0)));
        check(&[10, 11, 10, 50, 30, 12, 10, 11, 10], &none, Some((1, 2)));
        check(&[10, 11, 10, 50, 11, 30, 10, 11, 10], &none, Some((2, 3)));
        check(&[10, 11, 10, 50, 50, 50, 50, 11, 10], &none, None);
        check(&[10, 11, 10, 11, 11, 11, 11, 11, 11], &[0.0, 0.0, 0.0, 9.0, 9.0, 0.0, 0.0, 0.0, 0.0], Some((1, 2)));
        // The usual load was very even: 20 % more is no trace of the peak.
        check(&[10, 10, 10, 12, 12, 11, 12, 11, 11], &none, Some((0, 0)));
    }

    #[test]
    fn without_a_usual_load_there_is_no_band() {
        assert!(Band::of(&[]).is_none());
        assert!(Band::of(&[&Bucket::default()]).is_none(), "no success before the peak");
    }
}
