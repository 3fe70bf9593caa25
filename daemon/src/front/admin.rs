//! Who may change what the daemon serves: the one place that every administrative call asks. Whoever can reach a daemon on
//! loopback may, unless there is a token; beyond loopback nobody may without one.

use std::net::IpAddr;
use std::path::Path;

use http::HeaderMap;

use super::credentials;
use crate::admit::secret::{Digest, SHORTEST};
use crate::config::access::Access;
use crate::engine::ServeError;

/// Header of a caller whose `authorization` is taken by a key of its own.
pub const ADMIN_TOKEN: &str = "x-proofload-admin-token";

/// Who may, and who can reach the doors.
#[derive(Debug, Clone, Copy)]
pub struct Admin {
    rule: Rule,
    /// Whether other machines can.
    pub reachable: bool,
}

/// Who may.
#[derive(Debug, Clone, Copy)]
enum Rule {
    /// Everybody.
    Everybody,
    /// Who shows the token.
    Token(Digest),
    /// Nobody, because there is no token that would tell callers apart.
    Nobody,
}

impl Admin {
    /// Who may on a daemon that is bound to this address.
    ///
    /// # Errors
    /// When the token cannot be read, or can be guessed.
    pub fn new(access: &Access, bind: IpAddr) -> Result<Self, String> {
        let reachable = !bind.is_loopback();
        let rule = match token(access)? {
            Some(token) => Rule::Token(Digest::of(&token)),
            None if reachable && !access.control_without_token => Rule::Nobody,
            None => Rule::Everybody,
        };
        Ok(Self { rule, reachable })
    }

    /// Everybody, on a daemon that only this machine can reach.
    pub fn everybody() -> Self {
        Self { rule: Rule::Everybody, reachable: false }
    }

    /// Whether these headers show the token, where there is one.
    pub(super) fn recognizes(&self, headers: &HeaderMap) -> bool {
        matches!(self.rule, Rule::Token(_)) && self.permit(headers).is_ok()
    }

    /// Whether an administrative call with these headers, or this metadata, may go on.
    ///
    /// # Errors
    /// When it may not.
    pub(super) fn permit(&self, headers: &HeaderMap) -> Result<(), ServeError> {
        match &self.rule {
            Rule::Everybody => Ok(()),
            Rule::Token(token) if shown(headers).any(|secret| Digest::of(secret).is(token)) => Ok(()),
            Rule::Token(_) => Err(ServeError::Unauthenticated(format!(
                "models are loaded and unloaded, and settings changed, with the admin token only; send `authorization: \
                 Bearer …` or `{ADMIN_TOKEN}`"
            ))),
            Rule::Nobody => Err(ServeError::Unsupported(
                "models can be loaded and unloaded, and settings changed, only on a daemon that is bound to a loopback \
                 address, or with an admin token (`access.admin_token_file`)"
                    .to_owned(),
            )),
        }
    }
}

/// Every secret that might be the token.
fn shown(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let own = headers.get(ADMIN_TOKEN).and_then(|value| value.to_str().ok());
    own.into_iter().chain(credentials::shown(headers))
}

fn token(access: &Access) -> Result<Option<String>, String> {
    let token = match (&access.admin_token, &access.admin_token_file) {
        (Some(token), _) => token.expose().to_owned(),
        (None, Some(path)) => read(path)?,
        (None, None) => return Ok(None),
    };
    if token.len() < SHORTEST {
        return Err(format!("the admin token can be guessed; it must have at least {SHORTEST} characters"));
    }
    Ok(Some(token))
}

fn read(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path);
    let text =
        text.map_err(|error| format!("access.admin_token_file = {}: cannot be read: {error}", path.display()))?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::access::Secret;

    const TOKEN: &str = "0123456789abcdef";

    fn access(token: Option<&str>, control_without_token: bool) -> Access {
        Access {
            admin_token: token.map(|token| Secret::new(token.to_owned())),
            control_without_token,
            ..Access::default()
        }
    }

    #[test]
    fn who_may() {
        let check = |access: &Access, bind: &str, headers: &[(&'static str, &str)], expected: Result<(), &str>| {
            let admin = Admin::new(access, bind.parse().unwrap()).unwrap();
            let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            match (admin.permit(&headers), expected) {
                (Ok(()), Ok(())) => {}
                (Err(error), Err(part)) => assert!(format!("{error:?}").contains(part), "{error:?}"),
                (found, expected) => panic!("{bind} {headers:?}: {found:?}, expected {expected:?}"),
            }
        };
        check(&access(None, false), "127.0.0.1", &[], Ok(()));
        check(&access(None, false), "0.0.0.0", &[], Err("Unsupported"));
        check(&access(None, true), "0.0.0.0", &[], Ok(()));
        for bind in ["127.0.0.1", "0.0.0.0"] {
            let with = access(Some(TOKEN), true);
            check(&with, bind, &[], Err("Unauthenticated"));
            check(&with, bind, &[("authorization", "Bearer 0123456789abcdef")], Ok(()));
            check(&with, bind, &[("x-api-key", "pl_x"), (ADMIN_TOKEN, TOKEN)], Ok(()));
            check(&with, bind, &[("authorization", "Bearer 0123456789abcdeF")], Err("Unauthenticated"));
            check(&with, bind, &[("authorization", TOKEN)], Err("Unauthenticated"));
        }
    }

    #[test]
    fn a_token_that_is_no_secret_is_refused() {
        let local = IpAddr::from([127, 0, 0, 1]);
        assert!(Admin::new(&access(Some("short"), false), local).unwrap_err().contains("at least 16"));
        let nowhere = Access { admin_token_file: Some("/nowhere/token".into()), ..Access::default() };
        assert!(Admin::new(&nowhere, local).unwrap_err().contains("/nowhere/token: cannot be read"));
    }
}
