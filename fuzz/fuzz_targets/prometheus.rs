//! Pages of metrics: at most as many values as were asked for, and each is read again as the same when it is written
//! the way it was read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proofload_fuzz::{Allowance, KIB};
use proofload_loadgen::watch::prometheus::parse;

const MOST_VALUES: usize = 100;
const ALLOWANCE: Allowance = Allowance { fixed: 64 * KIB, per_byte: 64 };

fuzz_target!(|page: &[u8]| {
    let page = String::from_utf8_lossy(page);
    let metrics = ALLOWANCE.hold(page.len(), || parse(&page, MOST_VALUES, |_| true));
    assert!(metrics.len() <= MOST_VALUES);
    for metric in metrics {
        let line = format!("{}{{{}}} {}", metric.name, metric.labels, metric.value);
        let again = parse(&line, MOST_VALUES, |_| true);
        let [again] = again.as_slice() else { panic!("{line:?} is {again:?}") };
        assert_eq!((&again.name, &again.labels), (&metric.name, &metric.labels));
        assert!(again.value.to_bits() == metric.value.to_bits() || metric.value.is_nan(), "{line:?} is {again:?}");
    }
});
