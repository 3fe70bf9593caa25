//! Where a target is: a base URL, resolved once before the run so that no request waits for a name server.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use http::Uri;
use http::uri::Authority;
use tokio::net::TcpStream;

/// How long one of several addresses may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why a URL is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not a URL.
    #[error("`{0}` is not a base URL; write one such as http://127.0.0.1:8000")]
    Form(String),
    /// Not plain HTTP.
    #[error("`{0}` is not plain http; proofload does not speak TLS: point it behind the TLS terminator, http://…")]
    Scheme(String),
    /// The name does not resolve.
    #[error("`{host}` does not resolve ({why}); check the name, or write the address")]
    Resolve {
        /// Host and port.
        host: String,
        /// The resolver's words.
        why: String,
    },
}

/// A resolved target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Host and port as written, for the `Host` header.
    pub authority: Authority,
    /// Where to connect.
    pub socket: SocketAddr,
    /// Path before every request's path, without a slash at the end.
    pub prefix: String,
}

/// Checks a base URL without resolving it. Gives its authority and path prefix.
///
/// # Errors
/// When it is no `http://` URL with a host.
pub fn parse(url: &str) -> Result<(Authority, String), AddressError> {
    let form = || AddressError::Form(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| form())?;
    if uri.scheme_str().is_some_and(|scheme| scheme != "http") {
        return Err(AddressError::Scheme(url.to_owned()));
    }
    if uri.scheme_str().is_none() || uri.query().is_some() {
        return Err(form());
    }
    let authority = uri.authority().filter(|a| !a.host().is_empty()).cloned().ok_or_else(form)?;
    Ok((authority, uri.path().trim_end_matches('/').to_owned()))
}

impl Address {
    /// Resolves a base URL and takes the first address.
    ///
    /// # Errors
    /// When it is no plain HTTP URL or its host does not resolve.
    pub fn resolve(url: &str) -> Result<Self, AddressError> {
        Self::candidates(url).map(|(first, _)| first)
    }

    /// Resolves a base URL and takes the first address that accepts a connection: `localhost` is two addresses, and
    /// a server often listens on one of them only. When none accepts, the first.
    ///
    /// # Errors
    /// As [`Address::resolve`].
    pub async fn reach(url: &str) -> Result<Self, AddressError> {
        let (first, others) = Self::candidates(url)?;
        if others.is_empty() {
            return Ok(first);
        }
        for socket in std::iter::once(first.socket).chain(others) {
            if matches!(tokio::time::timeout(PATIENCE, TcpStream::connect(socket)).await, Ok(Ok(_))) {
                return Ok(Self { socket, ..first });
            }
        }
        Ok(first)
    }

    /// The first address of a base URL, and the sockets of the others.
    fn candidates(url: &str) -> Result<(Self, Vec<SocketAddr>), AddressError> {
        let (authority, prefix) = parse(url)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let error = |why: String| AddressError::Resolve { host: authority.to_string(), why };
        let mut sockets =
            (host, authority.port_u16().unwrap_or(80)).to_socket_addrs().map_err(|e| error(e.to_string()))?;
        let socket = sockets.next().ok_or_else(|| error("no address".to_owned()))?;
        // A resolver may give an address once for each type of socket.
        let others = sockets.filter(|other| *other != socket).collect();
        Ok((Self { socket, prefix, authority: authority.clone() }, others))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls() {
        let check = |url: &str, expected: &str| match Address::resolve(url) {
            Ok(address) => assert_eq!(format!("{} {}", address.socket, address.prefix), expected, "{url}"),
            Err(e) => assert!(e.to_string().contains(expected), "{url}: {e}"),
        };
        check("http://127.0.0.1:8000", "127.0.0.1:8000 ");
        check("http://127.0.0.1/api/", "127.0.0.1:80 /api");
        check("http://[::1]:9", "[::1]:9 ");
        check("https://127.0.0.1", "does not speak TLS");
        check("127.0.0.1:8000", "not a base URL");
        check("http://", "not a base URL");
        check("http://127.0.0.1:8000/?x=1", "not a base URL");
        check("http://name.invalid:1", "does not resolve");
    }

    #[tokio::test]
    async fn the_address_that_accepts_is_taken() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // Whether `localhost` is one address here or two, only this one accepts.
        let reached = Address::reach(&format!("http://localhost:{port}/x")).await.unwrap();
        assert_eq!((reached.socket, reached.prefix.as_str()), (listener.local_addr().unwrap(), "/x"));
        drop(listener);
        let url = format!("http://localhost:{port}");
        assert_eq!(Address::reach(&url).await, Address::resolve(&url), "the first when none accepts");
    }
}
