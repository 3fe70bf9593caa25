//! Parameters of a relief, one `name=value` a line: what is accepted lies within the documented bounds, and what is
//! refused is named.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proofload_daemon::relief::parameters::Parameters;
use proofload_fuzz::{Allowance, KIB};

const ALLOWANCE: Allowance = Allowance { fixed: 64 * KIB, per_byte: 512 };

fuzz_target!(|text: &str| {
    let written = text.lines().map(|line| line.split_once('=').unwrap_or((line, "")));
    match ALLOWANCE.hold(text.len(), || Parameters::from_written(written)) {
        Ok(parameters) => {
            assert!((16..=512).contains(&parameters.resolution), "{parameters:?}");
            let [width_mm, _] = parameters.size.plate_mm(1.0);
            assert!((10.0..=500.0).contains(&width_mm), "{parameters:?}");
            assert!((0.1..=100.0).contains(&parameters.height_mm), "{parameters:?}");
            assert!((0.2..=50.0).contains(&parameters.base_mm), "{parameters:?}");
            assert!((0.0..=8.0).contains(&parameters.smoothing), "{parameters:?}");
        }
        Err(errors) => assert!((1..=32).contains(&errors.len()), "{} errors", errors.len()),
    }
});
