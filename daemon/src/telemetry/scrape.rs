//! What is read only when `/metrics` is asked for: the models' counts under Triton's names, queue lengths, and the last
//! readings of the process and the GPUs. Nothing of this costs a request anything, or waits for the system.

use std::fmt::Error;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::catalogue::{self, Metric};
use super::gpus;
use super::meters::{self, ModelLabels, Outcome};
use super::process::Usage;
use super::sampler::Sampler;
use crate::bodies::Bodies;
use crate::gpu::monitor::Gpus;
use crate::lifecycle::{Live, Serving};
use crate::model::{Loading, Model};
use crate::sched::usage as instance;

/// Everything that is read at a scrape.
pub struct Scrape {
    /// The models.
    pub models: Arc<Live>,
    /// Requests accepted and not yet answered.
    pub in_flight: Arc<AtomicUsize>,
    /// Traces that were not exported.
    pub dropped_traces: Arc<AtomicU64>,
    /// The memory of all bodies.
    pub bodies: Arc<Bodies>,
    /// What the process uses, where the system says so.
    pub process: Sampler<Option<Usage>>,
    /// The GPUs, if there are any.
    pub gpus: Arc<Gpus>,
}

impl std::fmt::Debug for Scrape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scrape").finish_non_exhaustive()
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let served = Served { models: self.models.ready() };
        served.encode_meters(&mut encoder)?;
        served.encode_models(&mut encoder)?;
        served.encode_triton(&mut encoder)?;
        gauge(&mut encoder, catalogue::IN_FLIGHT, self.in_flight.load(Ordering::Relaxed) as f64)?;
        counter(&mut encoder, catalogue::DROPPED_TRACES, self.dropped_traces.load(Ordering::Relaxed) as f64)?;
        gauge(&mut encoder, catalogue::HELD_BODY_BYTES, self.bodies.held_bytes() as f64)?;
        let now = Instant::now();
        if let Some(usage) = self.process.read(now).flatten() {
            encode_process(&mut encoder, usage)?;
        }
        gpus::encode(&mut encoder, self.gpus.source().as_str(), &self.gpus.read(now))
    }
}

/// The models that are served at the time of a scrape.
struct Served {
    models: Vec<Arc<Serving>>,
}

impl Served {
    fn encode_meters(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let rows: Vec<_> = self.models.iter().map(|model| (labels(model), model.meters().clone())).collect();
        meters::encode(&rows, encoder)
    }

    fn encode_models(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let rows = |value: fn(&Model) -> f64| self.models.iter().map(move |model| (labels(model), value(model)));
        family(encoder, catalogue::QUEUE_REQUESTS, MetricType::Gauge, rows(|model| model.waiting() as f64))?;
        family(encoder, catalogue::INSTANCES, MetricType::Gauge, rows(|model| model.spec().instances as f64))?;
        let engines = self.models.iter().map(|model| {
            let ModelLabels { model: name, version } = labels(model);
            ([("model", name), ("version", version), ("engine", model.engine().to_owned())], 1.0)
        });
        family(encoder, catalogue::MODEL_INFO, MetricType::Gauge, engines)?;
        self.encode_loading(encoder)?;
        let adaptive = self.models.iter().filter_map(|model| Some((labels(model), f64::from(model.adaptive_size()?))));
        family(encoder, catalogue::ADAPTIVE_BATCH, MetricType::Gauge, adaptive)?;
        self.encode_concurrency(encoder)?;
        self.encode_instances(encoder)
    }

    fn encode_concurrency(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let read = |model: &Arc<Serving>| {
            let limiter = model.concurrency()?.lock().unwrap_or_else(PoisonError::into_inner);
            Some((labels(model), [limiter.limit() as f64, limiter.in_flight() as f64, limiter.shed() as f64]))
        };
        let rows: Vec<_> = self.models.iter().filter_map(read).collect();
        let columns =
            [(catalogue::CONCURRENCY_LIMIT, MetricType::Gauge), (catalogue::CONCURRENCY_IN_FLIGHT, MetricType::Gauge)];
        for (at, (metric, kind)) in columns.into_iter().enumerate() {
            family(encoder, metric, kind, rows.iter().map(|(labels, values)| (labels.clone(), values[at])))?;
        }
        let Metric { name, help } = catalogue::CONCURRENCY_SHED;
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, [.., shed]) in &rows {
            metric.encode_family(labels)?.encode_counter::<NoLabelSet, f64, f64>(shed, None)?;
        }
        Ok(())
    }

    fn encode_loading(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let rows = self.models.iter().flat_map(|model| {
            let Loading { read, start, warm_up } = model.loading();
            [("read", read), ("start", start), ("warm_up", warm_up)].map(|(phase, took)| {
                let ModelLabels { model, version } = labels(model);
                ([("model", model), ("version", version), ("phase", phase.to_owned())], took.as_secs_f64())
            })
        });
        family(encoder, catalogue::LOAD_SECONDS, MetricType::Gauge, rows)
    }

    fn encode_instances(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        type Column = (Metric, fn(&instance::Usage) -> f64);
        let columns: [Column; 3] = [
            (catalogue::INSTANCE_EXECUTIONS, |usage| usage.executions() as f64),
            (catalogue::INSTANCE_ELEMENTS, |usage| usage.elements() as f64),
            (catalogue::INSTANCE_BUSY, |usage| usage.busy().as_secs_f64()),
        ];
        for (Metric { name, help }, value) in columns {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for model in &self.models {
                for (index, usage) in model.usage().iter().enumerate() {
                    let ModelLabels { model, version } = labels(model);
                    let labels = [("model", model), ("version", version), ("instance", index.to_string())];
                    metric.encode_family(&labels)?.encode_counter::<NoLabelSet, f64, f64>(&value(usage), None)?;
                }
            }
        }
        Ok(())
    }

    /// Triton's counters carry no `_total`, which OpenMetrics demands of a counter; so they go out as `unknown`.
    fn encode_triton(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let stats: Vec<_> = self.models.iter().map(|model| (labels(model), model.statistics())).collect();
        let micros = |ns: u64| (ns / 1000) as f64;
        let mut export = |metric, value: &dyn Fn(&proofload_wire::types::ModelStatistics) -> f64| {
            let rows = stats.iter().map(|(labels, stats)| (labels.clone(), value(stats)));
            family(encoder, metric, MetricType::Unknown, rows)
        };
        export(catalogue::NV_SUCCESS, &|stats| stats.inference_stats.success.count as f64)?;
        export(catalogue::NV_COUNT, &|stats| stats.inference_count as f64)?;
        export(catalogue::NV_EXEC_COUNT, &|stats| stats.execution_count as f64)?;
        export(catalogue::NV_REQUEST_US, &|stats| micros(stats.inference_stats.success.ns))?;
        export(catalogue::NV_QUEUE_US, &|stats| micros(stats.inference_stats.queue.ns))?;
        export(catalogue::NV_INPUT_US, &|stats| micros(stats.inference_stats.compute_input.ns))?;
        export(catalogue::NV_INFER_US, &|stats| micros(stats.inference_stats.compute_infer.ns))?;
        export(catalogue::NV_OUTPUT_US, &|stats| micros(stats.inference_stats.compute_output.ns))?;
        export(catalogue::NV_CACHE_HITS, &|stats| stats.inference_stats.cache_hit.count as f64)?;
        export(catalogue::NV_CACHE_MISSES, &|stats| stats.inference_stats.cache_miss.count as f64)?;
        export(catalogue::NV_CACHE_HIT_US, &|stats| micros(stats.inference_stats.cache_hit.ns))?;
        export(catalogue::NV_CACHE_MISS_US, &|stats| micros(stats.inference_stats.cache_miss.ns))?;
        let waiting = self.models.iter().map(|model| (labels(model), model.waiting() as f64));
        family(encoder, catalogue::NV_PENDING, MetricType::Gauge, waiting)?;
        self.encode_failures(encoder)
    }

    fn encode_failures(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let reasons: [(&str, &[Outcome]); 4] = [
            ("REJECTED", &[Outcome::Rejected, Outcome::TimedOut]),
            // A Triton's gRPC front cancels a request at its caller's deadline.
            ("CANCELED", &[Outcome::Cancelled, Outcome::DeadlineExceeded]),
            ("BACKEND", &[Outcome::BackendFailed]),
            ("OTHER", &[Outcome::Stopping]),
        ];
        let rows = self.models.iter().flat_map(|model| {
            reasons.iter().map(move |(reason, outcomes)| {
                let count: u64 = outcomes.iter().map(|outcome| model.meters().count(*outcome)).sum();
                let ModelLabels { model, version } = labels(model);
                ([("model", model), ("version", version), ("reason", (*reason).to_owned())], count as f64)
            })
        });
        family(encoder, catalogue::NV_FAILURE, MetricType::Unknown, rows)
    }
}

fn labels(model: &Model) -> ModelLabels {
    let spec = model.spec();
    ModelLabels { model: spec.name.clone(), version: spec.version.to_string() }
}

fn family<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    Metric { name, help }: Metric,
    kind: MetricType,
    rows: impl Iterator<Item = (L, f64)>,
) -> Result<(), Error> {
    let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in rows {
        metric.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, Metric { name, help }: Metric, value: f64) -> Result<(), Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
}

fn counter(encoder: &mut DescriptorEncoder<'_>, Metric { name, help }: Metric, value: f64) -> Result<(), Error> {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    metric.encode_counter::<NoLabelSet, f64, f64>(&value, None)
}

fn encode_process(encoder: &mut DescriptorEncoder<'_>, usage: Usage) -> Result<(), Error> {
    counter(encoder, catalogue::PROCESS_CPU, usage.cpu_s)?;
    gauge(encoder, catalogue::PROCESS_RSS, usage.rss_bytes as f64)?;
    gauge(encoder, catalogue::PROCESS_THREADS, usage.threads as f64)?;
    gauge(encoder, catalogue::PROCESS_FDS, usage.open_fds as f64)
}
