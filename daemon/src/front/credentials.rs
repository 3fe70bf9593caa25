//! The secrets that a request shows: `authorization: Bearer …` and `x-api-key`. Whether they are right is not known here.

use http::HeaderMap;
use http::header::AUTHORIZATION;

/// The header of those who cannot set `authorization`.
pub(super) const API_KEY: &str = "x-api-key";

/// Every secret that a request shows.
pub(super) fn shown(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let text = |name| headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    let bearer = text(AUTHORIZATION.as_str()).filter_map(bearer);
    bearer.chain(text(API_KEY).map(str::trim)).filter(|secret| !secret.is_empty())
}

/// The name of a scheme is written in any case (RFC 9110, section 11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, secret) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found() {
        let check = |headers: &[(&'static str, &str)], expected: &[&str]| {
            let map: HeaderMap =
                headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            assert_eq!(shown(&map).collect::<Vec<_>>(), expected, "{headers:?}");
        };
        check(&[], &[]);
        check(&[("authorization", "Bearer a")], &["a"]);
        check(&[("authorization", "bEARER  a ")], &["a"]);
        check(&[("authorization", "Basic a")], &[]);
        check(&[("authorization", "Bearer")], &[]);
        check(&[("x-api-key", "b"), ("authorization", "Bearer a")], &["a", "b"]);
        check(&[("x-api-key", "")], &[]);
    }
}
