//! What the cache holds, read only when `/metrics` is asked for.

use std::fmt::Error;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::statistics::{InProcess, Statistics};
use super::{Cache, l2};
use crate::telemetry::catalogue::{self, Metric};

/// The cache, to be asked at a scrape.
pub struct Scrape(pub Arc<Cache>);

impl std::fmt::Debug for Scrape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scrape").finish_non_exhaustive()
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let Statistics { l1, l2, .. } = self.0.statistics();
        let InProcess { entries, bytes, evictions, .. } = l1;
        gauge(&mut encoder, catalogue::CACHE_ENTRIES, entries)?;
        gauge(&mut encoder, catalogue::CACHE_BYTES, bytes)?;
        counter(&mut encoder, catalogue::CACHE_EVICTIONS, evictions)?;
        l2.map_or(Ok(()), |l2| shared(&mut encoder, &l2))
    }
}

fn shared(encoder: &mut DescriptorEncoder<'_>, l2: &l2::Statistics) -> Result<(), Error> {
    let writes = [("written", l2.written), ("dropped", l2.dropped)]
        .map(|(outcome, count)| ([("outcome", outcome)], count as f64));
    family(encoder, catalogue::CACHE_WRITES, MetricType::Counter, writes)?;
    counter(encoder, catalogue::CACHE_POISONED, l2.poisoned)?;
    gauge(encoder, catalogue::CACHE_QUEUED_BYTES, l2.queued_bytes as u64)?;
    let of = |node: &l2::OfNode| [("node", node.node.clone())];
    let nodes = l2.nodes.iter();
    let up = nodes.clone().map(|node| (of(node), f64::from(u8::from(node.healthy))));
    family(encoder, catalogue::CACHE_NODE_UP, MetricType::Gauge, up)?;
    family(encoder, catalogue::CACHE_NODE_SHARE, MetricType::Gauge, nodes.map(|node| (of(node), node.key_share)))
}

fn family<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    Metric { name, help }: Metric,
    kind: MetricType,
    rows: impl IntoIterator<Item = (L, f64)>,
) -> Result<(), Error> {
    let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in rows {
        let mut row = metric.encode_family(&labels)?;
        match kind {
            MetricType::Counter => row.encode_counter::<NoLabelSet, f64, f64>(&value, None)?,
            _ => row.encode_gauge(&value)?,
        }
    }
    Ok(())
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, Metric { name, help }: Metric, value: u64) -> Result<(), Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&(value as f64))
}

fn counter(encoder: &mut DescriptorEncoder<'_>, Metric { name, help }: Metric, value: u64) -> Result<(), Error> {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    metric.encode_counter::<NoLabelSet, f64, f64>(&(value as f64), None)
}
