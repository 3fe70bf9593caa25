//! What an attempt came to. Pure: it looks at an answer and what was expected, and at no clock.
//!
//! It tells an answer from a refusal and a refusal from an error; whether an answer came in time for an SLO is the
//! analyzer's affair.

use bytes::Bytes;
use http::HeaderMap;
use proofload_run::sample::Outcome;
use proofload_wire::grpc::inference::ModelInferResponse;
use proofload_wire::json_body::decode_response;
use proofload_wire::phases::Phases;
use prost::Message;

use crate::transport::{Answer, Failure};

/// Length of the prefix of a gRPC message: a flag and a length.
const GRPC_PREFIX: usize = 5;
/// Longest message kept of an error.
const LONGEST_MESSAGE: usize = 300;

/// What a correct answer looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// Plain HTTP.
    Http {
        /// The status; any 2xx when not stated.
        status: Option<u16>,
        /// The least length of the body.
        min_bytes: u64,
        /// What the content type starts with.
        content_type: Option<String>,
    },
    /// A KServe answer over HTTP that has these outputs, or any when none is named.
    KserveHttp {
        /// Names of outputs.
        outputs: Vec<String>,
    },
    /// The same over gRPC.
    KserveGrpc {
        /// Names of outputs.
        outputs: Vec<String>,
    },
}

/// What an attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// How it ended.
    pub outcome: Outcome,
    /// HTTP status or gRPC code; 0 without an answer.
    pub status: u16,
    /// Bytes of body received.
    pub bytes_in: u32,
    /// Where the server says the time went.
    pub phases: Option<Phases>,
    /// For everything but a correct answer: what was said.
    pub message: Option<String>,
}

/// Judges an attempt.
pub fn judge(expect: &Expect, result: &Result<Answer, Failure>) -> Judgement {
    match result {
        Ok(answer) => judge_answer(expect, answer),
        Err(failure) => Judgement {
            outcome: match failure {
                Failure::Connect(_) => Outcome::ConnectError,
                // The generator never sent it, and the audit says so.
                Failure::Local(_) => Outcome::Dropped,
                Failure::Transport(_) => Outcome::TransportError,
                Failure::Timeout => Outcome::Timeout,
            },
            status: 0,
            bytes_in: 0,
            phases: None,
            message: Some(failure.to_string()),
        },
    }
}

fn judge_answer(expect: &Expect, answer: &Answer) -> Judgement {
    let (status, verdict) = match expect {
        Expect::Http { status, min_bytes, content_type } => {
            (answer.status, judge_http(answer, |a| plain_body(a, *status, *min_bytes, content_type.as_deref())))
        }
        Expect::KserveHttp { outputs } => (answer.status, judge_http(answer, |a| kserve_body(a, outputs))),
        Expect::KserveGrpc { outputs } => judge_grpc(answer, outputs),
    };
    let (outcome, message) = match verdict {
        Ok(()) => (Outcome::Ok, None),
        Err((outcome, message)) => (outcome, Some(shorten(&message))),
    };
    Judgement {
        outcome,
        status,
        bytes_in: u32::try_from(answer.body_bytes).unwrap_or(u32::MAX),
        phases: Phases::from_lookup(|name| text(&answer.headers, name).or_else(|| text(&answer.trailers, name))),
        message,
    }
}

type Verdict = Result<(), (Outcome, String)>;

fn judge_http(answer: &Answer, body: impl FnOnce(&Answer) -> Result<(), String>) -> Verdict {
    let said = || format!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body));
    match answer.status {
        200..=299 => body(answer).map_err(|why| (Outcome::BadBody, why)),
        429 => Err((Outcome::Shed, said())),
        503 if answer.headers.contains_key(http::header::RETRY_AFTER) => Err((Outcome::Shed, said())),
        // The server gave up at a limit that the request or its caller had set.
        504 => Err((Outcome::Timeout, said())),
        500..=599 => Err((Outcome::ServerError, said())),
        400..=499 => Err((Outcome::Rejected, said())),
        other => Err((Outcome::BadBody, format!("status {other} where 2xx was expected"))),
    }
}

fn plain_body(answer: &Answer, status: Option<u16>, min_bytes: u64, content_type: Option<&str>) -> Result<(), String> {
    if let Some(expected) = status.filter(|expected| *expected != answer.status) {
        return Err(format!("status {} where {expected} was expected", answer.status));
    }
    if answer.body_bytes < min_bytes {
        return Err(format!("{} bytes of body where at least {min_bytes} were expected", answer.body_bytes));
    }
    match content_type {
        Some(expected) if !text(&answer.headers, "content-type").is_some_and(|found| found.starts_with(expected)) => {
            let found = text(&answer.headers, "content-type").unwrap_or("none");
            Err(format!("content type {found} where {expected} was expected"))
        }
        _ => Ok(()),
    }
}

fn kserve_body(answer: &Answer, outputs: &[String]) -> Result<(), String> {
    whole(answer)?;
    let json_length = text(&answer.headers, "inference-header-content-length").and_then(|length| length.parse().ok());
    let response = decode_response(&answer.body, json_length).map_err(|e| e.to_string())?;
    has_outputs(outputs, || response.outputs.iter().map(|output| output.name.as_str()))
}

fn judge_grpc(answer: &Answer, outputs: &[String]) -> (u16, Verdict) {
    let header = |name| text(&answer.trailers, name).or_else(|| text(&answer.headers, name));
    let Some(code) = header("grpc-status").and_then(|code| code.parse::<u16>().ok()) else {
        let why = format!("HTTP status {} without a gRPC status", answer.status);
        return (answer.status, Err((Outcome::TransportError, why)));
    };
    let said = || format!("gRPC {code}: {}", header("grpc-message").map(percent_decode).unwrap_or_default());
    let verdict = match code {
        0 => grpc_body(answer, outputs).map_err(|why| (Outcome::BadBody, why)),
        // RESOURCE_EXHAUSTED and UNAVAILABLE; the server said so itself, a broken connection has no status.
        8 | 14 => Err((Outcome::Shed, said())),
        // DEADLINE_EXCEEDED: the server gave up when we would have.
        4 => Err((Outcome::Timeout, said())),
        // INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED, FAILED_PRECONDITION, OUT_OF_RANGE,
        // UNAUTHENTICATED.
        3 | 5 | 6 | 7 | 9 | 11 | 16 => Err((Outcome::Rejected, said())),
        _ => Err((Outcome::ServerError, said())),
    };
    (code, verdict)
}

fn grpc_body(answer: &Answer, outputs: &[String]) -> Result<(), String> {
    whole(answer)?;
    let body: &Bytes = &answer.body;
    let length = body.get(1..GRPC_PREFIX).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize);
    if body.first() != Some(&0) || length != Some(body.len().saturating_sub(GRPC_PREFIX)) {
        return Err("not one whole uncompressed gRPC message".to_owned());
    }
    let response = ModelInferResponse::decode(body.slice(GRPC_PREFIX..)).map_err(|e| e.to_string())?;
    has_outputs(outputs, || response.outputs.iter().map(|output| output.name.as_str()))
}

fn whole(answer: &Answer) -> Result<(), String> {
    if answer.body.len() as u64 == answer.body_bytes {
        return Ok(());
    }
    Err(format!("an answer of {} bytes, more than the {} that are checked", answer.body_bytes, answer.body.len()))
}

fn has_outputs<'a, I: Iterator<Item = &'a str>>(wanted: &[String], found: impl Fn() -> I) -> Result<(), String> {
    if found().next().is_none() {
        return Err("no output in the answer".to_owned());
    }
    match wanted.iter().find(|name| !found().any(|found| found == name.as_str())) {
        Some(missing) => Err(format!("output `{missing}` is missing in the answer")),
        None => Ok(()),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// gRPC percent-encodes its messages.
fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok()))
            .flatten();
        decoded.push(escaped.unwrap_or(bytes[at]));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn shorten(message: &str) -> String {
    let message = message.trim();
    match message.char_indices().nth(LONGEST_MESSAGE) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proofload_wire::grpc::inference::model_infer_response::InferOutputTensor;

    fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Answer {
        let mut answer = Answer { status, body: Bytes::copy_from_slice(body.as_bytes()), ..Answer::default() };
        answer.body_bytes = body.len() as u64;
        for (name, value) in headers {
            answer.headers.insert(*name, value.parse().unwrap());
        }
        answer
    }

    fn framed(outputs: &[&str]) -> Bytes {
        let outputs = outputs.iter().map(|name| InferOutputTensor { name: (*name).to_owned(), ..Default::default() });
        let message = ModelInferResponse { outputs: outputs.collect(), ..Default::default() }.encode_to_vec();
        [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat().into()
    }

    #[test]
    fn http_answers() {
        let expect = Expect::Http { status: None, min_bytes: 3, content_type: Some("model/".to_owned()) };
        let stl = ("content-type", "model/stl");
        let check = |status, headers: &[(&'static str, &str)], body: &str, expected: Outcome| {
            let judgement = judge(&expect, &Ok(answer(status, headers, body)));
            assert_eq!((judgement.outcome, judgement.status), (expected, status), "{judgement:?}");
            assert_eq!(judgement.message.is_none(), expected == Outcome::Ok);
        };
        check(200, &[stl], "abc", Outcome::Ok);
        check(204, &[stl], "abcd", Outcome::Ok);
        check(200, &[stl], "ab", Outcome::BadBody);
        check(200, &[], "abc", Outcome::BadBody);
        check(302, &[stl], "abc", Outcome::BadBody);
        check(429, &[], "slow down", Outcome::Shed);
        check(503, &[("retry-after", "1")], "full", Outcome::Shed);
        check(503, &[], "broken", Outcome::ServerError);
        check(500, &[("retry-after", "1")], "broken", Outcome::ServerError);
        check(504, &[], "too late", Outcome::Timeout);
        check(404, &[], "no such thing", Outcome::Rejected);
    }

    #[test]
    fn kserve_answers() {
        let check = |outputs: &[&str], body: &str, expected: Outcome| {
            let expect = Expect::KserveHttp { outputs: outputs.iter().map(|o| (*o).to_owned()).collect() };
            let judgement = judge(&expect, &Ok(answer(200, &[], body)));
            assert_eq!(judgement.outcome, expected, "{body}: {judgement:?}");
        };
        let good = r#"{"model_name":"m","model_version":"1","outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[1.0]}]}"#;
        check(&[], good, Outcome::Ok);
        check(&["y"], good, Outcome::Ok);
        check(&["z"], good, Outcome::BadBody);
        check(&[], &good.replace("[1.0]", "[1.0,2.0]"), Outcome::BadBody);
        check(&[], r#"{"model_name":"m","model_version":"1","outputs":[]}"#, Outcome::BadBody);
        check(&[], "<html>", Outcome::BadBody);
    }

    #[test]
    fn grpc_answers() {
        let check = |code: Option<&str>, body: Bytes, expected: Outcome| {
            let mut answer = Answer { status: 200, body_bytes: body.len() as u64, body, ..Answer::default() };
            if let Some(code) = code {
                answer.trailers.insert("grpc-status", code.parse().unwrap());
                answer.trailers.insert("grpc-message", "queue%20full".parse().unwrap());
            }
            let judgement = judge(&Expect::KserveGrpc { outputs: vec!["y".to_owned()] }, &Ok(answer));
            assert_eq!(judgement.outcome, expected, "{judgement:?}");
            if expected == Outcome::Shed {
                assert!(judgement.message.unwrap().ends_with("queue full"));
            }
        };
        check(Some("0"), framed(&["y"]), Outcome::Ok);
        check(Some("0"), framed(&["z"]), Outcome::BadBody);
        check(Some("0"), framed(&["y"]).slice(..6), Outcome::BadBody);
        check(Some("0"), Bytes::new(), Outcome::BadBody);
        check(Some("8"), Bytes::new(), Outcome::Shed);
        check(Some("14"), Bytes::new(), Outcome::Shed);
        check(Some("3"), Bytes::new(), Outcome::Rejected);
        check(Some("4"), Bytes::new(), Outcome::Timeout);
        check(Some("13"), Bytes::new(), Outcome::ServerError);
        check(None, Bytes::new(), Outcome::TransportError);
    }

    #[test]
    fn no_answer_at_all() {
        let expect = Expect::KserveGrpc { outputs: Vec::new() };
        let check = |failure, expected| assert_eq!(judge(&expect, &Err(failure)).outcome, expected);
        check(Failure::Connect(String::new()), Outcome::ConnectError);
        check(Failure::Local(String::new()), Outcome::Dropped);
        check(Failure::Transport(String::new()), Outcome::TransportError);
        check(Failure::Timeout, Outcome::Timeout);
    }

    #[test]
    fn phases_are_read_from_every_answer() {
        let stated =
            Phases { queue_ns: 1, copy_in_ns: 2, compute_ns: 3, copy_out_ns: 4, batch_size: 5, cache_hit: true };
        let headers = stated.to_headers();
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let expect = Expect::Http { status: Some(200), min_bytes: 0, content_type: None };
        for status in [200, 400, 429, 500, 503, 504] {
            assert_eq!(judge(&expect, &Ok(answer(status, &headers, ""))).phases, Some(stated), "{status}");
        }
        let mut refused = answer(200, &headers, "");
        refused.trailers.insert("grpc-status", "14".parse().unwrap());
        let judgement = judge(&Expect::KserveGrpc { outputs: Vec::new() }, &Ok(refused));
        assert_eq!((judgement.outcome, judgement.phases), (Outcome::Shed, Some(stated)));
    }
}
