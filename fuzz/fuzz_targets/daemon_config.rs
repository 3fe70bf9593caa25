//! The daemon's configuration file: what does not fit names a key, and what fits can run.

#![no_main]

use std::num::NonZeroUsize;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use proofload_daemon::config::{validate, written};
use proofload_fuzz::{Allowance, KIB};

const ALLOWANCE: Allowance = Allowance { fixed: 256 * KIB, per_byte: 1024 };
const CORES: NonZeroUsize = NonZeroUsize::new(4).expect("more than none");

fuzz_target!(|text: &str| {
    let Ok(written) = ALLOWANCE.hold(text.len(), || written::parse(text)) else { return };
    match validate(written, CORES) {
        Ok(config) => {
            assert!(config.grace <= Duration::from_secs(86_400), "{config:?}");
            assert!((1..=1024).contains(&config.compute_threads), "{config:?}");
            assert!(config.models.queue.requests >= 1 && config.front.max_connections >= 1, "{config:?}");
            assert!(!config.models.sources.is_empty(), "{config:?}");
        }
        Err(errors) => {
            assert!(!errors.is_empty(), "refused without a reason");
            assert!(errors.iter().all(|error| error.contains('.')), "{errors:?}");
        }
    }
});
