//! `[cors]`: web pages of which origins may ask.

use serde::{Deserialize, Serialize};

use super::Check;
use crate::front::doors::manners;

/// `[cors]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cors {
    /// Origins, exactly as browsers say them; `*` alone for any; none for none.
    pub origins: Vec<String>,
    /// Whether their requests may carry what the browser knows of the user.
    pub credentials: bool,
    /// For how long a browser may remember what it was told.
    pub max_age_seconds: u32,
}

impl Default for Cors {
    fn default() -> Self {
        Self { origins: Vec::new(), credentials: false, max_age_seconds: 600 }
    }
}

/// What the section means.
pub(super) fn allowed(cors: Cors, check: &mut Check) -> Option<manners::Cors> {
    let Cors { origins, credentials, max_age_seconds } = cors;
    let any = origins.iter().any(|origin| origin == "*");
    check.that(!any || origins.len() == 1, "cors.origins must be [\"*\"] alone, or origins");
    check.that(!any || !credentials, "cors.credentials needs origins by name in cors.origins, not \"*\"");
    for origin in origins.iter().filter(|origin| *origin != "*") {
        check.that(
            is_origin(origin),
            format!("cors.origins: \"{origin}\" must be as a browser says it, such as https://app.example.com"),
        );
    }
    (!origins.is_empty()).then_some(manners::Cors { origins, credentials, max_age_seconds })
}

/// A scheme, a host and maybe a port, in lower case, and nothing behind.
fn is_origin(text: &str) -> bool {
    let uri: Option<http::Uri> = text.parse().ok();
    let bare =
        text.split_once("://").is_some_and(|(_, host)| !host.is_empty() && !host.contains(['/', '?', '#', '@', '*']));
    bare && uri.is_some() && !text.bytes().any(|byte| byte.is_ascii_uppercase())
}
