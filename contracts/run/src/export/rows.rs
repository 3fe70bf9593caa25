//! What a run recorded, as columns.

use super::{Column, Values};
use crate::findings::{Bucket, Timeline};
use crate::manifest::Manifest;
use crate::sample::{Outcome, Sample, flags};
use crate::series::SeriesPoint;

/// The words that a sample's numbers stand for.
pub(super) struct Words {
    pub(super) steps: Vec<String>,
    pub(super) entries: Vec<String>,
}

/// Samples, with the words of the run that they belong to.
pub(super) fn samples(part: &[Sample], manifest: &Manifest) -> Vec<Column> {
    let words = Words {
        steps: manifest.steps.iter().map(|step| step.name.clone()).collect(),
        entries: manifest.entries.iter().map(|entry| entry.name.clone()).collect(),
    };
    samples_in_words(part, &words)
}

pub(super) fn samples_in_words(part: &[Sample], words: &Words) -> Vec<Column> {
    let number = |get: fn(&Sample) -> u64| Values::U64(part.iter().map(get).collect());
    // Zero stands for what did not happen, or is not known.
    let some =
        |get: fn(&Sample) -> u64| Values::OptionalU64(part.iter().map(|s| Some(get(s)).filter(|n| *n > 0)).collect());
    let stated = |flag: u16, get: fn(&Sample) -> u64| {
        Values::OptionalU64(part.iter().map(|s| (s.flags & flag != 0).then(|| get(s))).collect())
    };
    let flag = |flag: u16| Values::U64(part.iter().map(|s| u64::from(s.flags & flag != 0)).collect());
    let word = |words: &[String], get: fn(&Sample) -> u16| {
        let of = |index: u16| words.get(usize::from(index)).cloned().unwrap_or_else(|| index.to_string());
        Values::Text(part.iter().map(|s| of(get(s))).collect())
    };
    let outcome =
        |s: &Sample| Outcome::from_code(s.outcome).map_or_else(|| s.outcome.to_string(), |o| o.as_str().to_owned());
    let latency = |s: &Sample| (s.done_ns > 0).then(|| s.done_ns.saturating_sub(s.intended_ns));
    let trace = |s: &Sample| if s.trace_id == 0 { String::new() } else { format!("{:032x}", s.trace_id) };
    let columns: [(&'static str, Values); 32] = [
        ("sequence", number(|s| s.sequence)),
        ("shard", number(|s| u64::from(s.shard))),
        ("step", word(&words.steps, |s| s.step)),
        ("entry", word(&words.entries, |s| s.entry)),
        ("outcome", Values::Text(part.iter().map(outcome).collect())),
        ("status", some(|s| u64::from(s.status))),
        ("retry", number(|s| u64::from(s.retry))),
        ("intended_ns", number(|s| s.intended_ns)),
        ("sent_ns", some(|s| s.sent_ns)),
        ("first_byte_ns", some(|s| s.first_byte_ns)),
        ("done_ns", some(|s| s.done_ns)),
        ("latency_ns", Values::OptionalU64(part.iter().map(latency).collect())),
        ("generator_late_ns", number(|s| s.generator_late_ns)),
        ("queue_ns", stated(flags::HAS_PHASES, |s| s.queue_ns)),
        ("copy_in_ns", stated(flags::HAS_PHASES, |s| s.copy_in_ns)),
        ("compute_ns", stated(flags::HAS_PHASES, |s| s.compute_ns)),
        ("copy_out_ns", stated(flags::HAS_PHASES, |s| s.copy_out_ns)),
        ("batch_size", some(|s| u64::from(s.batch_size))),
        ("cache_hit", flag(flags::CACHE_HIT)),
        ("new_connection", flag(flags::NEW_CONNECTION)),
        ("connection", number(|s| u64::from(s.connection))),
        ("payload", number(|s| u64::from(s.payload))),
        ("sent_bytes", number(|s| u64::from(s.bytes_out))),
        ("received_bytes", number(|s| u64::from(s.bytes_in))),
        ("first_token_ns", some(|s| s.first_token_ns)),
        ("last_token_ns", some(|s| s.last_token_ns)),
        ("longest_gap_ns", stated(flags::STREAMED, |s| s.longest_gap_ns)),
        ("pieces", stated(flags::STREAMED, |s| u64::from(s.pieces))),
        ("prompt_tokens", some(|s| u64::from(s.tokens_in))),
        ("answer_tokens", some(|s| u64::from(s.tokens_out))),
        ("tokens_stated", flag(flags::TOKENS_STATED)),
        ("trace_id", Values::Text(part.iter().map(trace).collect())),
    ];
    columns.into_iter().map(|(name, values)| Column::new(name, values)).collect()
}

/// Points of scraped series.
pub(super) fn series(part: &[SeriesPoint]) -> Vec<Column> {
    let text = |get: fn(&SeriesPoint) -> &str| Values::Text(part.iter().map(|point| get(point).to_owned()).collect());
    vec![
        Column::new("t_ns", Values::U64(part.iter().map(|point| point.t_ns).collect())),
        Column::new("shard", Values::U64(part.iter().map(|point| u64::from(point.shard)).collect())),
        Column::new("source", text(|point| point.source.as_str())),
        Column::new("name", text(|point| &point.name)),
        Column::new("labels", text(|point| &point.labels)),
        Column::new("value", Values::F64(part.iter().map(|point| point.value).collect())),
    ]
}

/// Buckets of a timeline.
pub(super) fn timeline(timeline: &Timeline) -> Vec<Column> {
    let buckets = &timeline.buckets;
    let rate = |get: fn(&Bucket) -> f64| Values::F64(buckets.iter().map(get).collect());
    let number = |get: fn(&Bucket) -> u64| Values::U64(buckets.iter().map(get).collect());
    let some = |get: fn(&Bucket) -> Option<u64>| Values::OptionalU64(buckets.iter().map(get).collect());
    let columns: [(&'static str, Values); 17] = [
        ("t_ns", number(|b| b.t_ns)),
        ("intended_per_s", rate(|b| b.intended_per_s)),
        ("sent_per_s", rate(|b| b.sent_per_s)),
        ("throughput_per_s", rate(|b| b.throughput_per_s)),
        ("goodput_per_s", rate(|b| b.goodput_per_s)),
        ("errors_per_s", rate(|b| b.errors_per_s)),
        ("sheds_per_s", rate(|b| b.sheds_per_s)),
        ("in_flight", number(|b| b.in_flight)),
        ("in_flight_mean", rate(|b| b.in_flight_mean)),
        ("n", number(|b| b.n)),
        ("p50_ns", some(|b| b.p50_ns)),
        ("p95_ns", some(|b| b.p95_ns)),
        ("p99_ns", some(|b| b.p99_ns)),
        ("ttft_p50_ns", some(|b| b.ttft_p50_ns)),
        ("ttft_p95_ns", some(|b| b.ttft_p95_ns)),
        ("itl_p50_ns", some(|b| b.itl_p50_ns)),
        ("itl_p95_ns", some(|b| b.itl_p95_ns)),
    ];
    columns.into_iter().map(|(name, values)| Column::new(name, values)).collect()
}
