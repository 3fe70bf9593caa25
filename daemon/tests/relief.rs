//! The relief service as clients see it: real sockets, the built-in depth model, a real photograph.

// The exception that clippy makes for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use proofload_daemon::DaemonArgs;
use proofload_daemon::app::App;
use proofload_daemon::bodies::Bodies;
use proofload_daemon::front::admin::Admin;
use proofload_daemon::front::doors::meters;
use proofload_daemon::front::{FrontLimits, FrontParts, Listeners, listen};
use proofload_daemon::gpu::monitor::{Gpus, Options};
use proofload_daemon::jobs::{self, Jobs};
use proofload_daemon::relief::Studio;
use proofload_daemon::relief::meters::{Meters, Outcome};
use proofload_daemon::relief::progressive::Stage;
use proofload_daemon::relief::workshop::Limits;
use proofload_daemon::shared_memory::SharedMemory;
use proofload_wire::phases::{Phases, TOTAL_NS};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const PHOTOGRAPH: &[u8] = include_bytes!("../../scenarios/payloads/chelsea.png");

const JOBS: jobs::Limits = jobs::Limits {
    workers: 1,
    queued: 4,
    queued_bytes: 16 << 20,
    run: Duration::from_secs(60),
    retention: Duration::from_secs(60),
    results: 8,
    result_bytes: 16 << 20,
};

async fn built_in() -> App {
    let args = DaemonArgs { http_port: Some(0), grpc_port: Some(0), ..DaemonArgs::default() };
    App::start(&args.configuration([], NonZeroUsize::new(2).unwrap()).unwrap()).await.unwrap()
}

/// This machine's own, if it has any.
fn gpus() -> Arc<Gpus> {
    let options = Options { period: Duration::from_secs(1), replay: None, record: None };
    Arc::new(Gpus::start(&options).unwrap())
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn number(&self, name: &str) -> u64 {
        self.header(name).parse().unwrap()
    }

    fn error(&self) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        body["error"].as_str().unwrap().to_owned()
    }
}

/// Sends a picture over a fresh connection.
async fn post(to: SocketAddr, query: &str, content_type: &str, body: impl Into<Bytes>) -> Answer {
    send(to, &format!("generate-3d{query}"), content_type, "*/*", body).await
}

async fn send(to: SocketAddr, path: &str, content_type: &str, accept: &str, body: impl Into<Bytes>) -> Answer {
    send_with(to, path, &[("accept", accept), ("content-type", content_type)], body).await
}

async fn send_with(to: SocketAddr, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
    let stream = TcpStream::connect(to).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("/api/v1/{path}")).header("host", "daemon");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let request = request.body(Full::new(body.into())).unwrap();
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    Answer { status: head.status, headers: head.headers, body: body.collect().await.unwrap().to_bytes() }
}

fn form(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend_from_slice(format!("--B\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n").as_bytes());
        body.extend_from_slice(value);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--B--\r\n");
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photograph_becomes_a_mesh_and_one_success() {
    let app = built_in().await;
    let successes = || app.engine().statistics(Some("relief_depth"), None).unwrap()[0].inference_stats.success.count;
    for (place, (format, media_type)) in
        [("stl", "model/stl"), ("obj", "model/obj"), ("ply", "application/ply")].into_iter().enumerate()
    {
        let answer = post(app.http(), &format!("?format={format}"), "image/png", PHOTOGRAPH).await;
        assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
        assert_eq!(answer.header("content-type"), media_type);
        assert_eq!(answer.header("content-disposition"), format!("attachment; filename=\"relief.{format}\""));
        let phases = Phases::from_lookup(|name| answer.headers.get(name)?.to_str().ok()).unwrap();
        assert_eq!(phases.total_ns(), answer.number(TOTAL_NS));
        assert!(phases.copy_in_ns > 0 && phases.compute_ns > 0 && phases.copy_out_ns > 0 && phases.batch_size == 1);
        // 128 × 85 samples: two triangles a cell, two of wall and one of base for each sample on the rim.
        assert_eq!(answer.number("x-proofload-triangles"), 2 * 127 * 84 + 3 * 2 * (127 + 84));
        assert_eq!(answer.number("x-proofload-vertices"), 128 * 85 + 2 * (127 + 84) + 1);
        if format == "stl" {
            assert_eq!(answer.body.len() as u64, 84 + 50 * answer.number("x-proofload-triangles"));
        }
        assert_eq!(successes(), place as u64 + 1);
    }
    assert!(app.engine().metrics_text().contains("proofload_relief_requests_total{outcome=\"success\"} 3"));
    app.drain().await;
}

/// The document says what the headers say, and holds the same file.
#[tokio::test(flavor = "multi_thread")]
async fn facts_come_in_headers_and_as_json() {
    let app = built_in().await;
    let query = "generate?format=ply&quality=3&size_mm=60&base_mm=1.5&height_mm=4&mask=auto";
    let file = send(app.http(), query, "image/png", "*/*", PHOTOGRAPH).await;
    let json = send(app.http(), query, "image/png", "application/json", PHOTOGRAPH).await;
    assert_eq!((file.status, json.header("content-type")), (StatusCode::OK, "application/json"), "{:?}", file.body);
    let document: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    let mesh = STANDARD.decode(document["mesh_base64"].as_str().unwrap()).unwrap();
    assert_eq!(mesh, file.body, "the same mesh");
    let quality = &document["quality"];
    assert_eq!(quality["watertight"], true);
    assert_eq!((file.header("x-proofload-watertight"), file.header("x-proofload-mask")), ("true", "none"));
    assert_eq!(file.header("x-proofload-minimum-wall-mm"), "1.5000");
    assert_eq!(file.header("x-proofload-overhang-share"), "0.0000");
    let size: Vec<f64> = file.header("x-proofload-size-mm").split(' ').map(|side| side.parse().unwrap()).collect();
    assert!((size[0] - 60.0).abs() < 1e-3 && size[1] < 60.0 && (size[2] - 5.5).abs() < 1e-3, "{size:?}");
    let volume = quality["volume_mm3"].as_f64().unwrap();
    assert!((volume - file.header("x-proofload-volume-mm3").parse::<f64>().unwrap()).abs() < 0.01);
    assert!(volume > size[0] * size[1] * 1.5 && volume < size[0] * size[1] * 5.5, "{volume}");
    assert_eq!(document["phases_ns"]["total"].as_u64(), Some(json.number(TOTAL_NS)));
    app.drain().await;
}

/// A disc on a transparent sheet, and the same before a plain one.
#[tokio::test(flavor = "multi_thread")]
async fn the_background_is_left_out_when_asked() {
    let app = built_in().await;
    let disc = |behind: [u8; 4]| {
        let inside = |x: u32, y: u32| x.abs_diff(32).pow(2) + y.abs_diff(32).pow(2) < 400;
        let mut file = std::io::Cursor::new(Vec::new());
        let picture = image::RgbaImage::from_fn(64, 64, |x, y| {
            image::Rgba(if inside(x, y) { [200, 90, 40, 255] } else { behind })
        });
        picture.write_to(&mut file, image::ImageFormat::Png).unwrap();
        file.into_inner()
    };
    let check = async |mask: &str, behind: [u8; 4], found: &str, share: f64| {
        let answer = post(app.http(), &format!("?mask={mask}&resolution=64"), "image/png", disc(behind)).await;
        assert_eq!((answer.status, answer.header("x-proofload-mask")), (StatusCode::OK, found), "{mask} {behind:?}");
        let found: f64 = answer.header("x-proofload-foreground-share").parse().unwrap();
        assert!((found - share).abs() < 0.03, "{mask} {behind:?}: {found}");
    };
    let share = std::f64::consts::PI * 400.0 / 4096.0;
    check("alpha", [0, 0, 0, 0], "alpha", share).await;
    check("auto", [0, 0, 0, 0], "alpha", share).await;
    check("auto", [250, 250, 250, 255], "border", share).await;
    check("none", [0, 0, 0, 0], "none", 1.0).await;
    check("alpha", [250, 250, 250, 255], "none", 1.0).await;
    app.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_says_the_same_as_a_query() {
    let app = built_in().await;
    let fields = [("format", b"obj".as_slice()), ("resolution", b"32"), ("image", PHOTOGRAPH)];
    let of_form = post(app.http(), "", "multipart/form-data; boundary=B", form(&fields)).await;
    let of_query = post(app.http(), "?format=obj&resolution=32", "image/png", PHOTOGRAPH).await;
    assert_eq!(of_form.status, StatusCode::OK, "{:?}", of_form.body);
    assert_eq!(of_form.body, of_query.body, "the same picture gives the same mesh");
    app.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_with_what_would_be_right() {
    let app = built_in().await;
    let check = async |query: &str, content_type: &str, body: Vec<u8>, status: u16, part: &str| {
        let answer = post(app.http(), query, content_type, body).await;
        assert_eq!(answer.status, status, "{query} {content_type}");
        let error = answer.error();
        assert!(error.contains(part), "{error}");
        let phases =
            Phases::from_lookup(|name| answer.headers.get(name)?.to_str().ok()).expect("phases on every answer");
        assert_eq!(phases.total_ns(), answer.number(TOTAL_NS));
        assert_eq!(phases.compute_ns, 0, "nothing was computed: {phases:?}");
        assert!(phases.copy_in_ns > 0 || status != 422, "the damaged picture was worked on: {phases:?}");
    };
    let png = "image/png";
    check("", png, Vec::new(), 400, "empty").await;
    check("", png, b"BM-- a bitmap, or so it says".to_vec(), 415, "send a PNG or JPEG").await;
    check("", "text/plain", PHOTOGRAPH.to_vec(), 415, "multipart/form-data").await;
    check("", "application/json", br#"{"prompt": "a cat"}"#.to_vec(), 415, "text prompt").await;
    check("?prompt=a%20cat", png, PHOTOGRAPH.to_vec(), 400, "text prompt").await;
    check("", png, PHOTOGRAPH[..9000].to_vec(), 422, "undamaged").await;
    check("", png, vec![0; 11 << 20], 413, "at most 10 MiB").await;
    check("?format=gltf", png, PHOTOGRAPH.to_vec(), 400, "stl, obj or ply").await;
    check("?resolution=1&colour=red", png, PHOTOGRAPH.to_vec(), 400, "`colour` is no parameter").await;
    let boundary = "multipart/form-data; boundary=B";
    check("", boundary, form(&[("format", b"stl")]), 400, "field `file`").await;
    check("", boundary, form(&[("prompt", b"a cat")]), 400, "text prompt").await;
    check("", boundary, form(&[("file", PHOTOGRAPH), ("image", PHOTOGRAPH)]), 400, "two pictures").await;
    check("", boundary, form(&[("file", PHOTOGRAPH), ("format", b"\xFF")]), 400, "UTF-8").await;
    check("", "multipart/form-data", form(&[("file", PHOTOGRAPH)]), 400, "form").await;
    app.drain().await;
}

/// Five lines, each mesh finer than the one before, and the last is what is answered at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_relief_comes_in_stages() {
    let app = built_in().await;
    let query = "?format=ply&resolution=64&invert=true";
    let whole = post(app.http(), query, "image/png", PHOTOGRAPH).await;
    let staged = send(app.http(), &format!("generate-progressive{query}"), "image/png", "*/*", PHOTOGRAPH).await;
    assert_eq!((staged.status, staged.header("content-type")), (StatusCode::OK, "application/x-ndjson"));
    let lines: Vec<serde_json::Value> =
        staged.body.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let progress: Vec<_> = lines.iter().map(|line| line["progress"].as_u64().unwrap()).collect();
    assert_eq!(progress, [0, 25, 50, 75, 100]);
    let stages: Vec<_> = lines.iter().map(|line| line["stage"].as_str().unwrap()).collect();
    assert_eq!(stages, ["accepted", "preview", "coarse", "medium", "final"]);
    assert!(lines[1..].iter().all(|line| line["quality"]["watertight"] == true), "{lines:?}");
    let triangles: Vec<_> = lines[2..].iter().map(|line| line["quality"]["triangles"].as_u64().unwrap()).collect();
    assert!(triangles.is_sorted() && triangles[0] * 9 < triangles[2], "{triangles:?}");
    assert_eq!(STANDARD.decode(lines[4]["mesh_base64"].as_str().unwrap()).unwrap(), whole.body);
    let events = send(app.http(), "generate-progressive", "image/png", "text/event-stream", PHOTOGRAPH).await;
    assert_eq!(events.header("content-type"), "text/event-stream");
    let text = String::from_utf8(events.body.to_vec()).unwrap();
    assert_eq!(text.matches("event: stage\ndata: {").count(), 5);
    let damaged = send(app.http(), "generate-progressive", "image/png", "*/*", PHOTOGRAPH[..9000].to_vec()).await;
    assert_eq!(damaged.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(app.engine().metrics_text().contains("proofload_relief_stages_total{stage=\"final\"} 2"));
    app.drain().await;
}

/// The first look comes before other work that waits; and when the client leaves then, its place is free although the
/// bench is taken, and nothing more is computed for it.
#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_stops_the_stages() {
    let app = built_in().await;
    let meters = Meters::default();
    let studio = Arc::new(Studio::new(app.engine().clone(), Limits { jobs: 1, requests: 4 }, meters.clone()));
    let (address, _) = serving(&app, &studio).await;
    let held = |studio: &Arc<Studio>| {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let studio = Arc::clone(studio);
        let mut job = Box::pin(async move { studio.job(move || released.recv().is_ok()).await });
        assert!(job.as_mut().now_or_never().is_none());
        (release, tokio::spawn(job))
    };
    let (first, second) = (held(&studio), held(&studio));
    let mut client = TcpStream::connect(address).await.unwrap();
    let length = PHOTOGRAPH.len();
    let head = format!("POST /api/v1/generate-progressive HTTP/1.1\r\nhost: d\r\ncontent-length: {length}\r\n\r\n");
    client.write_all(&[head.as_bytes(), PHOTOGRAPH].concat()).await.unwrap();
    until(|| studio.waiting() == 2).await;
    first.0.send(()).unwrap();
    let mut seen = Vec::new();
    while !seen.windows(9).any(|part| part == b"\"preview\"") || !seen.ends_with(b"\r\n") {
        assert_ne!(client.read_buf(&mut seen).await.unwrap(), 0, "the answer ended early");
    }
    // The coarse relief waits behind the second job.
    until(|| studio.waiting() == 1).await;
    drop(client);
    until(|| studio.occupied() == 0).await;
    second.0.send(()).unwrap();
    assert!(second.1.await.unwrap().unwrap());
    until(|| studio.waiting() == 0).await;
    assert_eq!(Stage::ALL.map(|stage| meters.stages(stage)), [1, 0, 0, 0]);
    assert_eq!(meters.count(Outcome::Cancelled), 1);
    app.drain().await;
}

/// Waits for something that comes, in its time.
async fn until(holds: impl Fn() -> bool) {
    for _ in 0..20_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it did not come within 20 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_mesh_is_looked_at_and_repaired() {
    let app = built_in().await;
    let whole = post(app.http(), "?resolution=32", "image/png", PHOTOGRAPH).await.body;
    let json = async |path: &str, mesh: &[u8]| -> serde_json::Value {
        let answer = send(app.http(), path, "model/stl", "application/json", mesh.to_vec()).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {:?}", answer.body);
        serde_json::from_slice(&answer.body).unwrap()
    };
    let found = json("mesh/analyze", &whole).await;
    assert!(found["watertight"] == true && found["manifold"] == true && found["outward_normals"] == true, "{found}");
    let (header, records) = whole.split_at(84);
    let mut records: Vec<[u8; 50]> = records.chunks_exact(50).map(|record| record.try_into().unwrap()).collect();
    records.drain(100..140);
    records.truncate(records.len() - 1);
    let corners = records[7];
    records[7][12..24].copy_from_slice(&corners[24..36]);
    records[7][24..36].copy_from_slice(&corners[12..24]);
    records.push(records[20]);
    let count = u32::try_from(records.len()).unwrap().to_le_bytes();
    let damaged = [&header[..80], &count, records.as_flattened()].concat();
    let found = json("mesh/analyze", &damaged).await;
    assert!(found["watertight"] == false && found["duplicate_faces"] == 1, "{found}");
    assert!(found["boundary_loops"].as_u64() >= Some(2) && found["format"] == "stl", "{found}");
    let found = json("mesh/repair?format=ply", &damaged).await;
    assert_eq!((&found["before"]["watertight"], &found["after"]["watertight"]), (&false.into(), &true.into()));
    assert!(found["after"]["outward_normals"] == true && found["after"]["non_manifold_edges"] == 0, "{found}");
    assert!(found["done"]["holes_filled"].as_u64() >= Some(2) && found["done"]["faces_turned"] == 1, "{found}");
    assert!(STANDARD.decode(found["mesh_base64"].as_str().unwrap()).unwrap().starts_with(b"ply"));
    let file = send(app.http(), "mesh/repair", "model/stl", "*/*", damaged.clone()).await;
    assert_eq!((file.header("content-type"), file.header("x-proofload-watertight")), ("model/stl", "true"));
    assert!(file.header("x-proofload-repair").contains("\"holes_filled\":"));
    let check = async |path: &str, mesh: &[u8], status: u16, part: &str| {
        let answer = send(app.http(), path, "application/octet-stream", "*/*", mesh.to_vec()).await;
        assert_eq!(answer.status, status, "{path}: {:?}", answer.body);
        assert!(answer.error().contains(part), "{}", answer.error());
    };
    check("mesh/analyze", b"", 400, "empty").await;
    check("mesh/analyze?x=1", &whole, 400, "no parameter").await;
    check("mesh/repair", PHOTOGRAPH, 422, "binary STL").await;
    check("mesh/repair", b"hello", 415, "STL").await;
    check("mesh/repair?format=gltf", &whole, 400, "stl, obj or ply").await;
    check("mesh/repair", &damaged[..damaged.len() - 1], 422, "by its header").await;
    app.drain().await;
}

/// Serves a studio of its own, and says where, with a budget for its bodies.
async fn serving(app: &App, studio: &Arc<Studio>) -> (SocketAddr, Arc<Bodies>) {
    let limits = FrontLimits {
        max_body_bytes: 1024,
        total_body_bytes: 16 << 20,
        max_connections: 8,
        http2_ping: Duration::from_secs(20),
    };
    let bodies = Bodies::new(limits.total_body_bytes);
    let state = FrontParts {
        admin: Admin::everybody(),
        gate: None,
        engine: app.engine().clone(),
        studio: Arc::clone(studio),
        limits,
        bodies: Arc::clone(&bodies),
        jobs: Jobs::start(JOBS, Default::default()),
        gpus: gpus(),
        gpu_memory: None,
        cache: None,
        shared_memory: SharedMemory::new(false),
        answering: Arc::default(),
        rules: Arc::default(),
        cut: meters::Meters::default(),
        grace: Duration::from_secs(5),
    };
    let bind = || TcpListener::bind("127.0.0.1:0");
    let listeners = Listeners { http: bind().await.unwrap(), grpc: bind().await.unwrap(), metrics: None };
    let address = listeners.http.local_addr().unwrap();
    tokio::spawn(listen(state, listeners, std::future::pending()));
    (address, bodies)
}

/// A refused client has sent its whole picture all the same, and reads an answer instead of a broken connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_house_refuses_and_says_when_to_come_back() {
    let app = built_in().await;
    let meters = Meters::default();
    let studio = Arc::new(Studio::new(app.engine().clone(), Limits { jobs: 1, requests: 1 }, meters.clone()));
    let (address, bodies) = serving(&app, &studio).await;
    let place = studio.enter(None).unwrap();
    let refused = post(address, "", "image/png", vec![0; 3 << 20]).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.number("retry-after") >= 1);
    assert!(refused.error().contains("full"));
    assert_eq!(refused.number(TOTAL_NS), 0, "it was shed at the door");
    place.unread(Outcome::Invalid);
    let served = post(address, "", "image/png", PHOTOGRAPH).await;
    assert_eq!(served.status, StatusCode::OK);
    assert_eq!((meters.count(Outcome::Rejected), meters.count(Outcome::Success)), (1, 1));
    let mut half = TcpStream::connect(address).await.unwrap();
    let head = "POST /api/v1/generate-3d HTTP/1.1\r\nhost: d\r\ncontent-length: 5000\r\n\r\n";
    half.write_all([head.as_bytes(), &PHOTOGRAPH[..500]].concat().as_slice()).await.unwrap();
    while studio.occupied() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(half);
    while studio.occupied() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let counts = [Outcome::Success, Outcome::Rejected, Outcome::Invalid, Outcome::Failed, Outcome::Cancelled];
    assert_eq!(counts.map(|outcome| meters.count(outcome)), [1, 1, 1, 0, 1], "who went away is counted");
    assert_eq!(bodies.held_bytes(), 0);
    let all = bodies.take(16 << 20).unwrap();
    let refused = post(address, "", "image/png", PHOTOGRAPH).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.number("retry-after") >= 1 && refused.error().contains("total_body_bytes"));
    assert_eq!(meters.count(Outcome::Rejected), 2);
    drop(all);
    app.drain().await;
}

/// With one bench, which is taken.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_only_so_long_is_not_served_too_late() {
    let app = built_in().await;
    let meters = Meters::default();
    let studio = Arc::new(Studio::new(app.engine().clone(), Limits { jobs: 1, requests: 9 }, meters.clone()));
    let (address, _) = serving(&app, &studio).await;
    let ask =
        async |timeout_ms| send_with(address, "generate-3d", &[("x-request-timeout-ms", timeout_ms)], PHOTOGRAPH).await;
    let ((taken, is_taken), (free, is_free)) = (tokio::sync::oneshot::channel(), std::sync::mpsc::channel::<()>());
    let house = Arc::clone(&studio);
    let busy = tokio::spawn(async move {
        let work = move || (taken.send(()), is_free.recv());
        house.job(work).await.map(drop)
    });
    is_taken.await.unwrap();
    let late = ask("50").await;
    assert_eq!((late.status, meters.count(Outcome::TimedOut)), (StatusCode::GATEWAY_TIMEOUT, 1));
    assert!(late.error().contains("deadline passed while it waited for its turn"), "{}", late.error());
    assert_eq!((studio.occupied(), studio.waiting()), (0, 0));
    free.send(()).unwrap();
    busy.await.unwrap().unwrap();
    assert_eq!(ask("60000").await.status, StatusCode::OK);
    assert_eq!(ask("soon").await.status, StatusCode::BAD_REQUEST);
    app.drain().await;
}

/// A job gives what the same request gives at once; what is wrong with a picture is found when it is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_relief_as_a_job_is_the_same_relief() {
    let app = built_in().await;
    let submit = async |query: &str, picture: &[u8]| -> serde_json::Value {
        let answer = send(app.http(), &format!("jobs?kind=relief{query}"), "image/png", "*/*", picture.to_vec()).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{:?}", answer.body);
        serde_json::from_slice(&answer.body).unwrap()
    };
    let get = async |path: String| {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(TcpStream::connect(app.http()).await.unwrap()))
                .await
                .unwrap();
        tokio::spawn(connection);
        let request = Request::get(path).header("host", "daemon").body(Full::<Bytes>::default()).unwrap();
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        Answer { status: head.status, headers: head.headers, body: body.collect().await.unwrap().to_bytes() }
    };
    let result = async |job: &serde_json::Value| {
        get(format!("/api/v1/jobs/{}/result?wait_seconds=60", job["id"].as_str().unwrap())).await
    };
    let at_once = post(app.http(), "?format=ply&quality=3", "image/png", PHOTOGRAPH).await;
    let job = submit("&format=ply&quality=3&priority=2", PHOTOGRAPH).await;
    let later = result(&job).await;
    assert_eq!((later.status, later.header("content-type")), (StatusCode::OK, "application/ply"), "{:?}", later.body);
    assert!(later.body == at_once.body && later.header("x-proofload-watertight") == "true");
    let events = get(format!("/api/v1/jobs/{}/events", job["id"].as_str().unwrap())).await;
    let events = String::from_utf8(events.body.to_vec()).unwrap();
    let names: Vec<_> = events.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(names, ["queued", "running", "step", "step", "step", "done"], "{events}");
    assert!(events.contains("\"percent\":33,\"step\":\"model\"") && events.contains("\"percent\":100"), "{events}");
    let damaged = submit("", &PHOTOGRAPH[..9000]).await;
    let failed = result(&damaged).await;
    assert!(
        failed.status == StatusCode::CONFLICT && failed.error().starts_with("the job failed: "),
        "{:?}",
        failed.body
    );
    let status = get(format!("/api/v1/jobs/{}", damaged["id"].as_str().unwrap())).await;
    let status: serde_json::Value = serde_json::from_slice(&status.body).unwrap();
    assert_eq!((status["state"].as_str(), status["error"]["status"].as_u64()), (Some("failed"), Some(422)), "{status}");
    let wrong = send(app.http(), "jobs?kind=relief&quality=11", "image/png", "*/*", PHOTOGRAPH).await;
    assert!(wrong.status == StatusCode::BAD_REQUEST && wrong.error().contains("`quality`"), "{:?}", wrong.body);
    app.drain().await;
}
