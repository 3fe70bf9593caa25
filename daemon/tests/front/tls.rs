//! TLS at the doors: who is let in, what is agreed on, and who is not waited for.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proofload_daemon::config::Config;
use proofload_daemon::front::doors::limits::Limits;
use proofload_daemon::front::tls::Files;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certificates::Authority;
use crate::server::{MODELS, Server, config, folder, request};

async fn server(files: Files, connections: Limits) -> Server {
    Server::start_on(&Config { tls: Some(files), connections, ..config(&folder(MODELS)) }).await
}

async fn connect(to: SocketAddr, client: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(to).await?;
    TlsConnector::from(client).connect(ServerName::try_from("localhost").unwrap(), tcp).await
}

/// Asks whether the server lives; gives the status. Who is refused by TLS 1.3 learns of it here.
async fn ask(stream: TlsStream<TcpStream>) -> Result<u16, hyper::Error> {
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    if http2 {
        let connecting = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = connecting.await?;
        tokio::spawn(connection);
        let request = http::Request::get("https://localhost/v2/health/live").body(Full::<Bytes>::default()).unwrap();
        return Ok(sender.send_request(request).await?.status().as_u16());
    }
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let response = sender.send_request(request("GET", "/v2/health/live", &[], "")).await?;
    let status = response.status().as_u16();
    response.into_body().collect().await?;
    Ok(status)
}

#[tokio::test]
async fn both_protocols_are_agreed_on_and_plain_text_is_not_answered() {
    let place = tempfile::tempdir().unwrap();
    let authority = Authority::in_folder(place.path());
    let server = server(authority.sign(place.path(), "server", "localhost").files(None), Limits::default()).await;
    for (protocols, agreed) in [(&["h2", "http/1.1"][..], &b"h2"[..]), (&["http/1.1"], b"http/1.1")] {
        let stream = connect(server.http, authority.client(None, protocols)).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(agreed));
        assert_eq!(ask(stream).await.unwrap(), 200);
    }
    let grpc = connect(server.grpc, authority.client(None, &["h2"])).await.unwrap();
    assert_eq!(grpc.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let metrics = connect(server.metrics, authority.client(None, &["http/1.1"])).await.unwrap();
    assert_eq!(ask(metrics).await.unwrap(), 404, "that port has metrics, and TLS");
    let mut plain = TcpStream::connect(server.http).await.unwrap();
    plain.write_all(b"GET /v2/health/live HTTP/1.1\r\nhost: t\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    let _ = plain.read_to_end(&mut said).await;
    assert!(!said.starts_with(b"HTTP"), "{said:?}");
}

#[tokio::test]
async fn clients_have_to_show_a_certificate_of_the_right_authority() {
    let places = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [ours, others] = [0, 1].map(|at: usize| Authority::in_folder(places[at].path()));
    let pair = ours.sign(places[0].path(), "server", "localhost");
    let server = server(pair.files(Some(&ours.ca)), Limits::default()).await;
    let known = ours.sign(places[0].path(), "client", "client");
    let stranger = others.sign(places[1].path(), "client", "client");
    for (shows, expected) in [(Some(&known), true), (Some(&stranger), false), (None, false)] {
        for address in [server.http, server.grpc] {
            let served = match connect(address, ours.client(shows, &["h2"])).await {
                Ok(stream) => ask(stream).await.is_ok(),
                Err(_) => false,
            };
            assert_eq!(served, expected, "{:?}", shows.map(|pair| &pair.certificate));
        }
    }
    assert!(connect(server.http, others.client(Some(&known), &[])).await.is_err(), "nor do they trust us blindly");
}

#[tokio::test]
async fn who_does_not_shake_hands_is_not_waited_for() {
    let place = tempfile::tempdir().unwrap();
    let pair = Authority::in_folder(place.path()).sign(place.path(), "server", "localhost");
    let limits = Limits { handshake_timeout: Duration::from_millis(300), ..Limits::default() };
    let server = server(pair.files(None), limits).await;
    let mut silent = TcpStream::connect(server.http).await.unwrap();
    let mut said = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), silent.read_to_end(&mut said)).await;
    assert!(ended.is_ok() && said.is_empty());
    assert!(server.engine.metrics_text().contains("proofload_connections_cut_total{reason=\"tls\"} 1"));
}

#[tokio::test]
async fn files_that_are_wrong_are_named_all_at_once() {
    let place = tempfile::tempdir().unwrap();
    let authority = Authority::in_folder(place.path());
    let (one, other) = (authority.sign(place.path(), "a", "a"), authority.sign(place.path(), "b", "b"));
    let empty = place.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    let check = |files: Files, expected: &[&str]| {
        let errors = proofload_daemon::front::tls::load(&files).unwrap_err();
        assert_eq!(errors.len(), expected.len(), "{errors:?}");
        assert!(errors.iter().zip(expected).all(|(error, part)| error.contains(part)), "{errors:?}");
    };
    let nowhere = place.path().join("nowhere.pem");
    check(
        Files { certificate: nowhere.clone(), key: empty.clone(), client_ca: Some(empty.clone()) },
        &["tls.certificate: ", "tls.key: ", "tls.client_ca: "],
    );
    check(Files { key: other.key, ..one.files(None) }, &["does not fit"]);
    check(Files { certificate: empty, ..one.files(None) }, &["holds no certificate"]);
}

#[tokio::test]
async fn new_certificates_are_shown_and_open_connections_stay() {
    let place = tempfile::tempdir().unwrap();
    let [old, new] = [(); 2].map(|()| Authority::in_folder(place.path()));
    let files = old.sign(place.path(), "server", "localhost").files(None);
    let models = folder(MODELS);
    let config = Config { tls: Some(files), ..config(&models) };
    let (server, reloadable) = Server::reloadable(&config).await;
    let mut kept = connect(server.http, old.client(None, &["http/1.1"])).await.unwrap();
    let mut ask_again = async || {
        kept.write_all(b"GET /v2/health/live HTTP/1.1\r\nhost: t\r\n\r\n").await.unwrap();
        let mut said = [0; 12];
        kept.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"HTTP/1.1 200");
        let mut rest = Vec::new();
        while !rest.ends_with(b"\r\n\r\n") {
            rest.push(kept.read_u8().await.unwrap());
        }
    };
    ask_again().await;
    // The same files, signed by another authority.
    new.sign(place.path(), "server", "localhost");
    reloadable.apply(&config).unwrap();
    ask_again().await;
    assert!(connect(server.http, old.client(None, &[])).await.is_err());
    assert_eq!(ask(connect(server.http, new.client(None, &[])).await.unwrap()).await.unwrap(), 200);
    // What cannot be used changes nothing.
    std::fs::write(place.path().join("server-key.pem"), "nothing").unwrap();
    assert!(reloadable.apply(&config).unwrap_err().to_string().contains("tls.key"));
    assert_eq!(ask(connect(server.http, new.client(None, &[])).await.unwrap()).await.unwrap(), 200);
}

/// A daemon of its own, since only a process looks at its files by itself.
#[tokio::test]
async fn new_files_are_found_without_being_told() {
    let place = tempfile::tempdir().unwrap();
    let [old, new] = [(); 2].map(|()| Authority::in_folder(place.path()));
    let pair = old.sign(place.path(), "server", "localhost");
    let mut child = Command::new(env!("CARGO_BIN_EXE_proofload-daemon"))
        .args(["--http-port=0", "--grpc-port=0", "--ready-json", "--until-stdin-closes"])
        .arg(format!("--set=tls.certificate={}", pair.certificate.display()))
        .arg(format!("--set=tls.key={}", pair.key.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    let http: SocketAddr = ready["http"].as_str().unwrap().parse().unwrap();
    assert_eq!(ask(connect(http, old.client(None, &[])).await.unwrap()).await.unwrap(), 200);
    new.sign(place.path(), "server", "localhost");
    let begun = Instant::now();
    while connect(http, new.client(None, &[])).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30), "the new certificate is never shown");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(connect(http, old.client(None, &[])).await.is_err());
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}
