//! The scraper: once a second, on the run's clock, and once more before and after.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use proofload_run::events::EventKind;
use proofload_run::series::Source;

use super::fetch::{FetchError, fetch};
use super::{process, prometheus, statistics};
use crate::clock::RunClock;
use crate::record::Log;
use crate::transport::Address;

const PERIOD: Duration = Duration::from_secs(1);
/// Values kept of one page, so that a server with a hundred thousand series does not fill the disk.
const MOST_VALUES: usize = 2000;
const STATISTICS_PATH: &str = "/v2/models/stats";

/// Which pages the target should have. That any other is missing is no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expected {
    /// The scenario states where the metrics are.
    pub metrics: bool,
    /// The scenario names a model, for which a KServe server would have statistics.
    pub statistics: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Scraper {
    clock: RunClock,
    log: Arc<Log>,
    metrics: Option<Address>,
    http: Option<Address>,
    expected: Expected,
    /// Sources that failed the last time: only the first failure of a streak is an event.
    failing: BTreeSet<&'static str>,
    /// Sources that the target does not have.
    absent: BTreeSet<&'static str>,
}

impl Scraper {
    /// A scraper of a metrics page and of the statistics of a KServe server; either may be missing.
    pub fn new(
        clock: RunClock,
        log: Arc<Log>,
        metrics: Option<Address>,
        http: Option<Address>,
        expected: Expected,
    ) -> Self {
        Self { clock, log, metrics, http, expected, failing: BTreeSet::new(), absent: BTreeSet::new() }
    }

    /// Scrapes once a second, on whole seconds of the run, until dropped.
    pub async fn run(&mut self) {
        loop {
            let next_ns = (self.clock.now_ns() / 1_000_000_000 + 1) * 1_000_000_000;
            tokio::time::sleep(self.clock.until(next_ns).min(2 * PERIOD)).await;
            self.scrape().await;
        }
    }

    /// Scrapes everything once. Each source is stamped with the time at which its answer was there.
    pub async fn scrape(&mut self) {
        self.log.series(self.clock.now_ns(), Source::Generator, process::read());
        let (metrics, statistics) = tokio::join!(
            page(&self.clock, &self.log, self.metrics.as_ref().filter(|_| !self.absent.contains("metrics"))),
            counts(&self.clock, &self.log, self.http.as_ref().filter(|_| !self.absent.contains("statistics"))),
        );
        self.note("metrics", self.expected.metrics, metrics);
        self.note("statistics", self.expected.statistics, statistics);
    }

    fn note(&mut self, source: &'static str, expected: bool, outcome: Result<(), FetchError>) {
        match outcome {
            Ok(()) => {
                self.failing.remove(source);
            }
            // There is no such page, or not for us (PyTriton closes its statistics): asking for it every second would
            // be noise in the target's logs.
            Err(e @ (FetchError::Status(401 | 403 | 404 | 405 | 501) | FetchError::Form(_))) => {
                self.absent.insert(source);
                if expected {
                    self.failed(source, format!("{e}; not asked for again in this run"));
                }
            }
            Err(e) => {
                if self.failing.insert(source) {
                    self.failed(source, e.to_string());
                }
            }
        }
    }

    fn failed(&self, source: &str, message: String) {
        self.log.event(self.clock.now_ns(), EventKind::ScrapeFailed { source: source.to_owned(), message });
    }
}

/// Values that each scrape of these pages would bring now.
pub async fn points_per_scrape(metrics: Option<&Address>, http: Option<&Address>) -> usize {
    let metrics = async {
        match metrics {
            Some(from) => metrics_of(from).await.map_or(0, |values| values.len()),
            None => 0,
        }
    };
    let statistics = async {
        match http {
            Some(from) => statistics_of(from).await.map_or(0, |values| values.len().min(MOST_VALUES)),
            None => 0,
        }
    };
    let (metrics, statistics) = tokio::join!(metrics, statistics);
    metrics + statistics
}

async fn metrics_of(from: &Address) -> Result<Vec<prometheus::Metric>, FetchError> {
    let body = fetch(from, "").await?;
    // Buckets are many and can be had from the samples; counts and sums stay.
    let wanted = |name: &str| !name.ends_with("_bucket") && !name.ends_with("_created");
    Ok(prometheus::parse(&String::from_utf8_lossy(&body), MOST_VALUES, wanted))
}

async fn statistics_of(from: &Address) -> Result<Vec<(String, String, f64)>, FetchError> {
    let body = fetch(from, STATISTICS_PATH).await?;
    statistics::parse(&body).map_err(|e| FetchError::Form(e.to_string()))
}

async fn page(clock: &RunClock, log: &Log, from: Option<&Address>) -> Result<(), FetchError> {
    let Some(from) = from else { return Ok(()) };
    let values = metrics_of(from).await?;
    log.series(clock.now_ns(), Source::Target, values.into_iter().map(|m| (m.name, m.labels, m.value)));
    Ok(())
}

async fn counts(clock: &RunClock, log: &Log, from: Option<&Address>) -> Result<(), FetchError> {
    let Some(from) = from else { return Ok(()) };
    let values = statistics_of(from).await?;
    log.series(clock.now_ns(), Source::Statistics, values.into_iter().take(MOST_VALUES));
    Ok(())
}

/// What a KServe target says about itself and about these models. Any part that it does not tell is left out.
pub async fn describe_target(http: &Address, models: &BTreeSet<String>) -> (Option<String>, serde_json::Value) {
    let mut described = serde_json::Map::new();
    for model in models {
        let mut parts = serde_json::Map::new();
        for (part, path) in
            [("metadata", format!("/v2/models/{model}")), ("config", format!("/v2/models/{model}/config"))]
        {
            if let Some(value) = json(http, &path).await {
                parts.insert(part.to_owned(), value);
            }
        }
        described.insert(model.clone(), parts.into());
    }
    (server_name(http).await, described.into())
}

/// Name and version of a KServe server, as it says them.
pub async fn server_name(http: &Address) -> Option<String> {
    let server = json(http, "/v2").await?;
    let text = |key: &str| server.get(key).and_then(serde_json::Value::as_str);
    Some(format!("{} {}", text("name")?, text("version").unwrap_or_default()).trim_end().to_owned())
}

async fn json(http: &Address, path: &str) -> Option<serde_json::Value> {
    serde_json::from_slice(&fetch(http, path).await.ok()?).ok()
}
