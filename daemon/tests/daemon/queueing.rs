//! Queues: they are bounded, they say when to come back, they keep deadlines, and they forget who went away.

use std::time::{Duration, Instant};

use futures::future::join_all;
use proofload_daemon::engine::{Engine, Inference, ServeError};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::support::{Daemon, ask, exchange, exchange_with, metric, request, simulated, statistics, until};

const GRACE: Duration = Duration::from_secs(5);

fn bounded(max_queue_size: u32) -> String {
    format!(
        "max_batch_size: 1 dynamic_batching {{ default_queue_policy {{ max_queue_size: {max_queue_size} \
         allow_timeout_override: true }} }}"
    )
}

fn ask_one(engine: &Engine, within: Option<Duration>) -> JoinHandle<Result<Inference, ServeError>> {
    let engine = engine.clone();
    tokio::spawn(async move { ask(&engine, batched(&[1.0]), within).await })
}

/// A model without a batch dimension cannot have a queue policy, so these requests carry a batch of one.
fn batched(numbers: &[f32]) -> proofload_wire::infer::InferRequest {
    let mut request = request(numbers);
    request.inputs[0].shape.insert(0, 1);
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_says_when_to_come_back() {
    let daemon = Daemon::with_model(&simulated(50.0, 1, &bounded(4)), GRACE).await;
    let engine = daemon.engine();
    ask(&engine, batched(&[1.0]), None).await.unwrap();
    let asked: Vec<_> = (0..12).map(|_| ask_one(&engine, None)).collect();
    let answers: Vec<_> = join_all(asked).await.into_iter().map(Result::unwrap).collect();
    let served = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!((4..=5).contains(&served), "{served} were served: four that waited, and one that ran");
    for error in answers.into_iter().filter_map(Result::err) {
        let ServeError::Unavailable { message, retry_after: Some(retry_after) } = error else { panic!("{error:?}") };
        assert!(message.contains("max_queue_size") && message.contains("4 requests"), "{message}");
        // Four wait for an instance that takes 50 ms each.
        assert!((0.15..0.6).contains(&retry_after.as_secs_f64()), "{retry_after:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shed_is_503_with_retry_after_over_http() {
    let daemon = Daemon::with_model(&simulated(400.0, 1, &bounded(1)), GRACE).await;
    let engine = daemon.engine();
    let running = ask_one(&engine, None);
    until(&engine, 1, 0).await;
    let waiting = ask_one(&engine, None);
    until(&engine, 2, 1).await;
    let body = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[0.5]}]}"#;
    let shed = exchange(daemon.app.http(), "POST", "/v2/models/m/infer", body.to_owned()).await.unwrap();
    assert_eq!(shed.status, 503);
    let seconds: u64 = shed.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert_eq!(seconds, 1, "less than a second is rounded up");
    assert!(String::from_utf8_lossy(&shed.body).contains("the queue has reached"));
    assert!(running.await.unwrap().is_ok() && waiting.await.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_the_wait_and_not_the_work() {
    let daemon = Daemon::with_model(&simulated(400.0, 1, &bounded(8)), GRACE).await;
    let engine = daemon.engine();
    let running = ask_one(&engine, Some(Duration::from_millis(200)));
    until(&engine, 1, 0).await;
    let begun = Instant::now();
    let waited = ask_one(&engine, Some(Duration::from_millis(30))).await.unwrap();
    assert!(matches!(waited, Err(ServeError::DeadlineExceeded(_))), "{waited:?}");
    assert!((25..200).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    assert!(running.await.unwrap().is_ok(), "what runs is answered");
    let running = ask_one(&engine, None);
    until(&engine, 1, 0).await;
    let body = r#"{"parameters":{"timeout":20000},"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[0]}]}"#;
    let late = exchange(daemon.app.http(), "POST", "/v2/models/m/infer", body.to_owned()).await.unwrap();
    assert_eq!(late.status, 503, "the request's own limit on waiting is a matter of the queue");
    assert!(late.headers.contains_key("retry-after"));
    assert!(running.await.unwrap().is_ok());
    let (begun, path) = (Instant::now(), "/v2/models/m/infer");
    let running = ask_one(&engine, None);
    until(&engine, 1, 0).await;
    let within = [("x-request-timeout-ms", "30")];
    let late = exchange_with(daemon.app.http(), "POST", path, &within, body.replace("20000", "0")).await.unwrap();
    assert_eq!(late.status, 504, "the caller's own deadline");
    assert!(begun.elapsed() >= Duration::from_millis(30));
    assert!(running.await.unwrap().is_ok());
    let stats = statistics(&engine);
    assert_eq!((stats.inference_stats.fail.count, stats.execution_count), (3, 3), "nothing was computed for the late");
    let outcomes = ["timed_out", "deadline_exceeded"];
    let counts = outcomes.map(|kind| metric(&engine, "proofload_requests_total", &[&format!("outcome=\"{kind}\"")]));
    assert_eq!(counts, [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_frees_its_place() {
    let daemon = Daemon::with_model(&simulated(400.0, 1, &bounded(2)), GRACE).await;
    let engine = daemon.engine();
    let running = ask_one(&engine, None);
    until(&engine, 1, 0).await;
    let waiting = [ask_one(&engine, None), ask_one(&engine, None)];
    until(&engine, 3, 2).await;
    assert!(ask_one(&engine, None).await.unwrap().is_err(), "the queue is full");
    waiting.iter().for_each(JoinHandle::abort);
    until(&engine, 1, 0).await;
    let (first, second) = tokio::join!(ask_one(&engine, None), ask_one(&engine, None));
    assert!(running.await.unwrap().is_ok() && first.unwrap().is_ok() && second.unwrap().is_ok());
    let stats = statistics(&engine);
    assert_eq!((stats.inference_stats.success.count, stats.inference_stats.fail.count), (3, 3));
    assert_eq!(stats.execution_count, 3, "nothing was computed for those who went away");
    assert_eq!(engine.in_flight(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_off_frees_its_place() {
    let daemon = Daemon::with_model(&simulated(400.0, 1, &bounded(4)), GRACE).await;
    let engine = daemon.engine();
    let running = ask_one(&engine, None);
    until(&engine, 1, 0).await;
    let body = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[0.5]}]}"#;
    let text =
        format!("POST /v2/models/m/infer HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = TcpStream::connect(daemon.app.http()).await.unwrap();
        client.write_all(text.as_bytes()).await.unwrap();
        clients.push(client);
    }
    until(&engine, 4, 3).await;
    drop(clients);
    until(&engine, 1, 0).await;
    assert!(running.await.unwrap().is_ok());
    assert_eq!(statistics(&engine).execution_count, 1);
    assert_eq!(metric(&engine, "nv_inference_request_failure", &["reason=\"CANCELED\""]), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_computed_for_a_client_that_went_away_is_counted() {
    let daemon = Daemon::with_model(&simulated(200.0, 1, ""), GRACE).await;
    let engine = daemon.engine();
    let gone = tokio::spawn({
        let engine = engine.clone();
        async move { ask(&engine, request(&[1.0]), None).await }
    });
    until(&engine, 1, 0).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    gone.abort();
    ask(&engine, request(&[1.0]), None).await.unwrap();
    let stats = statistics(&engine);
    assert_eq!((stats.inference_stats.success.count, stats.inference_stats.fail.count), (1, 1));
    assert_eq!((stats.inference_count, stats.execution_count), (2, 2));
    let in_batches: u64 = stats.batch_stats.iter().map(|batch| batch.batch_size * batch.compute_infer.count).sum();
    assert_eq!(in_batches, stats.inference_count);
}
