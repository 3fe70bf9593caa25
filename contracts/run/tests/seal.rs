//! Sealing a run folder: what is in the journals is in the tables, whatever happened to the writer.
// Helpers of tests are no tests to clippy, and here too an unwrap fails with its line.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use proofload_run::folder::RunFolder;
use proofload_run::journal::{JournalWriter, Tail};
use proofload_run::jsonl::LineWriter;
use proofload_run::manifest::{End, EndReason, Host, Load, LoadModel, Manifest, Scenario, ScenarioKind, Target, Tool};
use proofload_run::sample::Sample;
use proofload_run::series::{SeriesPoint, Source};
use proofload_run::table::{SealedShard, read_samples, read_series, seal};
use proofload_run::{FORMAT_VERSION, RunError};

fn manifest(end: Option<End>) -> Manifest {
    Manifest {
        format_version: FORMAT_VERSION,
        run_id: "r".into(),
        tool: Tool { name: "proofload".into(), version: "0".into(), git_commit: None },
        scenario: Scenario {
            name: "s".into(),
            description: String::new(),
            kind: ScenarioKind::Sustained,
            path: "s.toml".into(),
            as_written: String::new(),
            overrides: Vec::new(),
            as_run: serde_json::Value::Null,
        },
        seed: 1,
        host: Host::default(),
        target: Target::default(),
        load: Load {
            model: LoadModel::Open,
            arrivals: "poisson".into(),
            duration_ns: 1,
            planned_arrivals: None,
            max_connections: 1,
            connections_bound_by: None,
            request_timeout_ns: 1,
            plan_fingerprint: String::new(),
        },
        steps: Vec::new(),
        entries: Vec::new(),
        slo: None,
        thresholds: Vec::new(),
        clocks: Vec::new(),
        end,
    }
}

fn ended() -> Option<End> {
    Some(End {
        at_ns: 5,
        reason: EndReason::Completed,
        detail: String::new(),
        intended: 100,
        outcomes: std::collections::BTreeMap::new(),
        lost_samples: 0,
    })
}

fn write_run(path: &Path, end: Option<End>) -> RunFolder {
    let folder = RunFolder::create(path, &manifest(end)).unwrap();
    let mut journal = JournalWriter::create(&folder.sample_journal(0), 0, 16).unwrap();
    for sequence in 0..100 {
        journal.append(&Sample { sequence, ..Sample::default() }).unwrap();
    }
    journal.flush().unwrap();
    let point = |t_ns| SeriesPoint {
        t_ns,
        shard: 0,
        source: Source::Target,
        name: "up".into(),
        labels: String::new(),
        value: 1.0,
    };
    LineWriter::create(&folder.series_lines(0)).unwrap().append(&[point(1), point(2)]).unwrap();
    folder
}

fn sequences(folder: &RunFolder) -> Vec<u64> {
    let mut read = Vec::new();
    let mut keep = |part: &[Sample]| read.extend(part.iter().map(|s| s.sequence));
    read_samples(&folder.sample_table(0), &mut keep).unwrap();
    read
}

#[test]
fn an_ended_run_keeps_its_tables_only() {
    let place = tempfile::tempdir().unwrap();
    let folder = write_run(place.path(), ended());
    let sealed = seal(&folder).unwrap();
    assert_eq!(sealed.shards, [SealedShard { shard: 0, samples: 100, tail: Tail::Whole }]);
    assert_eq!(sequences(&folder), (0..100).collect::<Vec<_>>());
    assert!(!folder.sample_journal(0).exists() && !folder.series_lines(0).exists());
    let mut points = 0;
    read_series(&folder.series_table(0), |_| points += 1).unwrap();
    assert_eq!(points, 2);
    assert!(seal(&folder).unwrap().shards.is_empty(), "the second time there is nothing to do");
}

#[test]
fn a_killed_run_gives_what_was_flushed_and_keeps_its_journal() {
    let place = tempfile::tempdir().unwrap();
    let folder = write_run(place.path(), None);
    let bytes = std::fs::read(folder.sample_journal(0)).unwrap();
    std::fs::write(folder.sample_journal(0), &bytes[..bytes.len() - 10]).unwrap();
    for _ in 0..2 {
        let sealed = seal(&folder).unwrap();
        assert_eq!(sealed.shards, [SealedShard { shard: 0, samples: 96, tail: Tail::Torn }]);
        assert_eq!(sequences(&folder), (0..96).collect::<Vec<_>>());
    }
    assert!(folder.sample_journal(0).exists());
}

/// What lies behind the damage may still be wanted by somebody with more patience than we have.
#[test]
fn a_damaged_journal_is_kept_even_when_the_run_ended() {
    let place = tempfile::tempdir().unwrap();
    let folder = write_run(place.path(), ended());
    let mut bytes = std::fs::read(folder.sample_journal(0)).unwrap();
    let chunk = 16 + 16 * Sample::SIZE;
    bytes[32 + 2 * chunk + 100] ^= 1;
    std::fs::write(folder.sample_journal(0), &bytes).unwrap();
    let sealed = seal(&folder).unwrap();
    assert_eq!(sealed.shards, [SealedShard { shard: 0, samples: 32, tail: Tail::Damaged }]);
    assert_eq!(std::fs::read(folder.sample_journal(0)).unwrap(), bytes);
}

#[test]
fn a_folder_is_never_taken_for_what_it_is_not() {
    let place = tempfile::tempdir().unwrap();
    assert!(matches!(RunFolder::open(place.path()), Err(RunError::NotARun { .. })));
    let folder = write_run(place.path(), ended());
    assert!(RunFolder::create(place.path(), &manifest(None)).is_err(), "a run never overwrites another");
    let newer = std::fs::read_to_string(folder.manifest_path()).unwrap().replacen(
        &format!("\"format_version\": {FORMAT_VERSION}"),
        "\"format_version\": 99",
        1,
    );
    std::fs::write(folder.manifest_path(), newer).unwrap();
    assert!(matches!(folder.read_manifest(), Err(RunError::TooNew { found: 99, .. })));
}
