//! `proofload scenario new` against the real daemon: what it writes is valid and runs.

// Helpers of tests are no tests to clippy, and here too an unwrap fails with its line.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use proofload_loadgen::scenario::{RequestSpec, Scenario};
use support::{Daemon, Place, findings, run, text};

#[test]
fn every_kind_is_written_and_valid_and_one_runs() {
    let (place, daemon) = (Place::new(), Daemon::start());
    for kind in ["constant", "sustained", "stress", "ramp", "spike", "sine", "endurance", "users", "mixed", "steps"] {
        let file = place.path(&format!("{kind}.toml"));
        let path = file.to_str().unwrap();
        let written =
            run(&["scenario", "new", "--kind", kind, "--target", &daemon.http, "--model", "tiny_mlp", "-o", path]);
        assert_eq!(written.status.code(), Some(0), "{kind}: {}", text(&written.stderr));
        let checked = run(&["scenario", "check", path]);
        assert_eq!(checked.status.code(), Some(0), "{kind}: {}", text(&checked.stderr));
        assert!(std::fs::read_to_string(&file).unwrap().starts_with("#:schema ./schema.json\n"), "{kind}");
        let scenario = Scenario::load(&file, &[]).unwrap();
        let RequestSpec::Kserve(spec) = &scenario.mix[0].request else { panic!("{kind}: {scenario:?}") };
        assert_eq!((spec.inputs[0].name.as_str(), spec.inputs[0].shape.as_slice()), ("input", &[1, 16][..]), "{kind}");
    }
    let folder = place.path("run");
    let constant = place.path("constant.toml");
    let (constant, out) = (constant.to_str().unwrap(), folder.to_str().unwrap());
    let ran = run(&["run", "--quiet", constant, "--out", out, "--set", "load.duration=4s", "--set", "load.warm_up=0s"]);
    let found = findings(&folder);
    assert_eq!((found.totals.samples, found.errors.len()), (40, 0), "{:?} {}", found.errors, text(&ran.stderr));
}

#[test]
fn what_the_target_is_decides_what_is_written() {
    let (place, daemon) = (Place::new(), Daemon::start());
    let check = |arguments: &[&str], code: i32, says: &[&str]| {
        let output = run(&[&["scenario", "new", "--kind", "constant"], arguments].concat());
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        for part in says {
            assert!(said.contains(part), "{arguments:?}: `{part}` is not in: {said}");
        }
    };
    let (http, grpc) = (daemon.http.as_str(), daemon.grpc.as_str());
    let tiny = ["--model", "tiny_mlp"];
    let with =
        |rest: &[&'static str]| -> Vec<String> { tiny.iter().chain(rest).map(|word| (*word).to_owned()).collect() };
    let ask = |url: &str, rest: &[String], code: i32, says: &[&str]| {
        let arguments: Vec<&str> = ["--target", url].into_iter().chain(rest.iter().map(String::as_str)).collect();
        check(&arguments, code, says);
    };
    // Several models, and none named: they are listed.
    ask(http, &[], 2, &["--model", "tiny_mlp", "sim_4x10ms"]);
    ask(grpc, &[], 2, &["--model", "tiny_mlp", "sim_4x10ms"]);
    ask(http, &["--model".to_owned(), "nobody".to_owned()], 2, &["nobody", "tiny_mlp"]);
    ask(http, &with(&[]), 0, &["protocol = \"kserve-http-binary\"", &format!("http = \"{http}\""), "proofload"]);
    ask(grpc, &with(&[]), 0, &["protocol = \"kserve-grpc\"", &format!("grpc = \"{grpc}\""), "# http = "]);
    ask(http, &with(&["--protocol", "kserve-grpc"]), 2, &["--grpc-target"]);
    ask(grpc, &with(&["--protocol", "kserve-http-json"]), 2, &["gRPC side"]);
    ask(http, &with(&["--protocol", "smoke-signals"]), 2, &["kserve-http-json"]);
    let sides = ["--target", http, "--grpc-target", grpc, "--protocol", "kserve-grpc", "--model", "tiny_mlp"];
    check(&sides, 0, &["protocol = \"kserve-grpc\"", http, grpc]);
    ask("http://127.0.0.1:1", &[], 2, &["does not accept connections"]);
    ask(
        &one_page("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
        &[],
        0,
        &["protocol = \"http\"", "did not answer as a KServe server"],
    );
    ask(&one_page("220 mail.example.com ESMTP\r\n"), &[], 2, &["answers neither HTTP"]);

    let file = place.path("kept.toml");
    std::fs::write(&file, "mine").unwrap();
    let path = file.to_str().unwrap();
    check(&["--target", http, "--model", "tiny_mlp", "-o", path], 2, &["--force"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    check(&["--target", http, "--model", "tiny_mlp", "-o", path, "--force"], 0, &["written"]);
    assert!(std::fs::read_to_string(&file).unwrap().contains("tiny_mlp"));
}

#[test]
fn headers_and_certificates_are_written_and_secrets_are_not() {
    let place = Place::new();
    let url = one_page("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let file = place.path("made.toml");
    let check = |arguments: &[&str], code: i32, says: &str| {
        let new = ["scenario", "new", "--kind", "constant", "--target", &url, "--force", "-o", file.to_str().unwrap()];
        let output = run(&[&new[..], arguments].concat());
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(says) && !said.contains("s3cret"), "{arguments:?}: {said}");
    };
    let home = "authorization: Bearer ${env:HOME}";
    check(&["--header", home, "-H", "X-Team: blue"], 0, "written");
    let made = std::fs::read_to_string(&file).unwrap();
    assert!(made.contains("Bearer ${env:HOME}") && !made.contains(&std::env::var("HOME").unwrap()), "{made}");
    let headers = Scenario::load(&file, &[]).unwrap().target.unwrap().headers;
    assert_eq!(headers["x-team"], "blue");
    check(&["--header", "authorization: Bearer s3cret"], 2, "Bearer ${env:TOKEN}");
    check(&["--header", "x: ${env:PROOFLOAD_NO_SUCH}"], 2, "`PROOFLOAD_NO_SUCH` is not set");
    check(&["--header", "nonsense"], 2, "is no header");
    check(&["--insecure"], 2, "no URL begins with https://");
    check(&["--client-cert", "client.pem"], 2, "--client-key");
    check(&["--ca", "ca.pem", "--insecure"], 2, "cannot be used with");
}

/// A server that says the same to everybody, until the test ends.
fn one_page(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                // Whoever leaves early is no concern of this server.
                let _ = stream.read(&mut [0; 1024]).and_then(|_| stream.write_all(answer.as_bytes()));
            });
        }
    });
    url
}
