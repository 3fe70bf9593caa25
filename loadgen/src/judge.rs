//! What an attempt came to. Pure: it looks at an answer and what was expected, and at no clock.
//!
//! It tells an answer from a refusal and a refusal from an error; whether an answer came in time for an SLO is the
//! analyzer's affair.

use bytes::Bytes;
use proofload_run::sample::Outcome;
use proofload_wire::completion::{Dialect, Usage, read_piece};
use proofload_wire::grpc::inference::ModelInferResponse;
use proofload_wire::json_body::decode_response;
use proofload_wire::phases::Stated;
use proofload_wire::types::ErrorBody;
use prost::Message;

use crate::streamed::Seen;
use crate::transport::{Answer, Failure, Fields};

/// Length of the prefix of a gRPC message: a flag and a length.
const GRPC_PREFIX: usize = 5;
/// Content type of server-sent events.
const EVENT_STREAM: &str = "text/event-stream";
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
    /// What a text generator answers as a whole.
    Completion(Dialect),
    /// The same as a stream of events.
    Events(Dialect),
    /// The answers of one request to gRPC's `ModelStreamInfer`.
    Messages,
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
    pub phases: Option<Stated>,
    /// Tokens, where the server states them.
    pub usage: Option<Usage>,
    /// For everything but a correct answer: what was said.
    pub message: Option<String>,
}

/// Judges an attempt; `seen` is what was seen of a streamed answer.
pub fn judge(expect: &Expect, result: &Result<Answer, Failure>, seen: Option<&Seen>) -> Judgement {
    match result {
        Ok(answer) => judge_answer(expect, answer, seen),
        Err(failure) => Judgement {
            outcome: match failure {
                Failure::Connect(_) => Outcome::ConnectError,
                // The generator never sent it, and the audit says so.
                Failure::Local { .. } | Failure::Unmade(_) => Outcome::Dropped,
                Failure::Transport(_) => Outcome::TransportError,
                Failure::Timeout => Outcome::Timeout,
            },
            status: 0,
            bytes_in: 0,
            phases: None,
            usage: seen.and_then(|seen| seen.usage),
            message: Some(failure.to_string()),
        },
    }
}

fn judge_answer(expect: &Expect, answer: &Answer, seen: Option<&Seen>) -> Judgement {
    let mut usage = seen.and_then(|seen| seen.usage);
    let (status, verdict) = match expect {
        Expect::Http { status, min_bytes, content_type } => (
            answer.status,
            judge_http(expect, answer, |a| bad(plain_body(a, *status, *min_bytes, content_type.as_deref()))),
        ),
        Expect::KserveHttp { outputs } => (answer.status, judge_http(expect, answer, |a| bad(kserve_body(a, outputs)))),
        Expect::KserveGrpc { outputs } => judge_grpc(answer, || bad(grpc_body(answer, outputs))),
        Expect::Completion(dialect) => {
            (answer.status, judge_http(expect, answer, |a| completion(a, *dialect, &mut usage)))
        }
        Expect::Events(dialect) => (answer.status, judge_http(expect, answer, |a| events(a, *dialect, seen))),
        Expect::Messages => judge_grpc(answer, || pieces(seen)),
    };
    let (outcome, message) = match verdict {
        Ok(()) => (Outcome::Ok, None),
        Err((outcome, message)) => (outcome, Some(shorten(&message))),
    };
    Judgement {
        outcome,
        status,
        bytes_in: u32::try_from(answer.body_bytes).unwrap_or(u32::MAX),
        phases: Stated::from_lookup(|name| text(&answer.headers, name).or_else(|| text(&answer.trailers, name))),
        usage,
        message,
    }
}

type Verdict = Result<(), (Outcome, String)>;

/// An answer that says it is fine and is not.
fn bad(body: Result<(), String>) -> Verdict {
    body.map_err(|why| (Outcome::BadBody, why))
}

fn judge_http(expect: &Expect, answer: &Answer, body: impl FnOnce(&Answer) -> Verdict) -> Verdict {
    let said = || format!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body));
    match answer.status {
        200..=299 => body(answer),
        429 => Err((Outcome::Shed, said())),
        503 if refuses(expect, answer) => Err((Outcome::Shed, said())),
        // The server gave up at a limit that the request or its caller had set.
        504 => Err((Outcome::Timeout, said())),
        500..=599 => Err((Outcome::ServerError, said())),
        400..=499 => Err((Outcome::Rejected, said())),
        other => Err((Outcome::BadBody, format!("status {other} where 2xx was expected"))),
    }
}

/// Whether a 503 is a refusal and no breakdown: it says when to come again, or it is KServe's own word for
/// `UNAVAILABLE`, with which a Triton whose queue is full answers over HTTP, as over gRPC, without saying when.
fn refuses(expect: &Expect, answer: &Answer) -> bool {
    let speaks_kserve = matches!(
        expect,
        Expect::KserveHttp { .. } | Expect::Completion(Dialect::Generate) | Expect::Events(Dialect::Generate)
    );
    let says_why = || serde_json::from_slice::<ErrorBody>(&answer.body).is_ok_and(|body| !body.error.is_empty());
    answer.headers.contains(http::header::RETRY_AFTER.as_str()) || (speaks_kserve && says_why())
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

fn judge_grpc(answer: &Answer, body: impl FnOnce() -> Verdict) -> (u16, Verdict) {
    let header = |name| text(&answer.trailers, name).or_else(|| text(&answer.headers, name));
    let Some(code) = header("grpc-status").and_then(|code| code.parse::<u16>().ok()) else {
        let why = format!("HTTP status {} without a gRPC status", answer.status);
        return (answer.status, Err((Outcome::TransportError, why)));
    };
    let said = || format!("gRPC {code}: {}", header("grpc-message").map(percent_decode).unwrap_or_default());
    let verdict = match code {
        0 => body(),
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

/// A whole answer of a text generator; gives the tokens that it states.
fn completion(answer: &Answer, dialect: Dialect, usage: &mut Option<Usage>) -> Verdict {
    bad(whole(answer))?;
    let piece = read_piece(dialect, &answer.body).map_err(|e| (Outcome::BadBody, e.to_string()))?;
    *usage = piece.usage;
    match piece.error {
        Some(error) => Err((Outcome::ServerError, error)),
        None if !piece.has_output && !piece.is_last => bad(Err("no output in the answer".to_owned())),
        None => Ok(()),
    }
}

/// A stream of events. OpenAI's says when it is complete; KServe's ends, and one without a piece said nothing.
fn events(answer: &Answer, dialect: Dialect, seen: Option<&Seen>) -> Verdict {
    let found = text(&answer.headers, "content-type").unwrap_or("none");
    if !found.starts_with(EVENT_STREAM) {
        return bad(Err(format!("content type {found} where {EVENT_STREAM} was expected: the answer is no stream")));
    }
    let whole = seen.is_some_and(|seen| seen.is_complete);
    match pieces(seen) {
        Ok(()) if dialect == Dialect::OpenAi && !whole => {
            bad(Err("the stream broke off: neither a finish_reason nor [DONE] came".to_owned()))
        }
        Err((Outcome::BadBody, _)) if whole && seen.is_some_and(|seen| seen.unreadable.is_none()) => Ok(()),
        verdict => verdict,
    }
}

/// What was seen of a streamed answer: no error in its middle, and at least one piece.
fn pieces(seen: Option<&Seen>) -> Verdict {
    let Some(seen) = seen else { return bad(Err("no stream in the answer".to_owned())) };
    match (&seen.error, &seen.unreadable, seen.pieces) {
        (Some(error), ..) => Err((Outcome::ServerError, format!("in the stream: {error}"))),
        (None, Some(why), _) => bad(Err(format!("in the stream: {why}"))),
        (None, None, 0) => bad(Err("no output in the stream".to_owned())),
        (None, None, _) => Ok(()),
    }
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

fn text<'a>(headers: &'a Fields, name: &str) -> Option<&'a str> {
    headers.get(name)
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
    use proofload_run::events::Shortage;
    use proofload_wire::grpc::inference::model_infer_response::InferOutputTensor;
    use proofload_wire::phases::{Cache, Phases};

    fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Answer {
        let mut answer = Answer { status, body: Bytes::copy_from_slice(body.as_bytes()), ..Answer::default() };
        answer.body_bytes = body.len() as u64;
        for (name, value) in headers {
            answer.headers.push(name, value.as_bytes());
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
            let judgement = judge(&expect, &Ok(answer(status, headers, body)), None);
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
            let judgement = judge(&expect, &Ok(answer(200, &[], body)), None);
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
                answer.trailers.push("grpc-status", code.as_bytes());
                answer.trailers.push("grpc-message", b"queue%20full");
            }
            let judgement = judge(&Expect::KserveGrpc { outputs: vec!["y".to_owned()] }, &Ok(answer), None);
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
    fn completions() {
        let check = |body: &str, expected: Outcome, tokens: Option<u32>| {
            let judgement = judge(&Expect::Completion(Dialect::OpenAi), &Ok(answer(200, &[], body)), None);
            assert_eq!((judgement.outcome, judgement.usage.map(|u| u.completion)), (expected, tokens), "{judgement:?}");
        };
        let said =
            r#"{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}],"usage":{"completion_tokens":7}}"#;
        check(said, Outcome::Ok, Some(7));
        check(&said.replace("Hi", ""), Outcome::Ok, Some(7));
        check(r#"{"choices":[]}"#, Outcome::BadBody, None);
        check(r#"{"error":{"message":"busy"}}"#, Outcome::ServerError, None);
        check("<html>", Outcome::BadBody, None);
    }

    #[test]
    fn streams() {
        let stream = ("content-type", "text/event-stream; charset=utf-8");
        let check = |expect: Expect, headers: &[(&'static str, &str)], seen: Seen, expected: Outcome, said: &str| {
            let judgement = judge(&expect, &Ok(answer(200, headers, "")), Some(&seen));
            let message = judgement.message.unwrap_or_default();
            assert_eq!(judgement.outcome, expected, "{message}");
            assert!(message.contains(said), "{message}");
        };
        let some = Seen { pieces: 3, first_ns: 1, ..Seen::default() };
        let whole = Seen { is_complete: true, ..some.clone() };
        let failed = Seen { error: Some("out of memory".to_owned()), ..whole.clone() };
        let garbage = Seen { unreadable: Some("cannot read".to_owned()), ..whole.clone() };
        let (chat, generate) = (Expect::Events(Dialect::OpenAi), Expect::Events(Dialect::Generate));
        check(chat.clone(), &[stream], whole.clone(), Outcome::Ok, "");
        check(chat.clone(), &[stream], Seen { pieces: 0, ..whole.clone() }, Outcome::Ok, "");
        check(chat.clone(), &[stream], some.clone(), Outcome::BadBody, "broke off");
        check(chat.clone(), &[stream], failed.clone(), Outcome::ServerError, "in the stream: out of memory");
        check(chat.clone(), &[stream], garbage, Outcome::BadBody, "in the stream: cannot read");
        check(chat, &[("content-type", "application/json")], whole, Outcome::BadBody, "the answer is no stream");
        check(generate.clone(), &[stream], some.clone(), Outcome::Ok, "");
        check(generate, &[stream], Seen::default(), Outcome::BadBody, "no output in the stream");
        let grpc = [("grpc-status", "0")];
        check(Expect::Messages, &grpc, some, Outcome::Ok, "");
        check(Expect::Messages, &grpc, failed, Outcome::ServerError, "out of memory");
        check(Expect::Messages, &grpc, Seen::default(), Outcome::BadBody, "no output");
        check(Expect::Messages, &[("grpc-status", "14")], Seen::default(), Outcome::Shed, "gRPC 14");
        let refused =
            judge(&Expect::Events(Dialect::OpenAi), &Ok(answer(429, &[], "slow down")), Some(&Seen::default()));
        assert_eq!(refused.outcome, Outcome::Shed);
    }

    #[test]
    fn a_full_triton_refuses_over_http_as_over_grpc() {
        const FULL: &str = r#"{"error":"[request id: <id_unknown>] Exceeds maximum queue size"}"#;
        let check = |expect: Expect, body: &str, expected| {
            assert_eq!(judge(&expect, &Ok(answer(503, &[], body)), None).outcome, expected, "{expect:?} {body}");
        };
        let kserve = || Expect::KserveHttp { outputs: Vec::new() };
        check(kserve(), FULL, Outcome::Shed);
        check(Expect::Completion(Dialect::Generate), FULL, Outcome::Shed);
        check(Expect::Events(Dialect::Generate), FULL, Outcome::Shed);
        check(kserve(), "<html>503 Service Unavailable</html>", Outcome::ServerError);
        check(kserve(), r#"{"error":""}"#, Outcome::ServerError);
        check(kserve(), "", Outcome::ServerError);
        check(Expect::Completion(Dialect::OpenAi), FULL, Outcome::ServerError);
        check(Expect::Http { status: None, min_bytes: 0, content_type: None }, FULL, Outcome::ServerError);
    }

    #[test]
    fn no_answer_at_all() {
        let expect = Expect::KserveGrpc { outputs: Vec::new() };
        let check = |failure, expected| assert_eq!(judge(&expect, &Err(failure), None).outcome, expected);
        check(Failure::Connect(String::new()), Outcome::ConnectError);
        check(Failure::Local { of: Shortage::OpenFiles, said: String::new() }, Outcome::Dropped);
        check(Failure::Unmade(String::new()), Outcome::Dropped);
        check(Failure::Transport(String::new()), Outcome::TransportError);
        check(Failure::Timeout, Outcome::Timeout);
    }

    #[test]
    fn phases_are_read_from_every_answer() {
        let stated =
            Phases { queue_ns: 1, copy_in_ns: 2, compute_ns: 3, copy_out_ns: 4, batch_size: 5, cache: Cache::L2 };
        let headers = stated.to_headers();
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let expect = Expect::Http { status: Some(200), min_bytes: 0, content_type: None };
        for status in [200, 400, 429, 500, 503, 504] {
            let judgement = judge(&expect, &Ok(answer(status, &headers, "")), None);
            assert_eq!(judgement.phases.map(|told| told.phases), Some(stated), "{status}");
        }
        let mut refused = answer(200, &headers, "");
        refused.trailers.push("grpc-status", b"14");
        let judgement = judge(&Expect::KserveGrpc { outputs: Vec::new() }, &Ok(refused), None);
        assert_eq!((judgement.outcome, judgement.phases.map(|told| told.phases)), (Outcome::Shed, Some(stated)));
    }
}
