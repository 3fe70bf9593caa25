//! What a run will take on disk, before it is run: so many samples and scraped values of so many bytes each. Pure.

use proofload_run::manifest::LoadModel;
use proofload_run::sample::Sample;

use crate::plan::Think;
use crate::scenario::{MixEntry, Model, Scenario};

/// The fastest answer that a closed-model user is assumed to get, in seconds: less than a local server of small
/// tensors needs.
const FASTEST_ANSWER_S: f64 = 0.001;
/// Head of a chunk of the journal, which is written ten times a second.
const CHUNK_HEADS_BYTES_PER_S: f64 = 160.0;
/// A sample in the table that stays: measured 30 to 38 with Poisson arrivals and the phases of our own daemon, the more
/// the wider latencies spread.
const KEPT_BYTES_PER_SAMPLE: f64 = 40.0;
/// The same where latencies reach from milliseconds to seconds: measured 49. There has to be room for that.
const WIDEST_BYTES_PER_SAMPLE: f64 = 50.0;
/// What the moments of tokens add.
const KEPT_BYTES_OF_TOKENS: f64 = 11.0;
/// A scraped value in a line of `series-*.jsonl`, of which names and labels are the most.
const LINE_BYTES_PER_POINT: f64 = 160.0;
/// A scraped value in the table that stays.
const KEPT_BYTES_PER_POINT: f64 = 2.5;
/// An entry's histogram of a second that holds nothing.
const HISTOGRAM_BYTES: f64 = 150.0;
/// What each sample adds to it, while there are so few that each falls into a bin of its own.
const HISTOGRAM_BYTES_PER_SAMPLE: f64 = 6.0;
/// Beyond so many samples a second and entry all bins are there.
const MOST_BINS: f64 = 1500.0;
/// What the generator tells of itself each second.
const OWN_POINTS_PER_S: usize = 30;
/// Manifest, events, findings and reports.
const REPORTS_BYTES: f64 = 150e3;
/// What each second adds to findings and report, whose charts have so many points at most.
const REPORTS_BYTES_PER_S: f64 = 700.0;
const MOST_CHARTED_S: f64 = 600.0;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Footprint {
    /// Samples: as planned, or the most that users can bring about who are answered at once.
    pub samples: u64,
    /// Whether they are planned.
    pub is_planned: bool,
    /// The most bytes, in the moment before the journal is deleted.
    pub peak_bytes: u64,
    /// Bytes that stay.
    pub kept_bytes: u64,
}

impl Footprint {
    /// Of a scenario whose target has so many values to scrape each second.
    pub fn of(scenario: &Scenario, points_per_s: usize) -> Self {
        let seconds = scenario.load.steps.last().map_or(0.0, |step| step.end_ns as f64 / 1e9);
        let samples = samples(scenario).ceil();
        let points = (points_per_s + OWN_POINTS_PER_S) as f64 * seconds;
        let histograms = scenario.mix.len() as f64 * seconds;
        let others = points * KEPT_BYTES_PER_POINT
            + histograms * HISTOGRAM_BYTES
            + samples.min(histograms * MOST_BINS) * HISTOGRAM_BYTES_PER_SAMPLE
            + REPORTS_BYTES
            + seconds.min(MOST_CHARTED_S) * REPORTS_BYTES_PER_S;
        let tokens = samples * KEPT_BYTES_OF_TOKENS * streamed_share(&scenario.mix);
        let kept = samples * KEPT_BYTES_PER_SAMPLE + tokens + others;
        let widest = samples * WIDEST_BYTES_PER_SAMPLE + tokens + others;
        let journal = samples * Sample::SIZE as f64 + seconds * CHUNK_HEADS_BYTES_PER_S;
        Self {
            samples: samples as u64,
            is_planned: scenario.load.model.load_model() == LoadModel::Open,
            peak_bytes: (journal + points * LINE_BYTES_PER_POINT + widest) as u64,
            kept_bytes: kept as u64,
        }
    }
}

fn samples(scenario: &Scenario) -> f64 {
    let seconds = |start_ns: u64, end_ns: u64| (end_ns - start_ns) as f64 / 1e9;
    let steps = scenario.load.steps.iter();
    let level_seconds: f64 = steps.map(|s| (s.level_start + s.level_end) / 2.0 * seconds(s.start_ns, s.end_ns)).sum();
    match &scenario.load.model {
        Model::Open { .. } => level_seconds,
        Model::Closed { think } => level_seconds / (mean_think_s(*think) + FASTEST_ANSWER_S),
    }
}

fn mean_think_s(think: Think) -> f64 {
    match think {
        Think::Constant { ns } | Think::Exponential { mean_ns: ns } => ns as f64 / 1e9,
    }
}

/// Of the samples, those of answers that come in pieces.
fn streamed_share(mix: &[MixEntry]) -> f64 {
    let streamed: f64 = mix.iter().filter(|entry| entry.request.is_streamed()).map(|entry| entry.weight).sum();
    let all: f64 = mix.iter().map(|entry| entry.weight).sum();
    if all > 0.0 { streamed / all } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_day_at_a_thousand_a_second() {
        let check = |load: &str, points: usize, samples: u64, peak_gb: f64, kept_gb: f64| {
            let text = format!(
                "kind = \"sustained\"\n[load]\n{load}\n[[mix]]\nname = \"a\"\nprotocol = \"http\"\npath = \"/\"\n"
            );
            let scenario = Scenario::parse(Path::new("a.toml"), &text, &[]).unwrap();
            let found = Footprint::of(&scenario, points);
            let close = |bytes: u64, gb: f64| (bytes as f64 / 1e9 / gb - 1.0).abs() < 0.01;
            assert_eq!(found.samples, samples, "{load}");
            assert!(close(found.peak_bytes, peak_gb) && close(found.kept_bytes, kept_gb), "{load}: {found:?}");
        };
        check("rate = \"1000/s\"\nduration = \"24h\"", 170, 86_400_000, 21.50, 4.031);
        check("rate = \"1/s\"\nduration = \"24h\"", 0, 86_400, 0.4672, 0.02399);
        check(
            "model = \"closed\"\nusers = 20\nthink_time = \"99ms\"\nduration = \"24h\"",
            0,
            17_280_000,
            4.181,
            0.8149,
        );
    }
}
