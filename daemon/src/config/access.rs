//! `[access]`: who may ask, and who may change what is served.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::layers::Origin;

/// The key that holds a secret itself.
const ADMIN_TOKEN: &str = "access.admin_token";

/// `[access]`
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// What callers show who load and unload models and change settings; from the environment rather than a file that
    /// others read, and never from a flag.
    pub admin_token: Option<Secret>,
    /// A file with nothing but that.
    pub admin_token_file: Option<PathBuf>,
    /// Whether everybody may do so on a daemon that other machines can reach and that has no token.
    pub control_without_token: bool,
    /// The keys of those who may ask at all, with tiers, quotas and teams; without it everybody may.
    pub keys_file: Option<PathBuf>,
    /// Where it is kept what was used of quotas.
    pub usage_file: Option<PathBuf>,
    /// Whether reading metrics takes a key.
    pub metrics_need_key: bool,
}

impl Access {
    /// Whether there is an admin token.
    pub fn has_token(&self) -> bool {
        self.admin_token.is_some() || self.admin_token_file.is_some()
    }
}

/// Text that is never shown.
#[derive(Clone, PartialEq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text secret.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What is wrong with where the secrets came from: every user of the machine sees the flags of all processes.
pub fn exposed(origins: &BTreeMap<String, Origin>) -> Option<String> {
    let Some(Origin::Flag(_)) = origins.get(ADMIN_TOKEN) else { return None };
    let variable = super::layers::variable(ADMIN_TOKEN);
    Some(format!(
        "{ADMIN_TOKEN} must not be a flag, which every user of this machine can read; use {variable} or a file"
    ))
}

/// What the section means for a daemon that other machines may reach and whose clients may load models.
pub(super) fn check(access: &Access, reachable: bool, explicit: bool, check: &mut super::Check) {
    check.that(
        access.admin_token.is_none() || access.admin_token_file.is_none(),
        "access.admin_token and access.admin_token_file say the same thing; give one of them",
    );
    check.that(
        access.keys_file.is_some() || access.usage_file.is_none(),
        "access.usage_file needs access.keys_file, whose quotas it is about",
    );
    check
        .that(access.keys_file.is_some() || !access.metrics_need_key, "access.metrics_need_key needs access.keys_file");
    check.that(
        !(reachable && explicit) || access.has_token() || access.control_without_token,
        "models.control = \"explicit\" on an address beyond loopback lets everybody load models: set \
         access.admin_token_file, or access.control_without_token = true if that is what you want",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_show() {
        let access = Access { admin_token: Some(Secret::new("hush".to_owned())), ..Access::default() };
        assert!(!format!("{access:?}").contains("hush"));
        let origin = |origin| BTreeMap::from([(ADMIN_TOKEN.to_owned(), origin)]);
        let said = exposed(&origin(Origin::Flag("--set access.admin_token".to_owned()))).unwrap();
        assert!(said.contains("PROOFLOAD_ACCESS_ADMIN_TOKEN"), "{said}");
        assert_eq!(exposed(&origin(Origin::Environment("X".to_owned()))), None);
        assert_eq!(exposed(&BTreeMap::new()), None);
    }
}
