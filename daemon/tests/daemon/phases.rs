//! Failures say where their time went, as answers do.

use std::time::Duration;

use proofload_daemon::engine::ServeError;
use proofload_wire::phases::Phases;

use crate::support::{Answer, Daemon, ask_all, exchange, request, simulated, until};

fn phases(answer: &Answer) -> Phases {
    let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
    let phases = Phases::from_lookup(header).expect("phases on every answer");
    assert_eq!(header("x-proofload-total-ns"), Some(phases.total_ns().to_string().as_str()));
    phases
}

fn milliseconds(ns: u64) -> u64 {
    ns / 1_000_000
}

fn body(parameters: &str) -> String {
    format!(
        r#"{{"parameters":{{{parameters}}},"inputs":[{{"name":"x","datatype":"FP32","shape":[1,1],"data":[0.5]}}]}}"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_in_vain_is_all_queue_and_a_shed_is_none() {
    let policy = "max_batch_size: 1 dynamic_batching { default_queue_policy { max_queue_size: 1 \
                  default_timeout_microseconds: 300000 } }";
    let daemon = Daemon::with_model(&simulated(700.0, 1, policy), Duration::from_secs(5)).await;
    let (engine, http) = (daemon.engine(), daemon.app.http());
    let ask = |parameters: &'static str| tokio::spawn(exchange(http, "POST", "/v2/models/m/infer", body(parameters)));
    let running = ask("");
    until(&engine, 1, 0).await;
    let waiting = ask("");
    until(&engine, 2, 1).await;

    let shed = ask("").await.unwrap().unwrap();
    assert_eq!(shed.status, 503);
    let spent = phases(&shed);
    assert_eq!((spent.queue_ns, spent.compute_ns, spent.batch_size), (0, 0, 0), "{spent:?}");
    assert!(spent.copy_in_ns > 0 && milliseconds(spent.copy_in_ns) < 50, "it was looked at: {spent:?}");

    let expired = waiting.await.unwrap().unwrap();
    assert_eq!(expired.status, 503, "the queue's own limit, as Triton answers it");
    assert!(String::from_utf8_lossy(&expired.body).contains("Request timeout expired"));
    assert!(expired.headers.contains_key("retry-after"));
    let spent = phases(&expired);
    assert!((295..600).contains(&milliseconds(spent.queue_ns)), "{spent:?}");
    assert_eq!(spent.total_ns(), spent.queue_ns);
    assert_eq!(running.await.unwrap().unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_of_the_caller_is_all_queue_too() {
    let daemon = Daemon::with_model(&simulated(300.0, 1, ""), Duration::from_secs(5)).await;
    let engine = daemon.engine();
    let running = tokio::spawn({
        let engine = engine.clone();
        async move { ask_all(&engine, request(&[1.0]), None).await }
    });
    until(&engine, 1, 0).await;
    let failed = ask_all(&engine, request(&[1.0]), Some(Duration::from_millis(60))).await.unwrap_err();
    assert!(matches!(failed.error, ServeError::DeadlineExceeded(_)), "{failed:?}");
    assert!((58..250).contains(&milliseconds(failed.phases.queue_ns)), "{failed:?}");
    assert_eq!(failed.phases.total_ns(), failed.phases.queue_ns);
    assert!(running.await.unwrap().is_ok());
}
