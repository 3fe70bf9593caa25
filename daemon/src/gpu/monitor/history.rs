//! The last minutes of what the GPUs reported, and what they came to. Memory is bounded by the number of readings. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::Serialize;

use super::reading::{Device, Now, Reading};
use crate::gpu::memory::growth::Point;

/// Readings that are kept: ten minutes at ten a second.
pub(super) const KEPT: usize = 6000;

/// See the module.
#[derive(Debug)]
pub(super) struct History {
    most: usize,
    moments: VecDeque<Moment>,
}

#[derive(Debug)]
struct Moment {
    at: Instant,
    devices: Vec<(Device, Now)>,
}

/// What a figure came to over a while.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "GpuSpan")]
pub struct Span {
    /// The smallest.
    pub min: f64,
    /// The mean.
    pub mean: f64,
    /// The largest.
    pub max: f64,
}

/// What a device came to over a while.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "GpuSummary")]
pub struct Summary {
    /// Readings that it is made of.
    pub readings: usize,
    /// From the first of them to the last.
    pub seconds: f64,
    /// 0 to 1.
    pub utilization: Option<Span>,
    /// Bytes.
    pub memory_used_bytes: Option<Span>,
    /// Watts.
    pub power_watts: Option<Span>,
    /// Degrees Celsius.
    pub temperature_celsius: Option<Span>,
    /// MHz.
    pub sm_clock_mhz: Option<Span>,
    /// Share of the readings in which clocks were held down, for whatever reason but idling.
    pub throttled_share: Option<f64>,
}

/// NVML's bit for a device that has nothing to do.
const IDLE: u64 = 0x1;

impl History {
    /// Nothing yet, and at most so many readings.
    pub(super) fn new(most: usize) -> Self {
        Self { most: most.max(1), moments: VecDeque::new() }
    }

    /// Takes in what was read at a time, which must not go back.
    pub(super) fn push(&mut self, at: Instant, readings: &[Reading]) {
        if self.moments.len() == self.most {
            self.moments.pop_front();
        }
        let devices = readings.iter().map(|reading| (reading.device.clone(), reading.now.clone())).collect();
        self.moments.push_back(Moment { at, devices });
    }

    /// What a device came to over the last `over` before `now`; `None` where nothing was read of it.
    pub(super) fn summary(&self, uuid: &str, now: Instant, over: Duration) -> Option<Summary> {
        let recent = |moment: &&Moment| now.saturating_duration_since(moment.at) <= over;
        let of_device = |moment: &'_ Moment| {
            let (_, read) = moment.devices.iter().find(|(device, _)| device.uuid == uuid)?;
            Some((moment.at, read.clone()))
        };
        let found: Vec<(Instant, Now)> = self.moments.iter().filter(recent).filter_map(of_device).collect();
        let (first, last) = (found.first()?.0, found.last()?.0);
        let span = |of: fn(&Now) -> Option<f64>| span(found.iter().filter_map(|(_, now)| of(now)));
        let held = found.iter().filter_map(|(_, now)| now.throttle_bits).map(|bits| f64::from(bits & !IDLE != 0));
        Some(Summary {
            readings: found.len(),
            seconds: last.saturating_duration_since(first).as_secs_f64(),
            utilization: span(|now| now.utilization),
            memory_used_bytes: span(|now| now.memory_used_bytes.map(|bytes| bytes as f64)),
            power_watts: span(|now| now.power_watts),
            temperature_celsius: span(|now| now.temperature_celsius),
            sm_clock_mhz: span(|now| now.sm_clock_mhz.map(f64::from)),
            throttled_share: self::span(held).map(|share| share.mean),
        })
    }
}

impl History {
    /// How much memory of a device was used, oldest first, over the last `over` before `now`; seconds count from the first.
    pub(super) fn memory(&self, uuid: &str, now: Instant, over: Duration) -> Vec<Point> {
        let recent = self.moments.iter().filter(|moment| now.saturating_duration_since(moment.at) <= over);
        let of_device = |moment: &Moment| {
            let (_, read) = moment.devices.iter().find(|(device, _)| device.uuid == uuid)?;
            Some((moment.at, read.memory_used_bytes? as f64))
        };
        let found: Vec<(Instant, f64)> = recent.filter_map(of_device).collect();
        let Some((first, _)) = found.first().copied() else { return Vec::new() };
        let point = |(at, used_bytes): (Instant, f64)| {
            let at_s = at.saturating_duration_since(first).as_secs_f64();
            Point { at_s, used_bytes }
        };
        found.into_iter().map(point).collect()
    }
}

fn span(values: impl Iterator<Item = f64>) -> Option<Span> {
    let (mut min, mut max, mut sum, mut count) = (f64::INFINITY, f64::NEG_INFINITY, 0.0, 0_u32);
    for value in values {
        (min, max, sum, count) = (min.min(value), max.max(value), sum + value, count + 1);
    }
    (count > 0).then(|| Span { min, mean: sum / f64::from(count), max })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(uuid: &str, utilization: Option<f64>, throttle_bits: u64) -> Reading {
        let device = Device { uuid: uuid.to_owned(), ..Device::default() };
        Reading {
            device,
            now: Now { utilization, throttle_bits: Some(throttle_bits), ..Now::default() },
            ..Reading::default()
        }
    }

    #[test]
    fn a_summary_is_of_one_device_and_of_a_while() {
        let begun = Instant::now();
        let at = |s: u64| begun + Duration::from_secs(s);
        let mut history = History::new(100);
        for second in 0..10 {
            let bits = if second >= 8 { 0x4 } else { 0x1 };
            let busy = reading("a", Some(second as f64 / 10.0), bits);
            history.push(at(second), &[busy, reading("b", None, 0)]);
        }
        let found = history.summary("a", at(9), Duration::from_secs(3)).unwrap();
        assert_eq!((found.readings, found.seconds), (4, 3.0));
        let span = found.utilization.unwrap();
        assert!((span.min - 0.6).abs() < 1e-9 && (span.mean - 0.75).abs() < 1e-9 && (span.max - 0.9).abs() < 1e-9);
        assert_eq!((found.throttled_share, found.power_watts), (Some(0.5), None));
        assert_eq!(history.summary("b", at(9), Duration::from_secs(3)).unwrap().utilization, None);
        assert_eq!(history.summary("c", at(9), Duration::from_secs(3)), None);
        assert_eq!(history.summary("a", at(900), Duration::from_secs(3)), None);
    }

    #[test]
    fn memory_is_what_was_read_of_it() {
        let begun = Instant::now();
        let mut history = History::new(100);
        for second in 0..10 {
            let mut one = reading("a", None, 0);
            one.now.memory_used_bytes = (second != 8).then_some(second);
            history.push(begun + Duration::from_secs(second), &[one]);
        }
        let found = history.memory("a", begun + Duration::from_secs(9), Duration::from_secs(3));
        let found: Vec<_> = found.iter().map(|point| (point.at_s, point.used_bytes)).collect();
        assert_eq!(found, [(0.0, 6.0), (1.0, 7.0), (3.0, 9.0)]);
        assert_eq!(history.memory("b", begun, Duration::from_secs(3)), []);
    }

    #[test]
    fn what_is_too_old_goes() {
        let begun = Instant::now();
        let mut history = History::new(3);
        for second in 0..10 {
            history.push(begun + Duration::from_secs(second), &[reading("a", Some(1.0), 0)]);
        }
        let found = history.summary("a", begun + Duration::from_secs(9), Duration::from_secs(100)).unwrap();
        assert_eq!((found.readings, found.seconds), (3, 2.0));
    }
}
