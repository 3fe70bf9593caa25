//! An answer of HTTP/1.1, byte by byte: whether the request was a HEAD, where the bytes are cut, and the bytes. However
//! they are cut, the same is read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proofload_fuzz::{Allowance, KIB};
use proofload_loadgen::transport::{Answer, read_answer};

const ALLOWANCE: Allowance = Allowance { fixed: 64 * KIB, per_byte: 64 };

fuzz_target!(|input: &[u8]| {
    let Some(([of_head, first, second], bytes)) = input.split_first_chunk() else { return };
    let of_head = of_head % 2 == 1;
    let cut = |at: u8| usize::from(at).min(bytes.len());
    let (first, second) = (cut(*first.min(second)), cut(*first.max(second)));
    let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
    let whole = ALLOWANCE.hold(input.len(), || read_answer(&[bytes], of_head));
    let in_pieces = ALLOWANCE.hold(input.len(), || read_answer(&pieces, of_head));
    match (&whole, &in_pieces) {
        (Ok(whole), Ok(in_pieces)) => assert_eq!(facts(whole), facts(in_pieces)),
        (Err(whole), Err(in_pieces)) => assert_eq!(whole, in_pieces),
        other => panic!("{other:?}"),
    }
});

fn facts(answer: &Answer) -> (u16, &[u8], usize, usize) {
    (answer.status, &answer.body, answer.headers.iter().count(), answer.trailers.iter().count())
}
