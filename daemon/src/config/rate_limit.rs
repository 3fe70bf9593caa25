//! `[rate_limit]`: how often one address may ask.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Check;
use crate::admit::rate::Rate;

/// The longest time in which requests may be counted.
const LONGEST_S: f64 = 86_400.0;

/// `[rate_limit]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AddressRate {
    /// `off`, `100-per-minute`, or `custom` for what the next keys say.
    pub profile: String,
    /// With `custom`: requests of one address in so many `seconds`.
    pub requests: Option<u32>,
    /// With `custom`; 60 by default.
    pub seconds: Option<f64>,
    /// With `custom`: how many of them at once; by default all.
    pub burst: Option<u32>,
    /// Addresses that are known at a time. Those that find no place share one allowance.
    pub max_clients: usize,
}

impl Default for AddressRate {
    fn default() -> Self {
        Self { profile: "off".to_owned(), requests: None, seconds: None, burst: None, max_clients: 65_536 }
    }
}

/// What holds of every address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByAddress {
    /// How often it may ask.
    pub rate: Rate,
    /// Addresses that are known at a time.
    pub max_clients: usize,
}

/// What the section means.
pub(super) fn by_address(written: &AddressRate, check: &mut Check) -> Option<ByAddress> {
    let AddressRate { profile, requests, seconds, burst, max_clients } = written;
    let custom = profile == "custom";
    check.that(
        custom || (requests.is_none() && seconds.is_none() && burst.is_none()),
        "rate_limit.requests, seconds and burst need rate_limit.profile = \"custom\"",
    );
    check.that(*max_clients >= 1, "rate_limit.max_clients must be at least 1");
    let rate = match profile.as_str() {
        "off" => return None,
        "100-per-minute" => Rate { requests: 100, per: Duration::from_secs(60), burst: 100 },
        "custom" => self::custom(*requests, seconds.unwrap_or(60.0), *burst, check)?,
        other => {
            check.that(
                false,
                format!("rate_limit.profile = \"{other}\" must be \"off\", \"100-per-minute\" or \"custom\""),
            );
            return None;
        }
    };
    Some(ByAddress { rate, max_clients: *max_clients })
}

fn custom(requests: Option<u32>, seconds: f64, burst: Option<u32>, check: &mut Check) -> Option<Rate> {
    let requests = requests.unwrap_or(0);
    let in_range = seconds > 0.0 && seconds <= LONGEST_S;
    check.that(requests >= 1, "rate_limit.requests must be at least 1 with rate_limit.profile = \"custom\"");
    check.that(in_range, "rate_limit.seconds must be above 0 and at most 86400");
    check.that(burst != Some(0), "rate_limit.burst must be at least 1");
    let per = Duration::try_from_secs_f64(seconds).ok().filter(|_| in_range && requests >= 1)?;
    Some(Rate { requests, per, burst: burst.unwrap_or(requests) })
}
