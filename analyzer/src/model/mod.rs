//! A model of what bears the load, fitted to what was seen of it: how long batches take, how long requests wait, and what other
//! settings would change. Every prediction stands beside an observation, and what is off is said to be off. Pure.

mod batcher;
mod observe;
mod queueing;
mod random;
pub mod replicas;
mod roofline;
mod usl;

use proofload_run::capacity::Capacity;
use proofload_run::criteria::Slo;
use proofload_run::findings::{BatchTime, CapacityModel, Fitted, Roofline, ServedStep, Service, Setting, WaitCheck};
use proofload_run::units::{format_duration_ns, significant};

use self::batcher::Setup;
pub(crate) use self::observe::Services;
use self::queueing::allen_cunneen;
use self::roofline::Law;

/// A step says something with so many requests.
const FEWEST_REQUESTS: u64 = 50;
/// Requests are served one by one, as the formula wants it, while batches are no larger on average.
const ALONE: f64 = 1.05;
/// Above this share of the time even a simulation is a guess.
const BUSIEST: f64 = 0.98;
/// A simulation that is off by more than this share of the wait, and by more than a millisecond, departs.
const OFF: f64 = 0.5;
const OFF_NS: f64 = 1e6;
/// A model of the capacity that is off by more than this is not to be relied on.
const UNRELIABLE: f64 = 0.2;

/// Several runs of the same model as one, in the order in which they were driven; `None` where none says anything. Their steps are
/// named by the number of the run, from 1.
pub fn together<'a>(all: impl IntoIterator<Item = Option<&'a Service>>) -> Option<Service> {
    let all: Vec<(usize, &Service)> = (1..).zip(all).filter_map(|(run, service)| Some((run, service?))).collect();
    let mut whole = Service { steps: Vec::new(), batches: Vec::new(), ..all.first()?.1.clone() };
    for (run, service) in all.into_iter().filter(|(_, service)| service.model == whole.model) {
        let named = |step: &ServedStep| ServedStep { step: run.to_string(), ..step.clone() };
        whole.steps.extend(service.steps.iter().map(named));
        for time in &service.batches {
            match whole.batches.iter_mut().find(|known| known.batch == time.batch) {
                Some(known) => *known = pooled(known, time),
                None => whole.batches.push(*time),
            }
        }
    }
    whole.batches.sort_by_key(|time| time.batch);
    Some(whole)
}

/// Mean and deviation of two sets together.
fn pooled(one: &BatchTime, other: &BatchTime) -> BatchTime {
    let (a, b) = (one.n as f64, other.n as f64);
    let mean_ns = (a * one.mean_ns + b * other.mean_ns) / (a + b);
    let square = |n: f64, time: &BatchTime| n * (time.deviation_ns.powi(2) + (time.mean_ns - mean_ns).powi(2));
    let deviation_ns = ((square(a, one) + square(b, other)) / (a + b)).sqrt();
    BatchTime { batch: one.batch, n: one.n + other.n, mean_ns, deviation_ns }
}

/// The model of a service. What settings would change is said where there is a service level to keep, and how far that can be
/// relied on where a capacity was found.
pub fn capacity_model(service: &Service, slo: Option<&Slo>, observed: Option<&Capacity>) -> CapacityModel {
    let law = roofline::fit(&service.batches, service.elements_per_request);
    let base = Base::of(service, law);
    let waits: Vec<WaitCheck> =
        service.steps.iter().filter(|step| step.n >= FEWEST_REQUESTS).map(|step| base.wait(step)).collect();
    let points: Vec<(f64, f64)> = service
        .steps
        .iter()
        .map(|step| (step.throughput_per_s * step.latency_ns / 1e9, step.throughput_per_s))
        .collect();
    let usl = usl::fit(&points);
    let settings = slo.map_or_else(Vec::new, |slo| base.settings(slo));
    let mut notes = base.notes(service);
    notes.extend(checked(settings.first(), observed));
    notes.extend(departures(&waits));
    CapacityModel {
        model: service.model.clone(),
        roofline: law.map(|law| base.roofline(&law, &service.batches)),
        waits,
        no_usl: usl.as_ref().err().cloned().unwrap_or_default(),
        usl: usl.ok(),
        settings,
        notes,
    }
}

/// As many instances as must have been there: those that were busy on average in the busiest step.
fn busiest(service: &Service) -> u32 {
    let busy = service.steps.iter().map(|step| step.arrivals_per_s * step.success_share * step.busy_ns / 1e9);
    busy.fold(1.0, f64::max).ceil().min(1e6) as u32
}

/// How the service is now, as far as it is known. Batches are counted in requests.
#[derive(Debug, Clone, Copy)]
struct Base {
    setup: Setup,
    law: Option<Law>,
    instances_stated: bool,
    /// Batch elements in a request.
    elements: u32,
    /// What a request takes outside of the server, at least.
    outside_ns: f64,
    /// The largest batch that was seen, in requests.
    largest_seen: u32,
    /// Whether what batches take is known, of whatever size they may be.
    knows_batches: bool,
}

impl Base {
    fn of(service: &Service, law: Option<Law>) -> Self {
        let elements = service.elements_per_request.max(1);
        let largest_seen = service.batches.iter().map(|time| time.batch / elements).max().unwrap_or(1).max(1);
        let stated = service.max_batch.map(|most| (most / elements).max(1));
        let calm = service.steps.iter().filter(|step| step.n >= FEWEST_REQUESTS);
        let outside = calm.clone().map(|step| (step.latency_ns - step.wait_ns - step.service_ns).max(0.0));
        let alone = service.steps.iter().max_by_key(|step| step.n);
        let (fixed_ns, each_ns, spread) = match (law, alone) {
            (Some(law), _) => (law.fixed_ns, law.each_ns * f64::from(elements), law.spread),
            (None, Some(step)) => (step.service_ns, 0.0, step.service_deviation_ns / step.service_ns.max(1.0)),
            (None, None) => (0.0, 0.0, 0.0),
        };
        let setup = Setup {
            instances: service.instances.unwrap_or_else(|| busiest(service)),
            max_batch: stated.unwrap_or(largest_seen),
            delay_ns: service.delay_ns.unwrap_or(0) as f64,
            fixed_ns,
            each_ns,
            spread,
            arrivals_cv2: 1.0,
        };
        let outside_ns = outside.reduce(f64::min).unwrap_or(0.0);
        let one_by_one = stated == Some(1) || (stated.is_none() && !service.batches.is_empty() && largest_seen == 1);
        Self {
            setup,
            law,
            instances_stated: service.instances.is_some(),
            elements,
            outside_ns,
            largest_seen,
            knows_batches: law.is_some() || one_by_one,
        }
    }

    fn roofline(&self, law: &Law, batches: &[BatchTime]) -> Roofline {
        let most = self.setup.max_batch.max(self.largest_seen) * self.elements;
        let doubled =
            std::iter::successors(Some(self.elements), |size| size.checked_mul(2)).take_while(|size| *size < most);
        let per_request = |estimate: Fitted| {
            let by = f64::from(self.elements);
            Fitted { low: estimate.low / by, value: estimate.value / by, high: estimate.high / by }
        };
        let sizes = doubled.chain([most]);
        let seen = batches.iter().filter(|time| time.mean_ns > 0.0 && time.batch > 0).map(|time| {
            let requests = f64::from(self.setup.instances) * f64::from(time.batch) / f64::from(self.elements);
            (time.batch, requests * 1e9 / time.mean_ns)
        });
        Roofline {
            fixed_ns: law.fixed(),
            each_ns: law.each(),
            batches: law.batches.round() as u64,
            spread: law.spread,
            instances: self.setup.instances,
            instances_stated: self.instances_stated,
            seen: seen.collect(),
            by_batch: sizes.map(|size| (size, per_request(law.per_s(self.setup.instances, size)))).collect(),
        }
    }

    fn wait(&self, step: &ServedStep) -> WaitCheck {
        let served_per_s = step.arrivals_per_s * step.success_share;
        let utilisation = served_per_s * step.busy_ns / 1e9 / f64::from(self.setup.instances);
        let arrivals_cv2 = step.dispersion.unwrap_or(1.0).clamp(0.0, 20.0);
        let service_cv2 = (step.service_deviation_ns / step.service_ns.max(1.0)).powi(2);
        let keeps_up = utilisation > 0.0 && utilisation < BUSIEST;
        let formula = (keeps_up && step.batch < ALONE).then(|| {
            allen_cunneen(self.setup.instances, served_per_s, step.service_ns / 1e9, arrivals_cv2, service_cv2)
        });
        let setup = Setup { arrivals_cv2, ..self.setup };
        // A setting that was not fitted to this load may be one that cannot keep up with it.
        let can = self.knows_batches && served_per_s > 0.0 && served_per_s < BUSIEST * setup.saturation_per_s();
        let simulated_ns = can.then(|| setup.drive(served_per_s, 1).mean_wait_ns);
        let departs = simulated_ns.is_some_and(|ns| {
            let off = (ns - step.wait_ns).abs();
            off > OFF * step.wait_ns && off > OFF_NS
        });
        WaitCheck {
            step: step.step.clone(),
            arrivals_per_s: step.arrivals_per_s,
            utilisation,
            observed_ns: step.wait_ns,
            n: step.n,
            allen_cunneen_ns: formula.flatten().map(|seconds| seconds * 1e9),
            simulated_ns,
            departs,
        }
    }

    /// Capacities by simulation, the present setting first; none where batches cannot be told or nothing keeps the level.
    fn settings(&self, slo: &Slo) -> Vec<Setting> {
        let limit_ns = slo.latency_ns as f64 - self.outside_ns;
        let now = self.setup;
        if !self.knows_batches || now.fixed_ns + now.each_ns <= 0.0 {
            return Vec::new();
        }
        let of = |what: String, setup: Setup| Setting {
            what,
            instances: setup.instances,
            max_batch: setup.max_batch * self.elements,
            delay_ns: setup.delay_ns as u64,
            capacity_per_s: setup.capacity_per_s(limit_ns, slo.bad_fraction()),
            factor: 1.0,
        };
        let mut settings: Vec<Setting> = self.variants().into_iter().map(|(what, setup)| of(what, setup)).collect();
        let base = settings.first().map_or(0.0, |first| first.capacity_per_s);
        if base <= 0.0 {
            return Vec::new();
        }
        settings.iter_mut().for_each(|setting| setting.factor = setting.capacity_per_s / base);
        settings
    }

    fn variants(&self) -> Vec<(String, Setup)> {
        let now = self.setup;
        let mut variants = vec![("as it is".to_owned(), now)];
        let instances = [now.instances / 2, now.instances + 1, now.instances * 2];
        let instances = instances.into_iter().filter(|count| *count > 0 && *count != now.instances);
        variants.extend(instances.map(|count| (counted(count), Setup { instances: count, ..now })));
        if self.law.is_some() {
            let sizes = [now.max_batch / 2, now.max_batch * 2].into_iter().filter(|size| *size > 0);
            variants.extend(sizes.map(|max_batch| {
                let seen = if max_batch > self.largest_seen { ", larger than any seen" } else { "" };
                (format!("batches of up to {}{seen}", max_batch * self.elements), Setup { max_batch, ..now })
            }));
        }
        if now.max_batch > 1 {
            let others = if now.delay_ns > 0.0 { [0.0, now.delay_ns * 2.0] } else { [1e6, 5e6] };
            let named = |delay_ns: f64| {
                let what = format!("a delay of {} to fill a batch", format_duration_ns(delay_ns));
                (what, Setup { delay_ns, ..now })
            };
            variants.extend(others.map(named));
        }
        variants.dedup_by(|a, b| a.0 == b.0);
        variants
    }

    fn notes(&self, service: &Service) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.instances_stated {
            notes.push(format!(
                "the target does not state how many instances the model has: {} is taken, as many as were busy on average in the busiest step",
                self.setup.instances
            ));
        }
        if !self.knows_batches {
            notes.push(if service.batches.is_empty() {
                "answers do not state the size of their batch, so batches cannot be told".to_owned()
            } else {
                "requests were served in batches of one size, so what another would take is not known".to_owned()
            });
        }
        if self.setup.instances > 1 {
            notes.push(
                "instances share a machine: what each takes is as it was beside as many others as were busy, and more of them \
                 may slow each other down"
                    .to_owned(),
            );
        }
        notes
    }
}

fn counted(instances: u32) -> String {
    if instances == 1 { "1 instance".to_owned() } else { format!("{instances} instances") }
}

/// How the present setting's capacity by simulation compares with the one that was found.
fn checked(now: Option<&Setting>, observed: Option<&Capacity>) -> Option<String> {
    let (now, estimate) = (now?, observed?.estimate_per_s?);
    let off = now.capacity_per_s / estimate - 1.0;
    let rely = if off.abs() > UNRELIABLE { ": do not rely on it" } else { "" };
    Some(format!(
        "as it is, the simulation bears {}/s where {}/s were found: it is off by {} %{rely}",
        significant(now.capacity_per_s),
        significant(estimate),
        significant(off * 100.0)
    ))
}

/// From which load on waits depart from what is predicted.
fn departures(waits: &[WaitCheck]) -> Option<String> {
    let first =
        waits.iter().filter(|wait| wait.departs).min_by(|a, b| a.arrivals_per_s.total_cmp(&b.arrivals_per_s))?;
    Some(format!(
        "observed waits depart from the simulated ones from step '{}' ({}/s) on: {} and not {}",
        first.step,
        significant(first.arrivals_per_s),
        format_duration_ns(first.observed_ns),
        format_duration_ns(first.simulated_ns.unwrap_or_default())
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(model: &str, batches: &[(u32, u64, f64, f64)]) -> Service {
        let time =
            |&(batch, n, mean_ns, deviation_ns): &(u32, u64, f64, f64)| BatchTime { batch, n, mean_ns, deviation_ns };
        let step = ServedStep {
            step: "hold".to_owned(),
            arrivals_per_s: 100.0,
            dispersion: None,
            n: 1000,
            success_share: 1.0,
            wait_ns: 1e6,
            wait_deviation_ns: 1e6,
            service_ns: 2e7,
            service_deviation_ns: 1e6,
            busy_ns: 1.5e7,
            batch: 1.5,
            latency_ns: 2.2e7,
            throughput_per_s: 100.0,
        };
        Service {
            model: model.to_owned(),
            instances: None,
            max_batch: Some(4),
            delay_ns: Some(0),
            elements_per_request: 1,
            batches: batches.iter().map(time).collect(),
            steps: vec![step],
        }
    }

    #[test]
    fn runs_of_one_model_are_pooled_and_numbered() {
        let one = service("a", &[(1, 100, 10.0, 2.0), (2, 50, 14.0, 0.0)]);
        let other = service("a", &[(1, 300, 14.0, 2.0)]);
        let whole = together([None, Some(&one), Some(&service("b", &[(9, 9, 9.0, 9.0)])), Some(&other)]).unwrap();
        assert_eq!(whole.steps.iter().map(|step| step.step.as_str()).collect::<Vec<_>>(), ["2", "4"]);
        assert_eq!(whole.batches.iter().map(|time| (time.batch, time.n)).collect::<Vec<_>>(), [(1, 400), (2, 50)]);
        // A quarter at 10 and three at 14: a mean of 13 and a variance of 4 + 3 between them.
        assert!(
            (whole.batches[0].mean_ns - 13.0).abs() < 1e-9
                && (whole.batches[0].deviation_ns.powi(2) - 7.0).abs() < 1e-9
        );
        assert_eq!(together([None]), None);
    }

    #[test]
    fn what_cannot_be_told_is_not() {
        let slo = Slo::new(100_000_000, 95.0, 0.01);
        // Batches of one, where up to four may be: what four take is not known.
        let model = capacity_model(&service("a", &[(1, 1000, 2e7, 1e6)]), Some(&slo), None);
        assert!(model.settings.is_empty() && model.roofline.is_none(), "{model:?}");
        assert!(model.notes.join(" ").contains("in batches of one size"), "{:?}", model.notes);
        // A hundred a second of 15 ms keep one and a half busy.
        assert!(model.notes.join(" ").contains(": 2 is taken"), "{:?}", model.notes);
        let model = capacity_model(&service("a", &[(1, 500, 2e7, 1e6), (4, 500, 3.2e7, 1e6)]), Some(&slo), None);
        assert!((model.roofline.unwrap().each_ns.value / 4e6 - 1.0).abs() < 0.01);
        assert_eq!(model.settings.first().map(|setting| setting.what.as_str()), Some("as it is"));
    }
}
