//! Streamed answers: wherever the bytes are cut, the same is seen of them, and their times are in order.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proofload_fuzz::{Allowance, KIB};
use proofload_loadgen::streamed::{Seen, Streaming, Watch};
use proofload_wire::completion::Dialect;

const ALLOWANCE: Allowance = Allowance { fixed: 64 * KIB, per_byte: 64 };
const KINDS: [Streaming; 3] =
    [Streaming::Events(Dialect::OpenAi), Streaming::Events(Dialect::Generate), Streaming::ModelStreamInfer];

fn watch(streaming: Streaming, pieces: &[&[u8]]) -> Seen {
    let mut watch = Watch::new(streaming);
    (1..).zip(pieces).for_each(|(now_ns, piece)| watch.take(piece, now_ns));
    watch.finish()
}

fuzz_target!(|input: (u8, u16, &[u8])| {
    let (kind, cut, bytes) = input;
    let streaming = KINDS[usize::from(kind) % KINDS.len()];
    let whole = ALLOWANCE.hold(bytes.len(), || watch(streaming, &[bytes]));
    let (first, rest) = bytes.split_at(usize::from(cut).min(bytes.len()));
    let cut = watch(streaming, &[first, rest]);
    assert!(cut.first_ns <= cut.last_ns && cut.longest_gap_ns <= 1);
    let timeless = |seen: Seen| Seen { first_ns: 0, last_ns: 0, longest_gap_ns: 0, ..seen };
    assert_eq!(timeless(whole), timeless(cut));
});
