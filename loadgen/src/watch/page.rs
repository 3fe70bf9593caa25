//! Where the Prometheus page of a target is when nobody says. It asks the target; it scrapes nothing.

use std::net::SocketAddr;

use std::sync::Arc;

use super::fetch::{FetchError, fetch};
use crate::transport::{Address, Endpoint, HttpVersion};

/// Triton's ports follow one another: HTTP, gRPC, metrics (8000, 8001, 8002 by default).
const TRITON_OFFSET: u16 = 2;
/// A name that only the page of an inference server with Triton's metrics has.
const TRITON_METRIC: &str = "nv_inference_request_success";

/// The page below a base URL, where it is by convention.
pub fn metrics_below(base: Address) -> Address {
    Address { prefix: format!("{}/metrics", base.prefix), ..base }
}

/// The page of the target whose HTTP side this is: `/metrics` there; where a Triton has none there, two ports
/// further, if inference metrics are.
pub async fn find_metrics(http: &Address, server: Option<&str>) -> Address {
    let here = metrics_below(http.clone());
    if !server.is_some_and(is_triton) || !matches!(fetch(&here, "").await, Err(FetchError::Status(404))) {
        return here;
    }
    let Some(there) = beside(http) else { return here };
    match fetch(&there, "").await {
        Ok(page) if String::from_utf8_lossy(&page).contains(TRITON_METRIC) => there,
        _ => here,
    }
}

/// Whether it calls itself so in its metadata: name and version.
fn is_triton(server: &str) -> bool {
    server.split_ascii_whitespace().next() == Some("triton")
}

/// The same machine, without TLS, which Triton's metrics do not speak.
fn beside(http: &Address) -> Option<Address> {
    let Endpoint::Tcp(socket) = &http.endpoint else { return None };
    let port = socket.port().checked_add(TRITON_OFFSET)?;
    let host = http.authority.host();
    Some(Address {
        authority: format!("{host}:{port}").parse().ok()?,
        endpoint: Endpoint::Tcp(SocketAddr::new(socket.ip(), port)),
        prefix: "/metrics".to_owned(),
        version: HttpVersion::Http1,
        tls: None,
        // Another service, and nothing hides what it is told.
        headers: Arc::default(),
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::transport::TlsOptions;

    fn address(url: &str) -> Address {
        Address::resolve(url, HttpVersion::Http1, &TlsOptions::default()).unwrap()
    }

    #[test]
    fn the_page_is_named_by_its_base() {
        let check = |base: &str, expected: &str| assert_eq!(metrics_below(address(base)).url(), expected);
        check("http://127.0.0.1:8000", "http://127.0.0.1:8000/metrics");
        check("http://127.0.0.1:8000/api", "http://127.0.0.1:8000/api/metrics");
    }

    #[test]
    fn a_triton_has_its_metrics_two_ports_further() {
        let check = |http: &str, expected: Option<&str>| {
            assert_eq!(beside(&address(http)).map(|page| page.url()).as_deref(), expected, "{http}");
        };
        check("http://127.0.0.1:8000/prefix", Some("http://127.0.0.1:8002/metrics"));
        check("http://[::1]:8000", Some("http://[::1]:8002/metrics"));
        check("http://127.0.0.1:65534", None);
        check("unix:/run/triton.sock", None);
        assert!(is_triton("triton 2.51.0") && !is_triton("tritonish 1") && !is_triton(""));
    }

    /// Serves one page at one path on a port until the test ends, and 404 elsewhere. `None` where the port is taken.
    async fn serve(port: u16, path: &'static str, page: &'static str) -> Option<u16> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.ok()?;
        let port = listener.local_addr().ok()?.port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 1024];
                let read = stream.read(&mut head).await.unwrap_or(0);
                let found = head[..read].starts_with(format!("GET {path} ").as_bytes());
                let (status, body) = if found { ("200 OK", page) } else { ("404 Not Found", "") };
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                // A client that has gone fails the test by itself.
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Some(port)
    }

    #[tokio::test]
    async fn what_is_two_ports_further_is_taken_only_if_it_is_tritons() {
        let check = async |here: &'static str, there: &'static str, server: &str, expected: u16| {
            for _ in 0..50 {
                let port = serve(0, here, "up 1\n").await.unwrap();
                if serve(port.saturating_add(TRITON_OFFSET), "/metrics", there).await.is_none() {
                    continue;
                }
                let found = find_metrics(&address(&format!("http://127.0.0.1:{port}")), Some(server)).await;
                let Endpoint::Tcp(socket) = found.endpoint else { panic!("{found:?}") };
                assert_eq!(
                    (socket.port() - port, found.prefix.as_str()),
                    (expected, "/metrics"),
                    "{here} {there} {server}"
                );
                return;
            }
            panic!("no two ports were free");
        };
        let inference = "nv_inference_request_success{model=\"m\",version=\"1\"} 0\n";
        check("/v2", inference, "triton 2.51.0", 2).await;
        check("/v2", "up 1\n", "triton 2.51.0", 0).await;
        check("/v2", inference, "another 1.0", 0).await;
        check("/metrics", inference, "triton 2.51.0", 0).await;
    }
}
