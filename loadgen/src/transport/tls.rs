//! TLS to a target: rustls with the one crypto provider of this program, set up once per address before the run.
//! Names what is wrong with files and handshakes, and what to change. Never decides whether TLS is spoken: the URL does.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore, SignatureScheme};
use serde::Serialize;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::HttpVersion;
use super::unverified::Unverified;

/// How TLS is spoken to a target.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct TlsOptions {
    /// Certificates of the authorities to trust; the system's when not stated.
    pub ca: Option<PathBuf>,
    /// Who we say we are.
    pub identity: Option<Identity>,
    /// The name that the server's certificate must have; the URL's host when not stated.
    pub server_name: Option<String>,
    /// Whether any certificate will do.
    pub insecure: bool,
}

/// A client certificate and its key, in PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// The certificate, with those between it and its authority.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What is wrong with the options.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("target.tls.{key}: {message}")]
pub struct TlsError {
    /// The key of `[target.tls]`.
    pub key: &'static str,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl TlsError {
    fn new(key: &'static str, message: impl Into<String>) -> Self {
        Self { key, message: message.into() }
    }
}

/// Ready to shake hands with one server.
#[derive(Debug, Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    version: HttpVersion,
    introduction: Arc<Introduction>,
}

/// Says who we are when a server asks, and remembers that it did.
#[derive(Debug)]
struct Introduction {
    identity: Option<Arc<CertifiedKey>>,
    asked: AtomicBool,
}

impl Introduction {
    /// Whether a server asked who we are and was told nothing.
    fn was_missed(&self) -> bool {
        self.identity.is_none() && self.asked.load(Ordering::Acquire)
    }
}

impl ResolvesClientCert for Introduction {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Release);
        self.identity.clone()
    }

    fn has_certs(&self) -> bool {
        self.identity.is_some()
    }
}

impl TlsOptions {
    /// Everything that is wrong, found without a socket.
    pub fn problems(&self) -> Vec<TlsError> {
        let roots = self.ca.as_deref().map(|ca| roots_of(ca).map(drop));
        let identity = self.identity.as_ref().map(|identity| read_identity(identity).map(drop));
        let name = self.server_name.as_deref().map(|name| server_name(name).map(drop));
        [roots, identity, name].into_iter().flatten().filter_map(Result::err).collect()
    }
}

impl Tls {
    /// Reads what the options name.
    ///
    /// # Errors
    /// When a file is unreadable or wrong, or the system has no roots.
    pub fn new(options: &TlsOptions, host: &str, version: HttpVersion) -> Result<Self, TlsError> {
        let name = server_name(options.server_name.as_deref().unwrap_or(host))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| TlsError::new("insecure", e.to_string()))?;
        let builder = if options.insecure {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified::new(provider)))
        } else {
            builder.dangerous().with_custom_certificate_verifier(verifier(options, provider)?)
        };
        let identity = options.identity.as_ref().map(read_identity).transpose()?.map(Arc::new);
        let introduction = Arc::new(Introduction { identity, asked: AtomicBool::new(false) });
        let mut config = builder.with_client_cert_resolver(Arc::clone(&introduction) as _);
        config.alpn_protocols = vec![version.alpn().to_vec()];
        Ok(Self { config: Arc::new(config), name, version, introduction })
    }

    /// In TLS 1.3 a server refuses who we are only after the handshake, in the middle of the first request. Gives what
    /// to say if that is why a fresh connection broke. The server's alert tells, but is lost when the connection is
    /// reset before it is read: then it counts that the server had asked, and was told nothing.
    pub(super) fn late_refusal(&self, said: &str) -> Option<String> {
        let alert = said.split_once("received fatal alert: ").map(|(_, alert)| alert);
        let refused = alert.is_some_and(|alert| ABOUT_US.iter().any(|known| alert.starts_with(&format!("{known:?}"))));
        (refused || self.introduction.was_missed()).then(|| format!("TLS handshake: {said}; {CLIENT_CERTIFICATE}"))
    }

    /// Shakes hands on a fresh connection.
    pub(super) async fn handshake(&self, tcp: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let stream = connector.connect(self.name.clone(), tcp).await.map_err(|e| explain(&e))?;
        match (self.version, stream.get_ref().1.alpn_protocol()) {
            (HttpVersion::Http2, agreed) if agreed != Some(self.version.alpn()) => Err(NO_HTTP2.to_owned()),
            _ => Ok(stream),
        }
    }
}

const NO_HTTP2: &str = "the server does not agree to HTTP/2, which gRPC needs; for plain HTTP set target.http_version \
    to \"1.1\"";

fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    let name = name.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(name.to_owned()).map_err(|_| {
        TlsError::new("server_name", format!("`{name}` is no name of a server; write one such as api.example.com"))
    })
}

fn verifier(options: &TlsOptions, provider: Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    let roots = match &options.ca {
        Some(ca) => roots_of(ca)?,
        None => system_roots()?,
    };
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|e| TlsError::new("ca", e.to_string()))
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let remedy = "install ca-certificates, or state the server's authority as ca = \"ca.pem\"";
        return Err(TlsError::new("ca", format!("this system has no root certificates; {remedy}")));
    }
    Ok(roots)
}

fn roots_of(ca: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ca", ca)? {
        roots
            .add(certificate)
            .map_err(|e| TlsError::new("ca", format!("{}: {e}; write an authority's certificate", ca.display())))?;
    }
    Ok(roots)
}

/// All certificates of a PEM file; at least one.
fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |e: &dyn std::fmt::Display| {
        TlsError::new(key, format!("{}: {e}; write the path of a PEM file, relative to the scenario", path.display()))
    };
    let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(|e| failed(&e))?.collect();
    let all = all.map_err(|e| failed(&e))?;
    if all.is_empty() { Err(failed(&"holds no certificate")) } else { Ok(all) }
}

/// A client certificate and its key, which must fit together.
fn read_identity(identity: &Identity) -> Result<CertifiedKey, TlsError> {
    let chain = certificates("client_cert", &identity.cert)?;
    let wrong = |e: &dyn std::fmt::Display| {
        let remedy = "write the PEM file of the certificate's own private key";
        TlsError::new("client_key", format!("{}: {e}; {remedy}", identity.key.display()))
    };
    let key = PrivateKeyDer::from_pem_file(&identity.key).map_err(|e| wrong(&e))?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|e| wrong(&e))
}

/// What went wrong in a handshake, in rustls' words, and what to change.
fn explain(error: &io::Error) -> String {
    let remedy = match find(error) {
        Some(tls) => remedy(tls),
        None if error.kind() == io::ErrorKind::UnexpectedEof => Some(NOT_TLS),
        None => None,
    };
    match remedy {
        Some(remedy) => format!("TLS handshake: {error}; {remedy}"),
        None => format!("TLS handshake: {error}"),
    }
}

const NOT_TLS: &str = "if the server does not speak TLS here, write http:// in its URL";
const CLIENT_CERTIFICATE: &str =
    "the server wants another client certificate, or one at all: set target.tls.client_cert and target.tls.client_key";

fn remedy(error: &rustls::Error) -> Option<&'static str> {
    match error {
        rustls::Error::InvalidCertificate(wrong) => match wrong {
            // A bad signature is that of another authority with the name of one that is trusted.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Some("add its CA as target.tls.ca"),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Some("write a name that the certificate has, in the URL or as target.tls.server_name")
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                Some("renew the certificate, or set target.tls.insecure = true to measure without checking it")
            }
            _ => Some("mend the certificate, or set target.tls.insecure = true to measure without checking it"),
        },
        rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol) => Some(NO_HTTP2),
        rustls::Error::AlertReceived(alert) if ABOUT_US.contains(alert) => Some(CLIENT_CERTIFICATE),
        rustls::Error::InvalidMessage(_) => Some(NOT_TLS),
        _ => None,
    }
}

/// What a server says that does not like our certificate.
const ABOUT_US: [AlertDescription; 8] = [
    AlertDescription::CertificateRequired,
    AlertDescription::BadCertificate,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateUnknown,
    AlertDescription::UnknownCA,
    AlertDescription::AccessDenied,
];

/// The TLS error at the bottom of another.
fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(found) = error.downcast_ref::<rustls::Error>() {
        return Some(found);
    }
    match error.downcast_ref::<io::Error>() {
        Some(io) => find(io.get_ref()?),
        None => find(error.source()?),
    }
}
