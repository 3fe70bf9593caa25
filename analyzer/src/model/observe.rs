//! What is seen of a model's instances while samples are looked at: how long batches of each size took, and what the requests
//! of each step met. Of requests over KServe alone: what other doors state is more than one model's time. Sums of whole numbers.

use std::collections::BTreeMap;

use proofload_run::findings::{BatchTime, ServedStep, Service};
use proofload_run::manifest::Manifest;
use proofload_run::sample::{Outcome, flags};
use proofload_run::units::NS_PER_S;
use serde_json::Value;

use crate::samples::Row;
use crate::scope::{Scope, Seen};
use crate::stats::BySecond;

/// A time that is longer than a day is counted as a day, so that no sum can overflow whatever a server claims.
const LONGEST_NS: u64 = 86_400 * NS_PER_S;
/// With fewer whole seconds nothing is said of how arrivals come.
const FEWEST_SECONDS: usize = 5;

/// Number, sum and sum of squares.
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    n: u64,
    sum: u128,
    squares: u128,
}

impl Moments {
    fn add(&mut self, ns: u64) {
        let ns = u128::from(ns.min(LONGEST_NS));
        (self.n, self.sum, self.squares) = (self.n + 1, self.sum + ns, self.squares + ns * ns);
    }

    fn mean(&self) -> f64 {
        self.sum as f64 / self.n.max(1) as f64
    }

    fn deviation(&self) -> f64 {
        let n = self.n as f64;
        let spread = self.squares as f64 - self.sum as f64 * self.mean();
        if self.n < 2 { 0.0 } else { (spread / (n - 1.0)).max(0.0).sqrt() }
    }
}

/// A step of one model.
#[derive(Debug, Clone, Default)]
struct OfStep {
    arrivals: u64,
    successes: u64,
    latency: Moments,
    wait: Moments,
    service: Moments,
    /// Of its batch's time, what falls to each request.
    busy: Moments,
    /// Millionths of a batch that each request is.
    batches: u128,
    seconds: BySecond<u32>,
}

/// One model.
#[derive(Debug, Clone)]
struct OfModel {
    batches: BTreeMap<u16, Moments>,
    steps: Vec<OfStep>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Services<'a> {
    scope: &'a Scope<'a>,
    models: Vec<&'a str>,
    /// Of each entry, the index of its model and the elements of a request; `None` where it does not go over KServe.
    of_entry: Vec<Option<(usize, u32)>>,
    seen: Vec<OfModel>,
}

impl<'a> Services<'a> {
    pub(crate) fn new(scope: &'a Scope<'a>) -> Self {
        let entries = &scope.manifest().entries;
        let mut models: Vec<&str> = Vec::new();
        let of_entry = entries.iter().map(|entry| {
            let over_kserve = entry.protocol.starts_with("kserve") && !entry.model.is_empty();
            over_kserve.then(|| {
                let known = models.iter().position(|model| *model == entry.model);
                let index = known.unwrap_or_else(|| {
                    models.push(&entry.model);
                    models.len() - 1
                });
                (index, entry.inferences_per_request.max(1))
            })
        });
        let of_entry = of_entry.collect();
        let none = OfModel { batches: BTreeMap::new(), steps: vec![OfStep::default(); scope.windows.all.len()] };
        Self { scope, seen: vec![none; models.len()], models, of_entry }
    }

    /// Counts a sample, in the first look only.
    pub(crate) fn count(&mut self, seen: &Seen<'_>) {
        let of_entry = self.of_entry.get(usize::from(seen.row.entry)).copied().flatten();
        let (Some((model, elements)), Some(window)) = (of_entry, seen.measured_in()) else { return };
        let Some(of_model) = self.seen.get_mut(model) else { return };
        if let Some(step) = of_model.steps.get_mut(window) {
            step.add(seen.row, elements, seen.block);
        }
        if let Some(service_ns) = served_ns(seen.row).filter(|_| seen.row.batch_size > 0) {
            // A server may claim any size; a few hundred are as many as a curve needs.
            let full = of_model.batches.len() >= 512;
            let known = of_model.batches.contains_key(&seen.row.batch_size);
            if known || !full {
                of_model.batches.entry(seen.row.batch_size).or_default().add(service_ns);
            }
        }
    }

    /// Of the model with most requests that say what they met; `None` where there is none.
    pub(crate) fn found(&self) -> Option<Service> {
        let stated = |of_model: &OfModel| of_model.steps.iter().map(|step| step.service.n).sum::<u64>();
        let (index, busiest) =
            self.seen.iter().enumerate().max_by_key(|(index, seen)| (stated(seen), usize::MAX - index))?;
        if stated(busiest) == 0 {
            return None;
        }
        let manifest = self.scope.manifest();
        let elements = self.of_entry.iter().flatten().find(|(model, _)| *model == index)?.1;
        let settings = Settings::of(manifest, self.models[index]);
        let time = |(batch, times): (&u16, &Moments)| BatchTime {
            batch: u32::from(*batch),
            n: times.n,
            mean_ns: times.mean(),
            deviation_ns: times.deviation(),
        };
        let windows = self.scope.windows.all.iter().zip(&busiest.steps);
        let steps = windows.filter(|(window, step)| step.service.n > 0 && window.measured_ns() > 0);
        Some(Service {
            model: self.models[index].to_owned(),
            instances: settings.instances,
            max_batch: settings.max_batch,
            delay_ns: settings.delay_ns,
            elements_per_request: elements,
            batches: busiest.batches.iter().map(time).collect(),
            steps: steps.map(|(window, step)| step.told(&window.name, window.measured_ns())).collect(),
        })
    }
}

/// From copy-in to copy-out of what was computed and says so.
fn served_ns(row: &Row) -> Option<u64> {
    let states = row.outcome == Outcome::Ok && row.flags & (flags::HAS_PHASES | flags::CACHE_HIT) == flags::HAS_PHASES;
    states.then(|| row.phases_ns[1..].iter().fold(0_u64, |sum, ns| sum.saturating_add(*ns)))
}

impl OfStep {
    fn add(&mut self, row: &Row, elements: u32, block: u32) {
        self.arrivals += 1;
        *self.seconds.at(block) += 1;
        if row.outcome != Outcome::Ok {
            return;
        }
        self.successes += 1;
        if let Some(service_ns) = served_ns(row) {
            let requests = (u64::from(row.batch_size) / u64::from(elements)).max(1);
            self.latency.add(row.latency_ns());
            self.wait.add(row.phases_ns[0]);
            self.service.add(service_ns);
            self.busy.add(service_ns / requests);
            self.batches += 1_000_000 / u128::from(requests);
        }
    }

    fn told(&self, step: &str, measured_ns: u64) -> ServedStep {
        let seconds = measured_ns as f64 / NS_PER_S as f64;
        ServedStep {
            step: step.to_owned(),
            arrivals_per_s: self.arrivals as f64 / seconds,
            dispersion: self.dispersion(),
            n: self.service.n,
            success_share: self.successes as f64 / self.arrivals.max(1) as f64,
            wait_ns: self.wait.mean(),
            wait_deviation_ns: self.wait.deviation(),
            service_ns: self.service.mean(),
            service_deviation_ns: self.service.deviation(),
            busy_ns: self.busy.mean(),
            batch: self.service.n as f64 * 1e6 / self.batches.max(1) as f64,
            latency_ns: self.latency.mean(),
            throughput_per_s: self.successes as f64 / seconds,
        }
    }

    /// Over the whole seconds: the first and the last may be cut.
    fn dispersion(&self) -> Option<f64> {
        let counts: Vec<f64> = self.seconds.iter().map(|(_, count)| f64::from(*count)).collect();
        let whole = counts.get(1..counts.len().saturating_sub(1)).filter(|whole| whole.len() >= FEWEST_SECONDS)?;
        let n = whole.len() as f64;
        let mean = whole.iter().sum::<f64>() / n;
        let variance = whole.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / (n - 1.0);
        (mean > 0.0).then_some(variance / mean)
    }
}

/// What the target states of a model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Settings {
    instances: Option<u32>,
    max_batch: Option<u32>,
    delay_ns: Option<u64>,
}

impl Settings {
    fn of(manifest: &Manifest, model: &str) -> Self {
        let config = manifest.target.models.get(model).and_then(|model| model.get("config"));
        config.map_or_else(Self::default, Self::read)
    }

    /// Of a configuration in JSON. A model that does not batch has batches of one.
    fn read(config: &Value) -> Self {
        let number =
            |value: Option<&Value>| value.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
        let groups = config.get("instance_group").and_then(Value::as_array);
        let counts =
            groups.map(|groups| groups.iter().map(|group| number(group.get("count")).unwrap_or(1)).sum::<u64>());
        let small = |value: u64| u32::try_from(value).ok().filter(|value| *value > 0);
        let batching = config.get("dynamic_batching").filter(|batching| batching.is_object());
        let stated = number(config.get("max_batch_size"));
        let delay = batching.map(|batching| number(batching.get("max_queue_delay_microseconds")).unwrap_or(0));
        Self {
            instances: counts.and_then(small),
            max_batch: if batching.is_none() { stated.map(|_| 1) } else { stated.and_then(small) },
            delay_ns: Some(delay.unwrap_or(0).saturating_mul(1000)).filter(|_| config.is_object()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_those_of_the_configuration() {
        let check = |config: &str, expected: (Option<u32>, Option<u32>, Option<u64>)| {
            let found = Settings::read(&serde_json::from_str(config).unwrap());
            assert_eq!((found.instances, found.max_batch, found.delay_ns), expected, "{config}");
        };
        let batching = r#""dynamic_batching": {"max_queue_delay_microseconds": "500"}"#;
        let groups = r#""instance_group": [{"count": 2, "kind": "KIND_CPU"}, {"kind": "KIND_GPU"}]"#;
        check(&format!(r#"{{"max_batch_size": 8, {batching}, {groups}}}"#), (Some(3), Some(8), Some(500_000)));
        check(r#"{"max_batch_size": 8}"#, (None, Some(1), Some(0)));
        check(r#"{"max_batch_size": 0, "dynamic_batching": {}}"#, (None, None, Some(0)));
        check("null", (None, None, None));
    }

    #[test]
    fn steps_say_what_their_requests_met() {
        let mut step = OfStep::default();
        // Batches of four elements, two to a request: two requests share 8 ms; ten arrivals a second, one failing.
        for request in 0..100_u64 {
            let outcome = if request % 10 == 0 { Outcome::Timeout } else { Outcome::Ok };
            let row = Row {
                outcome,
                done_ns: 30_000_000,
                phases_ns: [20_000_000, 1_000_000, 6_000_000, 1_000_000],
                batch_size: 4,
                flags: flags::HAS_PHASES,
                ..Row::EMPTY
            };
            step.add(&row, 2, (request / 10) as u32);
        }
        let told = step.told("a", 10 * NS_PER_S);
        assert_eq!((told.n, told.arrivals_per_s, told.throughput_per_s, told.success_share), (90, 10.0, 9.0, 0.9));
        assert_eq!((told.wait_ns, told.service_ns, told.busy_ns, told.batch), (20e6, 8e6, 4e6, 2.0));
        assert_eq!((told.service_deviation_ns, told.dispersion), (0.0, Some(0.0)));
    }
}
