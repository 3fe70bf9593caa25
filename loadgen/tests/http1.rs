//! Our HTTP/1.1 connection against servers that say exactly what they are told to, and against `hyper`, whose reading of
//! the same bytes must be ours.

// Helpers outside of the test functions unwrap for the same reason as these do.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use proofload_loadgen::clock::RunClock;
use proofload_loadgen::transport::{
    Address, Answer, Attempt, ConnectionPolicy, Failure, HttpVersion, Keep, Links, Outgoing, Reception, Segments,
    TlsOptions, Via,
};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const LIMIT: Duration = Duration::from_secs(20);

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(LIMIT * 2, work).await.expect("it hangs") })
}

async fn listen() -> (TcpListener, Links) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let to = Address::resolve(&url, HttpVersion::Http1, &TlsOptions::default()).unwrap();
    (listener, Links::new(Some(to), None, ConnectionPolicy::default()))
}

async fn send(links: &mut Links, request: &Request<Segments>) -> Attempt {
    let (clock, reception) = (RunClock::default(), Reception::new(Keep(1 << 20), None));
    clock.start_in(Duration::ZERO);
    links.exchange(Via::Http, &Outgoing::of(request), &clock, LIMIT, reception, |_| {}).await
}

fn request(method: &str, body: Vec<u8>) -> Request<Segments> {
    Request::builder().method(method).uri("/").header("host", "x").body(Segments::whole(body.into())).unwrap()
}

/// Reads a request's head.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Accepts a connection, reads a request without a body, and says these pieces.
async fn say(listener: &TcpListener, pieces: &[&[u8]]) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.set_nodelay(true).unwrap();
    head(&mut stream).await;
    say_on(&mut stream, pieces).await;
    stream
}

async fn say_on(stream: &mut TcpStream, pieces: &[&[u8]]) {
    for piece in pieces {
        // The reader may be gone, having read enough.
        let _ = stream.write_all(piece).await;
        tokio::task::yield_now().await;
    }
}

/// What a client made of an answer: status, a header and the body; or nothing.
type Read = Option<(u16, Option<String>, Vec<u8>)>;

fn read_of(answer: &Answer) -> (u16, Option<String>, Vec<u8>) {
    (answer.status, answer.headers.get("a").map(str::to_owned), answer.body.to_vec())
}

async fn read_by_hyper(listener: &TcpListener, method: &str, pieces: &[&[u8]]) -> Read {
    let client = async {
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let driver = tokio::spawn(connection);
        let request = Request::builder().method(method).uri("/").header("host", "x");
        let response = sender.send_request(request.body(Empty::<bytes::Bytes>::new()).unwrap()).await.ok()?;
        let (status, header) = (response.status().as_u16(), response.headers().get("a").cloned());
        let body = response.into_body().collect().await.ok()?.to_bytes().to_vec();
        driver.abort();
        Some((status, header.and_then(|value| value.to_str().ok().map(str::to_owned)), body))
    };
    tokio::join!(client, async { drop(say(listener, pieces).await) }).0
}

async fn read_by_us(listener: &TcpListener, links: &mut Links, method: &str, pieces: &[&[u8]]) -> Read {
    let request = request(method, Vec::new());
    let client = send(links, &request);
    let (attempt, ()) = tokio::join!(client, async { drop(say(listener, pieces).await) });
    attempt.result.as_ref().ok().map(read_of)
}

fn line() -> impl Strategy<Value = String> {
    let known = [
        "content-length: 5",
        "Content-Length: 0",
        "content-length: 5, 5",
        "content-length: five",
        "transfer-encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "transfer-encoding: gzip",
        "connection: close",
        "connection: keep-alive",
        "a: b",
        "A:   c  ",
        "a : b",
        "a: \u{e9}",
        " folded",
        "no colon",
    ];
    proptest::sample::select(known.to_vec()).prop_map(str::to_owned)
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let known: [&[u8]; 11] = [
        b"",
        b"12345",
        b"123456789",
        b"5\r\n12345\r\n0\r\n\r\n",
        b"5;ext=1\r\n12345\r\n00\r\nt: u\r\n\r\n",
        b"a\r\n0123456789\r\n1\r\nx\r\n0\r\n\r\nmore",
        b"5\r\n12345 \r\n0\r\n\r\n",
        b"5\n12345\n0\n\n",
        b"g\r\n12345\r\n0\r\n\r\n",
        b"ffffffffffffffff1\r\n1",
        b"5\r\n12345\r\n0\r\nbad trailer\r\n\r\n",
    ];
    proptest::sample::select(known.to_vec()).prop_map(<[u8]>::to_vec)
}

fn first_line() -> impl Strategy<Value = String> {
    let status = proptest::sample::select(vec![200u16, 200, 200, 204, 304, 404, 503]);
    let version = proptest::sample::select(vec!["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "ICY"]);
    let reason = proptest::sample::select(vec![" OK", "", " ", " A b c", " \u{e9}"]);
    let interim =
        proptest::sample::select(vec!["", "", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Hints\r\na: z\r\n\r\n"]);
    (interim, version, status, reason).prop_map(|(i, v, s, r)| format!("{i}{v} {s}{r}\r\n"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever a server says before it closes the connection, hyper and we read the same or both refuse.
    #[test]
    fn answers_are_read_as_hyper_reads_them(
        first in first_line(),
        lines in proptest::collection::vec(line(), 0..4),
        body in body(),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..4),
        of_head: bool,
    ) {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let bytes = [format!("{first}{lines}\r\n").as_bytes(), &body].concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.push(bytes.len());
        cuts.sort_unstable();
        let mut from = 0;
        let pieces: Vec<&[u8]> = cuts.iter().map(|&to| &bytes[std::mem::replace(&mut from, to)..to]).collect();
        let method = if of_head { "HEAD" } else { "GET" };
        let (ours, theirs) = block_on(async {
            let (listener, mut links) = listen().await;
            let ours = read_by_us(&listener, &mut links, method, &pieces).await;
            (ours, read_by_hyper(&listener, method, &pieces).await)
        });
        prop_assert_eq!(ours, theirs, "{}", String::from_utf8_lossy(&bytes));
    }
}

const FINE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Two requests to a server that answers the first one so: how many connections were made.
fn connections_after(answer: &'static [u8], first: &Request<Segments>) -> usize {
    block_on(async {
        let (listener, mut links) = listen().await;
        let server = async {
            let mut stream = say(&listener, &[answer]).await;
            let mut first = [0];
            let again = async {
                if stream.peek(&mut first).await.unwrap() == 0 {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = again => {
                    head(&mut stream).await;
                    say_on(&mut stream, &[FINE]).await;
                    1
                }
                other = say(&listener, &[FINE]) => {
                    drop(other);
                    2
                }
            }
        };
        let client = async {
            assert!(send(&mut links, first).await.result.is_ok());
            // Whatever else the server said has come by now.
            tokio::time::sleep(Duration::from_millis(20)).await;
            let second = send(&mut links, &request("GET", Vec::new())).await;
            assert!(second.result.is_ok(), "{:?}", second.result);
        };
        tokio::join!(server, client).0
    })
}

#[test]
fn a_connection_is_used_again_when_nothing_speaks_against_it() {
    let check = |answer: &'static str, connections: usize| {
        assert_eq!(connections_after(answer.as_bytes(), &request("GET", Vec::new())), connections, "{answer}");
    };
    check("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 1);
    check("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 1);
    check("HTTP/1.1 204 No Content\r\n\r\n", 1);
    check("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok and more", 2);
    check("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", 2);
    check("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 2);
    let mut last = request("GET", Vec::new());
    last.headers_mut().insert("connection", "close".parse().unwrap());
    assert_eq!(connections_after(FINE, &last), 2, "we said that we would close it");
}

#[test]
fn a_connection_that_closed_while_idle_is_opened_again() {
    block_on(async {
        let (listener, mut links) = listen().await;
        let server = async {
            drop(say(&listener, &[FINE]).await);
            drop(say(&listener, &[FINE]).await);
        };
        let client = async {
            let get = request("GET", Vec::new());
            assert!(send(&mut links, &get).await.new_connection);
            tokio::time::sleep(Duration::from_millis(50)).await;
            let again = send(&mut links, &get).await;
            assert!(again.new_connection && again.result.is_ok(), "{:?}", again.result);
        };
        tokio::join!(server, client);
    });
}

#[test]
fn a_large_body_arrives_whole() {
    let body: Vec<u8> = (0..6_000_000_u32).map(|n| n as u8).collect();
    let expected = body.clone();
    block_on(async {
        let (listener, mut links) = listen().await;
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = head(&mut stream).await;
            assert!(head.contains("\r\ncontent-length: 6000000\r\n"), "{head}");
            let mut received = vec![0; expected.len()];
            stream.read_exact(&mut received).await.unwrap();
            assert!(received == expected);
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", received.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.write_all(&received).await.unwrap();
            stream
        };
        let request = request("POST", body);
        let (_stream, attempt) = tokio::join!(server, send(&mut links, &request));
        let answer = attempt.result.unwrap();
        assert_eq!((answer.body_bytes, answer.body.len()), (6_000_000, 1 << 20), "all is counted, a part is kept");
        assert!(answer.body[..] == expected[..1 << 20]);
        assert!(attempt.times.sent_ns <= attempt.times.first_byte_ns);
        assert!(attempt.times.first_byte_ns <= attempt.times.done_ns);
    });
}

#[test]
fn a_server_that_refuses_a_body_early_is_heard() {
    block_on(async {
        let (listener, mut links) = listen().await;
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig").await.unwrap();
            // Long enough for the answer to be read; what was sent meanwhile breaks the connection.
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        let request = request("POST", vec![7; 30_000_000]);
        let (attempt, ()) = tokio::join!(send(&mut links, &request), server);
        assert_eq!(read_of(&attempt.result.unwrap()), (413, None, b"big".to_vec()));
    });
}

#[test]
fn what_breaks_is_named() {
    let check = |answer: &'static [u8], expected: &str| {
        let attempt = block_on(async {
            let (listener, mut links) = listen().await;
            let get = request("GET", Vec::new());
            tokio::join!(send(&mut links, &get), async { drop(say(&listener, &[FINE]).await) });
            let server = async { drop(say(&listener, &[answer]).await) };
            tokio::time::sleep(Duration::from_millis(20)).await;
            tokio::join!(send(&mut links, &get), server).0
        });
        match attempt.result {
            Err(Failure::Transport(said) | Failure::Connect(said)) => assert!(said.contains(expected), "{said}"),
            other => panic!("{other:?} where `{expected}` was expected"),
        }
    };
    check(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", "closed in the middle of the answer");
    check(b"SSH-2.0-OpenSSH_9.2\r\n", "no HTTP/1.1");
    check(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\nok", "content-length");
    check(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nok", "not chunked");
}
