//! `[tls]`: the certificates that the doors show and ask for.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Check;
use crate::front::tls::Files;

/// `[tls]`
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// The server's certificate in PEM, with those between it and its authority; none for no TLS.
    pub certificate: Option<PathBuf>,
    /// Its private key in PEM.
    pub key: Option<PathBuf>,
    /// Authorities in PEM that clients' certificates have to come from; none asks clients for none.
    pub client_ca: Option<PathBuf>,
}

/// What the section means.
pub(super) fn files(tls: Tls, check: &mut Check) -> Option<Files> {
    let Tls { certificate, key, client_ca } = tls;
    check.that(
        certificate.is_some() == key.is_some(),
        "tls.certificate and tls.key must be given together, or neither for no TLS",
    );
    check.that(client_ca.is_none() || certificate.is_some(), "tls.client_ca needs tls.certificate and tls.key");
    Some(Files { certificate: certificate?, key: key?, client_ca })
}
