//! `proofload plan`: from what a search has found to replicas, and mistakes named. Nothing is driven.

// Helpers of tests are no tests to clippy, and here too an unwrap fails with its line.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use proofload_run::FORMAT_VERSION;
use proofload_run::capacity::{Capacity, CapacitySearch, Limit, Rules};
use proofload_run::criteria::Slo;
use support::{Place, run, text};

/// The folder of a search that is over, or not, without its steps.
fn search(folder: &Path, sustainable_per_s: Option<f64>, over: bool) {
    let found = Capacity {
        limit: if sustainable_per_s.is_some() { Limit::Knee } else { Limit::UpperBound },
        sustainable_per_s,
        not_borne_per_s: Some(130.0),
        estimate_per_s: sustainable_per_s.map(|rate| rate * 1.05),
        interval_per_s: sustainable_per_s.map(|rate| [rate, rate * 1.1]),
        soak_kept: None,
        saturated: Vec::new(),
        sentence: String::new(),
    };
    let rules = Rules {
        slo: Slo::new(50_000_000, 95.0, 0.01),
        guess_per_s: 10.0,
        most_per_s: None,
        budget_ns: 1,
        half_width_share: 0.03,
        soak_ns: 0,
        at_least_per_s: None,
    };
    let search = CapacitySearch {
        format_version: FORMAT_VERSION,
        scenario: "s".to_owned(),
        scenario_path: "s.toml".to_owned(),
        scenario_as_written: String::new(),
        overrides: Vec::new(),
        target_urls: Vec::new(),
        rules,
        spent_ns: 1,
        steps: Vec::new(),
        found: over.then_some(found),
    };
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("capacity.json"), serde_json::to_vec(&search).unwrap()).unwrap();
}

#[test]
fn replicas_are_those_of_the_formula() {
    let place = Place::new();
    let folder = place.path("search");
    search(&folder, Some(100.0), true);
    let folder = folder.to_str().unwrap();
    let output =
        run(&["plan", folder, "--for", "1000/s", "--for", "90/s", "--headroom", "20%", "--spare", "2", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = plan["replicas"]["rows"].as_array().unwrap();
    // 1000 / (100 · 0.8) = 12.5, so 13 and 2; 90 / 80 = 1.1, so 2 and 2.
    let replicas: Vec<u64> = rows.iter().map(|row| row["replicas"].as_u64().unwrap()).collect();
    assert_eq!(replicas, [15, 4], "{plan}");
    assert!(plan.get("model").is_none(), "nothing is known of batches: {plan}");

    let told = text(&run(&["plan", folder]).stdout);
    assert!(told.starts_with("one replica bears 100/s (the rate that one bears with a probability of 95 %)"), "{told}");
    assert!(told.contains("replicas = ceil(peak / (100/s · (1 − 0.3))) + 1"), "{told}");
    assert_eq!(told.lines().filter(|line| line.contains("/s ") && line.ends_with('%')).count(), 8, "{told}");
}

#[test]
fn what_cannot_be_planned_with_is_said() {
    let place = Place::new();
    let check = |name: &str, sustainable: Option<f64>, over: bool, more: &[&str], part: &str| {
        let folder = place.path(name);
        search(&folder, sustainable, over);
        let output = run(&[&["plan", folder.to_str().unwrap()], more].concat());
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(part), "{}", text(&output.stderr));
    };
    check("open", Some(100.0), false, &[], "the search is not over");
    check("nothing", None, true, &[], "found no rate that is borne");
    check("full", Some(100.0), true, &["--headroom", "100%"], "nothing would be left to use");
    check("lost", Some(100.0), true, &["--profile", "nowhere.json"], "cannot read nowhere.json");
    let output = run(&["plan", place.path("not there").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
}
