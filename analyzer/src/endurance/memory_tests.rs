//! What `memory` claims, on simulated runs: healthy memory is not told as a leak, and a leak's time to the limit is close.

use proofload_run::manifest::ScenarioKind;

use super::super::chance::Chance;
use super::*;
use crate::support::{manifest, step};

const MB: f64 = 1e6;

/// Readings a second over so long: noise of 5 MB of which neighbours share 0.98, single ones of 1 MB, and what `more` adds in MB at
/// a second.
fn readings(seed: u64, seconds: u32, more: impl Fn(f64) -> f64) -> Vec<Point> {
    let mut chance = Chance::seeded(seed);
    let mut slow = 5.0 * chance.normal();
    let mut point = |second: u32| {
        slow = 0.98 * slow + (1.0_f64 - 0.98 * 0.98).sqrt() * 5.0 * chance.normal();
        let at_s = f64::from(second);
        Point { at_s, used_bytes: (1000.0 + slow + chance.normal() + more(at_s)) * MB }
    };
    (0..seconds).map(&mut point).collect()
}

fn sawtooth(at_s: f64, period_s: f64) -> f64 {
    300.0 * (at_s % period_s) / period_s
}

#[test]
fn healthy_memory_does_not_grow() {
    let check = |name: &str, seconds: u32, more: &dyn Fn(u64, f64) -> f64| {
        let (mut grows, mut unsure) = (0, 0);
        for seed in 0..30 {
            let points = readings(seed, seconds, |at_s| more(seed, at_s));
            let found = judge(&points, Some(8000.0 * MB));
            grows += usize::from(found.trend == Trend::Rises);
            unsure += usize::from(found.trend == Trend::Unknown);
        }
        println!("{name}, {seconds} s: {grows} of 30 grow, {unsure} cannot be said");
        assert!(grows <= 1, "{name}, {seconds} s: {grows} of 30");
    };
    for seconds in [120, 1800, 7200] {
        let whole = f64::from(seconds);
        check("flat", seconds, &|_, _| 0.0);
        check("a sawtooth", seconds, &|seed, at_s| sawtooth(at_s, whole / (5.0 + seed as f64)));
        check("a plateau", seconds, &|seed, at_s| 800.0 * (1.0 - (-at_s / whole * (25.0 - seed as f64 * 0.7)).exp()));
        check("a step", seconds, &|seed, at_s| if at_s > whole * (0.2 + seed as f64 / 50.0) { 300.0 } else { 0.0 });
        check("a cache that is full at last", seconds, &|seed, at_s| {
            (at_s / whole * (1.8 + seed as f64 / 6.0)).min(1.0) * 900.0
        });
    }
}

#[test]
fn leaks_are_found_with_the_time_that_is_left() {
    let check = |name: &str, seconds: u32, more: &dyn Fn(u64, f64) -> f64| {
        let (mut found, mut close, mut slopes, mut times) = (0, 0, 0, 0);
        for seed in 0..30 {
            // The limit comes one to ten times as late as the run is long.
            let leak_mb_per_s = 7000.0 / f64::from(seconds) / (2.0 + 9.0 * seed as f64 / 30.0);
            let points = readings(seed, seconds, |at_s| leak_mb_per_s * at_s + more(seed, at_s));
            let judged = judge(&points, Some(8000.0 * MB));
            let (Trend::Rises, Some(limit), Some(fit)) = (judged.trend, judged.limit_in_s, judged.fit) else {
                continue;
            };
            let true_s = (7000.0 - more(seed, f64::from(seconds) - 0.01).min(0.0)) / leak_mb_per_s - f64::from(seconds);
            found += 1;
            close += usize::from((limit.value / true_s - 1.0).abs() < 0.2);
            let slope = fit.bytes_per_s;
            slopes += usize::from((slope.low..=slope.high).contains(&(leak_mb_per_s * MB)));
            times += usize::from(limit.low <= true_s && limit.high.is_some_and(|high| true_s <= high));
        }
        println!("{name}, {seconds} s: {found} of 30 found, {close} within 20 %, slope in {slopes}, time in {times}");
        assert!(found >= 28 && close >= 27 && slopes >= 25, "{name}, {seconds} s: {found}, {close}, {slopes} of 30");
    };
    for seconds in [600, 1800, 7200] {
        check("a line", seconds, &|_, _| 0.0);
        let whole = f64::from(seconds);
        check("under a sawtooth", seconds, &|seed, at_s| sawtooth(at_s, whole / (20.0 + seed as f64)) - 300.0);
    }
}

#[test]
fn short_runs_say_less() {
    let line = |seconds: u32, mb_per_s: f64| readings(3, seconds, move |at_s| mb_per_s * at_s);
    let check = |points: &[Point], trend: Trend, part: &str| {
        let found = judge(points, Some(8000.0 * MB));
        assert!(found.trend == trend && found.why.contains(part), "{:?}: {}", found.trend, found.why);
    };
    check(&line(40, 10.0), Trend::Unknown, "the least");
    check(&line(120, 10.0), Trend::Rises, "");
    check(&line(120, 2.0), Trend::Unknown, "a cache that fills up");
    check(&line(120, 0.0), Trend::Unknown, "could hide");
    check(&line(3600, 0.0), Trend::Level, "");
    assert_eq!(judge(&[], None).trend, Trend::Unknown);
}

#[test]
fn limits_are_the_nearest_that_is_known() {
    let series = |source: Source, name: &str, labels: &str, from: f64, per_s: f64| Line {
        shard: 0,
        source,
        name: name.to_owned(),
        labels: labels.to_owned(),
        points: (0..900).map(|second| (second * NS_PER_S, from + per_s * second as f64)).collect(),
    };
    let mut manifest = manifest(ScenarioKind::Endurance, vec![step("hold", 0, 900, 10.0, 0)], None, &[]);
    let gpu = r#"gpu_uuid="GPU-1""#;
    let mut all = vec![
        series(Source::Target, "process_resident_memory_bytes", "", 1e9, 1e6),
        series(Source::Target, "nv_gpu_memory_used_bytes", gpu, 2e9, 0.0),
        series(Source::Target, "nv_gpu_memory_total_bytes", gpu, 80e9, 0.0),
        series(Source::Generator, "process_resident_bytes", "", 50e6, 0.0),
        series(Source::Generator, "cgroup_memory_limit_bytes", "", 4e9, 0.0),
    ];
    let check = |manifest: &Manifest, all: &[Line], expected: &[(&str, Trend, Option<f64>, &str)]| {
        let found = memory(manifest, all, (0, 900 * NS_PER_S));
        let found: Vec<_> = found.iter().map(|t| (&t.what[..], t.trend, t.limit_bytes, &t.limit_by[..])).collect();
        assert_eq!(found, expected);
    };
    let group = "the control group's limit";
    check(
        &manifest,
        &all,
        &[
            ("target", Trend::Rises, Some(4e9), group),
            ("GPU GPU-1", Trend::Level, Some(80e9), "as it states"),
            ("generator", Trend::Level, Some(4e9), group),
        ],
    );
    let found = memory(&manifest, &all, (0, 900 * NS_PER_S));
    let limit = found[0].limit_in_s.unwrap();
    assert!((limit.value - (4e9 - 1.899e9) / 1e6).abs() < 1.0, "{limit:?}");
    assert!(found[0].sentence.starts_with("memory of the target grows by 3.6 GB/h"), "{}", found[0].sentence);
    assert!(found[0].sentence.contains("35 min left"), "{}", found[0].sentence);
    // A server elsewhere: neither our machine nor our control group limits it.
    manifest.target.embedded = false;
    manifest.target.http_url = "http://10.0.0.5:8000".to_owned();
    check(&manifest, &all[..1], &[("target", Trend::Rises, None, "")]);
    // Two generators that scrape one target: its memory is there once, each generator's own.
    let twice: Vec<Line> = all.drain(..).flat_map(|line| [Line { shard: 1, ..line.clone() }, line]).collect();
    assert_eq!(memory(&manifest, &twice, (0, 900 * NS_PER_S)).len(), 4);
}

#[test]
fn long_times_read_well() {
    let check = |seconds: f64, expected: &str| assert_eq!(long(seconds), expected);
    check(45.0, "45 s");
    check(150.0, "2.5 min");
    check(7.5e3, "2.08 h");
    check(1e6, "11.6 days");
    check(1e9, "31.7 years");
}
