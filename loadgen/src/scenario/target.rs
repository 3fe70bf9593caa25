//! Where the load goes: whether the URLs are some, whether the mix has the sides that it needs, and whether what TLS
//! needs can be read. No socket is opened.

use std::path::Path;

use super::as_written as written;
use super::entries::{header, is_grpcs_own};
use super::reader::{Located, Problems};
use super::{MixEntry, Target};
use crate::transport::{BaseUrl, Identity, TlsOptions};

/// Validates targets, gathering problems. Files are relative to `folder`.
pub(super) struct Targets<'a> {
    pub(super) folder: &'a Path,
    pub(super) problems: &'a Problems,
}

impl Targets<'_> {
    fn complain<T>(&self, at: &Located<T>, message: impl std::fmt::Display) {
        self.problems.borrow_mut().push(at.problem(message));
    }

    pub(super) fn target(&self, target: &written::Target, mix: &[MixEntry]) -> Target {
        let mut secure = false;
        for url in [&target.http, &target.grpc, &target.metrics].into_iter().flatten() {
            match BaseUrl::parse(&url.value) {
                Ok(base) => secure |= base.is_tls(),
                Err(e) => self.complain(url, e),
            }
        }
        let (needs_grpc, needs_http) =
            (mix.iter().any(|e| e.request.is_grpc()), mix.iter().any(|e| !e.request.is_grpc()));
        if needs_grpc && target.grpc.is_none() {
            self.complain(&target.here, "an entry speaks kserve-grpc; add grpc = \"http://127.0.0.1:8001\"");
        }
        if needs_http && target.http.is_none() {
            self.complain(&target.here, "an entry speaks HTTP; add http = \"http://127.0.0.1:8000\"");
        }
        if let (Some(tls), false) = (&target.tls, secure) {
            self.complain(&tls.here, "is of no use, since no URL begins with https://; write https://, or remove it");
        }
        for (name, value) in &target.headers {
            if let Err(message) = self.header(name, &value.value) {
                self.complain(value, message);
            }
        }
        let text = |url: &Option<Located<String>>| url.as_ref().map(|url| url.value.clone());
        Target {
            http: text(&target.http),
            grpc: text(&target.grpc),
            metrics: text(&target.metrics),
            http_version: target.http_version.as_ref().map_or_else(Default::default, |version| version.value),
            headers: target.headers.iter().map(|(name, value)| (name.clone(), value.value.clone())).collect(),
            tls: target.tls.as_ref().map(|tls| self.tls(tls)),
        }
    }

    fn header(&self, name: &str, value: &str) -> Result<(), String> {
        if value.contains("{{") {
            return Err("only an entry's headers are filled with {{…}}; write the value, or ${env:NAME}".to_owned());
        }
        if is_grpcs_own(name) {
            return Err("belongs to the protocol itself; other names are free, such as authorization".to_owned());
        }
        header(name, value)
    }

    fn tls(&self, tls: &written::Tls) -> TlsOptions {
        let file = |path: &Located<String>| self.folder.join(&path.value);
        let identity = match (&tls.client_cert, &tls.client_key) {
            (Some(cert), Some(key)) => Some(Identity { cert: file(cert), key: file(key) }),
            (Some(alone), None) => {
                self.complain(alone, "a certificate needs its private key; add client_key = \"client-key.pem\"");
                None
            }
            (None, Some(alone)) => {
                self.complain(alone, "a private key needs its certificate; add client_cert = \"client.pem\"");
                None
            }
            (None, None) => None,
        };
        let insecure = tls.insecure.as_ref().is_some_and(|insecure| insecure.value);
        if let (Some(ca), true) = (&tls.ca, insecure) {
            self.complain(ca, "insecure = true trusts everybody, so this authority is never asked; remove one of them");
        }
        let server_name = tls.server_name.as_ref().map(|name| name.value.clone());
        let options = TlsOptions { ca: tls.ca.as_ref().map(file), identity, server_name, insecure };
        for problem in options.problems() {
            let keys = [("ca", &tls.ca), ("client_cert", &tls.client_cert), ("client_key", &tls.client_key)];
            let key = keys.into_iter().find(|(key, _)| *key == problem.key).and_then(|(_, at)| at.as_ref());
            match key.or(tls.server_name.as_ref()) {
                Some(at) => self.complain(at, &problem.message),
                None => self.complain(&tls.here, &problem.message),
            }
        }
        options
    }
}
