//! Counts: every request is accounted for once, everywhere it is counted, and its phases sum to its total.

use std::time::{Duration, Instant};

use futures::future::join_all;
use proofload_daemon::engine::ServeError;
use proofload_wire::infer::{InferRequest, RequestedOutput};
use proofload_wire::phases::Phases;
use proofload_wire::tensor::Tensor;

use crate::support::{Daemon, ask, built_in, exchange, metric, post, request, simulated, statistics};

fn tiny(batch: usize, scale: f32) -> InferRequest {
    let numbers: Vec<f32> = (0..batch * 16).map(|index| scale * (index % 7) as f32).collect();
    let shape = vec![i64::try_from(batch).unwrap(), 16];
    InferRequest {
        model_name: "tiny_mlp".to_owned(),
        inputs: vec![Tensor::from_f32("input", shape, &numbers).unwrap()],
        ..InferRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_is_counted_once() {
    let policy = "max_batch_size: 4 dynamic_batching { default_queue_policy { max_queue_size: 3 } }";
    let daemon = Daemon::with_model(&simulated(20.0, 1, policy), Duration::from_secs(5)).await;
    let engine = daemon.engine();
    let ask_one = |elements: i64, within: Option<u64>| {
        let engine = engine.clone();
        let mut one = request(&vec![0.5; usize::try_from(elements).unwrap()]);
        one.inputs[0].shape = vec![elements, 1];
        tokio::spawn(async move { ask(&engine, one, within.map(Duration::from_millis)).await })
    };
    let asked: Vec<_> = (0..40).map(|index| ask_one(1 + index % 4, (index % 5 == 0).then_some(1))).collect();
    asked[3].abort();
    let (mut served, mut refused, mut cancelled) = (0u64, 0u64, 0u64);
    for answer in join_all(asked).await {
        match answer {
            Ok(Ok(_)) => served += 1,
            Ok(Err(_)) => refused += 1,
            Err(_) => cancelled += 1,
        }
    }
    // One that was aborted before it was first polled was never a request.
    let stats = statistics(&engine);
    let (success, fail) = (stats.inference_stats.success.count, stats.inference_stats.fail.count);
    assert_eq!(success, served);
    assert!((refused..=refused + cancelled).contains(&fail), "{fail} failed, {refused} refused, {cancelled} cancelled");
    assert!(served >= 2 && refused >= 10, "{served} {refused}");
    let in_batches: u64 = stats.batch_stats.iter().map(|batch| batch.batch_size * batch.compute_infer.count).sum();
    assert_eq!(in_batches, stats.inference_count);
    let executions: u64 = stats.batch_stats.iter().map(|batch| batch.compute_infer.count).sum();
    assert_eq!(executions, stats.execution_count);
    assert_eq!(metric(&engine, "nv_inference_request_success", &["model=\"m\""]), success);
    assert_eq!(metric(&engine, "nv_inference_count", &["model=\"m\""]), stats.inference_count);
    assert_eq!(metric(&engine, "proofload_requests_total", &["outcome=\"success\""]), success);
    assert_eq!(metric(&engine, "proofload_request_seconds_count", &["model=\"m\""]), success);
    let failures = ["REJECTED", "CANCELED", "BACKEND", "OTHER"]
        .map(|reason| metric(&engine, "nv_inference_request_failure", &[&format!("reason=\"{reason}\"")]));
    assert_eq!(failures.iter().sum::<u64>(), fail);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_does_not_fit_is_told_why_and_is_no_failure_of_the_model() {
    let app = built_in().await;
    let engine = app.engine();
    let check = |request: InferRequest, part: &'static str| async move {
        let error = ask(engine, request, None).await.unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        error
    };
    let unknown = InferRequest { model_name: "none".to_owned(), ..tiny(1, 1.0) };
    assert!(matches!(check(unknown, "unknown model: 'none'").await, ServeError::NotFound(_)));
    let version = InferRequest { model_version: Some("9".to_owned()), ..tiny(1, 1.0) };
    assert!(matches!(check(version, "version '9' is not found").await, ServeError::NotFound(_)));
    check(InferRequest { inputs: Vec::new(), ..tiny(1, 1.0) }, "expected 1 inputs but got 0").await;
    check(tiny(33, 1.0), ">= 1 and <= 32").await;
    let wrong_shape = Tensor::from_f32("input", vec![1, 15], &[0.0; 15]).unwrap();
    check(InferRequest { inputs: vec![wrong_shape], ..tiny(1, 1.0) }, "Expected [-1,16], got [1,15]").await;
    let wrong_type = Tensor::from_values("input", vec![1, 16], &[0i32; 16]).unwrap();
    check(InferRequest { inputs: vec![wrong_type], ..tiny(1, 1.0) }, "expects 'FP32'").await;
    let wrong_name = Tensor::from_f32("inptu", vec![1, 16], &[0.0; 16]).unwrap();
    check(InferRequest { inputs: vec![wrong_name], ..tiny(1, 1.0) }, "unexpected inference input 'inptu'").await;
    let outputs = vec![RequestedOutput { name: "logits".to_owned(), ..RequestedOutput::default() }];
    check(InferRequest { outputs, ..tiny(1, 1.0) }, "unexpected inference output 'logits'").await;
    let stats = engine.statistics(Some("tiny_mlp"), None).unwrap().remove(0);
    assert_eq!((stats.inference_stats.fail.count, stats.inference_stats.success.count), (0, 0));
    assert_eq!(metric(engine, "proofload_requests_total", &["tiny_mlp", "invalid"]), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn phases_sum_to_the_total_and_fit_into_what_the_client_saw() {
    let daemon = Daemon::with_model(&simulated(20.0, 1, ""), Duration::from_secs(5)).await;
    let clients = (0..4).map(|_| async {
        let sent = Instant::now();
        let answer = post(daemon.app.http(), "").await.unwrap();
        (answer, sent.elapsed())
    });
    let mut queued = 0;
    for (answer, elapsed) in join_all(clients).await {
        let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
        let phases = Phases::from_lookup(header).unwrap();
        assert_eq!(header("x-proofload-total-ns").unwrap(), phases.total_ns().to_string());
        assert!(u128::from(phases.total_ns()) <= elapsed.as_nanos(), "{phases:?} {elapsed:?}");
        assert!((14_000_000..60_000_000).contains(&phases.compute_ns), "{phases:?}");
        queued = queued.max(phases.queue_ns);
    }
    assert!(queued > 50_000_000, "the last of four waits for three: {queued}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_answers_each_request_with_its_own_outputs() {
    let app = built_in().await;
    let engine = app.engine();
    let mut alone = Vec::new();
    for index in 0..24 {
        alone.push(ask(engine, tiny(1 + index % 3, index as f32), None).await.unwrap().response.outputs);
    }
    let together = join_all((0..24).map(|index| ask(engine, tiny(1 + index % 3, index as f32), None))).await;
    let mut largest = 0;
    for (alone, together) in alone.iter().zip(together) {
        let together = together.unwrap();
        largest = largest.max(together.phases.batch_size);
        let (alone, together) = (alone[0].to_f32().unwrap(), together.response.outputs[0].to_f32().unwrap());
        assert_eq!(alone.len(), together.len());
        assert!(alone.iter().zip(&together).all(|(one, other)| (one - other).abs() < 1e-5), "{alone:?} {together:?}");
    }
    assert!(largest > 1, "nothing was batched");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_statistics_are_served() {
    let app = built_in().await;
    ask(app.engine(), tiny(2, 1.0), None).await.unwrap();
    let metrics = exchange(app.http(), "GET", "/metrics", String::new()).await.unwrap();
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    for name in [
        "proofload_phase_seconds_bucket{",
        "proofload_queue_requests{",
        "proofload_batch_elements_sum{",
        "nv_inference_queue_duration_us{",
        "process_cpu_seconds_total ",
        "process_resident_memory_bytes ",
    ] {
        assert!(text.lines().any(|line| line.starts_with(name)), "no {name} in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    let stats = exchange(app.http(), "GET", "/v2/models/tiny_mlp/stats", String::new()).await.unwrap();
    let stats: serde_json::Value = serde_json::from_slice(&stats.body).unwrap();
    assert_eq!(stats["model_stats"][0]["inference_count"], 2);
}
