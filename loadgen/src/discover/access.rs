//! How a target is spoken to where that takes more than its URL: headers of every request, and TLS. Headers hold
//! references to the environment (`${env:NAME}`); a secret itself is refused, since all of this is written into a file.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::SurveyError;
use crate::scenario::environment;
use crate::transport::{Address, BaseUrl, HttpVersion, Identity, TlsOptions};

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// By name, in lower case.
    pub headers: BTreeMap<String, String>,
    /// What TLS needs.
    pub tls: TlsOptions,
}

/// Why somebody cannot speak to a target so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// No header.
    #[error("`{0}` is no header; write 'name: value'")]
    Header(String),
    /// The same name again.
    #[error("the header `{0}` is there twice; remove one of them")]
    Twice(String),
    /// A value that should not be in a file.
    #[error(
        "`{name}` carries a secret, and a secret is not written into a file: put it into the environment and write, in \
         single quotes, '{name}: {example}'"
    )]
    Secret {
        /// The header.
        name: String,
        /// How its value may be written.
        example: &'static str,
    },
    /// Nothing is encrypted.
    #[error("certificates are of no use, since no URL begins with https://; write https://, or leave them out")]
    InVain,
    /// A header that cannot be sent.
    #[error("{0}")]
    Unfit(String),
}

impl Access {
    /// Takes in a header written as `name: value`.
    ///
    /// # Errors
    /// When it is none, is there already, or holds a secret.
    pub fn add_header(&mut self, text: &str) -> Result<(), AccessError> {
        let (name, value) = text.split_once(':').ok_or_else(|| AccessError::Header(name_only(text)))?;
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        if name.is_empty() || value.is_empty() {
            return Err(AccessError::Header(name_only(text)));
        }
        if is_secret(&name) && !environment::refers(value) {
            let bearer = value.to_ascii_lowercase().starts_with("bearer ");
            let example = if bearer || name == "authorization" { "Bearer ${env:TOKEN}" } else { "${env:TOKEN}" };
            return Err(AccessError::Secret { name, example });
        }
        match self.headers.insert(name.clone(), value.to_owned()) {
            None => Ok(()),
            Some(_) => Err(AccessError::Twice(name)),
        }
    }

    /// Whether it fits the URLs that are spoken to.
    ///
    /// # Errors
    /// When it speaks of TLS and no URL does.
    pub fn check<'a>(&self, urls: impl IntoIterator<Item = &'a str>) -> Result<(), AccessError> {
        let is_tls = |url| BaseUrl::parse(url).is_ok_and(|url| url.is_tls());
        let in_vain = self.tls != TlsOptions::default() && !urls.into_iter().any(is_tls);
        if in_vain { Err(AccessError::InVain) } else { Ok(()) }
    }

    /// The same with its files as they are seen from a folder. Both it and the folders of the files have to exist;
    /// otherwise their paths stay as they are.
    #[must_use]
    pub fn seen_from(&self, folder: &Path) -> Self {
        let seen = |path: &PathBuf| seen_from(folder, path);
        let identity = self.tls.identity.as_ref();
        let identity = identity.map(|identity| Identity { cert: seen(&identity.cert), key: seen(&identity.key) });
        let tls = TlsOptions { ca: self.tls.ca.as_ref().map(seen), identity, ..self.tls.clone() };
        Self { headers: self.headers.clone(), tls }
    }

    /// A side of the target, spoken to so.
    pub(super) async fn reach(&self, url: &str, version: HttpVersion) -> Result<Address, SurveyError> {
        let headers = environment::header_map(&self.headers).map_err(AccessError::Unfit)?;
        Ok(Address::reach(url, version, &self.tls).await?.with_headers(&Arc::new(headers)))
    }
}

/// What may be printed of what may hold a secret.
fn name_only(text: &str) -> String {
    text.split_once([':', '=', ' ']).map_or(text, |(name, _)| name).to_owned()
}

/// Whether headers of this name hold secrets.
fn is_secret(name: &str) -> bool {
    const PARTS: [&str; 6] = ["authorization", "cookie", "token", "secret", "api-key", "apikey"];
    PARTS.iter().any(|part| name.contains(part))
}

fn seen_from(folder: &Path, path: &Path) -> PathBuf {
    if path.is_absolute() {
        return path.to_owned();
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Not the file itself: it may be a link that changes when a certificate is renewed.
    match (folder.canonicalize(), parent.canonicalize(), path.file_name()) {
        (Ok(folder), Ok(parent), Some(name)) => way(&folder, &parent.join(name)),
        _ => path.to_owned(),
    }
}

/// The way from a folder to a file, both absolute and without `..`.
fn way(folder: &Path, file: &Path) -> PathBuf {
    let (from, to): (Vec<_>, Vec<_>) = (folder.components().collect(), file.components().collect());
    let same = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n(Component::ParentDir, from.len() - same);
    up.chain(to[same..].iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_secrets_refused() {
        let check = |texts: &[&str], expected: Result<&[(&str, &str)], &str>| {
            let mut access = Access::default();
            let added = texts.iter().try_for_each(|text| access.add_header(text));
            match (added, expected) {
                (Ok(()), Ok(expected)) => {
                    let found: Vec<_> = access.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
                    assert_eq!(found, expected);
                }
                (Err(said), Err(part)) => {
                    let said = said.to_string();
                    assert!(said.contains(part) && !said.contains("s3cret"), "{said}");
                }
                (found, _) => panic!("{texts:?}: {found:?}"),
            }
        };
        check(&["X-Team: blue", "accept:a:b"], Ok(&[("accept", "a:b"), ("x-team", "blue")]));
        check(&["Authorization: Bearer ${env:TOKEN}"], Ok(&[("authorization", "Bearer ${env:TOKEN}")]));
        check(&["Authorization: Bearer s3cret"], Err("'authorization: Bearer ${env:TOKEN}'"));
        check(&["X-Api-Key: s3cret"], Err("'x-api-key: ${env:TOKEN}'"));
        check(&["cookie: id=s3cret"], Err("carries a secret"));
        check(&["X-Team: blue", "x-team: red"], Err("`x-team` is there twice"));
        check(&["token=s3cret"], Err("`token` is no header; write 'name: value'"));
        check(&["x-team:"], Err("`x-team` is no header"));
        check(&[": s3cret"], Err("is no header"));
    }

    #[test]
    fn files_are_named_as_the_scenario_sees_them() {
        let check = |folder: &str, file: &str, expected: &str| {
            assert_eq!(way(Path::new(folder), Path::new(file)), Path::new(expected), "{folder} {file}");
        };
        check("/a/b", "/a/b/ca.pem", "ca.pem");
        check("/a/b", "/a/b/certs/ca.pem", "certs/ca.pem");
        check("/a/b/load", "/a/b/ca.pem", "../ca.pem");
        check("/a/b/load/x", "/a/certs/ca.pem", "../../../certs/ca.pem");
        check("/", "/ca.pem", "ca.pem");
        assert_eq!(seen_from(Path::new("nowhere"), Path::new("ca.pem")), Path::new("ca.pem"));
        assert_eq!(seen_from(Path::new("."), Path::new("/x/ca.pem")), Path::new("/x/ca.pem"));
    }

    #[test]
    fn certificates_need_tls() {
        let check = |tls: TlsOptions, urls: &[&str], expected: bool| {
            let access = Access { tls, ..Access::default() };
            assert_eq!(access.check(urls.iter().copied()).is_ok(), expected, "{urls:?}");
        };
        let insecure = || TlsOptions { insecure: true, ..TlsOptions::default() };
        check(TlsOptions::default(), &["http://a:1"], true);
        check(insecure(), &["http://a:1"], false);
        check(insecure(), &["http://a:1", "https://a:2"], true);
    }
}
