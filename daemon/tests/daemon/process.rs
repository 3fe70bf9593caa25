//! The daemon as a process: how it says that it is ready, and every way in which it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use proofload_daemon::admit::keys::{Keyring, entry};
use rustix::process::{Pid, Signal, kill_process};

fn daemon(arguments: &[&str]) -> Child {
    daemon_with(arguments, &[])
}

fn daemon_with(arguments: &[&str], variables: &[(&str, &str)]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_proofload-daemon"))
        .args(arguments)
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

const READY: [&str; 5] = ["--http-port=0", "--grpc-port=0", "--ready-json", "--nice=1", "--grace=5"];

fn ready(child: &mut Child) -> serde_json::Value {
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn ended(mut child: Child) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if begun.elapsed() > Duration::from_secs(10) {
            child.kill().unwrap();
            panic!("the daemon does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn ready_means_that_both_ports_answer() {
    let mut child = daemon(&[&READY[..], &["--until-stdin-closes"]].concat());
    let begun = Instant::now();
    let ready = ready(&mut child);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?} to load the built-in models", begun.elapsed());
    assert_eq!((&ready["event"], &ready["pid"]), (&"ready".into(), &child.id().into()));
    for port in ["http", "grpc"] {
        TcpStream::connect(ready[port].as_str().unwrap()).unwrap();
    }
    drop(child.stdin.take());
    assert!(ended(child).success(), "the end of standard input is a reason to stop");
}

#[test]
fn signals_drain_it() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut child = daemon(&READY);
        ready(&mut child);
        // Without --until-stdin-closes the end of standard input means nothing.
        drop(child.stdin.take());
        std::thread::sleep(Duration::from_millis(50));
        assert!(child.try_wait().unwrap().is_none());
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert!(ended(child).success(), "{signal:?}");
    }
}

#[test]
fn a_new_key_fits_its_lines_in_the_file() {
    let make = || {
        let output =
            daemon(&["key", "new", "--name=alice", "--tier=free", "--team=vision"]).wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let text = make();
    let (key, entry) = text.split_once('\n').unwrap();
    let ring = Keyring::parse(&format!("[tiers.free]\n[teams.vision]\n{entry}")).unwrap();
    assert_eq!(ring.find(key).unwrap().name, "alice");
    assert!(key.len() > 40 && !entry.contains(key) && make() != text, "{text}");
}

/// Sends a request over HTTP/1.1 and reads the answer, headers and all.
fn exchange(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// What a key has used is written down every second, so that a daemon that is killed forgets a second of it at most.
#[test]
fn a_killed_daemon_remembers_what_was_used_of_a_quota() {
    let place = tempfile::tempdir().unwrap();
    let [keys, usage] = ["keys.toml", "usage.json"].map(|name| place.path().join(name));
    std::fs::write(&keys, format!("[tiers.few]\nrequests_per_day = 3\n{}", entry("alice", "few", None, "secret")))
        .unwrap();
    let [keys_file, usage_file] =
        [("keys", &keys), ("usage", &usage)].map(|(of, path)| format!("--set=access.{of}_file={}", path.display()));
    let start = || {
        let mut child = daemon(&[&READY[..], &[&keys_file, &usage_file]].concat());
        let http = ready(&mut child)["http"].as_str().unwrap().to_owned();
        (child, http)
    };
    let ask = |http: &str| {
        let request = "GET /v2/models/tiny_mlp HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-api-key: secret\r\n\r\n";
        exchange(http, request)[9..12].to_owned()
    };
    let (child, http) = start();
    assert_eq!([ask(&http), ask(&http)], ["200", "200"]);
    let begun = Instant::now();
    while !std::fs::read_to_string(&usage).is_ok_and(|used| used.contains("alice")) {
        assert!(begun.elapsed() < Duration::from_secs(20), "what was used is not written while the daemon serves");
        std::thread::sleep(Duration::from_millis(20));
    }
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    assert!(!ended(child).success());
    let (mut child, http) = start();
    assert_eq!([ask(&http), ask(&http)], ["200", "429"]);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn log_settings_take_effect_in_the_process() {
    let check = |body: &str, expected: bool| {
        let mut child = daemon(&[&READY[..], &["--until-stdin-closes"]].concat());
        let ready = ready(&mut child);
        let head =
            format!("POST /v2/logging HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}", body.len());
        let answer = exchange(ready["http"].as_str().unwrap(), &format!("{head}\r\n\r\n{body}"));
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        drop(child.stdin.take());
        let messages = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
        assert!(messages.contains("serving HTTP on"), "it was said before: {messages}");
        assert_eq!(messages.contains("every request in flight was answered"), expected, "{body}: {messages}");
    };
    check("{}", true);
    check(r#"{"log_info":false}"#, false);
}

#[test]
fn what_cannot_run_is_said_at_once() {
    let check = |arguments: &[&str], parts: &[&str]| {
        let output = daemon(arguments).wait_with_output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(parts.iter().all(|part| message.contains(part)), "{arguments:?}: {message}");
    };
    check(&["--bind=localhost", "--nice=30"], &["server.bind", "process.nice"]);
    check(&["--model-repository=/nowhere"], &["/nowhere: cannot read the model repository"]);
    check(&["--check", "--bind=x", "--set=server.http_prt=0"], &["server.bind", "did you mean server.http_port"]);
    check(&["--print-config", "--set=process.nice=x"], &["process.nice: invalid type"]);
    check(&["--bind=0.0.0.0", "--model-control-mode=explicit"], &["set access.admin_token_file"]);
    check(&["--set=access.admin_token=0123456789abcdef"], &["must not be a flag", "PROOFLOAD_ACCESS_ADMIN_TOKEN"]);
    check(&["--set=access.keys_file=/nowhere/keys.toml"], &["/nowhere/keys.toml: cannot be read"]);
    check(&["key", "new", "--name=a b", "--tier=free"], &["--name must have"]);
    check(&["--config=/nowhere.toml"], &["/nowhere.toml: cannot be read"]);
    check(&["--otlp-endpoint=127.0.0.1:1"], &["telemetry.otlp_endpoint"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("--http-port={}", taken.local_addr().unwrap().port());
    check(&[&port, "--grpc-port=0"], &["cannot listen on 127.0.0.1", "choose another port"]);
}

#[test]
fn the_environment_is_a_layer_of_the_configuration() {
    let check = |arguments: &[&str], variables: &[(&str, &str)], code: i32, parts: &[&str]| {
        let output = daemon_with(arguments, variables).wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{arguments:?}: {said}");
    };
    let port = [("PROOFLOAD_SERVER_HTTP_PORT", "7")];
    check(&["--check"], &port, 0, &[]);
    // Neither loads anything: there are no such models.
    check(&["--check", "--model-repository=/nowhere"], &[], 0, &[]);
    check(&["--print-config"], &port, 0, &["http_port = 7", "# PROOFLOAD_SERVER_HTTP_PORT", "grpc_port = 8001"]);
    check(&["--print-config", "--http-port=8"], &port, 0, &["http_port = 8", "# --http-port"]);
    check(&["--check"], &[("PROOFLOAD_SERVER_HTTP_PRT", "7")], 2, &["did you mean PROOFLOAD_SERVER_HTTP_PORT?"]);
}

/// What a daemon that may use a GPU says, and how it ends, where there is none that it could use: one of this number.
fn without_gpu(mode: &str) -> (ExitStatus, String) {
    let flags = [&READY[..], &["--until-stdin-closes", "--set=gpu.device=4096", mode]].concat();
    let mut child = daemon(&flags);
    drop(child.stdin.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (ended(child), said)
}

#[test]
fn a_gpu_that_is_not_there_is_an_error_or_the_cpu() {
    for flag in ["--gpu", "--gpu=on"] {
        let (status, said) = without_gpu(flag);
        assert_eq!(status.code(), Some(2), "{said}");
        assert!(said.contains("no GPU can be used: ") && said.contains("--gpu=auto"), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    for (flag, times) in [("--gpu=auto", 1), ("--gpu=off", 0)] {
        let (status, said) = without_gpu(flag);
        assert!(status.success(), "{said}");
        assert_eq!(said.matches("models run on the CPU: ").count(), times, "{said}");
    }
}
