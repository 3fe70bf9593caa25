//! The yardstick: simulated models serve exactly as fast as they declare, and batching pays as declared.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use proofload_daemon::engine::Engine;
use proofload_wire::infer::InferRequest;

use crate::support::{Daemon, ask, built_in, request, simulated, statistics};

/// Requests served per second, with so many clients that each wait for their answer before they ask again.
async fn closed_loop(engine: &Engine, clients: usize, request: InferRequest, during: Duration) -> f64 {
    let served = Arc::new(AtomicU64::new(0));
    let (begun, end) = (Instant::now(), Instant::now() + during);
    let client = |_| {
        let (engine, request, served) = (engine.clone(), request.clone(), Arc::clone(&served));
        tokio::spawn(async move {
            while Instant::now() < end {
                ask(&engine, request.clone(), None).await.unwrap();
                served.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let clients: Vec<_> = (0..clients).map(client).collect();
    for client in join_all(clients).await {
        client.unwrap();
    }
    served.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread")]
async fn four_instances_of_10_ms_saturate_at_400_per_second() {
    let app = built_in().await;
    let request = InferRequest { model_name: "sim_4x10ms".to_owned(), ..renamed(request(&[1.0]), "input") };
    let rate = closed_loop(app.engine(), 16, request, Duration::from_secs(3)).await;
    assert!((rate / 400.0 - 1.0).abs() < 0.02, "{rate} per second");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unloaded_instance_takes_what_it_declares() {
    let daemon = Daemon::with_model(&simulated(10.0, 1, ""), Duration::from_secs(1)).await;
    let engine = daemon.engine();
    let mut totals_ms = Vec::new();
    for _ in 0..50 {
        totals_ms.push(ask(&engine, request(&[1.0]), None).await.unwrap().phases.total_ns() as f64 / 1e6);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    totals_ms.sort_by(f64::total_cmp);
    assert!((9.99..10.5).contains(&totals_ms[25]), "{totals_ms:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_company_is_no_service_time() {
    let more = "max_batch_size: 4 dynamic_batching { max_queue_delay_microseconds: 8000 }";
    let daemon = Daemon::with_model(&simulated(10.0, 1, more), Duration::from_secs(1)).await;
    let engine = daemon.engine();
    let mut one = request(&[1.0]);
    one.inputs[0].shape.insert(0, 1);
    let mut computes_ms = Vec::new();
    for _ in 0..30 {
        let phases = ask(&engine, one.clone(), None).await.unwrap().phases;
        computes_ms.push(phases.compute_ns as f64 / 1e6);
        assert!(phases.queue_ns >= 8_000_000, "{phases:?}");
    }
    computes_ms.sort_by(f64::total_cmp);
    assert!((9.5..10.5).contains(&computes_ms[15]), "{computes_ms:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_share_their_fixed_cost() {
    let more = r#"max_batch_size: 8 dynamic_batching { }
                  parameters { key: "per_element_ms" value { string_value: "1" } }"#;
    let daemon = Daemon::with_model(&simulated(8.0, 1, more), Duration::from_secs(1)).await;
    let mut one = request(&[1.0]);
    one.inputs[0].shape.insert(0, 1);
    // A full batch takes 8 + 8 × 1 ms, so 8 clients per batch and more waiting make 500 a second.
    let rate = closed_loop(&daemon.engine(), 32, one, Duration::from_secs(2)).await;
    assert!((rate / 500.0 - 1.0).abs() < 0.05, "{rate} per second");
    let stats = statistics(&daemon.engine());
    let largest = stats.batch_stats.iter().max_by_key(|batch| batch.compute_infer.count).unwrap();
    assert_eq!(largest.batch_size, 8, "{:?}", stats.batch_stats);
}

fn renamed(mut request: InferRequest, input: &str) -> InferRequest {
    input.clone_into(&mut request.inputs[0].name);
    request
}
