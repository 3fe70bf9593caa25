//! Clients that are slow, silent or too many: they are cut off, the others are served.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proofload_daemon::config::Config;
use proofload_daemon::front::doors::limits::{Limits, Pace};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{MODELS, Server, config, folder, request, send};

const SHORT: Duration = Duration::from_millis(400);
/// On a loaded machine, too.
const PATIENCE: Duration = Duration::from_secs(20);

async fn server(connections: Limits) -> Server {
    Server::start_on(&Config { connections, ..config(&folder(MODELS)) }).await
}

/// How many connections were cut off for a reason.
fn cut(server: &Server, reason: &str) -> u64 {
    let name = format!("proofload_connections_cut_total{{reason=\"{reason}\"}} ");
    let text = server.engine.metrics_text();
    text.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |count| count.parse().unwrap())
}

async fn until_cut(server: &Server, reason: &str) {
    let begun = Instant::now();
    while cut(server, reason) == 0 {
        assert!(begun.elapsed() < PATIENCE, "nothing was cut off for {reason}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let health = send(server.http, request("GET", "/v2/health/live", &[], "")).await;
    assert_eq!(health.status.as_u16(), 200, "others are served");
}

/// Reads to the end of a connection, however it ends.
async fn read_to_end(mut stream: TcpStream) -> String {
    let mut read = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut read)).await;
    assert!(ended.is_ok(), "the connection does not end: {}", String::from_utf8_lossy(&read));
    String::from_utf8_lossy(&read).into_owned()
}

#[tokio::test]
async fn a_head_that_drips_is_cut_off() {
    let server = server(Limits { header_timeout: SHORT, ..Limits::default() }).await;
    for complete in ["", "GET /v2/health/live HTTP/1.1\r\nhost: t\r\n\r\n"] {
        let before = cut(&server, "slow_head");
        let mut stream = TcpStream::connect(server.http).await.unwrap();
        stream.write_all(complete.as_bytes()).await.unwrap();
        let begun = Instant::now();
        for byte in b"GET / HTTP/1.1\r\nx-a: ".iter().cycle() {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if stream.write_all(&[*byte]).await.is_err() || cut(&server, "slow_head") > before {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{complete:?}: it drips on");
        }
        assert!(begun.elapsed() >= SHORT / 2, "{:?}", begun.elapsed());
    }
    until_cut(&server, "slow_head").await;
}

#[tokio::test]
async fn silence_is_ended_and_is_no_offence() {
    let server = server(Limits { idle_timeout: SHORT, ..Limits::default() }).await;
    let silent = TcpStream::connect(server.http).await.unwrap();
    assert_eq!(read_to_end(silent).await, "");
    let mut asked = TcpStream::connect(server.http).await.unwrap();
    asked.write_all(b"GET /v2/health/live HTTP/1.1\r\nhost: t\r\n\r\n").await.unwrap();
    assert!(read_to_end(asked).await.starts_with("HTTP/1.1 200"));
    assert!(!server.engine.metrics_text().contains("proofload_connections_cut_total{"));
}

fn short_bodies() -> Limits {
    Limits { body: Pace { timeout: SHORT, bytes_per_second: 1 << 20 }, ..Limits::default() }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered() {
    let server = server(short_bodies()).await;
    for path in ["/v2/models/echo/infer", "/api/v1/generate-3d"] {
        let mut stream = TcpStream::connect(server.http).await.unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-length: 50\r\n\r\n{{");
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = read_to_end(stream).await;
        assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("the body came too slowly"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_grpc_message_that_does_not_come_is_answered_and_a_conversation_may_pause() {
    let server = server(short_bodies()).await;
    let stream = TcpStream::connect(server.grpc).await.unwrap();
    let connecting = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = connecting.await.unwrap();
    tokio::spawn(connection);
    let mut call = async |method: &str, sent: &'static [u8]| {
        let sent = futures::stream::iter([Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from_static(sent)))]);
        let body = StreamBody::new(sent.chain(futures::stream::pending()));
        let path = format!("http://t/inference.GRPCInferenceService/{method}");
        let request = http::Request::post(path).header("content-type", "application/grpc").header("te", "trailers");
        let answer = tokio::time::timeout(4 * SHORT, sender.send_request(request.body(body).unwrap())).await.ok()?;
        let (head, body) = answer.unwrap().into_parts();
        let trailers = tokio::time::timeout(4 * SHORT, body.collect()).await.ok()?.unwrap().trailers().cloned();
        let status = head.headers.get("grpc-status").cloned().or_else(|| trailers?.get("grpc-status").cloned());
        Some(status?.to_str().unwrap().to_owned())
    };
    let late = Some("4".to_owned());
    assert_eq!(call("ModelInfer", b"\0\0\0\0\x09x").await, late, "half a message");
    assert_eq!(call("ModelInfer", b"").await, late, "no message");
    assert_eq!(call("ModelStreamInfer", b"\0\0\0\0\x09x").await, late, "half a message of a conversation");
    assert_eq!(call("ModelStreamInfer", b"").await, None, "a conversation that pauses");
}

/// Settings without a window for answers, and `GET /metrics` on stream 1.
const NO_WINDOW: [&[u8]; 3] = [
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0",
    b"\0\0\x0c\x01\x05\0\0\0\x01\x82\x86\x04\x08/metrics",
];

#[tokio::test]
async fn who_does_not_read_is_cut_off() {
    let write = Pace { timeout: SHORT, bytes_per_second: 1 << 20 };
    for http2 in [false, true] {
        let server = server(Limits { write, ..Limits::default() }).await;
        let stream = TcpStream::connect(server.http).await.unwrap();
        let (reading, mut writing) = stream.into_split();
        let asking = tokio::spawn(async move {
            if http2 {
                let mut hello = NO_WINDOW.concat();
                hello.extend(b"\0\0\0\x04\x01\0\0\0\0");
                return writing.write_all(&hello).await.map(|()| writing);
            }
            // More answers than the sockets buffer, whatever their sizes.
            for _ in 0..100_000 {
                writing.write_all(b"GET /metrics HTTP/1.1\r\nhost: t\r\n\r\n").await?;
            }
            Ok(writing)
        });
        until_cut(&server, "slow_reader").await;
        drop((reading, asking.await));
    }
}

#[tokio::test]
async fn an_address_has_so_many_places() {
    let server = server(Limits { per_address: Some(2), ..Limits::default() }).await;
    let held = [TcpStream::connect(server.http).await.unwrap(), TcpStream::connect(server.grpc).await.unwrap()];
    let begun = Instant::now();
    let turned_away = loop {
        let turned_away = read_to_end(TcpStream::connect(server.http).await.unwrap());
        if let Ok(said) = tokio::time::timeout(Duration::from_millis(200), turned_away).await {
            break said;
        }
        assert!(begun.elapsed() < PATIENCE, "the third is let in");
    };
    assert_eq!(turned_away, "");
    drop(held);
    until_cut(&server, "per_address").await;
}

#[tokio::test]
async fn a_flood_of_resets_ends_the_connection() {
    let server = server(Limits::default()).await;
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    let mut flood = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for stream in (1..2001_u32).step_by(2) {
        // POST / without its end, and then without it.
        flood.extend([&b"\0\0\x03\x01\x04"[..], &stream.to_be_bytes(), b"\x83\x86\x84"].concat());
        flood.extend([&b"\0\0\x04\x03\0"[..], &stream.to_be_bytes(), &8_u32.to_be_bytes()].concat());
    }
    // It may be over before all of it is written.
    let _ = stream.write_all(&flood).await;
    read_to_end(stream).await;
    assert_eq!(send(server.http, request("GET", "/v2/health/live", &[], "")).await.status.as_u16(), 200);
}

#[tokio::test]
async fn a_head_has_so_many_bytes() {
    let server = server(Limits { header_bytes: 8192, ..Limits::default() }).await;
    let long = "x".repeat(10_000);
    let answer = send(server.http, request("GET", "/v2/health/live", &[("x-long", &long)], "")).await;
    assert_eq!(answer.status.as_u16(), 431);
}

#[tokio::test]
async fn a_request_on_its_way_when_the_daemon_stops_is_answered_as_the_last_one() {
    let server = server(Limits::default()).await;
    let mut kept = TcpStream::connect(server.http).await.unwrap();
    let ask = b"GET /v2/health/live HTTP/1.1\r\nhost: t\r\n\r\n";
    kept.write_all(ask).await.unwrap();
    let mut first = [0; 12];
    kept.read_exact(&mut first).await.unwrap();
    let fresh = TcpStream::connect(server.http).await.unwrap();
    let stopping = server.begin_stop();
    tokio::time::sleep(Duration::from_millis(100)).await;
    for mut stream in [kept, fresh] {
        stream.write_all(ask).await.unwrap();
        let said = read_to_end(stream).await.to_ascii_lowercase();
        assert!(said.contains("connection: close"), "{said}");
    }
    assert_eq!(stopping.await.unwrap(), proofload_daemon::drain::Outcome::Finished);
}
