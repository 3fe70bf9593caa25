//! Peers that are gone without a word.

use std::time::{Duration, Instant};

use proofload_daemon::front::FrontLimits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{LIMITS, Server, request, send};

/// The client's preface, empty settings, the acknowledgement of the server's, and `GET /` on stream 1.
const OPENING: [&[u8]; 4] = [
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\0\0\0\x04\0\0\0\0\0",
    b"\0\0\0\x04\x01\0\0\0\0",
    b"\0\0\x03\x01\x05\0\0\0\x01\x82\x86\x84",
];

/// Types of the frames in `bytes`.
fn frames(mut bytes: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    while let [a, b, c, kind, ..] = *bytes {
        types.push(kind);
        bytes = bytes.get(9 + u32::from_be_bytes([0, a, b, c]) as usize..).unwrap_or_default();
    }
    types
}

#[tokio::test]
async fn a_peer_that_answers_no_ping_frees_its_place() {
    let http2_ping = Duration::from_millis(200);
    let server = Server::with_limits(FrontLimits { max_connections: 1, http2_ping, ..LIMITS }).await;
    for address in [server.http, server.grpc] {
        let mut dead = TcpStream::connect(address).await.unwrap();
        dead.write_all(&OPENING.concat()).await.unwrap();
        let (begun, mut seen) = (Instant::now(), Vec::new());
        let ended = tokio::time::timeout(Duration::from_secs(10), dead.read_to_end(&mut seen)).await;
        assert!(ended.is_ok(), "it was never cut off; frames {:?}", frames(&seen));
        assert!(frames(&seen).contains(&6), "it was asked first: {:?}", frames(&seen));
        assert!(begun.elapsed() >= http2_ping, "and was given time: {:?}", begun.elapsed());
    }
    let health = send(server.http, request("GET", "/v2/health/live", &[], "")).await;
    assert_eq!(health.status.as_u16(), 200, "the only place is free");
}
