//! Scenario files: every file that ships is valid, and a broken one is refused before anything happens.

// Helpers of tests are no tests to clippy, and here too an unwrap fails with its line.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::PathBuf;

use support::{Place, repository, run, text};

fn files(folder: &str) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(repository().join(folder)).unwrap();
    let mut files: Vec<PathBuf> = listed
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_scenario_that_ships_is_valid() {
    let files = files("scenarios");
    assert!(files.len() >= 6, "{files:?}");
    for file in files {
        if let Err(errors) = proofload_loadgen::scenario::Scenario::load(&file, &[]) {
            panic!("{errors}");
        }
    }
}

#[test]
fn a_broken_file_is_refused_before_any_socket_opens() {
    let place = Place::new();
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    target.set_nonblocking(true).unwrap();
    let url = format!("http://{}", target.local_addr().unwrap());
    let files = files("loadgen/tests/broken");
    assert!(files.len() >= 20, "{} broken files", files.len());
    for file in files {
        let folder = place.path("never");
        let output = run(&["run", file.to_str().unwrap(), "--target", &url, "--out", folder.to_str().unwrap()]);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{}: {message}", file.display());
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(message.contains(name), "{name} is not named: {message}");
        assert!(!folder.exists(), "{name}: a run folder was made");
        assert_eq!(target.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "{name}: the target was touched");
    }
}

#[test]
fn files_are_checked_without_a_run() {
    let quick = repository().join("scenarios/quick.toml");
    let broken = repository().join("loadgen/tests/broken/many_mistakes.toml");
    let check = |files: &[&PathBuf], code: i32| {
        let files = files.iter().map(|file| file.to_str().unwrap());
        let output = run(&["scenario", "check"].into_iter().chain(files).collect::<Vec<_>>());
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
        (text(&output.stdout), text(&output.stderr))
    };
    assert!(check(&[&quick], 0).0.contains("quick.toml: valid"));
    let (valid, wrong) = check(&[&broken, &quick], 2);
    assert!(valid.contains("quick.toml: valid") && wrong.lines().count() >= 5, "{valid}{wrong}");
}

#[test]
fn the_schema_that_is_printed_is_the_committed_one() {
    let committed = std::fs::read_to_string(repository().join("scenarios/schema.json")).unwrap();
    assert_eq!(text(&run(&["scenario", "schema"]).stdout), committed);
}

#[test]
fn a_live_view_needs_a_terminal() {
    let quick = repository().join("scenarios/quick.toml");
    let output = run(&["run", quick.to_str().unwrap(), "--tui"]);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("leave it out"), "{message}");
}

#[test]
fn usage_errors_exit_with_2() {
    for arguments in [&["run"][..], &["run", "no-such-file.toml"], &["fly"], &["report", "no-such-folder"]] {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}
