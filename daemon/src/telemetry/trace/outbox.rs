//! Spans that are finished and wait to be sent, and the sending. What the collector does not take in time is gone, and
//! counted by the traces that it belonged to. Bounded: it never holds more than a batch and the spans of one record.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use tokio::runtime::Handle;

use super::FLUSH;

/// Spans that are sent together, at least, when there are as many.
const BATCH: usize = 512;

/// Where the SDK puts a span that has ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Finished(Arc<Mutex<Vec<SpanData>>>);

impl Finished {
    /// Takes all spans out.
    pub(super) fn take(&self) -> Vec<SpanData> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl SpanProcessor for Finished {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// See the module.
pub(super) struct Outbox<E> {
    exporter: E,
    finished: Finished,
    runtime: Handle,
    /// When everything must be over; unset while the daemon serves.
    until: Arc<OnceLock<Instant>>,
    dropped: Arc<AtomicU64>,
    /// Records whose spans wait.
    records: u64,
    spans: usize,
    failing: bool,
}

impl<E: SpanExporter> Outbox<E> {
    /// An empty outbox in front of `exporter`, whose connection lives on `runtime`.
    pub(super) fn new(
        exporter: E,
        finished: Finished,
        runtime: Handle,
        until: Arc<OnceLock<Instant>>,
        dropped: Arc<AtomicU64>,
    ) -> Self {
        Self { exporter, finished, runtime, until, dropped, records: 0, spans: 0, failing: false }
    }

    /// Takes note of a record whose spans have been made, and sends when there are enough. One that was not sampled
    /// has no spans.
    pub(super) fn add_record(&mut self) {
        let spans = self.finished.len();
        self.records += u64::from(spans > self.spans);
        self.spans = spans;
        if spans >= BATCH {
            self.send();
        }
    }

    /// Sends what waits. Blocks for as long as a batch may take.
    pub(super) fn send(&mut self) {
        let (batch, records) = (self.finished.take(), std::mem::take(&mut self.records));
        self.spans = 0;
        if batch.is_empty() {
            return;
        }
        let left = self.until.get().map(|until| until.saturating_duration_since(Instant::now()));
        let export = async { tokio::time::timeout(left.unwrap_or(FLUSH), self.exporter.export(batch)).await };
        let failure = match self.runtime.block_on(export) {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the collector did not answer in time".to_owned()),
        };
        if let Some(why) = &failure {
            self.dropped.fetch_add(records, Ordering::Relaxed);
            self.say_once(why);
        }
        self.failing = failure.is_some();
    }

    /// A collector that stays away is worth one line, not one a second.
    fn say_once(&self, why: &str) {
        if !self.failing {
            tracing::warn!("traces are not exported and counted as dropped: {why}");
        }
    }
}
