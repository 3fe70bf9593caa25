//! Adaptive batching, through the engine: batches grow where that pays, and a single client notices nothing of it.

use std::time::{Duration, Instant};

use futures::future::join_all;
use proofload_daemon::engine::Engine;
use proofload_wire::infer::InferRequest;

use crate::support::{Daemon, ask, metric, request, simulated, statistics};

const ADAPTIVE: &str = "max_batch_size: 32 parameters { key: \"per_element_ms\" value { string_value: \"0.2\" } } \
                        parameters { key: \"adaptive_batching\" value { string_value: \"true\" } }";

fn one() -> InferRequest {
    let mut one = request(&[1.0]);
    one.inputs[0].shape.insert(0, 1);
    one
}

/// Requests that clients get answered one after the other, and how long each took on the whole.
async fn serve(engine: &Engine, clients: usize, during: Duration) -> u64 {
    let end = Instant::now() + during;
    let client = |_| {
        let engine = engine.clone();
        tokio::spawn(async move {
            let mut served = 0;
            while Instant::now() < end {
                ask(&engine, one(), None).await.unwrap();
                served += 1;
            }
            served
        })
    };
    let served = join_all((0..clients).map(client)).await;
    served.into_iter().map(Result::unwrap).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_come_together_are_served_together() {
    let daemon = Daemon::with_model(&simulated(10.0, 1, ADAPTIVE), Duration::from_secs(5)).await;
    let engine = daemon.engine();
    serve(&engine, 1, Duration::from_millis(500)).await;
    let alone = statistics(&engine);
    assert_eq!(alone.inference_count, alone.execution_count, "a single client runs alone");
    serve(&engine, 16, Duration::from_secs(1)).await;
    let before = statistics(&engine).execution_count;
    let served = serve(&engine, 16, Duration::from_secs(2)).await;
    let executions = statistics(&engine).execution_count - before;
    // A batch of 16 takes 13.2 ms: 1,212/s. One by one it would be 98/s, taking turns by halves 690/s.
    assert!(served >= executions * 8, "{served} in {executions} batches");
    assert!(metric(&engine, "proofload_adaptive_batch_elements", &["model=\"m\""]) >= 8);
}
