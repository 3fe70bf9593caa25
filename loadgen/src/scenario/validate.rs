//! From a scenario as written to a scenario as run: defaults, and whether it makes sense as a whole.

use std::collections::BTreeSet;

use proofload_run::criteria::{Metric, Slo, Threshold};
use proofload_run::manifest::ScenarioKind;

use super::as_written::{self as written, ModelWord, ThinkWord};
use super::connections::Connections;
use super::document::Value;
use super::entries::Entries;
use super::levels::Levels;
use super::reader::{Located, Problems, complain_missing};
use super::target::Targets;
use super::timing::Timings;
use super::{Load, MixEntry, Model, RequestSpec, Scenario, Source};
use crate::plan::{Think, Timing};
use crate::transport::HttpVersion;

const DEFAULT_TIMEOUT_NS: u64 = 10_000_000_000;
const LONGEST_TIMEOUT_NS: u64 = 3_600_000_000_000;
const MOST_CONNECTIONS: i64 = 65_535;
const DEFAULT_PERCENTILE: f64 = 95.0;
const DEFAULT_ERROR_RATE: f64 = 0.01;
/// What makes answers come as streams.
const STREAMS: &str = "openai-chat, openai-completions, generate-stream and kserve-grpc-stream make them";

/// Validates; `None` when something essential is missing. Whatever is wrong is in `problems` afterwards.
pub(super) fn validate(written: &written::Scenario, source: Source, problems: &Problems) -> Option<Scenario> {
    let check = Check { problems };
    let kind = check.kind(written);
    let folder = source.path.parent().unwrap_or(std::path::Path::new("")).to_owned();
    let entries = Entries { folder: &folder, problems };
    let mut mix = entries.all(&written.mix, &written.here);
    let model = written.load.as_ref().map(|load| load.model.as_ref().map_or(ModelWord::Open, |model| model.value));
    let journeys = entries.journeys(&written.journeys, &mix, model);
    entries.check_weights(&written.mix, &journeys);
    entries.settle_weights(&written.mix, &mut mix, &journeys);
    let names: Vec<&str> = mix.iter().map(|entry| entry.name.as_str()).collect();
    let load = check.load(written, kind, &Timings { folder: &folder, entries: &names, problems });
    let slo = written.slo.as_ref().and_then(|slo| slo_of(slo, problems));
    check.levels_of_tokens(written, &mix);
    if kind == Some(ScenarioKind::Stress) && !levelled(written, None) {
        check.complain(
            &written.here,
            "a stress scenario finds where the SLO breaks and needs one for all it sends; add [slo] with \
             latency = \"300ms\", or an slo to every entry of the mix",
        );
    }
    let thresholds = check.thresholds(written, kind, &mix, load.as_ref());
    check.streams(written, &mix, load.as_ref());
    let target = written.target.as_ref().map(|target| Targets { folder: &folder, problems }.target(target, &mix));
    let stem = source.path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    Some(Scenario {
        name: check.name(written).or(stem).unwrap_or_default(),
        description: written.description.as_ref().map(|d| d.value.clone()).unwrap_or_default(),
        kind: kind?,
        seed: check.seed(written),
        source,
        target,
        load: load?,
        mix,
        journeys,
        slo,
        thresholds,
    })
}

struct Check<'a> {
    problems: &'a Problems,
}

impl Check<'_> {
    fn complain<T>(&self, at: &Located<T>, message: impl std::fmt::Display) {
        self.problems.borrow_mut().push(at.problem(message));
    }

    /// The kind. A missing one is complained about, and so is every other thing that is wrong.
    fn kind(&self, written: &written::Scenario) -> Option<ScenarioKind> {
        if written.kind.is_none() {
            let remedy = "write kind = \"sustained\", \"stress\", \"spike\", \"endurance\" or \"ramp\"";
            complain_missing(self.problems, &written.here, "kind", remedy);
        }
        written.kind.as_ref().map(|kind| kind.value)
    }

    /// The name, which becomes part of a folder's name.
    fn name(&self, written: &written::Scenario) -> Option<String> {
        let name = written.name.as_ref()?;
        let fit = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.value.is_empty() || name.value.starts_with('.') || !name.value.chars().all(fit) {
            self.complain(name, "becomes part of a folder's name; write letters, digits, `-`, `_` and `.` only");
        }
        Some(name.value.clone())
    }

    fn seed(&self, written: &written::Scenario) -> u64 {
        match &written.seed {
            None => 1,
            Some(seed) => u64::try_from(seed.value).unwrap_or_else(|_| {
                self.complain(seed, "a seed is a whole number of 0 or more");
                0
            }),
        }
    }

    fn load(&self, written: &written::Scenario, kind: Option<ScenarioKind>, timings: &Timings<'_>) -> Option<Load> {
        let Some(load) = &written.load else {
            complain_missing(
                self.problems,
                &written.here,
                "load",
                "add [load] with rate = \"50/s\" and duration = \"30s\"",
            );
            return None;
        };
        let model = load.model.as_ref().map_or(ModelWord::Open, |model| model.value);
        let request_timeout_ns = self.request_timeout(load);
        let load_model = self.model(model, load, timings);
        let connections = Connections { problems: self.problems };
        let recording = match &load_model {
            Some(Model::Open { arrivals: Timing::Replayed(recording) }) => Some(recording.as_ref()),
            _ => None,
        };
        let steps = kind.and_then(|kind| Levels { model, problems: self.problems }.steps(kind, load, recording));
        let max_connections = self.max_connections(load);
        Some(Load {
            max_connections,
            connections: connections.policy(load, request_timeout_ns, max_connections.is_none()),
            retries: connections.retries(load),
            request_timeout_ns,
            // Shorter, and a target that hangs at the end would leave no timeouts behind.
            drain_ns: load.drain_ns.as_ref().map_or(request_timeout_ns, |drain| drain.value),
            traces: load.traces.as_ref().map_or(0.0, |traces| traces.value),
            stop_after_break: kind == Some(ScenarioKind::Stress)
                && load.stop_after_break.as_ref().is_none_or(|stop| stop.value),
            steps: steps?,
            model: load_model?,
        })
    }

    fn model(&self, model: ModelWord, load: &written::Load, timings: &Timings<'_>) -> Option<Model> {
        match model {
            ModelWord::Open => {
                for stranger in [
                    load.think_time_ns.as_ref().map(Located::unit),
                    load.think_distribution.as_ref().map(Located::unit),
                ]
                .into_iter()
                .flatten()
                {
                    self.complain(&stranger, "belongs to model = \"closed\"; open arrivals do not think");
                }
                timings.open(load).map(|arrivals| Model::Open { arrivals })
            }
            ModelWord::Closed => {
                timings.refuse_in_closed(load);
                let ns = load.think_time_ns.as_ref().map_or(0, |think| think.value);
                let think = match load.think_distribution.as_ref().map(|word| word.value) {
                    Some(ThinkWord::Exponential) => Think::Exponential { mean_ns: ns },
                    Some(ThinkWord::Constant) | None => Think::Constant { ns },
                };
                Some(Model::Closed { think })
            }
        }
    }

    fn max_connections(&self, load: &written::Load) -> Option<u32> {
        let limit = load.max_connections.as_ref()?;
        match &limit.value {
            Value::String(word) if word == "as-needed" => None,
            Value::Integer(number) if (1..=MOST_CONNECTIONS).contains(number) => u32::try_from(*number).ok(),
            _ => {
                self.complain(limit, format!("write 1 to {MOST_CONNECTIONS}, or \"as-needed\""));
                None
            }
        }
    }

    fn request_timeout(&self, load: &written::Load) -> u64 {
        let Some(timeout) = &load.request_timeout_ns else { return DEFAULT_TIMEOUT_NS };
        if !(1_000_000..=LONGEST_TIMEOUT_NS).contains(&timeout.value) {
            self.complain(timeout, "write 1ms to 1h");
        }
        timeout.value
    }

    fn thresholds(
        &self,
        written: &written::Scenario,
        kind: Option<ScenarioKind>,
        mix: &[MixEntry],
        load: Option<&Load>,
    ) -> Vec<Threshold> {
        let driven = load.map(|load| load.steps.iter().filter(|step| !step.warm_up).map(|s| s.end_ns - s.start_ns));
        let driven_ns: u64 = driven.map_or(u64::MAX, Iterator::sum);
        let names: BTreeSet<&str> = mix.iter().map(|entry| entry.name.as_str()).collect();
        let mut thresholds = Vec::new();
        for text in &written.thresholds {
            match text.value.parse::<Threshold>() {
                Ok(threshold) => {
                    self.check_threshold(text, &threshold, &names, kind, levelled(written, threshold.entry.as_deref()));
                    self.check_tokens(text, &threshold, mix);
                    if threshold.window_ns.is_some_and(|window_ns| window_ns > driven_ns) {
                        self.complain(text, "the window is longer than the load; shorten it, or lengthen the load");
                    }
                    thresholds.push(threshold);
                }
                Err(e) => self.complain(text, e),
            }
        }
        thresholds
    }

    fn check_threshold(
        &self,
        text: &Located<String>,
        threshold: &Threshold,
        names: &BTreeSet<&str>,
        kind: Option<ScenarioKind>,
        has_slo: bool,
    ) {
        if let Some(entry) = threshold.entry.as_ref().filter(|entry| !names.contains(entry.as_str())) {
            let known: Vec<&str> = names.iter().copied().collect();
            self.complain(text, format!("there is no entry `{entry}` in the mix; there are {}", known.join(", ")));
        }
        if threshold.metric == Metric::BreakingPoint && !kind.is_some_and(ScenarioKind::seeks_the_limit) {
            self.complain(text, "only kind = \"stress\" and \"ramp\" look for a breaking point");
        }
        if threshold.metric.needs_slo() && !has_slo {
            let remedy = "add [slo], or an slo to every entry that it covers";
            self.complain(text, format!("{} is measured against an SLO; {remedy}", threshold.metric));
        }
    }

    /// Whether what shares connections speaks a protocol that can.
    fn streams(&self, written: &written::Scenario, mix: &[MixEntry], load: Option<&Load>) {
        let stated = written.load.as_ref().and_then(|load| load.streams_per_connection.as_ref());
        let version = written.target.as_ref().and_then(|target| target.http_version.as_ref());
        let multiplexes = version.is_some_and(|version| version.value == HttpVersion::Http2);
        if let Some(stated) = stated.filter(|_| load.is_some_and(|load| load.connections.streams > 1))
            && !multiplexes
            && mix.iter().any(|entry| !entry.request.is_grpc())
        {
            let remedy = "HTTP/1.1 carries one request at a time; state target.http_version = \"2\", or remove this";
            self.complain(stated, remedy);
        }
    }

    /// Whether there are tokens for the service levels that bound them.
    fn levels_of_tokens(&self, written: &written::Scenario, mix: &[MixEntry]) {
        let own = written.mix.iter().map(|entry| (entry.name.as_ref(), entry.slo.as_ref()));
        for (name, level) in own.chain([(None, written.slo.as_ref())]) {
            let covered = |entry: &&MixEntry| name.is_none_or(|name| name.value == entry.name);
            let streams = mix.iter().filter(covered).any(|entry| entry.request.is_streamed());
            let bounds = level.into_iter().flat_map(|level| [&level.ttft_ns, &level.itl_ns]).flatten();
            for bound in bounds.filter(|_| !streams && !mix.is_empty()) {
                self.complain(bound, format!("is known of streamed answers, and no entry has any: {STREAMS}"));
            }
        }
    }

    /// Whether there can be such a figure of tokens at all.
    fn check_tokens(&self, text: &Located<String>, threshold: &Threshold, mix: &[MixEntry]) {
        let mut covered = mix.iter().filter(|entry| threshold.entry.as_ref().is_none_or(|name| *name == entry.name));
        let known = |entry: &MixEntry| match threshold.metric {
            Metric::TokensPerS => entry.request.is_streamed() || matches!(entry.request, RequestSpec::Completion(_)),
            _ => entry.request.is_streamed(),
        };
        if threshold.metric.is_of_tokens() && !covered.any(known) {
            let message = format!("{} is known of streamed answers, and no entry has any: {STREAMS}", threshold.metric);
            self.complain(text, message);
        }
    }
}

/// Whether everything that is sent, or all of one entry, has a service level: its own, or the run's.
fn levelled(written: &written::Scenario, entry: Option<&str>) -> bool {
    let covered = |mix: &&written::Mix| entry.is_none_or(|entry| mix.name.as_ref().is_some_and(|n| n.value == entry));
    written.slo.is_some() || written.mix.iter().filter(covered).all(|mix| mix.slo.is_some())
}

/// A service level with its defaults; `None` when its latency is missing, which is complained about.
pub(super) fn slo_of(written: &written::Slo, problems: &Problems) -> Option<Slo> {
    let complain = |problem| problems.borrow_mut().push(problem);
    let percentile = written.percentile.as_ref().map_or(DEFAULT_PERCENTILE, |p| p.value);
    if let Some(p) = written.percentile.as_ref().filter(|p| !(p.value > 0.0 && p.value < 100.0)) {
        complain(p.problem("a percentile lies above 0 and below 100; write 95.0 or 99.9"));
    }
    if let Some(latency) = written.latency_ns.as_ref().filter(|latency| latency.value == 0) {
        complain(latency.problem("no answer comes in no time; write a latency such as \"300ms\""));
    }
    let Some(latency) = &written.latency_ns else {
        complain_missing(problems, &written.here, "latency", "write latency = \"300ms\"");
        return None;
    };
    let error_rate = written.error_rate.as_ref().map_or(DEFAULT_ERROR_RATE, |rate| rate.value);
    let (ttft_ns, itl_ns) = (&written.ttft_ns, &written.itl_ns);
    for bound in [ttft_ns, itl_ns].into_iter().flatten().filter(|bound| bound.value == 0) {
        complain(bound.problem("no token comes in no time; write a time such as \"50ms\""));
    }
    let value = |bound: &Option<Located<u64>>| bound.as_ref().map(|bound| bound.value);
    for share in written.availability.iter().filter(|share| !(share.value > 0.0 && share.value < 1.0)) {
        complain(
            share.problem("an availability lies above 0 % and below 100 %, which nobody can promise; write \"99.9%\""),
        );
    }
    let availability = written.availability.as_ref().map(|share| share.value);
    let (ttft_ns, itl_ns) = (value(ttft_ns), value(itl_ns));
    Some(Slo { latency_ns: latency.value, percentile, error_rate, ttft_ns, itl_ns, availability })
}
