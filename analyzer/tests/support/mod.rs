//! Run folders for tests, made from a seed: arrivals meet a queue with parallel servers, and what happens to each
//! is written down as a load generator would. Not a model of anything: only realistic enough that every part of the
//! analysis has something to find.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with the line it stands on")]
#![allow(dead_code, reason = "each test file uses its own part of this module")]

use std::collections::BTreeMap;
use std::path::Path;

use proofload_run::criteria::Slo;
use proofload_run::events::{Event, EventKind};
use proofload_run::folder::RunFolder;
use proofload_run::journal::JournalWriter;
use proofload_run::jsonl::LineWriter;
use proofload_run::manifest::{
    ClockAnchor, ConnectionBound, End, EndReason, Entry, Host, Load, LoadModel, Manifest, Scenario, ScenarioKind, Step,
    Target, Tool,
};
use proofload_run::sample::{Outcome, Sample, flags};
use proofload_run::series::{SeriesPoint, Source};

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const S: u64 = 1_000_000_000;

/// A small generator of pseudo-random numbers (`SplitMix64`), so that folders are the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In (0, 1].
    pub(crate) fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// Exponential with this mean.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -self.unit().ln() * mean
    }
}

/// The server that the arrivals meet.
#[derive(Clone, Copy)]
pub(crate) struct Server {
    pub(crate) slots: usize,
    pub(crate) service_ns: f64,
    /// Exponential rather than constant service times.
    pub(crate) exponential: bool,
    /// Waiting longer than this is a shed at once.
    pub(crate) shed_after_ns: Option<u64>,
    /// Down from, to: refused connections.
    pub(crate) down: Option<(u64, u64)>,
}

/// A server's counter and what of each success it sums up.
type Counted = (&'static str, fn(&Sample) -> u64);

const COUNTED: [Counted; 5] = [
    ("inference_success_ns", |s| s.queue_ns + s.copy_in_ns + s.compute_ns + s.copy_out_ns),
    ("inference_queue_ns", |s| s.queue_ns),
    ("inference_compute_input_ns", |s| s.copy_in_ns),
    ("inference_compute_infer_ns", |s| s.compute_ns),
    ("inference_compute_output_ns", |s| s.copy_out_ns),
];

/// What a server has counted of a model so far.
#[derive(Default)]
struct Counts {
    n: u64,
    sums: [u64; COUNTED.len()],
}

impl Counts {
    fn add(&mut self, sample: &Sample) {
        if sample.outcome() == Outcome::Ok {
            self.n += 1;
            self.sums.iter_mut().zip(COUNTED).for_each(|(sum, (_, ns))| *sum += ns(sample));
        }
    }

    fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [("inference_success_count", self.n)]
            .into_iter()
            .chain(COUNTED.iter().zip(self.sums).map(|(of, sum)| (of.0, sum)))
    }
}

/// A run folder before it is written.
pub(crate) struct Recorded {
    pub(crate) manifest: Manifest,
    pub(crate) samples: Vec<Sample>,
    pub(crate) series: Vec<SeriesPoint>,
    pub(crate) events: Vec<Event>,
}

pub(crate) fn step(name: &str, from_s: u64, to_s: u64, level: f64, settle_s: u64) -> Step {
    Step {
        name: name.to_owned(),
        start_ns: from_s * S,
        end_ns: to_s * S,
        level_start: level,
        level_end: level,
        settle_ns: settle_s * S,
        warm_up: false,
    }
}

fn entry(name: &str, share: f64, protocol: &str, model: &str, path: &str) -> Entry {
    Entry {
        name: name.to_owned(),
        share,
        protocol: protocol.to_owned(),
        model: model.to_owned(),
        path: path.to_owned(),
        payload_policy: "unique".to_owned(),
        payloads: 8,
        slo: None,
        inferences_per_request: 1,
    }
}

pub(crate) fn manifest(kind: ScenarioKind, steps: Vec<Step>, slo: Option<Slo>, thresholds: &[&str]) -> Manifest {
    Manifest {
        format_version: proofload_run::FORMAT_VERSION,
        run_id: "quick-20261120-220000".to_owned(),
        tool: Tool {
            name: "proofload".to_owned(),
            version: "0.1.0".to_owned(),
            git_commit: Some("0123abc".to_owned()),
        },
        scenario: Scenario {
            name: "quick".to_owned(),
            description: "Photographs to the relief service, mixed with small tensors".to_owned(),
            kind,
            path: "scenarios/quick.toml".to_owned(),
            as_written: "name = \"quick\"\n# <script>alert(1)</script> & such\n[load]\nrate = \"40/s\"\n".to_owned(),
            overrides: vec!["load.duration=30s".to_owned()],
            as_run: serde_json::Value::Null,
        },
        seed: 42,
        host: Host {
            name: "bench-1".to_owned(),
            os: "Debian 12, Linux 6.1".to_owned(),
            cpu: "AMD EPYC 7B13".to_owned(),
            cores: 2,
            memory_bytes: 8 << 30,
            gpus: Vec::new(),
        },
        target: Target {
            http_url: "http://127.0.0.1:8000".to_owned(),
            grpc_url: String::new(),
            metrics_url: "http://127.0.0.1:8000/metrics".to_owned(),
            embedded: true,
            server: Some("proofload-daemon 0.1.0".to_owned()),
            models: serde_json::Value::Null,
        },
        load: Load {
            model: LoadModel::Open,
            arrivals: "poisson".to_owned(),
            duration_ns: steps.last().map_or(0, |step| step.end_ns),
            planned_arrivals: None,
            max_connections: 256,
            connections_bound_by: Some(ConnectionBound::Scenario),
            request_timeout_ns: 2 * S,
            plan_fingerprint: "f00dfacecafebeef".to_owned(),
        },
        steps,
        entries: vec![
            entry("relief", 0.25, "http", "relief_depth", "/api/v1/generate-3d"),
            entry("tensor", 0.75, "kserve_http_binary", "tiny_mlp", ""),
        ],
        slo,
        thresholds: thresholds.iter().map(|text| text.parse().unwrap()).collect(),
        clocks: vec![ClockAnchor { shard: 0, zero_unix_ns: 1_795_212_000 * S, error_bound_ns: 1000 }],
        end: None,
    }
}

impl Recorded {
    /// Drives the manifest's steps into the server.
    pub(crate) fn simulate(manifest: Manifest, server: Server, constant: bool, seed: u64) -> Self {
        let mut random = Random(seed);
        let mut free = vec![0_u64; server.slots];
        let mut samples: Vec<Sample> = Vec::new();
        for (index, step) in manifest.steps.iter().enumerate() {
            let mean_gap = S as f64 / step.level_start;
            let mut at = step.start_ns as f64;
            loop {
                at += if constant { mean_gap } else { random.exponential(mean_gap) };
                if at >= step.end_ns as f64 {
                    break;
                }
                let mut sample = arrival(samples.len() as u64, at as u64, &mut random);
                sample.step = index as u16;
                serve(&mut sample, &server, &mut free, manifest.load.request_timeout_ns, &mut random);
                samples.push(sample);
            }
        }
        let mut recorded = Self { manifest, samples, series: Vec::new(), events: Vec::new() };
        recorded.scrape();
        recorded
    }

    /// What a server's own statistics and metrics would have said, once a second.
    pub(crate) fn scrape(&mut self) {
        let plan_end_ns = self.manifest.steps.last().map_or(0, |step| step.end_ns);
        // The last scrape comes after the end of everything.
        let last_ns = self.samples.iter().map(|s| s.done_ns).max().unwrap_or(0).max(plan_end_ns) + 30 * MS;
        let mut times: Vec<u64> = (0..=last_ns / S).map(|second| second * S).collect();
        times.push(last_ns);
        let mut counts: Vec<Counts> = self.manifest.entries.iter().map(|_| Counts::default()).collect();
        let mut by_end: Vec<&Sample> = self.samples.iter().collect();
        by_end.sort_by_key(|sample| sample.done_ns);
        let mut ended = by_end.into_iter().peekable();
        let answered = self.samples.iter().filter(|sample| sample.done_ns >= sample.intended_ns);
        let mut intended: Vec<u64> = answered.map(|sample| sample.intended_ns).collect();
        intended.sort_unstable();
        let (mut begun, mut over) = (0, 0);
        for t_ns in times {
            while let Some(sample) = ended.next_if(|sample| sample.done_ns <= t_ns) {
                over += usize::from(sample.done_ns >= sample.intended_ns);
                counts[usize::from(sample.entry)].add(sample);
            }
            begun += intended[begun..].iter().take_while(|intended_ns| **intended_ns <= t_ns).count();
            for (entry, counted) in self.manifest.entries.iter().zip(&counts) {
                let labels = format!("model=\"{}\",version=\"1\"", entry.model);
                let points = counted.named().map(|(name, n)| point(t_ns, Source::Statistics, name, &labels, n as f64));
                self.series.extend(points);
            }
            let waiting = begun - over;
            let cpu = t_ns as f64 / S as f64;
            self.series.push(point(t_ns, Source::Target, "proofload_in_flight_requests", "", waiting as f64));
            self.series.push(point(t_ns, Source::Target, "process_cpu_seconds_total", "", cpu * 0.8));
            self.series.push(point(t_ns, Source::Generator, "process_cpu_seconds_total", "", cpu * 0.15));
            self.series.push(point(t_ns, Source::Target, "process_resident_memory_bytes", "", 64e6 + cpu * 1e5));
        }
    }

    /// Says how the run ended, with counts that agree.
    pub(crate) fn end(&mut self, reason: EndReason, at_ns: u64) {
        let mut outcomes: BTreeMap<String, u64> = BTreeMap::new();
        for sample in &self.samples {
            *outcomes.entry(sample.outcome().as_str().to_owned()).or_default() += 1;
        }
        let intended = self.samples.len() as u64;
        self.manifest.end = Some(End { at_ns, reason, detail: String::new(), intended, outcomes, lost_samples: 0 });
    }

    pub(crate) fn completed(mut self) -> Self {
        let plan_end = self.manifest.steps.last().map_or(0, |step| step.end_ns);
        let last = self.samples.iter().map(|s| s.done_ns).max().unwrap_or(0);
        self.end(EndReason::Completed, plan_end.max(last) + 20 * MS);
        self
    }

    pub(crate) fn event(&mut self, t_ns: u64, kind: EventKind) {
        self.events.push(Event { t_ns, shard: 0, kind });
    }

    /// Writes the folder as a generator leaves it: with journals.
    pub(crate) fn write(&self, path: &Path) {
        let folder = RunFolder::create(path, &self.manifest).unwrap();
        let mut journal = JournalWriter::create(&folder.sample_journal(0), 0, 4096).unwrap();
        for sample in &self.samples {
            journal.append(sample).unwrap();
        }
        journal.flush().unwrap();
        LineWriter::create(&folder.series_lines(0)).unwrap().append(&self.series).unwrap();
        LineWriter::create(&folder.events()).unwrap().append(&self.events).unwrap();
    }
}

pub(crate) fn point(t_ns: u64, source: Source, name: &str, labels: &str, value: f64) -> SeriesPoint {
    SeriesPoint { t_ns, shard: 0, source, name: name.to_owned(), labels: labels.to_owned(), value }
}

fn arrival(sequence: u64, intended_ns: u64, random: &mut Random) -> Sample {
    let late = 20_000 + random.next() % 60_000;
    Sample {
        sequence,
        intended_ns,
        sent_ns: intended_ns + late,
        generator_late_ns: late,
        entry: u16::from(random.unit() > 0.25),
        bytes_out: 4096,
        ..Sample::default()
    }
}

/// First come, first served by whichever slot is free first.
fn serve(sample: &mut Sample, server: &Server, free: &mut [u64], timeout_ns: u64, random: &mut Random) {
    let network = 100_000 + random.next() % 100_000;
    let came = sample.sent_ns + network / 2;
    if server.down.is_some_and(|(from, to)| (from..to).contains(&came)) {
        return answer(sample, Outcome::ConnectError, 0, sample.sent_ns + network);
    }
    let slot = free.iter_mut().min().unwrap();
    let wait = slot.saturating_sub(came);
    if server.shed_after_ns.is_some_and(|limit| wait > limit) {
        return answer(sample, Outcome::Shed, 503, came + network / 2);
    }
    if wait > timeout_ns {
        return answer(sample, Outcome::Timeout, 0, sample.intended_ns + timeout_ns);
    }
    let service = if server.exponential { random.exponential(server.service_ns) } else { server.service_ns } as u64;
    *slot = came + wait + service;
    sample.queue_ns = wait;
    sample.copy_in_ns = service / 20;
    sample.copy_out_ns = service / 50;
    sample.compute_ns = service - sample.copy_in_ns - sample.copy_out_ns;
    sample.flags = flags::HAS_PHASES;
    sample.batch_size = 1;
    sample.bytes_in = 84 + u32::from(sample.entry) * 100;
    let done = *slot + network / 2;
    answer(sample, Outcome::Ok, 200, done);
}

fn answer(sample: &mut Sample, outcome: Outcome, status: u16, done_ns: u64) {
    sample.outcome = outcome.code();
    sample.status = status;
    sample.first_byte_ns = if status == 0 { 0 } else { done_ns };
    sample.done_ns = done_ns;
}
