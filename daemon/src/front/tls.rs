//! TLS at the doors: certificates from files to what a handshake needs, with the one crypto provider of this program.
//! TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by agreement. Which connections speak it is not decided here: all do, or none.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};

/// Where the certificates are, in PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The server's certificate, with those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Authorities of clients, where clients have to show who they are.
    pub client_ca: Option<PathBuf>,
}

/// Reads the files, and gives everything that is wrong with them.
///
/// # Errors
/// When a file is unreadable or wrong, or the key is not the certificate's.
pub fn load(files: &Files) -> Result<Arc<ServerConfig>, Vec<String>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chain = certificates("tls.certificate", &files.certificate);
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(|error| wrong("tls.key", &files.key, "a private key", &error));
    let verifier = files.client_ca.as_deref().map(|ca| verifier(ca, Arc::clone(&provider))).transpose();
    let (chain, key, verifier) = match (chain, key, verifier) {
        (Ok(chain), Ok(key), Ok(verifier)) => (chain, key, verifier),
        (chain, key, verifier) => {
            return Err([chain.err(), key.err(), verifier.err()].into_iter().flatten().collect());
        }
    };
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| vec![format!("tls: {error}")])?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let fits =
        |error| vec![format!("tls.key: {} does not fit {}: {error}", files.key.display(), files.certificate.display())];
    let mut config = builder.with_single_cert(chain, key).map_err(fits)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => Err(format!("{key}: {} holds no certificate", path.display())),
        Ok(found) => Ok(found),
        Err(error) => Err(wrong(key, path, "PEM certificates", &error)),
    }
}

fn verifier(ca: &Path, provider: Arc<rustls::crypto::CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("tls.client_ca", ca)? {
        roots.add(certificate).map_err(|error| format!("tls.client_ca: {}: {error}", ca.display()))?;
    }
    let built = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    built.map_err(|error| format!("tls.client_ca: {}: {error}", ca.display()))
}

fn wrong(key: &str, path: &Path, wanted: &str, error: &impl std::fmt::Display) -> String {
    format!("{key}: {} cannot be read as {wanted}: {error}", path.display())
}
