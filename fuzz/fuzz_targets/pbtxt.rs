//! `config.pbtxt`: what is refused names a line, and what is read either makes a model or says why not.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proofload_daemon::repository::pbtxt::parse;
use proofload_daemon::repository::resolve::{Found, resolve};
use proofload_daemon::sched::queue::Limits;
use proofload_fuzz::{Allowance, KIB};

const ALLOWANCE: Allowance = Allowance { fixed: 64 * KIB, per_byte: 512 };
const TINY_MLP: &[u8] = include_bytes!("../../daemon/models/tiny_mlp/1/model.onnx");
const LIMITS: Limits = Limits { requests: 8, bytes: 1 << 20 };

fuzz_target!(|text: &str| {
    let parsed = ALLOWANCE.hold(text.len(), || parse(text));
    let lines = text.lines().count().max(1);
    for remark in parsed.errors.iter().chain(&parsed.warnings) {
        assert!((1..=lines).contains(&remark.line), "{remark:?} in {lines} lines");
        assert!(!remark.what.contains('\n'), "{remark:?} is more than a line");
    }
    if parsed.errors.is_empty() {
        let name = if parsed.config.name.is_empty() { "model".to_owned() } else { parsed.config.name.clone() };
        let found = Found { name, version: 1, config: parsed.config, onnx: TINY_MLP.to_vec() };
        if let Err(errors) = resolve(found, LIMITS) {
            assert!(!errors.is_empty(), "refused without a reason");
        }
    }
});
