//! Phases that an answer states in its headers, in either words: whole runs against a real server.

// Helpers outside of the test functions unwrap for the same reason as these do.
#![allow(clippy::unwrap_used)]

#[path = "support/scenarios.rs"]
#[allow(dead_code)] // Shared: nobody uses all of it.
mod scenarios;
#[path = "support/server.rs"]
#[allow(dead_code)] // Shared: nobody uses all of it.
mod server;

use std::path::Path;
use std::sync::Arc;

use proofload_loadgen::scenario::Scenario;
use proofload_run::sample::flags::{HAS_PHASES, PHASES_IN_MS};
use scenarios::drive;
use server::{Reply, Seen, answering, fine, serve};

const LOAD: &str = "kind = \"sustained\"\n[load]\narrivals = \"constant\"\nrate = \"20/s\"\nduration = \"1s\"\n\
                    [[mix]]\nname = \"embed\"\nprotocol = \"http\"\npath = \"/embed\"\n";

/// Flags, and queue, copy-in, compute and copy-out of a sample whose answer had these headers.
fn told(headers: &'static [(&'static str, &'static str)]) -> (u16, [u64; 4]) {
    let answer = move |number| {
        let mut reply: Reply = fine(number);
        headers.iter().for_each(|(name, value)| drop(reply.headers_mut().insert(*name, value.parse().unwrap())));
        reply
    };
    let seen = Arc::<Seen>::default();
    let url = format!("http://{}", serve(answering(&seen, answer), None, &seen));
    let driven = drive(&Scenario::parse(Path::new("test.toml"), LOAD, &[]).unwrap(), &url).unwrap();
    assert_eq!(driven.samples.len(), 20);
    let told = |s: &proofload_run::sample::Sample| {
        (s.flags & (HAS_PHASES | PHASES_IN_MS), [s.queue_ns, s.copy_in_ns, s.compute_ns, s.copy_out_ns])
    };
    assert!(driven.samples.iter().all(|sample| told(sample) == told(&driven.samples[0])));
    told(&driven.samples[0])
}

#[test]
fn phases_are_those_of_the_headers() {
    // As text-embeddings-inference answers `/embed`, whatever else it says.
    let theirs = &[
        ("x-compute-type", "gpu+optimized"),
        ("x-compute-time", "21"),
        ("x-total-time", "21"),
        ("x-tokenization-time", "1"),
        ("x-queue-time", "4"),
        ("x-inference-time", "15"),
    ];
    assert_eq!(told(theirs), (HAS_PHASES | PHASES_IN_MS, [4_000_000, 1_000_000, 15_000_000, 0]));
    let ours = &[
        ("x-proofload-queue-ns", "4"),
        ("x-proofload-copy-in-ns", "1"),
        ("x-proofload-compute-ns", "15"),
        ("x-proofload-copy-out-ns", "2"),
    ];
    assert_eq!(told(ours), (HAS_PHASES, [4, 1, 15, 2]));
    assert_eq!(told(&[("x-queue-time", "4"), ("x-total-time", "21")]), (0, [0; 4]));
}
