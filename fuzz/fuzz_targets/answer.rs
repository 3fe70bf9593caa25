//! What a target answers: a line with the protocol and the status, lines of headers (`>` before a trailer's), an
//! empty line, the body. Covers gRPC framing, KServe JSON, phases and refusals.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use proofload_fuzz::{Allowance, KIB};
use proofload_loadgen::judge::{Expect, judge};
use proofload_loadgen::transport::{Answer, Fields};
use proofload_run::sample::Outcome;

const ALLOWANCE: Allowance = Allowance { fixed: 64 * KIB, per_byte: 1024 };

fuzz_target!(|input: &[u8]| {
    let end = input.windows(2).position(|pair| pair == b"\n\n").unwrap_or(input.len());
    let head = String::from_utf8_lossy(&input[..end]);
    let mut lines = head.split('\n');
    let (protocol, status) = lines.next().and_then(|line| line.split_once(' ')).unwrap_or_default();
    let mut answer = Answer { status: status.parse().unwrap_or(200), ..Answer::default() };
    for line in lines {
        let (to, line) = match line.strip_prefix('>') {
            Some(line) => (&mut answer.trailers, line),
            None => (&mut answer.headers, line),
        };
        insert(to, line);
    }
    answer.body = Bytes::copy_from_slice(input.get(end + 2..).unwrap_or_default());
    answer.body_bytes = answer.body.len() as u64;
    let outputs = vec!["output".to_owned()];
    let expect = match protocol {
        "grpc" => Expect::KserveGrpc { outputs },
        "kserve" => Expect::KserveHttp { outputs },
        _ => Expect::Http { status: None, min_bytes: 4, content_type: Some("model/".to_owned()) },
    };
    let judgement = ALLOWANCE.hold(input.len(), || judge(&expect, &Ok(answer), None));
    assert_eq!(judgement.outcome == Outcome::Ok, judgement.message.is_none(), "{judgement:?}");
    let length = judgement.message.map_or(0, |message| message.chars().count());
    assert!(length <= 301, "a message of {length} characters");
});

fn insert(to: &mut Fields, line: &str) {
    if let Some((name, value)) = line.split_once(": ") {
        to.push(name, value.as_bytes());
    }
}
