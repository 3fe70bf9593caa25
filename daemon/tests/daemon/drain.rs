//! A daemon that is stopped: it answers what it has accepted, within its grace period.

use std::time::{Duration, Instant};

use futures::future::join_all;
use proofload_daemon::drain::Outcome;
use tokio::io::AsyncWriteExt;

use crate::support::{Daemon, post, simulated, statistics, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_loses_no_request_in_flight() {
    let daemon = Daemon::with_model(&simulated(50.0, 2, ""), Duration::from_secs(10)).await;
    let (http, engine) = (daemon.app.http(), daemon.engine());
    let clients: Vec<_> = (0..20).map(|_| tokio::spawn(post(http, ""))).collect();
    while engine.in_flight() < 20 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(daemon.app.drain().await, Outcome::Finished);
    for answer in join_all(clients).await {
        assert_eq!(answer.unwrap().unwrap().status, 200);
    }
    assert!(post_is_refused(http).await, "a stopped daemon still accepts");
}

async fn post_is_refused(http: std::net::SocketAddr) -> bool {
    tokio::net::TcpStream::connect(http).await.is_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_grace_period_bounds_a_drain() {
    let daemon = Daemon::with_model(&simulated(3_000.0, 1, ""), Duration::from_millis(200)).await;
    let (http, engine) = (daemon.app.http(), daemon.engine());
    let client = tokio::spawn(post(http, ""));
    while engine.in_flight() < 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let begun = Instant::now();
    assert_eq!(daemon.app.drain().await, Outcome::Exceeded { left: 1 });
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    client.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_that_nobody_waits_for_does_not_prolong_it() {
    let daemon = Daemon::with_model(&simulated(4_000.0, 1, ""), Duration::from_millis(300)).await;
    let (http, engine) = (daemon.app.http(), daemon.engine());
    let client = tokio::spawn(post(http, ""));
    until(&engine, 1, 0).await;
    // The instance has taken it; then its client goes away.
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.abort();
    until(&engine, 0, 0).await;
    let begun = Instant::now();
    assert_eq!(daemon.app.drain().await, Outcome::Finished);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

/// 16 MB of JSON, more than any socket buffers.
const LARGE: &str = r#"backend: "simulated"
    input { name: "x" data_type: TYPE_FP32 dims: [ 1 ] } output { name: "y" data_type: TYPE_FP32 dims: [ 4000000 ] }
    parameters { key: "mean_ms" value { string_value: "1" } }"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_still_being_sent_is_not_finished() {
    let daemon = Daemon::with_model(LARGE, Duration::from_millis(500)).await;
    let engine = daemon.engine();
    let mut slow_reader = tokio::net::TcpStream::connect(daemon.app.http()).await.unwrap();
    let body = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[0.5]}]}"#;
    let head = format!("POST /v2/models/m/infer HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\r\n", body.len());
    slow_reader.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    while statistics(&engine).inference_stats.success.count == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(daemon.app.drain().await, Outcome::Exceeded { left: 1 });
    drop(slow_reader);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_daemon_drains_at_once_and_is_not_ready_any_more() {
    let daemon = Daemon::with_model(&simulated(1.0, 1, ""), Duration::from_secs(10)).await;
    let engine = daemon.engine();
    assert!(engine.is_ready() && engine.model_ready("m", None));
    let begun = Instant::now();
    assert_eq!(daemon.app.drain().await, Outcome::Finished);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert!(engine.is_live() && !engine.is_ready() && !engine.model_ready("m", None));
}
