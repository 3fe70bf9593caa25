//! One Redis: what it keeps outlives the process that computed it; when it is down, slow or wrong, no request suffers.

use std::time::{Duration, Instant};

use http::StatusCode;
use proofload_daemon::cache::meters::Meters;
use proofload_daemon::cache::{Cache, Layer};
use proofload_daemon::config::Config;

use crate::redis::{Redis, until};
use crate::server::{Server, config, folder, request, send};
use crate::shared::{BUDGET, Came, Shared, options};

#[tokio::test(flavor = "multi_thread")]
async fn what_one_process_computed_another_finds() {
    let redis = Redis::start().await;
    let urls = [redis.url()];
    let first = Shared::with(&urls).await;
    assert_eq!((first.ask(1).await, first.ask(1).await), (Came::Computed, Came::Found(Layer::L1)));
    first.until_settled(1).await;
    assert_eq!(first.said().written, 1);
    let second = Shared::with(&urls).await;
    assert_eq!((second.ask(1).await, second.ask(1).await), (Came::Found(Layer::L2), Came::Found(Layer::L1)));
    assert_eq!(second.ask(2).await, Came::Computed);
    let asked = second.node(&redis.address()).asked.unwrap();
    assert_eq!((asked.hits, asked.misses, asked.failures), (1, 1, 0));
    let name = format!("proofload:{}", first.key(1).await);
    let ttl: i64 = redis::from_redis_value(redis.ask(&["TTL", &name]).await).unwrap();
    assert!((500..=600).contains(&ttl), "it is not kept for ever: {ttl} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_down_costs_nothing_and_is_used_as_soon_as_it_is_up() {
    let mut redis = Redis::down();
    let urls = [redis.url()];
    let shared = Shared::unconnected(&urls, false, BUDGET);
    for number in 0..20 {
        assert_eq!(shared.ask(number).await, Came::Computed);
    }
    shared.until_settled(20).await;
    let said = shared.said();
    assert_eq!((said.written, said.dropped, said.nodes[0].healthy), (0, 20, false));
    for _ in 0..2 {
        redis.up().await;
        shared.until_up(1).await;
        redis.kill();
        until("it is seen to be down", async || shared.nodes_up() == 0).await;
    }
    assert_eq!(shared.ask(5).await, Came::Found(Layer::L1), "what this process keeps, it keeps");
    assert_eq!(shared.ask(100).await, Came::Computed);
}

/// The budget is a tenth of what is checked, and what is checked a fraction of how long a frozen node would take.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_hangs_holds_a_request_up_for_its_budget_and_then_no_more() {
    let redis = Redis::start().await;
    let urls = [redis.url()];
    let shared = Shared::unconnected(&urls, false, Duration::from_millis(50));
    shared.until_up(1).await;
    redis.freeze();
    let begun = Instant::now();
    let mut number = 0;
    while shared.nodes_up() == 1 {
        let asked = Instant::now();
        assert_eq!(shared.ask(number).await, Came::Computed);
        assert!(asked.elapsed() < Duration::from_secs(5));
        assert!(begun.elapsed() < Duration::from_secs(30), "it is left alone at some time");
        number += 1;
    }
    let failures = shared.node(&redis.address()).asked.unwrap().failures;
    for number in 1000..1020 {
        assert_eq!(shared.ask(number).await, Came::Computed);
    }
    assert_eq!(shared.node(&redis.address()).asked.unwrap().failures, failures, "it is not asked any more");
    redis.thaw();
    shared.until_up(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_value_is_counted_and_replaced_and_never_given() {
    let redis = Redis::start().await;
    let urls = [redis.url()];
    let first = Shared::with(&urls).await;
    assert_eq!(first.ask(1).await, Came::Computed);
    first.until_settled(1).await;
    let name = format!("proofload:{}", first.key(1).await);
    for (at, poison) in [("0", "PLE2"), ("60", "x"), ("1000", "longer than it was")] {
        redis.ask(&["SETRANGE", &name, at, poison]).await;
        let other = Shared::with(&urls).await;
        assert_eq!((other.ask(1).await, other.said().poisoned), (Came::Computed, 1), "{poison}");
        other.until_settled(1).await;
        let next = Shared::with(&urls).await;
        assert_eq!((next.ask(1).await, next.said().poisoned), (Came::Found(Layer::L2), 0), "it is mended");
    }
    redis.ask(&["DEL", &name]).await;
    redis.ask(&["LPUSH", &name, "a list"]).await;
    let other = Shared::with(&urls).await;
    assert_eq!((other.ask(1).await, other.nodes_up()), (Came::Computed, 1), "an error is no reason to leave it alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_daemon_forgets_all_forget() {
    let redis = Redis::start().await;
    let urls = [redis.url()];
    let (one, other) = (Shared::with(&urls).await, Shared::with(&urls).await);
    assert_eq!(one.ask(1).await, Came::Computed);
    one.until_settled(1).await;
    assert_eq!(other.ask(1).await, Came::Found(Layer::L2));
    let before = other.key(1).await;
    one.cache.clear();
    assert_eq!(one.ask(1).await, Came::Computed);
    until("the other is told", async || other.key(1).await != before).await;
    assert_eq!(other.cache.statistics().l1.entries, 0);
    one.until_settled(2).await;
    assert_eq!(other.ask(1).await, Came::Found(Layer::L2), "and they share again");
    let late = Shared::with(&urls).await;
    assert_eq!(late.key(1).await, one.key(1).await, "who comes later is told, too");
}

/// What waits to be written is bounded, and what finds no room is given up.
#[tokio::test(flavor = "multi_thread")]
async fn the_queue_is_bounded() {
    let redis = Redis::start().await;
    let urls = [redis.url()];
    let mut options = options(&urls, false, Duration::from_millis(50));
    // Two small answers.
    options.l2.iter_mut().for_each(|l2| l2.queue_bytes = 1200);
    let shared = Shared { cache: Cache::start(options, Meters::default()).unwrap() };
    shared.until_up(1).await;
    redis.freeze();
    let mut number = 0;
    while shared.said().dropped == 0 {
        assert_eq!(shared.ask(number).await, Came::Computed);
        let said = shared.said();
        assert!(said.queued_bytes <= said.max_queued_bytes, "{said:?}");
        number += 1;
    }
    redis.thaw();
    shared.until_settled(number.into()).await;
}

const MODEL: &str = r#"backend: "simulated" response_cache { enable: true }
    input { name: "x" data_type: TYPE_FP32 dims: [ -1 ] } output { name: "y" data_type: TYPE_FP32 dims: [ -1 ] }
    parameters { key: "mean_ms" value { string_value: "1" } }"#;

#[tokio::test(flavor = "multi_thread")]
async fn two_daemons_share_what_they_compute() {
    let redis = Redis::start().await;
    let models = folder([("m", MODEL)]);
    let config = Config { cache: Some(options(&[redis.url()], false, BUDGET)), ..config(&models) };
    let (one, other) = (Server::start_on(&config).await, Server::start_on(&config).await);
    let stats = async |server: &Server| send(server.http, request("GET", "/api/v1/cache/stats", &[], "")).await.json();
    for server in [&one, &other] {
        until("it is connected", async || stats(server).await["l2"]["nodes"][0]["healthy"] == true).await;
    }
    let ask = async |server: &Server| {
        let body = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}"#;
        let answer = send(server.http, request("POST", "/v2/models/m/infer", &[], body)).await;
        assert_eq!(answer.status, StatusCode::OK);
        (answer.header("x-proofload-cache").to_owned(), answer.body)
    };
    let (said, body) = ask(&one).await;
    assert_eq!(said, "miss");
    until("it is written", async || stats(&one).await["l2"]["written"] == 1).await;
    assert_eq!(ask(&other).await, ("hit; layer=l2".to_owned(), body.clone()));
    assert_eq!(ask(&other).await, ("hit; layer=l1".to_owned(), body));
    let text = other.engine.metrics_text();
    for line in [
        format!("proofload_cache_node_up{{node=\"{}\"}} 1", redis.address()),
        format!("proofload_cache_node_key_share{{node=\"{}\"}} ", redis.address()),
        "proofload_cache_hits_total{layer=\"l2\"} 1".to_owned(),
        "proofload_cache_operation_seconds_count{layer=\"l2\",operation=\"get\"} 1".to_owned(),
    ] {
        assert!(text.contains(&line), "no {line} in\n{text}");
    }
}
