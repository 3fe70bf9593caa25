//! `proofload cost`: folders in, figures out, prices kept beside a run, and mistakes named.

// Helpers of tests are no tests to clippy, and here too an unwrap fails with its line.
#![allow(clippy::unwrap_used)]

mod support;

use support::{Place, findings, run, small_tensors, text};

const OURS: &str = "[[price]]\nname = \"ours\"\nper = \"machine\"\nprice = 3.6\ncurrency = \"EUR\"\ndate = \"2026-11-20\"\n\
                    source = \"a contract\"\n";

#[test]
fn a_run_is_priced_with_the_prices_that_were_given() {
    let place = Place::new();
    let scenario = place.scenario(&small_tensors("rate = \"20/s\"\nduration = \"3s\""));
    let (folder, prices) = (place.path("run"), place.path("ours.toml"));
    std::fs::write(&prices, OURS).unwrap();
    let (scenario, folder, prices) = (scenario.to_str().unwrap(), folder.to_str().unwrap(), prices.to_str().unwrap());
    let given = ["--prices", prices, "--machine", "ours", "--replicas", "2"];
    let output = run(&[&["run", "--quiet", scenario, "--out", folder][..], &given].concat());
    assert!(output.status.code().is_some_and(|code| code != 2), "{}", text(&output.stderr));
    let found = findings(folder.as_ref()).cost.unwrap();
    let machine = found.machine.as_ref().unwrap();
    assert_eq!((machine.name.as_str(), machine.per_hour, machine.currency.as_str()), ("ours", 7.2, "EUR"));

    // Kept in the folder: the report is the same without the file.
    assert!(run(&["report", "--quiet", folder]).status.code().is_some_and(|code| code != 2));
    assert_eq!(findings(folder.as_ref()).cost.unwrap(), found);

    let labelled = [format!("none={folder}"), format!("half={folder}")];
    let output = run(&["cost", &labelled[0], &labelled[1], "--json", "--machine", "cpu", "--units", "8"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let read: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(read["runs"][1]["label"], "half");
    assert!((read["runs"][0]["cost"]["machine"]["per_hour"].as_f64().unwrap() - 16.0 * 0.0408).abs() < 1e-9, "{read}");
    assert_eq!(read["what_if"][0]["computing_saved_share"].as_f64(), Some(0.0), "{read}");
    let output = text(&run(&["cost", folder]).stdout);
    assert!(
        output.contains("1,000 good requests") && output.contains("not said: what a good request costs"),
        "{output}"
    );
}

#[test]
fn mistakes_are_named() {
    let place = Place::new();
    let (prices, nowhere) = (place.path("ours.toml"), place.path("nowhere"));
    let (prices, nowhere) = (prices.to_str().unwrap(), nowhere.to_str().unwrap());
    std::fs::write(prices, OURS.replace("EUR", "€").replace("3.6", "-1")).unwrap();
    let check = |arguments: &[&str], expected: &[&str]| {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = text(&output.stderr);
        assert!(expected.iter().all(|part| said.contains(part)), "{arguments:?}: {said}");
    };
    check(
        &["cost", nowhere, "--prices", prices],
        &["price \"ours\", price: -1 is no price", "price \"ours\", currency"],
    );
    check(&["cost", nowhere, "--machine", "toaster"], &["there is no price called \"toaster\"; use one of b200"]);
    check(&["cost", nowhere], &["not a run folder"]);
    check(&["cost", nowhere, "--prices", nowhere], &["cannot read"]);
    // Said before anything is driven.
    let scenario = place.scenario(&small_tensors("rate = \"20/s\"\nduration = \"3s\""));
    check(&["run", scenario.to_str().unwrap(), "--replicas", "0"], &["replicas: not a number that can be"]);
}
