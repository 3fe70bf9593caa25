//! One GET on a connection of its own, within a time and a size. For scrapes and metadata, never for load.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST};
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::transport::Address;

/// Patience for an answer. A scrape that takes longer than this would delay the next.
const TIMEOUT: Duration = Duration::from_millis(900);
/// Largest answer: Prometheus pages of large servers have a few megabytes.
const MOST_BYTES: usize = 16 << 20;

/// Why a page could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The connection or the protocol.
    #[error("{0}")]
    Transport(String),
    /// Another status than 200.
    #[error("HTTP status {0}")]
    Status(u16),
    /// An answer, and not what was asked for.
    #[error("not what was asked for: {0}")]
    Form(String),
    /// Too slow.
    #[error("no whole answer within {} ms", TIMEOUT.as_millis())]
    Timeout,
}

/// Fetches `path` from a target.
///
/// # Errors
/// When there is no whole answer with status 200 in time.
pub async fn fetch(from: &Address, path: &str) -> Result<Bytes, FetchError> {
    tokio::time::timeout(TIMEOUT, get(from, path)).await.map_err(|_| FetchError::Timeout)?
}

async fn get(from: &Address, path: &str) -> Result<Bytes, FetchError> {
    let failed = |e: &dyn std::fmt::Display| FetchError::Transport(e.to_string());
    let uri: Uri = format!("{}{path}", from.prefix).parse().map_err(|e: http::uri::InvalidUri| failed(&e))?;
    let stream = TcpStream::connect(from.socket).await.map_err(|e| failed(&e))?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|e| failed(&e))?;
    let request = Request::get(uri)
        .header(HOST, from.authority.as_str())
        .header(ACCEPT, "text/plain, application/json")
        .body(Empty::<Bytes>::new())
        .map_err(|e| failed(&e))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|e| failed(&e))?;
        if response.status() != 200 {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let body = Limited::new(response.into_body(), MOST_BYTES).collect().await.map_err(|e| failed(&e))?;
        Ok(body.to_bytes())
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        result = &mut exchange => result,
        _ = connection => exchange.await,
    }
}
