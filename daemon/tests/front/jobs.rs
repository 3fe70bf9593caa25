//! Jobs as clients see them: taken, watched, cancelled, and their results fetched while they are kept.

use std::time::Duration;

use proofload_daemon::config::access::{Access, Secret};
use proofload_daemon::drain::Outcome;
use serde_json::Value;

use crate::server::{Answer, Server, request, send};

const BODY: &str = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}"#;
const FLAT: &str = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[2],"data":[1,2]}]}"#;

async fn ask(server: &Server, method: &str, path: &str) -> Answer {
    send(server.http, request(method, &format!("/api/v1/jobs{path}"), &[], "")).await
}

async fn post(server: &Server, query: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    send(server.http, request("POST", &format!("/api/v1/jobs?{query}"), headers, body.to_owned())).await
}

/// A job that is taken.
async fn submit(server: &Server, query: &str, body: &str) -> Value {
    let answer = post(server, query, &[], body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let job = answer.json();
    assert_eq!(answer.header("location"), format!("/api/v1/jobs/{}", id(&job)));
    job
}

/// A job of 300 ms.
async fn slow(server: &Server) -> Value {
    submit(server, "kind=inference&model=slow", FLAT).await
}

fn id(job: &Value) -> &str {
    job["id"].as_str().unwrap()
}

async fn state(server: &Server, job: &Value) -> String {
    ask(server, "GET", &format!("/{}", id(job))).await.json()["state"].as_str().unwrap().to_owned()
}

async fn result(server: &Server, job: &Value) -> Answer {
    ask(server, "GET", &format!("/{}/result?wait_seconds=60", id(job))).await
}

#[tokio::test]
async fn an_inference_as_a_job_answers_the_same() {
    let server = Server::start().await;
    let at_once = send(server.http, request("POST", "/v2/models/echo/infer", &[], BODY)).await;
    let job = submit(&server, "kind=inference&model=echo&priority=3", BODY).await;
    assert_eq!((job["kind"].as_str(), job["priority"].as_u64()), (Some("inference"), Some(3)));
    let later = result(&server, &job).await;
    assert_eq!((later.status.as_u16(), &later.body), (200, &at_once.body));
    assert!(!later.header("x-proofload-total-ns").is_empty(), "{:?}", later.headers);
    let done = ask(&server, "GET", &format!("/{}", id(&job))).await.json();
    assert_eq!((&done["state"], &done["progress"]["percent"]), (&"done".into(), &100.into()), "{done}");
    assert_eq!(done["result"]["bytes"].as_u64(), Some(later.body.len() as u64));
    assert_eq!(ask(&server, "GET", "?limit=5").await.json()["jobs"][0]["id"], job["id"]);
    assert_eq!(ask(&server, "DELETE", &format!("/{}", id(&job))).await.status, 409, "it is done");
    let metrics = server.engine.metrics_text();
    for line in [
        "proofload_jobs_total{kind=\"inference\",outcome=\"done\"} 1",
        "proofload_job_run_seconds_count{kind=\"inference\"} 1",
        "proofload_job_wait_seconds_count{kind=\"inference\"} 1",
        "proofload_jobs_running 0",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    assert!(metrics.contains(&format!("proofload_job_result_bytes {}", later.body.len())), "{metrics}");
}

/// One runs and four wait; the next is told when to come back, and finds a place when one of them is cancelled.
#[tokio::test]
async fn a_full_queue_refuses_and_a_cancelled_job_leaves_it() {
    let server = Server::start().await;
    let mut jobs = Vec::new();
    for place in 0..5_u64 {
        jobs.push(slow(&server).await);
        let job = &jobs[jobs.len() - 1];
        let expected = if place == 0 { ("running", None) } else { ("queued", Some(place)) };
        assert_eq!((job["state"].as_str().unwrap(), job["position"].as_u64()), expected, "{job}");
    }
    let full = post(&server, "kind=inference&model=slow", &[], FLAT).await;
    assert!(full.status == 503 && full.header("retry-after").parse::<u64>().unwrap() >= 1, "{full:?}");
    assert!(full.json()["error"].as_str().unwrap().contains("jobs.queued"), "{full:?}");
    for (at, ran) in [(3, false), (0, true)] {
        let cancelled = ask(&server, "DELETE", &format!("/{}", id(&jobs[at]))).await;
        assert_eq!((cancelled.status.as_u16(), &cancelled.json()["state"]), (200, &"cancelled".into()));
        assert_eq!(cancelled.json()["ran_s"].is_number(), ran);
        let none = result(&server, &jobs[at]).await;
        assert!(none.status == 409 && none.json()["error"].as_str().unwrap().contains("cancelled"), "{none:?}");
    }
    slow(&server).await;
    assert_eq!(result(&server, &jobs[4]).await.status, 200);
    assert_eq!(state(&server, &jobs[1]).await, "done");
    let waits = slow(&server).await;
    let estimated = waits["estimated_wait_s"].as_f64();
    assert!(waits["state"] == "running" || estimated.is_some_and(|wait| wait > 0.0), "{waits}");
}

/// `id`, `event` and `data` of every event that has them.
fn events(answer: &Answer) -> Vec<(Option<u64>, String, Value)> {
    assert_eq!(answer.header("content-type"), "text/event-stream");
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let field = |frame: &str, name| frame.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let event = |frame: &str| {
        let data = serde_json::from_str(&field(frame, "data: ")?).unwrap();
        Some((field(frame, "id: ").map(|id| id.parse().unwrap()), field(frame, "event: ")?, data))
    };
    text.split("\n\n").filter_map(event).collect()
}

#[tokio::test]
async fn events_end_with_the_final_state_and_are_told_again_from_where_they_broke_off() {
    let server = Server::start().await;
    let (first, second) = (slow(&server).await, slow(&server).await);
    let path = format!("/api/v1/jobs/{}/events", id(&second));
    let told = events(&send(server.http, request("GET", &path, &[], "")).await);
    let numbered: Vec<_> = told.iter().filter_map(|(id, name, _)| Some((id.as_ref()?, name.as_str()))).collect();
    assert_eq!(numbered, [(&1, "queued"), (&2, "running"), (&3, "step"), (&4, "done")], "{told:?}");
    assert_eq!(told.last().unwrap().2["progress"]["percent"], 100);
    assert_eq!(state(&server, &first).await, "done", "they run one after the other");
    let rest = send(server.http, request("GET", &path, &[("last-event-id", "2")], "")).await;
    let rest: Vec<_> = events(&rest).into_iter().map(|(id, name, _)| (id, name)).collect();
    assert_eq!(rest, [(Some(3), "step".to_owned()), (Some(4), "done".to_owned())]);
    let wrong = send(server.http, request("GET", &path, &[("last-event-id", "x")], "")).await;
    assert_eq!(wrong.status, 400);
}

/// Eight outcomes are kept: the ninth pushes the first out.
#[tokio::test]
async fn what_is_not_kept_any_more_is_gone() {
    let server = Server::start().await;
    let mut jobs = Vec::new();
    for _ in 0..9 {
        jobs.push(submit(&server, "kind=inference&model=echo", BODY).await);
        assert_eq!(result(&server, jobs.last().unwrap()).await.status, 200);
    }
    assert_eq!((state(&server, &jobs[0]).await, state(&server, &jobs[1]).await), ("expired".into(), "done".into()));
    for (method, path) in [("GET", "/result"), ("GET", "/events"), ("DELETE", "")] {
        let answer = ask(&server, method, &format!("/{}{path}", id(&jobs[0]))).await;
        assert_eq!(answer.status, 410, "{method} {path}: {answer:?}");
    }
    let page = ask(&server, "GET", "?limit=4").await.json();
    let next = page["next"].as_str().unwrap();
    assert_eq!((page["jobs"].as_array().unwrap().len(), next), (4, id(&jobs[5])));
    let rest = ask(&server, "GET", &format!("?after={next}")).await.json();
    assert_eq!((rest["jobs"].as_array().unwrap().len(), &rest["next"]), (5, &Value::Null));
}

#[tokio::test]
async fn mistakes_are_found_before_a_job_is_taken() {
    let server = Server::start().await;
    let check = async |query: &str, body: &str, status: u16, words: &str| {
        let answer = post(&server, query, &[], body).await;
        let error = answer.json()["error"].as_str().unwrap_or_default().to_owned();
        assert!(answer.status == status && error.contains(words), "{query}: {answer:?}");
    };
    check("", BODY, 400, "needs a `kind`").await;
    check("kind=x&priority=y", BODY, 400, "`priority` must be").await;
    check("kind=inference", BODY, 400, "needs a `model`").await;
    check("kind=inference&model=m&x=1", BODY, 400, "`x` is no parameter").await;
    check("kind=inference&model=nobody", BODY, 404, "nobody").await;
    check("kind=inference&model=echo", "{", 400, "JSON").await;
    check("kind=inference&model=echo", "{}", 400, "").await;
    check("kind=mesh_repair&format=gltf", "v 0 0 0", 400, "not 'gltf'").await;
    check("kind=relief&height_mm=0", "x", 400, "height_mm").await;
    for path in ["/x", "/00000000000000000000000000000000", "/00000000000000000000000000000000/result"] {
        assert_eq!(ask(&server, "GET", path).await.status, 404, "{path}");
    }
    assert!(server.engine.metrics_text().contains("proofload_held_body_bytes 0"), "nothing of the budget is kept");
}

#[tokio::test]
async fn a_mesh_is_repaired_as_a_job() {
    let server = Server::start().await;
    let open = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 1 4 3\n";
    let job = submit(&server, "kind=mesh_repair&format=ply", open).await;
    let mended = result(&server, &job).await;
    assert_eq!((mended.status.as_u16(), mended.header("content-type")), (200, "application/ply"), "{mended:?}");
    assert_eq!(mended.header("x-proofload-watertight"), "true");
    let unknown = submit(&server, "kind=mesh_repair", "hello").await;
    let failed = result(&server, &unknown).await;
    assert!(failed.status == 409 && failed.json()["error"].as_str().unwrap().contains("the job failed"), "{failed:?}");
}

fn of(key: &str) -> [(&str, &str); 1] {
    [("x-api-key", key)]
}

#[tokio::test]
async fn a_job_with_credentials_is_its_owners_alone() {
    let server = Server::start().await;
    let job = post(&server, "kind=inference&model=echo", &of("one"), BODY).await.json();
    let path = format!("/api/v1/jobs/{}", id(&job));
    let status = async |key: &str| send(server.http, request("GET", &path, &of(key), "")).await.status.as_u16();
    assert_eq!((status("one").await, status("two").await), (200, 404));
    assert_eq!(ask(&server, "DELETE", &format!("/{}", id(&job))).await.status, 404);
    let own = send(server.http, request("GET", "/api/v1/jobs", &of("one"), "")).await;
    let others = ask(&server, "GET", "").await;
    let count = |answer: &Answer| answer.json()["jobs"].as_array().unwrap().len();
    assert_eq!((count(&own), count(&others)), (1, 0));
}

#[tokio::test]
async fn with_the_admin_token_jobs_of_others_are_cancelled() {
    let token = "a-token-of-some-length";
    let access = Access { admin_token: Some(Secret::new(token.to_owned())), ..Access::default() };
    let server = Server::with_access(access).await;
    // The last of these waits for a while.
    let mut job = Value::Null;
    for _ in 0..5 {
        job = post(&server, "kind=inference&model=slow", &of("one"), FLAT).await.json();
    }
    let path = format!("/api/v1/jobs/{}", id(&job));
    let cancel = async |headers: &[(&str, &str)]| send(server.http, request("DELETE", &path, headers, "")).await;
    assert_eq!(cancel(&of("two")).await.status, 404);
    assert_eq!(cancel(&[("x-proofload-admin-token", "another-token-of-some-length")]).await.status, 404);
    let cancelled = cancel(&[("x-proofload-admin-token", token)]).await;
    assert_eq!((cancelled.status.as_u16(), &cancelled.json()["state"]), (200, &"cancelled".into()));
}

/// The one that runs is finished and its result fetched by who waits for it; the one that waits fails and says why.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_finishes_what_runs_and_fails_what_waits() {
    let server = Server::start().await;
    let (runs, waits) = (slow(&server).await, slow(&server).await);
    let wait = |job: &Value| {
        let path = format!("/api/v1/jobs/{}/result?wait_seconds=60", id(job));
        tokio::spawn(send(server.http, request("GET", &path, &[], "")))
    };
    let (first, second) = (wait(&runs), wait(&waits));
    let connected = async {
        // Both are heard before the daemon is asked to stop.
        while server.engine.metrics_text().is_empty() || server.engine.in_flight() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    tokio::time::timeout(Duration::from_secs(20), connected).await.unwrap();
    let stopping = server.begin_stop();
    assert_eq!(first.await.unwrap().status, 200);
    let failed = second.await.unwrap();
    let message = failed.json()["error"].as_str().unwrap().to_owned();
    assert!(failed.status == 409 && message.contains("stopped before the job began"), "{failed:?}");
    assert_eq!(stopping.await.unwrap(), Outcome::Finished);
}
