//! Queues: they are bounded, they say when to come back, they keep deadlines, and they forget who went away.

use std::time::{Duration, Instant};

use futures::future::join_all;
use proofload_daemon::engine::ServeError;

use crate::support::{Daemon, ask, post, request, simulated, statistics};

const GRACE: Duration = Duration::from_secs(5);

fn bounded(max_queue_size: u32) -> String {
    format!(
        "max_batch_size: 1 dynamic_batching {{ default_queue_policy {{ max_queue_size: {max_queue_size} \
         allow_timeout_override: true }} }}"
    )
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
    let asked: Vec<_> = (0..12)
        .map(|_| {
            let engine = engine.clone();
            tokio::spawn(async move { ask(&engine, batched(&[1.0]), None).await })
        })
        .collect();
    let answers: Vec<_> = join_all(asked).await.into_iter().map(Result::unwrap).collect();
    let served = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!((4..=5).contains(&served), "{served} were served: four that waited, and one that ran");
    for error in answers.into_iter().filter_map(Result::err) {
        let ServeError::Unavailable { message, retry_after } = error else { panic!("{error:?}") };
        assert!(message.contains("max_queue_size") && message.contains("4 requests"), "{message}");
        // Four wait for an instance that takes 50 ms each.
        assert!((0.15..0.6).contains(&retry_after.as_secs_f64()), "{retry_after:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shed_is_503_with_retry_after_over_http() {
    let daemon = Daemon::with_model(&simulated(200.0, 1, ""), GRACE).await;
    let http = daemon.app.http();
    let full = Daemon::with_model(&simulated(200.0, 1, &bounded(1)), GRACE).await;
    let engine = full.engine();
    let asked: Vec<_> = (0..4)
        .map(|_| {
            let engine = engine.clone();
            tokio::spawn(async move { ask(&engine, batched(&[1.0]), None).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let body = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[0.5]}]}"#;
    let shed = crate::support::exchange(full.app.http(), "POST", "/v2/models/m/infer", body.to_owned()).await.unwrap();
    assert_eq!(shed.status, 503);
    let seconds: u64 = shed.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert_eq!(seconds, 1, "less than a second is rounded up");
    assert!(String::from_utf8_lossy(&shed.body).contains("the queue has reached"));
    assert_eq!(post(http, "").await.unwrap().status, 200, "another daemon is not concerned");
    join_all(asked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_the_wait_and_not_the_work() {
    let daemon = Daemon::with_model(&simulated(400.0, 1, ""), GRACE).await;
    let engine = daemon.engine();
    let running = {
        let engine = engine.clone();
        tokio::spawn(async move { ask(&engine, request(&[1.0]), Some(Duration::from_millis(50))).await })
    };
    tokio::time::sleep(Duration::from_millis(20)).await;
    let begun = Instant::now();
    let waited = ask(&engine, request(&[2.0]), Some(Duration::from_millis(30))).await;
    assert!(matches!(waited, Err(ServeError::DeadlineExceeded(_))), "{waited:?}");
    assert!((25..250).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    assert!(running.await.unwrap().is_ok(), "what runs is answered");
    let over_http = {
        let busy = tokio::spawn(post(daemon.app.http(), ""));
        tokio::time::sleep(Duration::from_millis(20)).await;
        let late = post(daemon.app.http(), r#""timeout":20000"#).await.unwrap();
        assert_eq!(busy.await.unwrap().unwrap().status, 200);
        late
    };
    assert_eq!(over_http.status, 504);
    assert_eq!(statistics(&engine).inference_stats.fail.count, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_frees_its_place() {
    let daemon = Daemon::with_model(&simulated(100.0, 1, &bounded(2)), GRACE).await;
    let engine = daemon.engine();
    let ask_one = || {
        let engine = engine.clone();
        tokio::spawn(async move { ask(&engine, batched(&[1.0]), None).await })
    };
    let running = ask_one();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let waiting = [ask_one(), ask_one()];
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(ask(&engine, batched(&[1.0]), None).await.is_err(), "the queue is full");
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    tokio::time::sleep(Duration::from_millis(10)).await;
    let (first, second) = tokio::join!(ask_one(), ask_one());
    assert!(running.await.unwrap().is_ok() && first.unwrap().is_ok() && second.unwrap().is_ok());
    let stats = statistics(&engine);
    assert_eq!((stats.inference_stats.success.count, stats.inference_stats.fail.count), (3, 3));
    assert_eq!(stats.execution_count, 3, "nothing was computed for those who went away");
    assert_eq!(engine.in_flight(), 0);
}
