//! What shapes a load over time: stages, sines, bursts, recordings and repeating contents, from scenario text to the
//! plan of arrivals, and what a mistake in them is told.

// Helpers outside of the test functions unwrap for the same reason as these do.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use proofload_loadgen::plan::{Arrival, Arrivals, Mix, Profile};
use proofload_loadgen::scenario::{Model, PayloadPolicy, Scenario, ScenarioErrors};

fn parse(folder: &Path, load: &str, entry: &str) -> Result<Scenario, ScenarioErrors> {
    let text = format!(
        r#"
kind = "sustained"
[[mix]]
name = "a"
protocol = "kserve-grpc"
model = "m"
inputs = [{{ name = "x", datatype = "FP32", shape = [1] }}]
{entry}
[load]
{load}
"#
    );
    Scenario::parse(&folder.join("test.toml"), &text, &[])
}

/// The arrivals of an open load.
fn plan(folder: &Path, load: &str) -> Vec<Arrival> {
    let scenario = parse(folder, load, "").unwrap();
    let Model::Open { arrivals } = scenario.load.model else { panic!("{:?}", scenario.load.model) };
    Arrivals::new(Profile::new(scenario.load.steps), Mix::new([(1.0, 1)]), arrivals, 1).collect()
}

#[test]
fn stages_follow_each_other() {
    let check = |load: &str, expected: &[(&str, f64, f64, f64)]| {
        let scenario = parse(Path::new(""), load, "").unwrap_or_else(|e| panic!("{e}"));
        let steps = &scenario.load.steps;
        let found: Vec<_> =
            steps.iter().map(|s| (s.name.as_str(), s.end_ns as f64 / 1e9, s.level_start, s.level_end)).collect();
        assert_eq!(found, expected);
        assert!(steps.windows(2).all(|pair| pair[0].end_ns == pair[1].start_ns));
    };
    check(
        r#"
[[load.stages]]
name = "calm"
level = "50/s"
duration = "5s"
[[load.stages]]
to = "200/s"
duration = "10s"
settle = "1s"
[[load.stages]]
from = "200/s"
to = "20/s"
duration = "2s"
"#,
        &[("calm", 5.0, 50.0, 50.0), ("stage 2", 15.0, 50.0, 200.0), ("stage 3", 17.0, 200.0, 20.0)],
    );
    check(
        "model = \"closed\"\n[[load.stages]]\nlevel = 5\nduration = \"1s\"\n[[load.stages]]\nto = 9\nduration = \"1s\"\n",
        &[("stage 1", 1.0, 5.0, 5.0), ("stage 2", 2.0, 5.0, 9.0)],
    );
    let day = "duration = \"48h\"\nsine = { mean = 60, amplitude = 40, period = \"24h\" }";
    let steps = parse(Path::new(""), day, "").unwrap().load.steps;
    assert_eq!((steps.len(), steps[0].name.as_str()), (48, "sine 1"));
    assert!((steps[6].level_start - 100.0).abs() < 1e-9 && (steps[18].level_start - 20.0).abs() < 1e-9);
}

#[test]
fn gamma_and_burst_arrivals_keep_the_rate() {
    let check = |load: &str, low: usize, high: usize| {
        let count = plan(Path::new(""), load).len();
        assert!((low..=high).contains(&count), "{load}: {count}");
    };
    // 10 000 expected; with a burstiness of 4 a standard deviation is 200.
    check("arrivals = \"gamma\"\nburstiness = 4\nrate = 100\nduration = \"100s\"", 9_200, 10_800);
    let bursts =
        "arrivals = \"constant\"\nrate = 100\nduration = \"100s\"\nburst = { every = \"10s\", length = \"2s\" }";
    check(bursts, 10_000, 10_000);
    assert!(plan(Path::new(""), bursts).iter().all(|a| a.intended_ns % 10_000_000_000 < 2_000_000_000));
}

#[test]
fn recordings_are_replayed_from_beside_the_scenario() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("trace.csv"), "sent_ms,kind\n2000,a\n500,a\n1500,a\n").unwrap();
    let check = |more: &str, table: &str, expected_ms: &[u64]| {
        let load = format!("arrivals = \"replay\"\n{more}\nreplay = {{ file = \"trace.csv\"{table} }}");
        let found: Vec<u64> = plan(folder.path(), &load).iter().map(|a| a.intended_ns / 1_000_000).collect();
        assert_eq!(found, expected_ms, "{load}");
    };
    check("", "", &[0, 1000, 1500]);
    check("", ", speed = 2, entries = \"kind\"", &[0, 500, 750]);
    check("duration = \"1200ms\"", "", &[0, 1000]);
}

#[test]
fn contents_repeat_by_zipfs_law() {
    let check = |entry: &str, expected: PayloadPolicy| {
        let scenario = parse(Path::new(""), "rate = 1\nduration = \"5s\"", entry).unwrap();
        assert_eq!(scenario.mix[0].payload, expected);
    };
    check("", PayloadPolicy::Unique);
    check("payload = \"zipf\"", PayloadPolicy::Zipf { items: 1000, exponent: 1.0 });
    check("payload = \"zipf\"\nzipf = { items = 5, exponent = 0 }", PayloadPolicy::Zipf { items: 5, exponent: 0.0 });
}

#[test]
fn mistakes_are_told_with_what_would_be_right() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("trace.csv"), "sent_ms\nsoon\n").unwrap();
    let check = |load: &str, expected: &str| {
        let message = parse(folder.path(), load, "").map(|_| ()).unwrap_err().to_string();
        assert!(message.contains(expected), "{load}:\n{message}");
    };
    let hold = "rate = 5\nduration = \"5s\"\n";
    check(&format!("{hold}arrivals = \"gamma\""), "`burstiness` is missing; write burstiness = 4.0");
    check(&format!("{hold}arrivals = \"gamma\"\nburstiness = 0"), "write 0.001 to 1000; 1 is Poisson");
    check(&format!("{hold}burstiness = 4"), "belongs to arrivals = \"gamma\"");
    check(&format!("{hold}burst = {{ length = \"1s\" }}"), "`every` is missing; write every = \"10s\"");
    check(&format!("{hold}burst = {{ every = \"1s\", length = \"1s\" }}"), "leaves no quiet between bursts");
    check(&format!("{hold}burst = {{ every = \"0s\" }}"), "a period has a length");
    check(&format!("{hold}replay = {{ file = \"trace.csv\" }}"), "belongs to arrivals = \"replay\"");
    check("arrivals = \"replay\"", "needs to know which recording; add [load.replay]");
    check("arrivals = \"replay\"\nreplay = { speed = 2 }", "`file` is missing; write file = ");
    check("arrivals = \"replay\"\nreplay = { file = \"trace.csv\" }", "line 2: `soon` is no moment");
    check("arrivals = \"replay\"\nreplay = { file = \"none.csv\" }", "none.csv: cannot be read");
    check("arrivals = \"replay\"\nreplay = { file = \"trace.csv\", speed = 0 }", "write a factor above 0");
    check(&format!("{hold}sine = {{ mean = 5, amplitude = 1, period = \"1h\" }}"), "[load.sine] gives the levels");
    let long = "duration = \"1h\"\n";
    check(&format!("{long}sine = {{ mean = 5, amplitude = 6, period = \"1h\" }}"), "a level cannot fall below 0");
    check(&format!("{long}sine = {{ mean = 5, amplitude = 1, period = \"1s\" }}"), "write 2.4s or more");
    check(&format!("{long}sine = {{ mean = 5, amplitude = 1, period = \"3s\" }}"), "28800 steps are more than 1000");
    check("stages = [{ duration = \"5s\" }]", "a stage holds, ramps or swings");
    check("stages = [{ level = 5 }]", "`duration` is missing");
    check("stages = [{ to = 5, duration = \"5s\" }]", "`from` is missing");
    check("stages = [{ level = 5, duration = \"5s\", settle = \"5s\" }]", "leaves nothing of the stage to measure");
    check("stages = [{ level = 5, to = 6, duration = \"5s\" }]", "a stage holds, ramps or swings");
    check("duration = \"5s\"\nstages = [{ level = 5, duration = \"5s\" }]", "follows from the load's tables");
    let closed = "model = \"closed\"\nusers = 5\nduration = \"5s\"\n";
    check(&format!("{closed}burst = {{ every = \"1s\" }}"), "belongs to model = \"open\"");
    let check = |entry: &str, expected: &str| {
        let message = parse(folder.path(), hold, entry).map(|_| ()).unwrap_err().to_string();
        assert!(message.contains(expected), "{entry}:\n{message}");
    };
    check("zipf = { items = 5 }", "belongs to payload = \"zipf\"");
    check("payload = \"zipf\"\nzipf = { items = 0 }", "write 1 to 1000000 items");
    check("payload = \"zipf\"\nzipf = { exponent = -1 }", "write 0 (all alike) to 10");
}
