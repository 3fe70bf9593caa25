//! OTLP traces: `InferRequest` → the model → `queue`, `copy_in`, `compute`, `copy_out`, with the times that were
//! measured anyway. A request hands its record over and goes on; a thread of its own makes the spans, and records are
//! dropped and counted when the collector cannot keep up. Nothing of this exists without an endpoint.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::trace::{
    Span, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
    TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use proofload_wire::trace::TraceParent;

use crate::backend::Timeline;

/// Records that wait to be made into spans.
const WAITING_RECORDS: usize = 4096;
/// How long the last spans may take to leave when the daemon stops.
const FLUSH: Duration = Duration::from_secs(2);

/// A request that was answered or failed.
#[derive(Debug, Clone)]
pub struct Record {
    /// The caller's span.
    pub parent: Option<TraceParent>,
    /// The request's own id, maybe empty.
    pub id: String,
    /// The model's name.
    pub model: String,
    /// The model's version.
    pub version: i64,
    /// How it came: `http`, `grpc` or `internal`.
    pub protocol: &'static str,
    /// When it was decoded.
    pub received: Instant,
    /// When its response was ready.
    pub answered: Instant,
    /// What happened in between, or why it failed.
    pub result: Result<(Timeline, u32), String>,
}

/// The traces cannot be exported.
#[derive(Debug, thiserror::Error)]
#[error("cannot export traces to '{endpoint}': {why}; expected a URL such as http://127.0.0.1:4317")]
pub struct TraceError {
    endpoint: String,
    why: String,
}

/// Where records go.
#[derive(Debug)]
pub struct Traces {
    /// `None` ends the thread.
    records: SyncSender<Option<Record>>,
    dropped: Arc<AtomicU64>,
    thread: Mutex<Option<JoinHandle<()>>>,
    provider: SdkTracerProvider,
}

impl Traces {
    /// Starts exporting to a collector's gRPC endpoint, about `share` of the requests that bring no decision of
    /// their own. Must be called within a tokio runtime, on which the connection lives.
    ///
    /// # Errors
    /// When the endpoint is no URL. That nobody listens there is found out later, and does no harm.
    pub fn start(endpoint: &str, share: f64, dropped: Arc<AtomicU64>) -> Result<Self, TraceError> {
        let failed = |why: String| TraceError { endpoint: endpoint.to_owned(), why };
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).with_timeout(FLUSH).build();
        let exporter = exporter.map_err(|error| failed(error.to_string()))?;
        let resource = Resource::builder().with_service_name("proofload-daemon").build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(share))))
            .with_resource(resource)
            .build();
        let tracer = provider.tracer("proofload-daemon");
        let (records, receiver) = sync_channel(WAITING_RECORDS);
        let thread = std::thread::Builder::new().name("traces".to_owned());
        let thread = thread.spawn(move || make_spans(&receiver, &tracer)).map_err(|error| failed(error.to_string()))?;
        Ok(Self { records, dropped, thread: Mutex::new(Some(thread)), provider })
    }

    /// Hands a record over, or drops it when too many wait.
    pub fn record(&self, record: Record) {
        if self.records.try_send(Some(record)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends what is left, for a bounded time. Blocks.
    pub fn stop(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        // Neither can fail while the thread lives, and when it does not there is nothing left to wait for.
        let _ = self.records.send(None);
        let _ = thread.join();
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH) {
            tracing::warn!("the last traces were not exported: {error}");
        }
    }
}

fn make_spans(records: &Receiver<Option<Record>>, tracer: &SdkTracer) {
    while let Ok(Some(record)) = records.recv() {
        let clock = Clock { instant: Instant::now(), system: SystemTime::now() };
        emit(tracer, clock, &record);
    }
}

/// One moment on both clocks.
#[derive(Clone, Copy)]
struct Clock {
    instant: Instant,
    system: SystemTime,
}

impl Clock {
    fn system(self, at: Instant) -> SystemTime {
        self.system - self.instant.saturating_duration_since(at)
    }
}

fn emit(tracer: &SdkTracer, clock: Clock, record: &Record) {
    let parent =
        record.parent.map_or_else(Context::new, |parent| Context::new().with_remote_span_context(remote(parent)));
    let mut builder = tracer.span_builder("InferRequest").with_kind(SpanKind::Server);
    builder.start_time = Some(clock.system(record.received));
    builder.attributes = Some(attributes(record));
    let request = parent.with_span(tracer.build_with_context(builder, &parent));
    match &record.result {
        Ok((timeline, batch)) => emit_model(tracer, clock, record, &request, timeline, *batch),
        Err(error) => request.span().set_status(Status::error(error.clone())),
    }
    request.span().end_with_timestamp(clock.system(record.answered));
}

fn emit_model(tracer: &SdkTracer, clock: Clock, record: &Record, request: &Context, timeline: &Timeline, batch: u32) {
    let start = |name: String, parent: &Context, from: Instant| {
        let builder = tracer.span_builder(name).with_start_time(clock.system(from));
        tracer.build_with_context(builder, parent)
    };
    let mut span = start(record.model.clone(), request, record.received);
    span.set_attribute(KeyValue::new("batch_size", i64::from(batch)));
    let model = request.with_span(span);
    let phases = [
        ("queue", record.received, timeline.started),
        ("copy_in", timeline.started, timeline.computing),
        ("compute", timeline.computing, timeline.computed),
        ("copy_out", timeline.computed, record.answered),
    ];
    for (name, from, to) in phases {
        start(name.to_owned(), &model, from).end_with_timestamp(clock.system(to));
    }
    model.span().end_with_timestamp(clock.system(record.answered));
}

fn attributes(record: &Record) -> Vec<KeyValue> {
    vec![
        KeyValue::new("model.name", record.model.clone()),
        KeyValue::new("model.version", record.version),
        KeyValue::new("request.id", record.id.clone()),
        KeyValue::new("network.protocol.name", record.protocol),
    ]
}

fn remote(parent: TraceParent) -> SpanContext {
    let flags = if parent.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let (trace, span) = (TraceId::from(parent.trace_id), SpanId::from(parent.parent_id));
    SpanContext::new(trace, span, flags, true, TraceState::default())
}
