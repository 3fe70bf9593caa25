//! Streamed answers against real servers that send their pieces on schedule: when tokens came, how many there were, and
//! how streams that break off, fail in the middle or are none at all are told apart.

// Helpers outside of the test functions unwrap for the same reason as these do.
#![allow(clippy::unwrap_used)]

#[path = "support/grpc_server.rs"]
#[allow(dead_code)] // Shared: nobody uses all of it.
mod grpc_server;
#[path = "support/scenarios.rs"]
#[allow(dead_code)] // Shared: nobody uses all of it.
mod scenarios;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use proofload_loadgen::calibrate::law::Law;
use proofload_loadgen::calibrate::{Case, Time, measure};
use proofload_loadgen::scenario::Scenario;
use proofload_loadgen::stop::StopHandle;
use proofload_run::sample::{Outcome, Sample, flags};
use scenarios::{drive, drive_grpc};
use serde_json::Value;

const MS: u64 = 1_000_000;
const STREAM: &str = "content-type: text/event-stream";
const JSON: &str = "content-type: application/json";

/// What a model answers: status, content type, pieces with the wait before each, and whether the body is ended.
type Script = (u16, &'static str, Vec<(u64, String)>, bool);

fn chat(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
}

fn script(model: &str) -> Script {
    let chat_tokens = |n: u64| (0..n).map(|i| (if i == 0 { 60 } else { 20 }, chat("a"))).collect::<Vec<_>>();
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":9}}\n\n";
    let with_end = |mut pieces: Vec<(u64, String)>, end: &str| {
        pieces.push((1, end.to_owned()));
        pieces
    };
    match model {
        "plain" => (200, STREAM, with_end(chat_tokens(5), "data: [DONE]\n\n"), true),
        "counted" => (200, STREAM, with_end(chat_tokens(5), &format!("{usage}data: [DONE]\n\n")), true),
        "broken_off" => (200, STREAM, chat_tokens(3), true),
        "cut" => (200, STREAM, chat_tokens(3), false),
        "failing" => {
            (200, STREAM, with_end(chat_tokens(2), "data: {\"error\":{\"message\":\"out of memory\"}}\n\n"), true)
        }
        "endless" => (200, STREAM, chat_tokens(100), true),
        "refusing" => (429, JSON, vec![(0, "{\"error\":{\"message\":\"slow down\"}}".to_owned())], true),
        "deaf" => (200, JSON, vec![(0, "{\"choices\":[{\"message\":{\"content\":\"x\"}}]}".to_owned())], true),
        "whole" => {
            let said = "{\"choices\":[{\"message\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}],\
                        \"usage\":{\"prompt_tokens\":3,\"completion_tokens\":8}}";
            (200, JSON, vec![(30, said.to_owned())], true)
        }
        "kserve" => {
            let piece = |wait| (wait, "data: {\"model_name\":\"kserve\",\"text_output\":\"a\"}\n\n".to_owned());
            (200, STREAM, vec![piece(40), piece(10), piece(30)], true)
        }
        other => panic!("no model {other}"),
    }
}

/// A server whose models answer by their script. Gives its URL.
fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(&stream));
        }
    });
    url
}

/// Answers one request and closes; a client that leaves in the middle is an error here, and its own affair.
fn serve(stream: &TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut path, mut length, mut line) = (String::new(), 0, String::new());
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let lower = line.to_ascii_lowercase();
        match (path.is_empty(), lower.strip_prefix("content-length:")) {
            (true, _) => path = line.split(' ').nth(1)?.to_owned(),
            (false, Some(value)) => length = value.trim().parse().ok()?,
            (false, None) if line == "\r\n" => break,
            (false, None) => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    // Whoever asks for no model scrapes.
    let model = request["model"].as_str().or_else(|| path.split('/').nth(3))?;
    let (status, kind, pieces, ends) = script(model);
    let mut stream = stream;
    stream.set_nodelay(true).ok()?;
    write!(stream, "HTTP/1.1 {status} X\r\n{kind}\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n").ok()?;
    for (wait_ms, piece) in pieces {
        std::thread::sleep(Duration::from_millis(wait_ms));
        stream.write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes()).ok()?;
    }
    if ends { stream.write_all(b"0\r\n\r\n").ok() } else { Some(()) }
}

fn scenario(protocol: &str, model: &str, more: &str) -> Scenario {
    let text = format!(
        "kind = \"sustained\"\n[load]\narrivals = \"constant\"\nrate = \"20/s\"\nduration = \"1s\"\n\
         request_timeout = \"800ms\"\n[[mix]]\nname = \"ask\"\nprotocol = \"{protocol}\"\nmodel = \"{model}\"\n\
         prompt = \"Hello\"\n{more}"
    );
    Scenario::parse(Path::new("streams.toml"), &text, &[]).unwrap()
}

/// The samples of twenty requests to a model.
fn ask(protocol: &str, model: &str, more: &str) -> Vec<Sample> {
    let samples = drive(&scenario(protocol, model, more), &server()).unwrap().samples;
    assert_eq!(samples.len(), 20);
    samples
}

#[test]
fn streams_are_told_apart() {
    let check = |protocol: &str, model: &str, outcome: Outcome, pieces: u16, tokens: (u32, u32), stated: bool| {
        for sample in ask(protocol, model, "") {
            assert_eq!(sample.outcome(), outcome, "{model}: {sample:?}");
            assert_eq!((sample.pieces, (sample.tokens_in, sample.tokens_out)), (pieces, tokens), "{model}");
            assert_eq!(sample.flags & flags::TOKENS_STATED != 0, stated, "{model}");
            assert_eq!(sample.flags & flags::STREAMED != 0, pieces > 0, "{model}");
            assert_eq!(sample.first_token_ns > 0, pieces > 0, "{model}");
        }
    };
    check("openai-chat", "plain", Outcome::Ok, 5, (0, 5), false);
    check("openai-chat", "counted", Outcome::Ok, 5, (11, 9), true);
    check("openai-chat", "broken_off", Outcome::BadBody, 3, (0, 3), false);
    check("openai-chat", "cut", Outcome::TransportError, 3, (0, 3), false);
    check("openai-chat", "failing", Outcome::ServerError, 2, (0, 2), false);
    check("openai-chat", "refusing", Outcome::Shed, 0, (0, 0), false);
    check("openai-chat", "deaf", Outcome::BadBody, 0, (0, 0), false);
    check("generate-stream", "kserve", Outcome::Ok, 3, (0, 3), false);
}

#[test]
fn a_whole_answer_says_how_many_tokens_it_had() {
    for sample in ask("openai-completions", "whole", "stream = false\n") {
        assert_eq!((sample.outcome(), sample.tokens_in, sample.tokens_out), (Outcome::Ok, 3, 8), "{sample:?}");
        assert_eq!((sample.first_token_ns, sample.mean_gap_ns()), (0, None));
    }
}

#[test]
fn what_came_before_the_time_limit_is_kept() {
    for sample in ask("openai-chat", "endless", "") {
        assert_eq!(sample.outcome(), Outcome::Timeout, "{sample:?}");
        assert!(sample.pieces > 5 && sample.last_token_ns > sample.first_token_ns, "{sample:?}");
        assert!(sample.last_token_ns <= sample.done_ns);
    }
}

#[test]
fn tokens_are_timed_from_the_intended_arrival() {
    for sample in ask("openai-chat", "plain", "") {
        let (first_ns, gap_ns) = (sample.first_token_latency_ns().unwrap(), sample.mean_gap_ns().unwrap());
        // A sleep takes at least its time; a busy machine may take longer.
        assert!((60 * MS..400 * MS).contains(&first_ns), "{sample:?}");
        assert!(gap_ns >= 20.0 * MS as f64 * 0.95 && gap_ns < 150.0 * MS as f64, "{sample:?}");
        assert!(sample.longest_gap_ns as f64 >= gap_ns * 0.999, "{sample:?}");
        assert!(sample.last_token_ns <= sample.done_ns && sample.first_token_ns >= sample.first_byte_ns, "{sample:?}");
    }
}

#[test]
fn what_is_measured_of_tokens_is_what_the_server_did() {
    for (time, slow_ns) in [(Time::FirstToken, 75 * MS), (Time::TokenGap, 15 * MS)] {
        let law = Law::Tokens { first_ns: 50 * MS, gap_ns: 10 * MS, tokens: 12 };
        let case = Case { time, ..Case::whole("stream", law, "poisson", None, slow_ns) };
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let measured = measure(&case, 100.0, 4, None, folder.path().join("run"), StopHandle::default());
        let found = runtime.block_on(measured).unwrap();
        assert_eq!(found.answered.0, found.answered.1, "{found:?}");
        let (measured, served) = (found.measured, found.served);
        for (measured_ns, served_ns) in [(measured.p50_ns, served.p50_ns), (measured.mean_ns, served.mean_ns)] {
            assert!((measured_ns / served_ns - 1.0).abs() < 0.03, "{time:?}: {found:?}");
        }
    }
}

#[test]
fn one_request_to_model_stream_infer_has_several_answers() {
    let text =
        grpc_server::SCENARIO.replace("\"kserve-grpc\"", "\"kserve-grpc-stream\"").replace("outputs", "# outputs");
    let scenario = Scenario::parse(Path::new("grpc.toml"), &text, &[]).unwrap();
    let driven = drive_grpc(&scenario, &grpc_server::serve(grpc_server::always_answering())).unwrap();
    assert_eq!(driven.samples.len(), 50);
    for sample in driven.samples {
        assert_eq!((sample.outcome(), sample.status, sample.pieces), (Outcome::Ok, 0, 3), "{sample:?}");
        assert!(sample.mean_gap_ns().unwrap() >= 4.9 * MS as f64, "{sample:?}");
    }
}
