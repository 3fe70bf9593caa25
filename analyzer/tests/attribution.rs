//! Why slow requests were slow, by runs whose cause is known because it was put there.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with the line it stands on")]

mod support;

use proofload_analyzer::{analyze, write_reports};
use proofload_run::findings::{Attribution, Findings};
use proofload_run::manifest::{ScenarioKind, Step};
use proofload_run::sample::{Outcome, Sample, flags};
use proofload_run::series::Source;
use support::{MS, Recorded, S, Server, manifest, point, step};

const SERVER: Server = Server { slots: 4, service_ns: 10e6, exponential: true, shed_after_ns: None, down: None };

fn steady() -> Vec<Step> {
    vec![step("hold", 0, 40, 100.0, 0)]
}

fn run(steps: Vec<Step>, change: impl FnMut(&mut Sample)) -> Recorded {
    let plan = manifest(ScenarioKind::Sustained, steps, None, &[]);
    let mut recorded = Recorded::simulate(plan, SERVER, false, 7);
    recorded.samples.iter_mut().filter(|sample| sample.outcome() == Outcome::Ok).for_each(change);
    recorded.completed()
}

fn found(recorded: &Recorded) -> Findings {
    let folder = tempfile::tempdir().unwrap();
    recorded.write(folder.path());
    let findings = analyze(folder.path()).unwrap();
    write_reports(folder.path(), &findings).unwrap();
    findings
}

/// Makes a request longer by so much: the time goes to whatever the samples' other fields say.
fn longer(sample: &mut Sample, ns: u64) {
    sample.first_byte_ns += ns;
    sample.done_ns += ns;
}

/// The part that is most of the difference, and its share.
fn mostly(found: &Attribution) -> (&str, f64) {
    let part = found.parts.iter().max_by(|a, b| a.share.total_cmp(&b.share)).unwrap();
    (&part.name, part.share)
}

#[test]
fn the_cause_is_named_and_parts_add_up() {
    let check = |what: &str, change: &dyn Fn(&mut Sample), expected: &str, in_sentence: &str| {
        // Every fiftieth request, a second apart or so, and 300 ms longer: far more than the simulated queue.
        let findings = found(&run(steady(), |sample| {
            if sample.sequence.is_multiple_of(50) {
                change(sample);
            }
        }));
        let whole = &findings.attribution[0];
        let (name, share) = mostly(whole);
        assert_eq!(name, expected, "{what}: {}", whole.sentence);
        assert!((0.85..1.05).contains(&share), "{what}: {share} {}", whole.sentence);
        let part = whole.parts.iter().find(|part| part.name == name).unwrap();
        assert!(part.low.unwrap() <= share && share <= part.high.unwrap());
        assert!(whole.sentence.contains(in_sentence), "{}", whole.sentence);
        for found in &findings.attribution {
            let sum: f64 = found.parts.iter().map(|part| part.share).sum();
            assert!((sum - 1.0).abs() < 1e-9, "{what}: {sum}");
            let sums = found.parts.iter().fold((0.0, 0.0), |sum, part| (sum.0 + part.typical_ns, sum.1 + part.slow_ns));
            assert!((sums.0 / found.typical.mean_latency_ns - 1.0).abs() < 1e-9);
            assert!((sums.1 / found.slow.mean_latency_ns - 1.0).abs() < 1e-9);
        }
        for example in &whole.examples {
            assert_eq!(example.parts.iter().map(|part| part.1).sum::<i64>(), example.latency_ns as i64);
        }
    };
    let phase = |of: fn(&mut Sample) -> &mut u64| {
        move |sample: &mut Sample| {
            *of(sample) += 300 * MS;
            longer(sample, 300 * MS);
        }
    };
    check("queue", &phase(|s| &mut s.queue_ns), "queue", "is waiting in the server's queue");
    check("compute", &phase(|s| &mut s.compute_ns), "compute", "computing in the server");
    check("copy-in", &phase(|s| &mut s.copy_in_ns), "copy-in", "making inputs ready");
    check("copy-out", &phase(|s| &mut s.copy_out_ns), "copy-out", "making outputs ready");
    check("network", &|s| longer(s, 300 * MS), "unexplained / network", "unexplained (the network");
    let sent_later = |sample: &mut Sample| {
        sample.sent_ns += 300 * MS;
        longer(sample, 300 * MS);
    };
    check("connection", &sent_later, "waiting for a connection", "waiting for a free connection");
    let opened = |sample: &mut Sample| {
        sent_later(sample);
        sample.flags |= flags::NEW_CONNECTION;
    };
    check("opening", &opened, "opening a connection", "most of them are over connections newly opened (lift");
    let late = |sample: &mut Sample| {
        sent_later(sample);
        sample.generator_late_ns += 300 * MS;
    };
    check("generator", &late, "generator late", "the generator's own lateness");
    let again = |sample: &mut Sample| {
        longer(sample, 300 * MS);
        sample.retry = 1;
    };
    check("attempts", &again, "earlier attempts", "attempts made again (lift");
    let received = |sample: &mut Sample| sample.done_ns += 300 * MS;
    check("body", &received, "receiving the answer", "receiving the answer");
}

#[test]
fn a_step_a_batch_size_and_an_entry_are_named() {
    let steps = vec![step("base", 0, 20, 100.0, 0), step("peak", 20, 24, 700.0, 0), step("after", 26, 46, 100.0, 0)];
    let findings = found(&run(steps, |sample| {
        sample.batch_size = if sample.queue_ns > 50 * MS { 8 } else { 1 };
    }));
    let whole = &findings.attribution[0];
    assert_eq!(mostly(whole).0, "queue");
    let common = |kind: &str| whole.traits.iter().find(|it| it.kind == kind).unwrap();
    assert_eq!((common("step").value.as_str(), common("batch size").value.as_str()), ("peak", "8"));
    assert!((common("step").slow_share - 1.0).abs() < 1e-9 && common("step").lift > 2.0, "{:?}", common("step"));
    assert!(
        whole.sentence.contains("; most of them are in step 'peak' (lift ")
            && whole.sentence.contains("in batches of 8")
    );
    // Both entries are as slow, so neither is named.
    assert!(!whole.sentence.contains("of entry"), "{}", whole.sentence);
    let names: Vec<Option<&str>> = findings.attribution.iter().map(|found| found.entry.as_deref()).collect();
    assert_eq!(names, [None, Some("relief"), Some("tensor")]);

    let findings = found(&run(steady(), |sample| {
        if sample.entry == 0 && sample.sequence.is_multiple_of(5) {
            sample.compute_ns += 200 * MS;
            longer(sample, 200 * MS);
        }
    }));
    assert!(
        findings.attribution[0].sentence.contains("of entry 'relief' (lift"),
        "{}",
        findings.attribution[0].sentence
    );
}

#[test]
fn what_answers_do_not_state_is_said_to_be_so() {
    let findings = found(&run(steady(), |sample| {
        sample.flags = 0;
        [sample.queue_ns, sample.copy_in_ns, sample.compute_ns, sample.copy_out_ns] = [0; 4];
        if sample.sequence.is_multiple_of(50) {
            longer(sample, 300 * MS);
        }
    }));
    let whole = &findings.attribution[0];
    assert_eq!(mostly(whole).0, "not stated by the server");
    assert!(whole.sentence.contains("in the network or the server, which does not say more"), "{}", whole.sentence);
    let notes = whole.notes.join("\n");
    assert!(notes.contains(" 0 of ") || notes.starts_with("0 of "), "{notes}");
    assert!(
        notes
            .contains("by the server's own counters a request to 'relief_depth' in step 'hold' took on average queue "),
        "{notes}"
    );
}

#[test]
fn too_few_or_all_alike_say_nothing() {
    let check = |recorded: Recorded, expected: bool| {
        let findings = found(&recorded);
        assert_eq!(!findings.attribution.is_empty(), expected, "{} successes", findings.latency.map_or(0, |l| l.n));
    };
    check(run(vec![step("hold", 0, 1, 150.0, 0)], |_| ()), false);
    check(run(vec![step("hold", 0, 3, 150.0, 0)], |_| ()), true);
    check(run(steady(), |sample| sample.done_ns = sample.intended_ns + 30 * MS), false);
    check(run(vec![step("hold", 0, 1, 0.001, 0)], |_| ()), false);
}

#[test]
fn slow_seconds_and_held_clocks_are_told() {
    let slow = |t_ns: u64| (20 * S..26 * S).contains(&t_ns);
    let mut recorded = run(steady(), |sample| {
        if slow(sample.intended_ns) && sample.sequence.is_multiple_of(3) {
            sample.compute_ns += 400 * MS;
            longer(sample, 400 * MS);
        }
    });
    for second in 0..40 {
        let labels = "gpu_uuid=\"A\",reason=\"thermal_slowdown\"";
        let held = f64::from(u8::from(slow(second * S)));
        recorded.series.push(point(second * S, Source::Target, "proofload_gpu_throttled", labels, held));
        let clock = if slow(second * S) { 600.0 } else { 1755.0 };
        recorded.series.push(point(second * S, Source::Target, "DCGM_FI_DEV_SM_CLOCK", "gpu=\"0\"", clock));
    }
    let findings = found(&recorded);
    let whole = &findings.attribution[0];
    assert!(whole.sentence.contains("GPU clocks held down: thermal slowdown 9"), "{}", whole.sentence);
    assert!(
        whole.sentence.contains("; half of them were sent within 2 of 40 moments of 1 s, most of these from 2"),
        "{}",
        whole.sentence
    );
    let clock = whole.state.iter().find(|state| state.what.starts_with("GPU clock, ")).unwrap();
    assert!(clock.slow < 700.0 && clock.typical > 1400.0 && clock.high.unwrap() < 0.0, "{clock:?}");
}

#[test]
fn a_batch_cannot_have_waited_longer_than_its_model_lets_it() {
    let mut recorded = run(steady(), |sample| {
        if sample.sequence.is_multiple_of(50) {
            sample.queue_ns += 300 * MS;
            longer(sample, 300 * MS);
        }
    });
    let config =
        |delay_us: u64| serde_json::json!({"config": {"dynamic_batching": {"max_queue_delay_microseconds": delay_us}}});
    recorded.manifest.target.models = serde_json::json!({"relief_depth": config(2000), "tiny_mlp": config(2000)});
    let notes = |recorded: &Recorded| found(recorded).attribution[0].notes.join("\n");
    let told = notes(&recorded);
    assert!(
        told.contains("that a slow request waited in the queue at most 2 ms was waiting for a batch to fill"),
        "{told}"
    );
    recorded.manifest.target.models = serde_json::json!({"relief_depth": config(0), "tiny_mlp": {"config": {}}});
    assert!(notes(&recorded).contains("none of the queue was waiting for a batch to fill"));
    recorded.manifest.target.models = serde_json::json!({"relief_depth": config(0)});
    assert_eq!(notes(&recorded), "");
}
