//! The runs of a folder, each as a line: what it was, when, and what came of it. Reads findings leniently, so that those of
//! other versions are listed too; a folder that is damaged or was not analysed is listed as such. Analyses nothing.

use std::fs;
use std::path::{Path, PathBuf};

use proofload_run::RunError;
use proofload_run::folder::RunFolder;
use proofload_run::verdict::Verdict;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::AnalyzeError;
use crate::report::write_index_page;

/// A folder of the index.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Listed {
    /// Its path below the folder of the index.
    pub(crate) path: String,
    /// Whether it has a report to link to.
    pub(crate) has_report: bool,
    pub(crate) told: Told,
}

/// What is known of a folder.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Told {
    /// What its findings say.
    Run(Box<Brief>),
    /// Why they say nothing, and what to do about it.
    Nothing(String),
}

/// A run, or a search for capacity, in a line. What is not known is `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Brief {
    pub(crate) verdict: Option<Verdict>,
    pub(crate) scenario: String,
    pub(crate) kind: String,
    pub(crate) why: String,
    pub(crate) begun_unix_ns: Option<u64>,
    pub(crate) driven_ns: Option<u64>,
    pub(crate) requests: Option<u64>,
    pub(crate) goodput_per_s: Option<f64>,
    pub(crate) error_share: Option<f64>,
    /// With its interval; the upper end may be unknown.
    pub(crate) p95_ns: Option<(u64, u64, Option<u64>)>,
    /// With its interval.
    pub(crate) capacity_per_s: Option<(f64, Option<[f64; 2]>)>,
}

/// Writes `index.html` over the runs of a folder, replacing an older one. Gives where it is, and how many it lists.
///
/// # Errors
/// When the folder cannot be listed, or the page not be written.
pub fn write_index(folder: &Path) -> Result<(PathBuf, usize), AnalyzeError> {
    let mut listed = Vec::new();
    for path in folders(folder)? {
        if is_of_a_run(&path) {
            listed.push(one(folder, &path));
        } else {
            // Several scenarios of one command each have a folder below a common one.
            let below = folders(&path)?.into_iter().filter(|path| is_of_a_run(path));
            listed.extend(below.map(|path| one(folder, &path)));
        }
    }
    let path = folder.join("index.html");
    write_index_page(&path, &listed)?;
    Ok((path, listed.len()))
}

fn folders(folder: &Path) -> Result<Vec<PathBuf>, RunError> {
    let entries = fs::read_dir(folder).map_err(|source| RunError::io(folder, source))?;
    let mut paths: Vec<PathBuf> =
        entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    paths.sort();
    Ok(paths)
}

/// Of a run that was begun, however far it came, or of a search for capacity.
fn is_of_a_run(path: &Path) -> bool {
    ["run.json", "capacity.json", "findings.json"].iter().any(|name| path.join(name).exists())
}

fn one(top: &Path, path: &Path) -> Listed {
    let below = path.strip_prefix(top).unwrap_or(path).to_string_lossy().into_owned();
    let told = if path.join("capacity.json").exists() { search(path) } else { run(path) };
    let told = told.map_or_else(Told::Nothing, |brief| Told::Run(Box::new(brief)));
    Listed { path: below, has_report: path.join("report.html").is_file(), told }
}

/// The lines of JSON files that the index is made of. Whatever else is in them is passed over, what is missing is not known.
mod files {
    use super::{Deserialize, Verdict};

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    pub(super) struct Findings {
        pub(super) verdict: Option<Verdict>,
        pub(super) reasons: Vec<Reason>,
        pub(super) run: Run,
        pub(super) totals: Totals,
        pub(super) rates: Rates,
        pub(super) latency: Option<Latency>,
        pub(super) capacity: Option<Found>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    pub(super) struct Reason {
        pub(super) sentence: String,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    pub(super) struct Run {
        pub(super) scenario: String,
        pub(super) kind: String,
        pub(super) clocks: Vec<Clock>,
        pub(super) driven_ns: Option<u64>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    pub(super) struct Clock {
        pub(super) zero_unix_ns: u64,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    pub(super) struct Totals {
        pub(super) samples: Option<u64>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    pub(super) struct Rates {
        pub(super) goodput_per_s: Option<f64>,
        pub(super) errors: Share,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    pub(super) struct Share {
        pub(super) n: u64,
        pub(super) share: f64,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    pub(super) struct Latency {
        pub(super) percentiles: Vec<Percentile>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    pub(super) struct Percentile {
        pub(super) percentile: f64,
        pub(super) latency_ns: u64,
        pub(super) low_ns: u64,
        pub(super) high_ns: Option<u64>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    pub(super) struct Found {
        pub(super) estimate_per_s: Option<f64>,
        pub(super) interval_per_s: Option<[f64; 2]>,
        pub(super) sentence: String,
    }

    /// `run.json` of a run that was not analysed, or of a search's step.
    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    pub(super) struct Manifest {
        pub(super) scenario: Scenario,
        pub(super) clocks: Vec<Clock>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    pub(super) struct Scenario {
        pub(super) name: String,
    }

    /// `capacity.json`.
    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    pub(super) struct Search {
        pub(super) scenario: String,
        pub(super) spent_ns: Option<u64>,
        pub(super) found: Option<Found>,
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let text = fs::read(path).map_err(|error| format!("{name} cannot be read: {error}"))?;
    serde_json::from_slice(&text).map_err(|error| format!("{name} is damaged: {error}"))
}

fn run(path: &Path) -> Result<Brief, String> {
    if !path.join("findings.json").exists() {
        let manifest: files::Manifest = read(&path.join("run.json"))?;
        let what = if manifest.scenario.name.is_empty() { "the run" } else { &manifest.scenario.name };
        let again = "still going on, or ended early; `proofload report` on this folder finishes it";
        return Err(format!("{what} was not analysed: {again}"));
    }
    let found: files::Findings = read(&path.join("findings.json"))?;
    let p95 = found.latency.iter().flat_map(|latency| &latency.percentiles);
    let p95 = p95.filter(|p| (p.percentile - 95.0).abs() < 1e-9).map(|p| (p.latency_ns, p.low_ns, p.high_ns)).next();
    let capacity = found.capacity.and_then(|found| Some((found.estimate_per_s?, found.interval_per_s)));
    Ok(Brief {
        verdict: found.verdict,
        scenario: found.run.scenario,
        kind: found.run.kind,
        why: found.reasons.into_iter().next().map_or_else(String::new, |reason| reason.sentence),
        begun_unix_ns: found.run.clocks.first().map(|clock| clock.zero_unix_ns),
        driven_ns: found.run.driven_ns,
        requests: found.totals.samples,
        goodput_per_s: found.rates.goodput_per_s,
        error_share: (found.rates.errors.n > 0).then_some(found.rates.errors.share),
        p95_ns: p95,
        capacity_per_s: capacity,
    })
}

fn search(path: &Path) -> Result<Brief, String> {
    let search: files::Search = read(&path.join("capacity.json"))?;
    let Some(found) = search.found else {
        return Err(format!(
            "the search for the capacity of {} is not over: the same command goes on with it",
            search.scenario
        ));
    };
    let first = RunFolder::open(&path.join("steps").join("1")).ok();
    let begun = first.and_then(|folder| read::<files::Manifest>(&folder.manifest_path()).ok());
    Ok(Brief {
        scenario: search.scenario,
        kind: "capacity".to_owned(),
        why: found.sentence,
        begun_unix_ns: begun.and_then(|manifest| Some(manifest.clocks.first()?.zero_unix_ns)),
        driven_ns: search.spent_ns,
        capacity_per_s: found.estimate_per_s.map(|estimate| (estimate, found.interval_per_s)),
        ..Brief::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    const FINDINGS: &str = r#"{"verdict":"FAIL","reasons":[{"sentence":"p95 was <b>2 s</b>"}],"of_the_future":[1],
        "run":{"scenario":"quick","kind":"sustained","clocks":[{"zero_unix_ns":5}],"driven_ns":7},"totals":{"samples":9},
        "rates":{"goodput_per_s":3.5,"errors":{"n":9,"share":0.5}},
        "latency":{"percentiles":[{"percentile":95.0,"latency_ns":11,"low_ns":10,"high_ns":null}]}}"#;

    #[test]
    fn folders_are_told_as_far_as_they_are_whole() {
        let folder = folder_with(&[
            ("whole/run.json", "{}"),
            ("whole/findings.json", FINDINGS),
            ("whole/report.html", "<html>"),
            ("two/below/run.json", "{}"),
            ("two/below/findings.json", "{}"),
            ("killed/run.json", r#"{"scenario":{"name":"quick"}}"#),
            ("torn/run.json", "{}"),
            ("torn/findings.json", r#"{"verdict":"#),
            ("torn too/run.json", "\u{0}"),
            ("search/capacity.json", r#"{"scenario":"quick","found":{"estimate_per_s":40.5,"sentence":"a knee"}}"#),
            ("searching/capacity.json", r#"{"scenario":"quick"}"#),
            ("notes/readme.txt", "no run"),
            ("loose.txt", ""),
        ]);
        let of = |path: &str| one(folder.path(), &folder.path().join(path)).told;
        let Told::Run(whole) = of("whole") else { panic!("it is whole") };
        assert_eq!(
            (whole.verdict, whole.begun_unix_ns, whole.p95_ns),
            (Some(Verdict::Fail), Some(5), Some((11, 10, None)))
        );
        assert_eq!((whole.requests, whole.error_share), (Some(9), Some(0.5)));
        let Told::Run(search) = of("search") else { panic!("it is over") };
        assert_eq!(search.capacity_per_s, Some((40.5, None)));
        let check = |path: &str, words: &str| match of(path) {
            Told::Nothing(why) => assert!(why.contains(words), "{path}: {why}"),
            Told::Run(brief) => panic!("{path}: {brief:?}"),
        };
        check("killed", "quick was not analysed");
        check("torn", "findings.json is damaged");
        check("torn too", "run.json is damaged");
        check("searching", "is not over");

        let (page, listed) = write_index(folder.path()).unwrap();
        assert_eq!(listed, 7);
        let html = fs::read_to_string(page).unwrap();
        assert!(html.contains("href=\"whole/report.html\""), "{html}");
        assert!(html.contains("two/below") && !html.contains("notes"), "{html}");
        assert!(html.contains("&#60;b&#62;2 s") && !html.contains("<b>2 s"), "shown, not run");
        assert!(write_index(&folder.path().join("nowhere")).is_err());
    }
}
