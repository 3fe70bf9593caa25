//! Durations, rates, shares, sizes and thresholds as people write them: what is accepted is a number that `run.json`
//! can hold.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proofload_run::criteria::Threshold;
use proofload_run::units::{parse_bytes, parse_duration_ns, parse_rate_per_s, parse_share};

fuzz_target!(|text: &str| {
    if let Ok(ns) = parse_duration_ns(text) {
        assert!(ns <= 366 * 86_400 * 1_000_000_000, "{ns}");
    }
    if let Ok(rate) = parse_rate_per_s(text) {
        assert!(rate.is_finite() && rate >= 0.0, "{rate}");
    }
    if let Ok(share) = parse_share(text) {
        assert!((0.0..=1.0).contains(&share), "{share}");
    }
    if let Ok(bytes) = parse_bytes(text) {
        assert!(bytes < u64::MAX, "more bytes than there are numbers");
    }
    if let Ok(threshold) = text.parse::<Threshold>() {
        let json = serde_json::to_string(&threshold).expect("a threshold can be written");
        let again: Threshold = serde_json::from_str(&json).expect("what we write can be read");
        assert_eq!((&again.entry, again.comparison), (&threshold.entry, threshold.comparison));
        assert_eq!(again.metric.to_string(), threshold.metric.to_string());
        assert!((again.bound - threshold.bound).abs() <= 1e-15 * threshold.bound, "{again:?} is not {threshold:?}");
    }
});
