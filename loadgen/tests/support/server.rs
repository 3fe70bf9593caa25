//! A real HTTP server in this process: HTTP/1.1 and HTTP/2, over TCP, TLS or a Unix socket. Remembers what it saw.

use std::convert::Infallible;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What came in.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    connections: AtomicU64,
    ended: AtomicU64,
    requests: Mutex<Vec<(Version, String, HeaderMap)>>,
}

impl Seen {
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Acquire)
    }

    /// Connections over TCP that are open now.
    pub(crate) fn open(&self) -> u64 {
        self.connections() - self.ended.load(Ordering::Acquire)
    }

    /// Remembers a request; gives its number, from 0.
    pub(crate) fn note(&self, request: &Request<Incoming>) -> u64 {
        let mut requests = self.requests.lock().unwrap();
        requests.push((request.version(), request.uri().to_string(), request.headers().clone()));
        requests.len() as u64 - 1
    }

    /// Version, target and headers of each request.
    pub(crate) fn requests(&self) -> Vec<(Version, String, HeaderMap)> {
        self.requests.lock().unwrap().clone()
    }
}

pub(crate) type Reply = Response<Full<Bytes>>;

/// Answers the `n`-th request, from 0.
pub(crate) fn answering(
    seen: &Arc<Seen>,
    answer: impl Fn(u64) -> Reply + Clone + Send + 'static,
) -> impl Service<Request<Incoming>, Response = Reply, Error: Into<BoxError>, Future: Send> + Clone + Send + 'static {
    let seen = Arc::clone(seen);
    service_fn(move |request: Request<Incoming>| {
        let number = seen.note(&request);
        let reply = answer(number);
        async move { Ok::<_, Infallible>(reply) }
    })
}

/// An answer of 200 with a body.
pub(crate) fn fine(_: u64) -> Reply {
    Response::new(Full::new(Bytes::from_static(b"metric_a 1\n")))
}

/// Serves on a free port until the process ends, over TLS where there is a configuration for it. Gives `host:port`.
pub(crate) fn serve<S, B>(service: S, tls: Option<ServerConfig>, seen: &Arc<Seen>) -> String
where
    S: Service<Request<Incoming>, Response = Response<B>, Future: Send, Error: Into<BoxError>> + Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let (acceptor, seen) = (tls.map(|config| TlsAcceptor::from(Arc::new(config))), Arc::clone(seen));
    in_the_background(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            seen.connections.fetch_add(1, Ordering::AcqRel);
            let (acceptor, service, seen) = (acceptor.clone(), service.clone(), Arc::clone(&seen));
            tokio::spawn(async move {
                match acceptor {
                    None => talk(tcp, service).await,
                    Some(acceptor) => {
                        // When it fails, the client says why.
                        if let Ok(stream) = acceptor.accept(tcp).await {
                            talk(stream, service).await;
                        }
                    }
                }
                seen.ended.fetch_add(1, Ordering::AcqRel);
            });
        }
    });
    address.to_string()
}

/// Serves on a Unix socket until the process ends.
pub(crate) fn serve_unix<S, B>(service: S, path: &Path, seen: &Arc<Seen>)
where
    S: Service<Request<Incoming>, Response = Response<B>, Future: Send, Error: Into<BoxError>> + Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
    listener.set_nonblocking(true).unwrap();
    let seen = Arc::clone(seen);
    in_the_background(async move {
        let listener = tokio::net::UnixListener::from_std(listener).unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            seen.connections.fetch_add(1, Ordering::AcqRel);
            tokio::spawn(talk(stream, service.clone()));
        }
    });
}

async fn talk<I, S, B>(stream: I, service: S)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Future: Send, Error: Into<BoxError>> + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    // A client that leaves in the middle is an error here, and the client's affair.
    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

fn in_the_background(work: impl Future<Output = ()> + Send + 'static) {
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
    });
}
