//! Where a target is: a base URL, resolved once before the run so that no request waits for a name server.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;
use http::{HeaderMap, Uri};
use serde::Serialize;
use tokio::net::TcpStream;

use super::tls::{Tls, TlsError, TlsOptions};

/// How long one of several addresses may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(1);
/// Longest path of a Unix socket, as the kernel has it.
const LONGEST_SOCKET_PATH: usize = 107;
/// What a server behind a Unix socket is told as its host.
const LOCAL_HOST: Authority = Authority::from_static("localhost");

/// Why a URL is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not a URL.
    #[error("`{0}` is not a base URL; write one such as http://127.0.0.1:8000, https://host or unix:/run/app.sock")]
    Form(String),
    /// Another scheme.
    #[error("`{0}` is neither http nor https nor unix; write one such as http://127.0.0.1:8000")]
    Scheme(String),
    /// Not the path of a Unix socket.
    #[error("`{url}`: {why}")]
    Unix {
        /// As written.
        url: String,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// The name does not resolve.
    #[error("`{host}` does not resolve ({why}); check the name, or write the address")]
    Resolve {
        /// Host and port.
        host: String,
        /// The resolver's words.
        why: String,
    },
    /// What the scenario says of TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Which HTTP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub enum HttpVersion {
    /// HTTP/1.1.
    #[default]
    #[serde(rename = "1.1")]
    Http1,
    /// HTTP/2: with TLS by agreement, without TLS by prior knowledge.
    #[serde(rename = "2")]
    Http2,
}

impl HttpVersion {
    /// Its name in a TLS handshake.
    pub(super) fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

/// A base URL, taken apart and not resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseUrl {
    /// `http://` or `https://`.
    Tcp {
        /// Whether it is `https://`.
        tls: bool,
        /// Host and port as written.
        authority: Authority,
        /// Path before every request's path, without a slash at the end.
        prefix: String,
    },
    /// `unix:`.
    Unix(PathBuf),
}

impl BaseUrl {
    /// Takes a base URL apart.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(url: &str) -> Result<Self, AddressError> {
        if let Some(path) = url.strip_prefix("unix:") {
            return socket_path(path).map(Self::Unix).map_err(|why| AddressError::Unix { url: url.to_owned(), why });
        }
        let form = || AddressError::Form(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| form())?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) => return Err(AddressError::Scheme(url.to_owned())),
            None => return Err(form()),
        };
        if uri.query().is_some() {
            return Err(form());
        }
        let authority = uri.authority().filter(|a| !a.host().is_empty()).cloned().ok_or_else(form)?;
        Ok(Self::Tcp { tls, authority, prefix: uri.path().trim_end_matches('/').to_owned() })
    }

    /// Whether TLS is spoken there.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tcp { tls: true, .. })
    }
}

/// `/run/app.sock`, or `///run/app.sock`, as some write it.
fn socket_path(path: &str) -> Result<PathBuf, String> {
    let path = path.strip_prefix("//").unwrap_or(path);
    if !path.starts_with('/') || path.ends_with('/') {
        return Err("write the whole path of the socket, such as unix:/run/app.sock".to_owned());
    }
    if path.len() > LONGEST_SOCKET_PATH {
        return Err(format!("longer than the {LONGEST_SOCKET_PATH} bytes that a socket's path may have"));
    }
    Ok(PathBuf::from(path))
}

/// Where connections go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// A resolved target.
#[derive(Debug, Clone)]
pub struct Address {
    /// Host and port as written, for the `Host` header.
    pub authority: Authority,
    /// Where to connect.
    pub endpoint: Endpoint,
    /// Path before every request's path, without a slash at the end.
    pub prefix: String,
    /// Which HTTP is spoken.
    pub version: HttpVersion,
    /// The TLS that is spoken, if any.
    pub tls: Option<Tls>,
    /// Headers of every request that goes there.
    pub headers: Arc<HeaderMap>,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.endpoint {
            Endpoint::Tcp(socket) => socket.fmt(f),
            Endpoint::Unix(path) => path.display().fmt(f),
        }
    }
}

impl Address {
    /// Resolves a base URL and takes the first address.
    ///
    /// # Errors
    /// When it is no base URL, its host does not resolve, or its TLS cannot be set up.
    pub fn resolve(url: &str, version: HttpVersion, tls: &TlsOptions) -> Result<Self, AddressError> {
        Self::candidates(url, version, tls).map(|(first, _)| first)
    }

    /// Resolves a base URL and takes the first address that accepts a connection: `localhost` is two addresses, and
    /// a server often listens on one of them only. When none accepts, the first.
    ///
    /// # Errors
    /// As [`Address::resolve`].
    pub async fn reach(url: &str, version: HttpVersion, tls: &TlsOptions) -> Result<Self, AddressError> {
        let (first, candidates) = Self::candidates(url, version, tls)?;
        if candidates.len() < 2 {
            return Ok(first);
        }
        for socket in candidates {
            if matches!(tokio::time::timeout(PATIENCE, TcpStream::connect(socket)).await, Ok(Ok(_))) {
                return Ok(Self { endpoint: Endpoint::Tcp(socket), ..first });
            }
        }
        Ok(first)
    }

    /// The first address of a base URL, and the sockets of all.
    fn candidates(
        url: &str,
        version: HttpVersion,
        options: &TlsOptions,
    ) -> Result<(Self, Vec<SocketAddr>), AddressError> {
        let (tls, authority, prefix) = match BaseUrl::parse(url)? {
            BaseUrl::Unix(path) => return Self::unix(url, path, version).map(|address| (address, Vec::new())),
            BaseUrl::Tcp { tls, authority, prefix } => (tls, authority, prefix),
        };
        let sockets = sockets(&authority, if tls { 443 } else { 80 })?;
        let endpoint = Endpoint::Tcp(sockets[0]);
        let tls = if tls { Some(Tls::new(options, authority.host(), version)?) } else { None };
        Ok((Self { authority, endpoint, prefix, version, tls, headers: Arc::default() }, sockets))
    }

    fn unix(url: &str, path: PathBuf, version: HttpVersion) -> Result<Self, AddressError> {
        if let Some(socket) = path.ancestors().skip(1).find(|part| is_socket(part)) {
            let remedy = "write it in each entry's path";
            let why = format!("{} is the socket, and a path prefix cannot follow it; {remedy}", socket.display());
            return Err(AddressError::Unix { url: url.to_owned(), why });
        }
        let endpoint = Endpoint::Unix(path);
        Ok(Self { authority: LOCAL_HOST, endpoint, prefix: String::new(), version, tls: None, headers: Arc::default() })
    }

    /// With headers for every request that goes there.
    #[must_use]
    pub fn with_headers(self, headers: &Arc<HeaderMap>) -> Self {
        Self { headers: Arc::clone(headers), ..self }
    }

    /// Scheme and authority, as in `http://127.0.0.1:8000`.
    pub fn origin(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.authority)
    }

    /// The URL that it is a base of, as in `http://127.0.0.1:8000/api`; of a Unix socket `unix:` and its path.
    pub fn url(&self) -> String {
        match &self.endpoint {
            Endpoint::Tcp(_) => format!("{}{}", self.origin(), self.prefix),
            Endpoint::Unix(path) => format!("unix:{}{}", path.display(), self.prefix),
        }
    }

    /// What a request for a path below the prefix names: path and query in HTTP/1.1, the whole URI in HTTP/2.
    pub fn request_target(&self, path: &str) -> String {
        match self.version {
            HttpVersion::Http1 => format!("{}{path}", self.prefix),
            HttpVersion::Http2 => format!("{}{}{path}", self.origin(), self.prefix),
        }
    }
}

/// The addresses of a host, each once, at least one.
fn sockets(authority: &Authority, default_port: u16) -> Result<Vec<SocketAddr>, AddressError> {
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let error = |why: String| AddressError::Resolve { host: authority.to_string(), why };
    let resolved = (host, authority.port_u16().unwrap_or(default_port)).to_socket_addrs();
    let mut sockets: Vec<SocketAddr> = Vec::new();
    for socket in resolved.map_err(|e| error(e.to_string()))? {
        // A resolver may give an address once for each type of socket.
        if !sockets.contains(&socket) {
            sockets.push(socket);
        }
    }
    if sockets.is_empty() { Err(error("no address".to_owned())) } else { Ok(sockets) }
}

fn is_socket(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.file_type().is_socket())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(url: &str) -> Result<Address, AddressError> {
        Address::resolve(url, HttpVersion::Http1, &TlsOptions { insecure: true, ..TlsOptions::default() })
    }

    #[test]
    fn base_urls() {
        let check = |url: &str, expected: &str| match resolve(url) {
            Ok(address) => {
                let tls = if address.tls.is_some() { " tls" } else { "" };
                assert_eq!(format!("{address} {}{tls}", address.prefix), expected, "{url}");
            }
            Err(e) => assert!(e.to_string().contains(expected), "{url}: {e}"),
        };
        check("http://127.0.0.1:8000", "127.0.0.1:8000 ");
        check("http://127.0.0.1/api/", "127.0.0.1:80 /api");
        check("http://[::1]:9", "[::1]:9 ");
        check("https://127.0.0.1", "127.0.0.1:443  tls");
        check("https://[::1]:9/a", "[::1]:9 /a tls");
        check("unix:/run/app.sock", "/run/app.sock ");
        check("unix:///run/app.sock", "/run/app.sock ");
        check("unix:app.sock", "write the whole path");
        check("unix:/run/", "write the whole path");
        check(&format!("unix:/{}", "x".repeat(200)), "longer than the 107 bytes");
        check("ftp://127.0.0.1", "neither http nor https nor unix");
        check("127.0.0.1:8000", "not a base URL");
        check("http://", "not a base URL");
        check("http://127.0.0.1:8000/?x=1", "not a base URL");
        check("http://name.invalid:1", "does not resolve");
    }

    #[test]
    fn a_path_behind_a_socket_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("a.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(resolve(&format!("unix:{}", socket.display())).is_ok());
        let message = resolve(&format!("unix:{}/api", socket.display())).unwrap_err().to_string();
        assert!(message.contains("a path prefix cannot follow it; write it in each entry's path"), "{message}");
    }

    #[test]
    fn requests_name_what_their_version_wants() {
        let check = |url: &str, version: HttpVersion, expected: &str| {
            let address = Address { version, ..resolve(url).unwrap() };
            assert_eq!(address.request_target("/x?y=1"), expected);
        };
        check("http://127.0.0.1:8000/api", HttpVersion::Http1, "/api/x?y=1");
        check("http://127.0.0.1:8000/api", HttpVersion::Http2, "http://127.0.0.1:8000/api/x?y=1");
        check("https://127.0.0.1:8000", HttpVersion::Http2, "https://127.0.0.1:8000/x?y=1");
        check("unix:/run/app.sock", HttpVersion::Http2, "http://localhost/x?y=1");
    }

    #[tokio::test]
    async fn the_address_that_accepts_is_taken() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // Whether `localhost` is one address here or two, only this one accepts.
        let url = format!("http://localhost:{port}/x");
        let reached = Address::reach(&url, HttpVersion::Http1, &TlsOptions::default()).await.unwrap();
        assert_eq!(reached.endpoint, Endpoint::Tcp(listener.local_addr().unwrap()));
        assert_eq!(reached.prefix, "/x");
        drop(listener);
        let reached = Address::reach(&url, HttpVersion::Http1, &TlsOptions::default()).await.unwrap();
        assert_eq!(reached.endpoint, resolve(&url).unwrap().endpoint, "the first when none accepts");
    }
}
