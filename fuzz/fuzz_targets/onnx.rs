//! The signature of an ONNX file: dimensions are sizes or -1, and little is kept of a large file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proofload_daemon::repository::onnx::signature;
use proofload_fuzz::{Allowance, KIB};

/// An empty field of two bytes becomes a record of a hundred, in a vector that doubles.
const ALLOWANCE: Allowance = Allowance { fixed: 64 * KIB, per_byte: 512 };

fuzz_target!(|file: &[u8]| {
    if let Ok(signature) = ALLOWANCE.hold(file.len(), || signature(file)) {
        for port in signature.inputs.iter().chain(&signature.outputs) {
            assert!(port.shape.iter().flatten().all(|&size| size >= -1), "{port:?}");
        }
    }
});
