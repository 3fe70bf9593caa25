//! Thresholds over windows: whatever samples a run leaves, what the generator says while it goes on is what the analyzer
//! finds afterwards.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with the line it stands on")]

mod support;

use proofload_analyzer::analyze;
use proofload_loadgen::record::{UnderWay, Watchdog};
use proofload_run::criteria::{Rule, Slo, Threshold};
use proofload_run::findings::ThresholdResult;
use proofload_run::manifest::{EndReason, ScenarioKind};
use proofload_run::sample::{Outcome, Sample};
use proofload_run::verdict::Verdict;
use proptest::prelude::*;
use support::{MS, Recorded, S, manifest, step};

const SECONDS: u64 = 6;
const THRESHOLDS: [&str; 17] = [
    "p50 < 700ms over any 1s",
    "p90 <= 1500ms over any 2s",
    "p20 > 100ms over any 3s",
    "tensor: p90 < 1s over any 2s",
    "mean < 800ms over any 2s",
    "max < 2900ms over any 3s",
    "error_rate < 10% over any 2s",
    "shed_rate < 20% over any 1s",
    "throughput > 3/s over any 2s",
    "goodput > 2/s over any 2s",
    "relief: goodput > 0.5/s over any 3s",
    "burn_rate < 4 over any 2s",
    "relief: burn_rate < 20 over any 1s",
    "tensor: burn_rate < 1 over any 6s",
    "burn_rate < 4 over 3s and 1s",
    "tensor: burn_rate <= 60 over 4s and 2s",
    "relief: burn_rate < 1 over any 5s and 1s",
];

/// When it was intended (ms), how long it took (ms), its entry and how it ended.
type Drawn = (u64, u64, u16, usize);

fn sample((intended_ms, took_ms, entry, outcome): &Drawn) -> Sample {
    const OUTCOMES: [Outcome; 8] = [
        Outcome::Ok,
        Outcome::Ok,
        Outcome::Ok,
        Outcome::Ok,
        Outcome::Timeout,
        Outcome::ServerError,
        Outcome::Shed,
        Outcome::Dropped,
    ];
    let (intended_ns, done_ns) = (intended_ms * MS, (intended_ms + took_ms) * MS);
    let outcome = OUTCOMES[*outcome].code();
    Sample { intended_ns, done_ns, sent_ns: intended_ns + 1, entry: *entry, outcome, ..Sample::default() }
}

fn recorded(samples: Vec<Sample>, warm_up_s: u64) -> Recorded {
    let mut steps = vec![step("hold", warm_up_s, SECONDS, 10.0, 0)];
    if warm_up_s > 0 {
        let mut warm_up = step("warm-up", 0, warm_up_s, 10.0, 0);
        warm_up.warm_up = true;
        steps.insert(0, warm_up);
    }
    let slo = Slo::new(900 * MS, 90.0, 0.5);
    let mut manifest = manifest(ScenarioKind::Sustained, steps, Some(slo), &THRESHOLDS);
    manifest.entries[0].slo = Some(Slo::new(400 * MS, 99.0, 0.5));
    let mut recorded = Recorded { manifest, samples, series: Vec::new(), events: Vec::new() };
    recorded.end(EndReason::Completed, SECONDS * S + 3 * S);
    recorded
}

/// The end of the first window that was missed, by threshold, as the generator tells while the run goes on. Samples
/// come in as they end, up to so much later.
fn live(recorded: &Recorded, warm_up_s: u64, delay_ms: u64) -> Vec<Option<u64>> {
    let manifest = &recorded.manifest;
    let entries = || manifest.entries.iter().map(|entry| (entry.name.as_str(), entry.slo));
    let rules: Vec<Rule> = manifest.thresholds.iter().map(|t| Rule::new(t, manifest.slo, entries())).collect();
    let mut watchdog = Watchdog::new(rules, warm_up_s * S, SECONDS * S);
    let mut by_end = recorded.samples.clone();
    by_end.sort_by_key(|sample| sample.done_ns);
    let mut first = vec![None; manifest.thresholds.len()];
    let mut told = 0;
    for now_ns in (0..(SECONDS + 1) * S).step_by(100 * MS as usize) {
        while by_end.get(told).is_some_and(|sample| sample.done_ns + delay_ms * MS <= now_ns) {
            watchdog.add(&by_end[told]);
            told += 1;
        }
        while watchdog.is_due(now_ns) {
            let begun = by_end[told..].iter().filter(|sample| sample.intended_ns <= now_ns);
            let under_way: Vec<UnderWay> = begun.map(|sample| (sample.entry, sample.intended_ns)).collect();
            for missed in watchdog.turn(&under_way) {
                let index = manifest.thresholds.iter().position(|t| *t == missed.threshold).unwrap();
                first[index] = Some(missed.at_ns / S);
            }
        }
    }
    first
}

fn check_agrees(threshold: &Threshold, live: Option<u64>, found: &ThresholdResult) {
    if found.note.contains("has data for it") {
        // Nothing ended: a failure, whether or not the generator could have said so.
        assert_eq!(found.verdict, Verdict::Fail);
        return;
    }
    assert_eq!(found.verdict == Verdict::Pass, live.is_none(), "{threshold}: {live:?}, {found:?}");
    if let Some(end_s) = live {
        assert!(found.note.contains(&format!("first over the one that ended at {end_s} s")), "{live:?}, {found:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_generator_and_the_analyzer_judge_windows_alike(
        drawn in proptest::collection::vec((0..SECONDS * 1000, 1..3000u64, 0..2u16, 0..8usize), 0..120),
        warm_up_s in 0..2u64,
        delay_ms in 0..100u64,
    ) {
        let recorded = recorded(drawn.iter().map(sample).collect(), warm_up_s);
        let folder = tempfile::tempdir().unwrap();
        recorded.write(folder.path());
        let found = analyze(folder.path()).unwrap();
        let live = live(&recorded, warm_up_s, delay_ms);
        for (index, threshold) in recorded.manifest.thresholds.iter().enumerate() {
            check_agrees(threshold, live[index], &found.thresholds[index]);
        }
    }
}
