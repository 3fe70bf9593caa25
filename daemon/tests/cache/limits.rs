//! Daemons that count requests together in a Redis, and alone when it is gone.

use std::fs;
use std::time::Duration;

use proofload_daemon::admit::keys::entry;
use proofload_daemon::admit::rate::Rate;
use proofload_daemon::config::access::{Access, Secret};
use proofload_daemon::config::rate_limit::{ByAddress, Shared};

use crate::redis::{Redis, until};
use crate::server::{Server, request, send};

const BODY: &str = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[1]}]}"#;

fn shared(redis: &Redis) -> Option<Shared> {
    Some(Shared { url: Secret::new(redis.url()), budget: Duration::from_millis(500) })
}

async fn ask(server: &Server, key: &str) -> (u16, String) {
    let answer = send(server.http, request("POST", "/v2/models/echo/infer", &[("x-api-key", key)], BODY)).await;
    (answer.status.as_u16(), answer.header("ratelimit-remaining").to_owned())
}

/// Waits until a daemon has put something into the Redis, by a client of its own that is not counted elsewhere.
async fn until_counted(redis: &Redis, server: &Server, key: &str) {
    until("the counts are shared", async || {
        ask(server, key).await;
        redis.names().await.iter().any(|name| name.contains(key))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_daemons_count_together_and_each_alone_when_redis_is_gone() {
    let mut redis = Redis::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    let tiers = "[tiers.rated]\nrequests_per_minute = 1\nburst = 4\n[tiers.counted]\nrequests_per_day = 3\n\
                 [tiers.probe]\nrequests_per_minute = 60000\n";
    let keys = [("rated", "rated"), ("counted", "counted"), ("one", "probe"), ("two", "probe")];
    let keys = keys.map(|(name, tier)| entry(name, tier, None, name)).concat();
    fs::write(&file, format!("{tiers}{keys}")).unwrap();
    let access = || Access { keys_file: Some(file.clone()), ..Access::default() };
    let one = Server::counting(access(), None, shared(&redis)).await;
    let two = Server::counting(access(), None, shared(&redis)).await;
    until_counted(&redis, &one, "one").await;
    until_counted(&redis, &two, "two").await;

    let expected = [(&one, "3"), (&two, "2"), (&one, "1"), (&two, "0")];
    for (server, remaining) in expected {
        assert_eq!(ask(server, "rated").await, (200, remaining.to_owned()));
    }
    assert_eq!((ask(&one, "rated").await.0, ask(&two, "rated").await.0), (429, 429));
    for server in [&one, &two, &one] {
        assert_eq!(ask(server, "counted").await.0, 200);
    }
    assert_eq!((ask(&one, "counted").await.0, ask(&two, "counted").await.0), (429, 429));

    redis.kill();
    // Each has let in its own half, and knows it.
    for server in [&one, &two] {
        assert_eq!(ask(server, "rated").await, (200, "1".to_owned()));
        assert_eq!(ask(server, "rated").await, (200, "0".to_owned()));
        assert_eq!(ask(server, "rated").await.0, 429);
    }
    assert_eq!((ask(&two, "counted").await.0, ask(&two, "counted").await.0), (200, 200));
    assert_eq!(ask(&two, "counted").await.0, 429);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_are_counted_together() {
    let redis = Redis::start().await;
    let rate = Rate { requests: 1, per: Duration::from_secs(3600), burst: 50 };
    let by_address = Some(ByAddress { rate, max_clients: 10 });
    let one = Server::counting(Access::default(), by_address, shared(&redis)).await;
    let two = Server::counting(Access::default(), by_address, shared(&redis)).await;
    let remaining = async |server: &Server| ask(server, "").await.1.parse::<u32>().unwrap();
    until("both count together", async || {
        let (first, second) = (remaining(&one).await, remaining(&two).await);
        assert!(first > 0, "they never do");
        second + 1 == first
    })
    .await;
}
