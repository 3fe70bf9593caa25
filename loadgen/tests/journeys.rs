//! Journeys of simulated users: requests in order, with values carried from answers into later requests, against a
//! real server that checks them; and what a mistake in such a scenario is told.

// Helpers outside of the test functions unwrap for the same reason as these do.
#![allow(clippy::unwrap_used)]

#[path = "support/scenarios.rs"]
#[allow(dead_code)] // Shared: nobody uses all of it.
mod scenarios;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use proofload_loadgen::scenario::Scenario;
use proofload_run::events::{Event, EventKind};
use proofload_run::jsonl::LineReader;
use proofload_run::sample::{Outcome, Sample};
use scenarios::drive;

const SHOP: &str = r#"
kind = "sustained"
[load]
model = "closed"
users = 4
duration = "1s"
think_time = "5ms"

[[mix]]
name = "login"
protocol = "http"
path = "/login?u={{user}}"
body = '{"id": "{{uuid}}"}'
capture = { token = "/session/token" }

[[mix]]
name = "item"
protocol = "http"
path = "/items/{{token}}"
headers = { authorization = "Bearer {{token}}" }
expect = { min_bytes = 2 }

[[journeys]]
name = "shopper"
requests = ["login", "item", "item"]
"#;

/// A shop: a login gives a token of two words, and items are shown to whoever has the last token of its connection.
/// Every tenth login of a connection forgets the token.
fn shop() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(&stream));
        }
    });
    url
}

fn serve(stream: &TcpStream) -> Option<()> {
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    let (mut logins, mut token) = (0u32, String::new());
    loop {
        let (mut line, mut authorization, mut length) = (String::new(), String::new(), 0);
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            let Some((name, value)) = header.trim().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "authorization" => value.clone_into(&mut authorization),
                "content-length" => length = value.parse().ok()?,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let path = line.split(' ').nth(1)?;
        let (status, answer) = if path.starts_with("/login?u=") {
            logins += 1;
            token = format!("t {logins}/{}", String::from_utf8_lossy(&body).len());
            let well = logins % 10 != 0;
            (200, if well { format!(r#"{{"session": {{"token": "{token}"}}}}"#) } else { "{}".to_owned() })
        } else {
            let encoded = token.replace(' ', "%20").replace('/', "%2F");
            let known = path == format!("/items/{encoded}") && authorization == format!("Bearer {token}");
            (if known { 200 } else { 403 }, "[]".to_owned())
        };
        let head = format!("HTTP/1.1 {status} -\r\ncontent-length: {}\r\n\r\n", answer.len());
        writer.write_all(format!("{head}{answer}").as_bytes()).ok()?;
    }
}

#[test]
fn users_carry_what_answers_say_and_leave_a_journey_that_fails() {
    let url = shop();
    let scenario = Scenario::parse(Path::new("test.toml"), SHOP, &[]).unwrap();
    let driven = drive(&scenario, &url).unwrap();
    let of = |entry: u16| driven.samples.iter().filter(move |s| s.entry == entry && s.outcome() != Outcome::InFlight);
    let (logins, items) = (of(0).count(), of(1).count());
    assert!(logins > 40, "{logins}");
    assert!(of(1).all(|s| s.outcome() == Outcome::Ok), "every item was asked for with the token of its login");
    let forgotten = of(0).filter(|s| s.outcome() == Outcome::BadBody).count();
    assert!(forgotten > 0 && of(0).all(|s| matches!(s.outcome(), Outcome::Ok | Outcome::BadBody)));
    // Each user may be in the middle of a journey at the end.
    let expected = 2 * (logins - forgotten);
    assert!(items <= expected && items + 2 * 4 >= expected, "{items} items after {logins} logins, {forgotten} in vain");
    let order = |user: u32| driven.samples.iter().filter(move |s| s.connection == user);
    for user in 0..4 {
        let mut samples: Vec<&Sample> = order(user).collect();
        samples.sort_by_key(|s| s.intended_ns);
        let after_login = samples.windows(2).filter(|w| w[0].entry == 0 && w[0].outcome() == Outcome::Ok);
        assert!(after_login.clone().count() > 5 && after_login.clone().all(|w| w[1].entry == 1));
    }
    let path = driven.folder.path().join("run/events.jsonl");
    let events: Vec<EventKind> = LineReader::<Event>::open(&path).unwrap().map(|e| e.unwrap().kind).collect();
    let told = |code: &str| events.iter().any(|e| matches!(e, EventKind::Warning { code: c, .. } if c == code));
    assert!(told("journeys_cut_short"), "{events:?}");
    let example = |text: &str| {
        events.iter().any(|e| matches!(e, EventKind::ErrorExample { message, .. } if message.contains(text)))
    };
    assert!(example("the answer has nothing at /session/token"), "{events:?}");
    let shares: Vec<f64> = driven.manifest.entries.iter().map(|entry| entry.share).collect();
    assert!((shares[0] - 1.0 / 3.0).abs() < 1e-9 && (shares[1] - 2.0 / 3.0).abs() < 1e-9, "{shares:?}");
}

#[test]
fn mistakes_are_told_with_what_would_be_right() {
    let check = |from: &str, to: &str, expected: &str| {
        assert!(SHOP.contains(from), "{from}");
        let message = Scenario::parse(Path::new("test.toml"), &SHOP.replace(from, to), &[]).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    };
    check(r#"["login", "item", "item"]"#, r#"["item", "login"]"#, "needs {{token}}, and no request before it captures");
    check(r#"["login", "item", "item"]"#, r#"["login", "itm"]"#, "there is no such entry; there are login, item");
    check(r#"["login", "item", "item"]"#, "[]", "`requests` is missing");
    check("/session/token", "session.token", "is no JSON pointer; write");
    check("{ token =", "{ \"to ken\" =", "cannot stand in {{…}}");
    check("{{user}}", "{{usr}}", "nothing is called `usr`; there are user, sequence, unique, uuid, content, token");
    check("{{user}}", "{{user", "is never closed");
    check("model = \"closed\"\nusers = 4", "rate = 5", "journeys are made by users");
    check("name = \"item\"", "name = \"item\"\nweight = 1", "needs {{token}}, which only a journey has");
    check("name = \"shopper\"", "name = \"shopper\"\nweight = -1", "a weight is 0 or more");
    let alone = SHOP.split("[[journeys]]").next().unwrap();
    let message = Scenario::parse(Path::new("test.toml"), alone, &[]).unwrap_err().to_string();
    assert!(message.contains("which only a journey has"), "{message}");
}
