//! Where a target is: a base URL, resolved once before the run so that no request waits for a name server.

use std::net::{SocketAddr, ToSocketAddrs};

use http::Uri;
use http::uri::Authority;

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
    /// Resolves a base URL.
    ///
    /// # Errors
    /// When it is no plain HTTP URL or its host does not resolve.
    pub fn resolve(url: &str) -> Result<Self, AddressError> {
        let (authority, prefix) = parse(url)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let error = |why: String| AddressError::Resolve { host: authority.to_string(), why };
        let mut sockets =
            (host, authority.port_u16().unwrap_or(80)).to_socket_addrs().map_err(|e| error(e.to_string()))?;
        let socket = sockets.next().ok_or_else(|| error("no address".to_owned()))?;
        Ok(Self { socket, prefix, authority: authority.clone() })
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
}
