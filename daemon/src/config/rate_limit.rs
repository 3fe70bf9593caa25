//! `[rate_limit]`: how often one address may ask.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Check;
use super::access::{Access, Secret};
use crate::admit::rate::Rate;

/// More is not a budget but a wait.
const LONGEST_BUDGET_MS: u64 = 10_000;
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
    /// A Redis in which several daemons count together, addresses as well as keys and quotas.
    pub shared_redis: Option<String>,
    /// What asking it may add to a request, in milliseconds. Who gets no answer by then counts alone.
    pub shared_budget_ms: u64,
}

impl Default for AddressRate {
    fn default() -> Self {
        Self {
            profile: "off".to_owned(),
            requests: None,
            seconds: None,
            burst: None,
            max_clients: 65_536,
            shared_redis: None,
            shared_budget_ms: 20,
        }
    }
}

/// Where several daemons count together.
#[derive(Debug, Clone, PartialEq)]
pub struct Shared {
    /// The Redis.
    pub url: Secret,
    /// What asking it may add to a request.
    pub budget: Duration,
}

/// What the section means: what holds of addresses, and where several daemons count together.
pub(super) fn limits(written: &AddressRate, access: &Access, check: &mut Check) -> (Option<ByAddress>, Option<Shared>) {
    let by_address = by_address(written, check);
    let counts = by_address.is_some() || access.keys_file.is_some();
    (by_address, shared(written, counts, check))
}

fn shared(written: &AddressRate, counts: bool, check: &mut Check) -> Option<Shared> {
    let budget_ms = written.shared_budget_ms;
    check.that((1..=LONGEST_BUDGET_MS).contains(&budget_ms), "rate_limit.shared_budget_ms must be between 1 and 10000");
    let url = written.shared_redis.clone()?;
    check.that(
        counts,
        "rate_limit.shared_redis shares the counts of rate_limit.profile and access.keys_file, of which there is none",
    );
    Some(Shared { url: Secret::new(url), budget: Duration::from_millis(budget_ms) })
}

/// What holds of every address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByAddress {
    /// How often it may ask.
    pub rate: Rate,
    /// Addresses that are known at a time.
    pub max_clients: usize,
}

fn by_address(written: &AddressRate, check: &mut Check) -> Option<ByAddress> {
    let AddressRate { profile, requests, seconds, burst, max_clients, .. } = written;
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
