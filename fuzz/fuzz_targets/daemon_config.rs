//! The daemon's configuration file: what does not fit names a key, and what fits can run.

#![no_main]

use std::num::NonZeroUsize;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use proofload_daemon::config::layers::{Layers, Merged};
use proofload_daemon::config::validate;
use proofload_fuzz::{Allowance, KIB};

const ALLOWANCE: Allowance = Allowance { fixed: 256 * KIB, per_byte: 1024 };
const CORES: NonZeroUsize = NonZeroUsize::new(4).expect("more than none");

fn read(text: &str) -> Merged {
    let mut layers = Layers::default();
    layers.file("fuzzed.toml", text);
    layers.finish()
}

fuzz_target!(|text: &str| {
    let merged = ALLOWANCE.hold(text.len(), || read(text));
    assert!(merged.errors.iter().all(|error| error.starts_with("fuzzed.toml:")), "{:?}", merged.errors);
    match validate(merged.written, CORES) {
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
