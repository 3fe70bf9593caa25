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
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use proofload_daemon::DaemonArgs;
use proofload_daemon::app::App;
use proofload_daemon::bodies::Bodies;
use proofload_daemon::front::admin::Admin;
use proofload_daemon::front::{FrontLimits, FrontState, Listeners, listen};
use proofload_daemon::relief::Studio;
use proofload_daemon::relief::meters::{Meters, Outcome};
use proofload_daemon::relief::workshop::Limits;
use proofload_daemon::shared_memory::SharedMemory;
use proofload_wire::phases::{Phases, TOTAL_NS};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

const PHOTOGRAPH: &[u8] = include_bytes!("../../scenarios/payloads/chelsea.png");

async fn built_in() -> App {
    let args = DaemonArgs { http_port: Some(0), grpc_port: Some(0), ..DaemonArgs::default() };
    App::start(&args.configuration(NonZeroUsize::new(2).unwrap()).unwrap()).await.unwrap()
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
    let stream = TcpStream::connect(to).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("/api/v1/{path}"))
        .header("host", "daemon")
        .header("accept", accept)
        .header("content-type", content_type)
        .body(Full::new(body.into()))
        .unwrap();
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

/// A refused client has sent its whole picture all the same, and reads an answer instead of a broken connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_house_refuses_and_says_when_to_come_back() {
    let app = built_in().await;
    let meters = Meters::default();
    let studio = Arc::new(Studio::new(app.engine().clone(), Limits { jobs: 1, requests: 1 }, meters.clone()));
    let limits = FrontLimits {
        max_body_bytes: 1024,
        total_body_bytes: 16 << 20,
        max_connections: 8,
        http2_ping: Duration::from_secs(20),
    };
    let bodies = Bodies::new(limits.total_body_bytes);
    let state = FrontState {
        admin: Admin { reachable: false },
        engine: app.engine().clone(),
        studio: Arc::clone(&studio),
        limits,
        bodies: Arc::clone(&bodies),
        shared_memory: SharedMemory::new(false),
        answering: Arc::default(),
    };
    let bind = || TcpListener::bind("127.0.0.1:0");
    let listeners = Listeners { http: bind().await.unwrap(), grpc: bind().await.unwrap(), metrics: None };
    let address = listeners.http.local_addr().unwrap();
    tokio::spawn(listen(state, listeners, std::future::pending()));
    let place = studio.enter().unwrap();
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
