//! The folder of a search: `capacity.json`, and a run folder for each step. Written after every step, so that a search that
//! was stopped, or killed, goes on after its last whole one.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use proofload_loadgen::run::ResolvedTarget;
use proofload_loadgen::scenario::Scenario;
use proofload_run::FORMAT_VERSION;
use proofload_run::capacity::{Capacity, CapacitySearch, Rules, Seen};
use proofload_run::findings::Findings;
use proofload_run::folder::write_whole;
use serde::Deserialize;

const FILE: &str = "capacity.json";
const STEPS: &str = "steps";

/// What every version's file has.
#[derive(Deserialize)]
struct Version {
    format_version: u32,
}

/// See the module.
pub(super) struct Kept {
    folder: PathBuf,
    search: CapacitySearch,
}

impl Kept {
    /// A new one, or the one that is there, if it is the same search and not over.
    pub(super) fn open(
        folder: &Path,
        scenario: &Scenario,
        target: Option<&ResolvedTarget>,
        rules: Rules,
    ) -> anyhow::Result<Self> {
        let wanted = begun(scenario, target, rules);
        let search = match Self::read(folder)? {
            Some(kept) => same(kept.search, &wanted, folder)?,
            None if folder.join("run.json").exists() => {
                bail!("{} holds a run already; choose another folder with --out", folder.display())
            }
            None => wanted,
        };
        let steps = folder.join(STEPS);
        std::fs::create_dir_all(&steps).with_context(|| format!("cannot make {}", steps.display()))?;
        let kept = Self { folder: folder.to_owned(), search };
        kept.write()?;
        Ok(kept)
    }

    /// The search of a folder; `None` where there is none.
    pub(super) fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        let file = folder.join(FILE);
        let bytes = match std::fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        let version =
            serde_json::from_slice::<Version>(&bytes).with_context(|| format!("{} is no search", file.display()))?;
        if version.format_version != FORMAT_VERSION {
            bail!(
                "{} is of format {}, and this proofload knows {FORMAT_VERSION}: use the one that made it",
                file.display(),
                version.format_version
            );
        }
        let search = serde_json::from_slice(&bytes).with_context(|| format!("{} is no search", file.display()))?;
        Ok(Some(Self { folder: folder.to_owned(), search }))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn search(&self) -> &CapacitySearch {
        &self.search
    }

    pub(super) fn rules(&self) -> Rules {
        self.search.rules
    }

    pub(super) fn steps(&self) -> &[Seen] {
        &self.search.steps
    }

    pub(super) fn spent_ns(&self) -> u64 {
        self.search.spent_ns
    }

    /// What was found in each step so far.
    pub(super) fn findings(&self) -> anyhow::Result<Vec<Findings>> {
        (1..=self.search.steps.len()).map(|number| self.findings_of(number)).collect()
    }

    /// Those of the last step, which is the soak of a search that came to its end.
    pub(super) fn last_findings(&self) -> anyhow::Result<Findings> {
        match self.search.steps.len() {
            0 => bail!("{} holds a search without a step", self.folder.display()),
            last => self.findings_of(last),
        }
    }

    fn findings_of(&self, number: usize) -> anyhow::Result<Findings> {
        let folder = self.step(number as u64);
        proofload_analyzer::analyze(&folder).with_context(|| format!("cannot analyse {}", folder.display()))
    }

    /// Number and folder of the next step. What an earlier attempt left there is put aside.
    pub(super) fn next_folder(&self) -> anyhow::Result<(u64, PathBuf)> {
        let number = self.search.steps.len() as u64 + 1;
        let folder = self.step(number);
        if folder.exists() {
            let aside = (1..).map(|at| folder.with_extension(format!("cut-short-{at}"))).find(|path| !path.exists());
            let aside = aside.context("no name is free for a step that was cut short")?;
            std::fs::rename(&folder, &aside)
                .with_context(|| format!("cannot rename {} to {}", folder.display(), aside.display()))?;
        }
        Ok((number, folder))
    }

    fn step(&self, number: u64) -> PathBuf {
        self.folder.join(STEPS).join(number.to_string())
    }

    /// Takes in a step, and the time spent so far.
    pub(super) fn add(&mut self, seen: Seen, spent_ns: u64) -> anyhow::Result<()> {
        self.search.steps.push(seen);
        self.search.spent_ns = spent_ns;
        self.write()
    }

    /// The search is over.
    pub(super) fn close(&mut self, found: Capacity) -> anyhow::Result<()> {
        self.search.found = Some(found);
        self.write()
    }

    fn write(&self) -> anyhow::Result<()> {
        let mut json = serde_json::to_string_pretty(&self.search)?;
        json.push('\n');
        Ok(write_whole(&self.folder.join(FILE), json.as_bytes())?)
    }
}

/// A search of which nothing was driven yet.
fn begun(scenario: &Scenario, target: Option<&ResolvedTarget>, rules: Rules) -> CapacitySearch {
    let url = |url: &Option<String>| url.clone().unwrap_or_default();
    CapacitySearch {
        format_version: FORMAT_VERSION,
        scenario: scenario.name.clone(),
        scenario_path: scenario.source.path.display().to_string(),
        scenario_as_written: scenario.source.text.clone(),
        overrides: scenario.source.overrides.clone(),
        target_urls: target.map_or_else(Vec::new, |target| vec![url(&target.http_url), url(&target.grpc_url)]),
        rules,
        spent_ns: 0,
        steps: Vec::new(),
        found: None,
    }
}

/// A search that was begun, if the one that is wanted goes on with it.
fn same(begun: CapacitySearch, wanted: &CapacitySearch, folder: &Path) -> anyhow::Result<CapacitySearch> {
    let folder = folder.display();
    let differs = [
        ("scenario", begun.scenario_as_written != wanted.scenario_as_written || begun.overrides != wanted.overrides),
        ("target", begun.target_urls != wanted.target_urls),
        ("service level or rules", begun.rules != wanted.rules),
    ];
    if begun.found.is_some() {
        bail!("{folder} holds a search that is over; choose another folder with --out");
    }
    match differs.iter().find(|(_, differs)| *differs) {
        None => Ok(begun),
        Some((what, _)) => bail!(
            "{folder} holds a search of `{}` with another {what}; repeat its command to go on with it, or choose another \
             folder with --out",
            begun.scenario
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proofload_run::capacity::{Limit, Planned, Second, StepKind};
    use proofload_run::criteria::Slo;

    fn rules(guess_per_s: f64) -> Rules {
        let slo = Slo::new(1_000_000, 95.0, 0.01);
        Rules {
            slo,
            guess_per_s,
            most_per_s: None,
            budget_ns: 1,
            half_width_share: 0.03,
            soak_ns: 0,
            at_least_per_s: None,
        }
    }

    fn seen() -> Seen {
        let planned = Planned { kind: StepKind::WarmUp, rate_per_s: 3.0, settle_ns: 0, hold_ns: 5 };
        Seen { planned, seconds: vec![Second { n: 3, bad: 1, errors: 0 }], paces_ns: vec![1.5], sound: true }
    }

    fn scenario(rate: u32) -> Scenario {
        let text = format!(
            "kind = \"sustained\"\n[load]\nrate = {rate}\nduration = \"9s\"\n[[mix]]\nname = \"a\"\nprotocol = \"http\"\npath = \"/\"\n"
        );
        Scenario::parse(Path::new("a.toml"), &text, &[]).unwrap()
    }

    fn target(url: &str) -> ResolvedTarget {
        ResolvedTarget { http_url: Some(url.to_owned()), ..ResolvedTarget::default() }
    }

    #[test]
    fn a_search_goes_on_with_what_was_kept() {
        let place = tempfile::tempdir().unwrap();
        let mut kept = Kept::open(place.path(), &scenario(5), None, rules(10.0)).unwrap();
        kept.add(seen(), 77).unwrap();
        std::fs::create_dir(place.path().join("steps/2")).unwrap();
        let again = Kept::open(place.path(), &scenario(5), None, rules(10.0)).unwrap();
        assert_eq!((again.steps(), again.spent_ns()), (&[seen()][..], 77));
        assert_eq!(again.next_folder().unwrap().1, place.path().join("steps/2"));
        assert!(place.path().join("steps/2.cut-short-1").is_dir(), "what was begun is put aside");
    }

    #[test]
    fn another_search_does_not_go_on_with_it() {
        let place = tempfile::tempdir().unwrap();
        let mut kept = Kept::open(place.path(), &scenario(5), Some(&target("http://a:1")), rules(10.0)).unwrap();
        let refused = |rate: u32, url: &str, guess: f64| {
            let opened = Kept::open(place.path(), &scenario(rate), Some(&target(url)), rules(guess));
            opened.err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(refused(5, "http://a:1", 10.0), "");
        assert!(refused(6, "http://a:1", 10.0).contains("another scenario"));
        assert!(refused(5, "http://b:1", 10.0).contains("another target"));
        assert!(refused(5, "http://a:1", 11.0).contains("another service level or rules"));
        let found = Capacity {
            limit: Limit::Unknown,
            sustainable_per_s: None,
            not_borne_per_s: None,
            estimate_per_s: None,
            interval_per_s: None,
            soak_kept: None,
            saturated: Vec::new(),
            sentence: String::new(),
        };
        kept.close(found).unwrap();
        assert!(refused(5, "http://a:1", 10.0).contains("is over"));
    }

    #[test]
    fn a_search_of_another_version_is_told_apart_from_what_is_none() {
        let place = tempfile::tempdir().unwrap();
        let check = |text: &str, part: &str| {
            std::fs::write(place.path().join(FILE), text).unwrap();
            let message = Kept::read(place.path()).err().map(|error| format!("{error:#}")).unwrap_or_default();
            assert!(message.contains(part), "{text}: {message}");
        };
        check("{\"format_version\": 99, \"steps\": 7}", "of format 99");
        check("{\"format_version\": 2}", "is no search");
        check("hello", "is no search");
    }
}
