//! A generator that has less processor time than its users want: it must say so, and blame nobody else.

// Helpers of tests are no tests to clippy, and here too an unwrap fails with its line.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use proofload_run::verdict::Verdict;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use support::{Place, findings, proofload, text};

/// Answers at once, one thread a connection. Its threads end with the process.
fn fast_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    url
}

fn serve(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut request = [0; 4096];
    // A request this small comes in one piece on loopback.
    while stream.read(&mut request).is_ok_and(|n| n > 0) {
        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").is_err() {
            return;
        }
    }
}

/// A process that only burns its processor, until the test ends.
struct Busy(Child);

impl Busy {
    fn start() -> Self {
        Self(Command::new("sh").args(["-c", "while :; do :; done"]).stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs on one processor only, which whatever is started meanwhile inherits.
fn pinned<T>(work: impl FnOnce() -> T) -> T {
    let all = sched_getaffinity(None).unwrap();
    let first = (0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu)).unwrap();
    let mut one = CpuSet::new();
    one.set(first);
    sched_setaffinity(None, &one).unwrap();
    let done = work();
    sched_setaffinity(None, &all).unwrap();
    done
}

#[test]
fn users_that_wait_for_the_generators_processor_make_the_run_invalid() {
    let place = Place::new();
    let url = fast_server();
    let scenario = place.scenario(&format!(
        "kind = \"sustained\"\n[target]\nhttp = \"{url}\"\n[load]\nmodel = \"closed\"\nusers = 64\nduration = \"6s\"\n\
         [[mix]]\nname = \"a\"\nprotocol = \"http\"\npath = \"/\"\n"
    ));
    let folder = place.path("run");
    let output = pinned(|| {
        // The generator shares one processor with three that never rest; the target has the others.
        let _busy = [Busy::start(), Busy::start(), Busy::start()];
        proofload().arg("run").arg(&scenario).arg("--out").arg(&folder).stdin(Stdio::null()).output().unwrap()
    });
    let found = findings(&folder);
    assert_eq!(found.verdict, Verdict::Invalid, "{:?}", found.reasons);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
    let said = "in hold, the generator's thread was busy, or waiting for a processor";
    assert!(found.reasons.iter().any(|reason| reason.sentence.contains(said)), "{:?}", found.reasons);
    assert!(found.rates.throughput_per_s > 100.0, "the target answered: {:?}", found.rates);
}
