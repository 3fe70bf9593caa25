//! OTLP traces, made of times that were measured anyway. A request hands its record over and goes on; a thread of its
//! own makes the spans and sends them. There is one queue, that of the records: what does not fit into it, and what the
//! collector does not take, is dropped and counted. Nothing of this exists without an endpoint.

mod outbox;
mod record;
pub mod settings;
mod spans;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanExporter};
use tokio::runtime::Handle;

use self::outbox::{Finished, Outbox};
pub use self::record::{Inference, Interval, Job, Record, Relief, Slot};
use self::settings::{Refused, Settings, Shown, Wanted};

/// Records that wait to be made into spans.
const WAITING_RECORDS: usize = 4096;
/// How long a batch may take to leave, and how long the last ones may when the daemon stops.
const FLUSH: Duration = Duration::from_secs(2);
/// How long spans may wait for company.
const PERIOD: Duration = Duration::from_secs(1);

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
    /// When the last spans must have left, once the daemon stops.
    until: Arc<OnceLock<Instant>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    settings: Mutex<Settings>,
}

impl Traces {
    /// Starts exporting to a collector's gRPC endpoint, about `share` of the requests that bring no decision of
    /// their own. Must be called within a tokio runtime, on which the connection lives.
    ///
    /// # Errors
    /// When the endpoint is no URL. That nobody listens there is found out later, and does no harm.
    pub fn start(endpoint: &str, share: f64, dropped: Arc<AtomicU64>) -> Result<Self, TraceError> {
        let failed = |why: String| TraceError { endpoint: endpoint.to_owned(), why };
        let exporter = opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(endpoint);
        let exporter = exporter.with_timeout(FLUSH).build().map_err(|error| failed(error.to_string()))?;
        Self::with_exporter(exporter, share, dropped, WAITING_RECORDS).map_err(|error| failed(error.to_string()))
    }

    fn with_exporter(
        mut exporter: impl SpanExporter + 'static,
        share: f64,
        dropped: Arc<AtomicU64>,
        waiting: usize,
    ) -> std::io::Result<Self> {
        let resource = Resource::builder().with_service_name("proofload-daemon").build();
        exporter.set_resource(&resource);
        let finished = Finished::default();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(finished.clone())
            // Which requests are traced was decided before: see `settings`.
            .with_sampler(Sampler::AlwaysOn)
            .with_resource(resource)
            .build();
        let until = Arc::<OnceLock<Instant>>::default();
        let mut outbox = Outbox::new(exporter, finished, Handle::current(), Arc::clone(&until), Arc::clone(&dropped));
        let (records, receiver) = sync_channel(waiting);
        let run = move || make_spans(&receiver, &provider, &mut outbox);
        let thread = std::thread::Builder::new().name("traces".to_owned()).spawn(run)?;
        let settings = Mutex::new(Settings::with_share(share));
        Ok(Self { records, dropped, until, thread: Mutex::new(Some(thread)), settings })
    }

    /// Hands a record over that is to be traced, or drops it when too many wait.
    pub fn record(&self, record: impl Into<Record>) {
        let record = record.into();
        let decided = record.parent().map(|parent| parent.sampled);
        if !self.settings().trace(record.model(), decided) {
            return;
        }
        if self.records.try_send(Some(record)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Changes the settings of a model, or of the whole server, and says which hold then.
    ///
    /// # Errors
    /// When a name or a value means nothing. Nothing is changed then.
    pub fn change(&self, model: Option<&str>, wanted: &Wanted) -> Result<Shown, Refused> {
        let mut settings = self.settings();
        // To ask for nothing must not begin the counts again.
        if !wanted.is_empty() {
            settings.change(model, wanted)?;
        }
        Ok(settings.show(model))
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what is left, for a bounded time. Blocks.
    pub fn stop(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        self.until.get_or_init(|| Instant::now() + FLUSH);
        // Neither can fail while the thread lives, and when it does not there is nothing left to wait for.
        let _ = self.records.send(None);
        let _ = thread.join();
    }
}

fn make_spans(
    records: &Receiver<Option<Record>>,
    provider: &SdkTracerProvider,
    outbox: &mut Outbox<impl SpanExporter>,
) {
    let tracer = provider.tracer("proofload-daemon");
    let mut due = Instant::now() + PERIOD;
    loop {
        match records.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(Some(record)) => {
                spans::emit(&tracer, spans::Clock::now(), &record);
                outbox.add_record();
            }
            Err(RecvTimeoutError::Timeout) => {
                outbox.send();
                due = Instant::now() + PERIOD;
            }
            Ok(None) | Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    outbox.send();
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
    use opentelemetry_sdk::trace::SpanData;

    use super::*;

    /// A collector that takes its time, refuses everything, or keeps the names of root spans.
    #[derive(Debug, Clone, Default)]
    struct Collector {
        stuck: Arc<AtomicBool>,
        refuses: bool,
        roots: Arc<AtomicU64>,
    }

    impl SpanExporter for Collector {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            while self.stuck.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if self.refuses {
                return Err(OTelSdkError::InternalFailure("full".to_owned()));
            }
            let roots = batch.iter().filter(|span| span.name == "InferRequest").count();
            self.roots.fetch_add(roots as u64, Ordering::Relaxed);
            Ok(())
        }
    }

    fn inference() -> Inference {
        let now = Instant::now();
        Inference {
            parent: None,
            id: String::new(),
            model: "m".to_owned(),
            version: 1,
            protocol: "http",
            received: now,
            answered: now,
            result: Err("why".to_owned()),
            steps: Vec::new(),
        }
    }

    /// Hands `handed` records over and says how many were taken and how many counted as dropped.
    fn check(collector: &Collector, share: f64, handed: u64) -> (u64, u64) {
        let dropped = Arc::<AtomicU64>::default();
        let traces = Traces::with_exporter(collector.clone(), share, Arc::clone(&dropped), 64).unwrap();
        for _ in 0..handed {
            traces.record(inference());
            std::thread::sleep(Duration::from_micros(20));
        }
        collector.stuck.store(false, Ordering::Relaxed);
        traces.stop();
        (collector.roots.load(Ordering::Relaxed), dropped.load(Ordering::Relaxed))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_trace_is_taken_or_counted_as_dropped() {
        let check = async |collector: Collector, share, handed| {
            tokio::task::spawn_blocking(move || check(&collector, share, handed)).await.unwrap()
        };
        assert_eq!(check(Collector::default(), 1.0, 10).await, (10, 0));
        assert_eq!(check(Collector { refuses: true, ..Collector::default() }, 1.0, 10).await, (0, 10));
        assert_eq!(check(Collector { refuses: true, ..Collector::default() }, 0.0, 10).await, (0, 0), "none is wanted");
        let stuck = Collector { stuck: Arc::new(AtomicBool::new(true)), ..Collector::default() };
        let (taken, dropped) = check(stuck, 1.0, 5000).await;
        assert_eq!(taken + dropped, 5000);
        assert!(taken > 0 && dropped > 1000, "{taken} taken, {dropped} dropped");
    }
}
