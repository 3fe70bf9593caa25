//! The rate limiter: instances of several models that share resources.

use std::time::{Duration, Instant};

use futures::future::join_all;
use proofload_wire::infer::InferRequest;

use crate::support::{Daemon, ask, in_group, request, until};

const LIMITED: &str = "[models]\nrate_limit = \"execution_count\"";

fn needs(resource: &str) -> String {
    format!("count: 2 rate_limiter {{ resources {{ name: \"{resource}\" count: 1 }} }}")
}

fn of(model: &str) -> InferRequest {
    InferRequest { model_name: model.to_owned(), ..request(&[1.0]) }
}

/// How long four requests to each of two models take that hold each instance for 50 ms.
async fn four_to_each(daemon: &Daemon) -> Duration {
    let engine = daemon.engine();
    let begun = Instant::now();
    let asked = ["m", "n"].into_iter().cycle().take(8).map(|model| ask(&engine, of(model), None));
    join_all(asked).await.into_iter().for_each(|answer| drop(answer.unwrap()));
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn models_that_share_a_resource_take_turns() {
    let models = ["m", "n"].map(|name| (name, in_group(50.0, &needs("R1"), "")));
    let daemon = Daemon::with_models(&models, LIMITED).await;
    let took = four_to_each(&daemon).await;
    // A simulated execution that begins late ends in time, by 20 ms at most.
    assert!(took >= Duration::from_millis(8 * 50 - 20), "one at a time would take longer than {took:?}");
    let declared = Daemon::with_models(&models, &format!("{LIMITED}\nrate_limit_resources = {{ R1 = 4 }}")).await;
    let all_at_once = four_to_each(&declared).await;
    let unlimited = four_to_each(&Daemon::with_models(&models, "").await).await;
    assert!(all_at_once < took && unlimited < took, "{all_at_once:?} {unlimited:?} {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_resource_can_leave_and_be_stopped() {
    let models = ["m", "n"].map(|name| (name, in_group(400.0, &needs("R1"), "")));
    let daemon = Daemon::with_models(&models, LIMITED).await;
    let engine = daemon.engine();
    let running = tokio::spawn({
        let engine = engine.clone();
        async move { ask(&engine, of("n"), None).await }
    });
    until(&engine, 1, 0).await;
    let late = ask(&engine, of("m"), Some(Duration::from_millis(50))).await;
    assert!(late.is_err(), "it waited for the resource: {late:?}");
    let waiting = tokio::spawn({
        let engine = engine.clone();
        async move { ask(&engine, of("m"), None).await }
    });
    until(&engine, 2, 1).await;
    engine.close();
    assert!(waiting.await.unwrap().is_err() && running.await.unwrap().is_ok());
    tokio::task::spawn_blocking(move || engine.stop_models()).await.unwrap();
}
