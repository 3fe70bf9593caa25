//! Writes the rest of a run that was killed, as if it had gone on to its plan's end: the samples of the plan's own
//! arrivals, with latencies drawn from a seed, the scraped series and the histograms, by the writers that a run uses and
//! as often as it does. For proving what a day's run takes on disk and in memory without waiting for a day.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::error::Error;
use std::path::{Path, PathBuf};

use proofload_loadgen::plan::{Arrival, Arrivals, Mix, Profile};
use proofload_loadgen::record::Live;
use proofload_loadgen::scenario::{Model, Scenario};
use proofload_run::folder::RunFolder;
use proofload_run::histogram::Line;
use proofload_run::journal::{JournalReader, JournalWriter};
use proofload_run::jsonl::{LineReader, LineWriter};
use proofload_run::manifest::{End, EndReason, Manifest};
use proofload_run::sample::{Outcome, Sample};
use proofload_run::series::{SeriesPoint, Source};
use rand_core::{RngCore, SeedableRng};
use rand_pcg::Pcg64;

type Failure = Box<dyn Error>;

const SECOND_NS: u64 = 1_000_000_000;
/// A running writer flushes so often.
const FLUSH_NS: u64 = 100_000_000;
/// Samples that the journal's buffer holds at most.
const CHUNK_SAMPLES: usize = 8192;
/// What a server counts of a model's successes, which must agree with the samples.
const SUCCESSES: &str = "inference_success_count";

/// Numbers from a seed.
struct Random(Pcg64);

impl Random {
    /// In (0, 1].
    fn uniform(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// Log-normal with median 1 (Box and Muller 1958).
    fn log_normal(&mut self, sigma: f64) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        (sigma * radius * (std::f64::consts::TAU * self.uniform()).cos()).exp()
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[(self.0.next_u64() % all.len() as u64) as usize]
    }
}

/// The samples that a run recorded, by their place in the plan.
type Recorded = HashMap<u64, Sample>;

fn recorded(journal: &Path) -> Result<Recorded, Failure> {
    let (mut reader, mut chunk, mut all) = (JournalReader::open(journal)?, Vec::new(), HashMap::new());
    while reader.next_chunk(&mut chunk)? {
        all.extend(chunk.iter().map(|sample| (sample.sequence, *sample)));
    }
    Ok(all)
}

/// Makes samples like those that a run recorded.
struct Maker {
    random: Random,
    /// Successes of each entry.
    examples: Vec<Vec<Sample>>,
    /// Of each entry: the median latency and the spread of its logarithm.
    laws: Vec<(f64, f64)>,
}

impl Maker {
    fn new(recorded: &Recorded, entries: usize, seed: u64) -> Result<Self, Failure> {
        let mut examples = vec![Vec::new(); entries];
        let mut successes: Vec<&Sample> = recorded.values().filter(|s| s.outcome() == Outcome::Ok).collect();
        successes.sort_by_key(|sample| sample.sequence);
        successes.into_iter().for_each(|sample| examples[usize::from(sample.entry)].push(*sample));
        if let Some(entry) = examples.iter().position(Vec::is_empty) {
            return Err(format!("entry {entry} has no success in the first part; let the run go on for longer").into());
        }
        let laws = examples.iter().map(|of_entry| law(of_entry)).collect();
        Ok(Self { random: Random(Pcg64::seed_from_u64(seed)), examples, laws })
    }

    fn sample(&mut self, arrival: &Arrival) -> Sample {
        let entry = usize::from(arrival.entry);
        let example = *self.random.one_of(&self.examples[entry]);
        let (median_ns, sigma) = self.laws[entry];
        let latency_ns = (median_ns * self.random.log_normal(sigma)).clamp(20_000.0, 9e9);
        let late_ns = (example.generator_late_ns as f64 * self.random.log_normal(0.3)).min(latency_ns / 2.0);
        let scale = (latency_ns - late_ns) / example.latency_ns().max(1) as f64;
        // Of the time in the server each phase goes its own way.
        let mut phase = |ns: u64| (ns as f64 * scale.min(1.0) * (0.5 + self.random.uniform() / 2.0)) as u64;
        let [queue_ns, copy_in_ns, compute_ns, copy_out_ns] =
            [example.queue_ns, example.copy_in_ns, example.compute_ns, example.copy_out_ns].map(&mut phase);
        let done_ns = arrival.intended_ns + latency_ns as u64;
        let trace = u128::from(self.random.0.next_u64()) << 64 | u128::from(self.random.0.next_u64());
        Sample {
            sequence: arrival.sequence,
            intended_ns: arrival.intended_ns,
            sent_ns: arrival.intended_ns + late_ns as u64,
            first_byte_ns: done_ns - (example.done_ns - example.first_byte_ns).min(done_ns - arrival.intended_ns),
            done_ns,
            generator_late_ns: late_ns as u64,
            queue_ns,
            copy_in_ns,
            compute_ns,
            copy_out_ns,
            payload: arrival.payload,
            step: arrival.step,
            trace_id: if example.trace_id == 0 { 0 } else { trace },
            ..example
        }
    }
}

/// Median and spread of the logarithm of some latencies, from their quartiles.
fn law(samples: &[Sample]) -> (f64, f64) {
    let mut latencies: Vec<u64> = samples.iter().map(Sample::latency_ns).collect();
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].max(1) as f64;
    (at(0.5), ((at(0.75) / at(0.25)).ln() / 1.349).max(0.05))
}

/// A series as it was scraped in the first part of a run.
struct Scraped {
    last: SeriesPoint,
    values: Vec<f64>,
    /// What a counter grows by a second; `None` of a gauge.
    growth: Option<f64>,
    /// For a count of successes: of which model.
    model: Option<String>,
}

impl Scraped {
    fn new(points: &[SeriesPoint]) -> Option<Self> {
        let (first, last) = (points.first()?, points.last()?.clone());
        let values: Vec<f64> = points.iter().map(|point| point.value).collect();
        let seconds = (last.t_ns - first.t_ns) as f64 / SECOND_NS as f64;
        let grows = values.is_sorted() && last.value > first.value;
        let model = last.labels.split("model=\"").nth(1).and_then(|rest| rest.split('"').next()).map(str::to_owned);
        let model = model.filter(|_| last.name == SUCCESSES);
        Some(Self { growth: grows.then(|| (last.value - first.value) / seconds), last, values, model })
    }

    /// The point of the next second.
    fn next(&mut self, t_ns: u64, successes: &BTreeMap<String, f64>, random: &mut Random) -> SeriesPoint {
        let whole = self.values.iter().all(|value| value.fract() == 0.0);
        let value = match (&self.model, self.growth) {
            (Some(model), _) => self.values[0] + successes.get(model).copied().unwrap_or(0.0),
            (None, Some(growth)) => self.last.value + growth * (0.5 + random.uniform()),
            (None, None) => *random.one_of(&self.values),
        };
        self.last.value = if whole { value.round() } else { value };
        self.last.t_ns = t_ns;
        self.last.clone()
    }
}

/// The scraped series of a run, and how they go on.
struct Series {
    lines: LineWriter<SeriesPoint>,
    all: Vec<Scraped>,
    next_ns: u64,
}

impl Series {
    /// Takes what there is over into a new file.
    fn go_on(old: &Path, new: &Path) -> Result<Self, Failure> {
        let mut lines = LineWriter::create(new)?;
        let points: Vec<SeriesPoint> = LineReader::open(old)?.collect::<Result<_, _>>()?;
        lines.append(&points)?;
        let mut of_series: BTreeMap<(Source, String, String), Vec<SeriesPoint>> = BTreeMap::new();
        for point in points {
            of_series.entry((point.source, point.name.clone(), point.labels.clone())).or_default().push(point);
        }
        let all: Vec<Scraped> = of_series.values().filter_map(|points| Scraped::new(points)).collect();
        let last_ns = all.iter().map(|series| series.last.t_ns).max().ok_or("nothing was scraped")?;
        Ok(Self { lines, all, next_ns: last_ns + SECOND_NS })
    }

    fn scrape(&mut self, successes: &BTreeMap<String, f64>, random: &mut Random) -> Result<(), Failure> {
        let t_ns = self.next_ns;
        let points: Vec<SeriesPoint> = self.all.iter_mut().map(|s| s.next(t_ns, successes, random)).collect();
        self.lines.append(&points)?;
        self.next_ns += SECOND_NS;
        Ok(())
    }
}

/// What is written while the run goes on.
struct Rest<'a> {
    manifest: &'a Manifest,
    journal: JournalWriter,
    histograms: LineWriter<Line>,
    live: Live,
    series: Series,
    /// So far, by model.
    successes: BTreeMap<String, f64>,
    random: Random,
    under_way: BinaryHeap<Reverse<Ended>>,
    flushed_ns: u64,
    second_end_ns: u64,
}

/// A sample by the time at which it ended.
struct Ended(Sample);

impl Ended {
    fn key(&self) -> (u64, u64) {
        (self.0.done_ns.max(self.0.intended_ns), self.0.sequence)
    }
}

impl PartialEq for Ended {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Ended {}

impl PartialOrd for Ended {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ended {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl Rest<'_> {
    /// Everything that is over by then is written, as a writer does ten times a second.
    fn until(&mut self, t_ns: u64) -> Result<(), Failure> {
        while self.flushed_ns + FLUSH_NS <= t_ns {
            self.flushed_ns += FLUSH_NS;
            while self.under_way.peek().is_some_and(|Reverse(ended)| ended.key().0 <= self.flushed_ns) {
                let Some(Reverse(Ended(sample))) = self.under_way.pop() else { break };
                self.write(&sample)?;
            }
            self.journal.flush()?;
            if self.flushed_ns >= self.second_end_ns {
                self.histograms.append(&self.live.lines(self.second_end_ns, 0))?;
                self.live.turn();
                self.second_end_ns += SECOND_NS;
            }
            if self.flushed_ns >= self.series.next_ns {
                self.series.scrape(&self.successes, &mut self.random)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, sample: &Sample) -> Result<(), Failure> {
        self.live.add(sample);
        if sample.outcome() == Outcome::Ok {
            let model = &self.manifest.entries[usize::from(sample.entry)].model;
            *self.successes.entry(model.clone()).or_default() += 1.0;
        }
        Ok(self.journal.append(sample)?)
    }
}

/// The plan's own arrivals, as a run makes them.
fn arrivals(scenario: &Scenario, manifest: &Manifest) -> Result<Arrivals, Failure> {
    let Model::Open { arrivals } = &scenario.load.model else { return Err("only open loads have arrivals".into()) };
    let entries = scenario.mix.iter().zip(&manifest.entries);
    let mix = Mix::new(entries.map(|(entry, recorded)| (entry.weight, recorded.payloads)));
    Ok(Arrivals::new(Profile::new(scenario.load.steps.clone()), mix, arrivals.clone(), scenario.seed))
}

/// Lets a file make place for the one that goes on from it.
fn set_aside(path: &Path) -> Result<PathBuf, Failure> {
    let aside = path.with_extension("before");
    std::fs::rename(path, &aside)?;
    Ok(aside)
}

/// Drives the plan from its beginning, with the recorded samples where there are some. Gives how it ended.
fn go_on(rest: &mut Rest<'_>, scenario: &Scenario, mut recorded: Recorded) -> Result<End, Failure> {
    let mut maker = Maker::new(&recorded, rest.manifest.entries.len(), scenario.seed)?;
    let mut intended = 0;
    for arrival in arrivals(scenario, rest.manifest)? {
        rest.until(arrival.intended_ns)?;
        let sample = recorded.remove(&arrival.sequence).unwrap_or_else(|| maker.sample(&arrival));
        if (sample.intended_ns, sample.entry, sample.step) != (arrival.intended_ns, arrival.entry, arrival.step) {
            return Err(format!("sample {} is not that of the plan", arrival.sequence).into());
        }
        rest.under_way.push(Reverse(Ended(sample)));
        intended += 1;
    }
    let end_ns = scenario.load.steps.last().map_or(0, |step| step.end_ns);
    let last_ns = rest.under_way.iter().map(|Reverse(ended)| ended.key().0).max().unwrap_or(0).max(end_ns);
    // The last scrape comes after everything.
    rest.until(last_ns + 2 * SECOND_NS)?;
    let (at_ns, reason, detail) = (last_ns + FLUSH_NS, EndReason::Completed, String::new());
    Ok(End { at_ns, reason, detail, intended, outcomes: rest.live.outcomes(), lost_samples: 0 })
}

fn extend(path: &Path) -> Result<u64, Failure> {
    let folder = RunFolder::open(path)?;
    let manifest = folder.read_manifest()?;
    let written = &manifest.scenario;
    let scenario = Scenario::parse(Path::new(&written.path), &written.as_written, &written.overrides)?;
    let (journal, series) = (set_aside(&folder.sample_journal(0))?, set_aside(&folder.series_lines(0))?);
    std::fs::remove_file(folder.histogram_lines(0))?;
    let mut rest = Rest {
        manifest: &manifest,
        journal: JournalWriter::create(&folder.sample_journal(0), 0, CHUNK_SAMPLES)?,
        histograms: LineWriter::create(&folder.histogram_lines(0))?,
        live: Live::new(manifest.entries.len()),
        series: Series::go_on(&series, &folder.series_lines(0))?,
        successes: BTreeMap::new(),
        random: Random(Pcg64::seed_from_u64(scenario.seed ^ 1)),
        under_way: BinaryHeap::new(),
        flushed_ns: 0,
        second_end_ns: SECOND_NS,
    };
    let end = go_on(&mut rest, &scenario, recorded(&journal)?)?;
    let intended = end.intended;
    folder.write_manifest(&Manifest { end: Some(end), ..manifest.clone() })?;
    [journal, series].iter().try_for_each(std::fs::remove_file)?;
    Ok(intended)
}

#[allow(clippy::print_stdout)] // The count is what this program is asked for.
fn main() -> Result<(), Failure> {
    let folder = std::env::args().nth(1).ok_or("usage: extend_run RUN_FOLDER")?;
    println!("{}", extend(Path::new(&folder))?);
    Ok(())
}
