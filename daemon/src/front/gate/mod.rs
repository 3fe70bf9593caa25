//! The gate before all doors: who asks, whether it may, and whether it has asked too often. Whoever shows a key is counted
//! by the key, everybody else by the address. Decisions are made in `admit`; here are the tables, and the clock of those
//! who come is handed in.

mod keeper;
mod layer;
mod meters;
mod toll;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::HeaderMap;
use prometheus_client::registry::Registry;

use self::keeper::Files;
pub(super) use self::layer::guard;
use self::meters::{Meters, Reason};
pub(super) use self::toll::Toll;
use super::admin::Admin;
use super::credentials;
use crate::admit::keys::{Caller, Keyring};
use crate::admit::quota::Ledger;
use crate::admit::rate::{self, Exceeded, Rate, Rates, Standing};
use crate::config::access::Access;
use crate::config::rate_limit::ByAddress;
use crate::engine::ServeError;

/// Header that a handler reads: the request is at most as urgent as this level. Whoever sends it itself can only step back.
pub(super) const LEAST_PRIORITY: &str = "x-proofload-least-priority";

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer(pub(super) IpAddr);

/// Who asks.
#[derive(Debug, Clone)]
enum Who {
    /// Somebody with the admin token, who is not counted.
    Admin,
    /// Somebody with a key.
    Key(Arc<Caller>),
    /// Somebody at an address.
    Address(IpAddr),
}

/// Why a request stays outside.
#[derive(Debug)]
struct Refused {
    reason: Reason,
    error: ServeError,
    standing: Option<Standing>,
}

/// What changes with every request.
#[derive(Debug)]
struct Counts {
    addresses: Rates<IpAddr>,
    keys: Rates<String>,
    ledger: Ledger,
    /// Whether the ledger has changed since it was last written.
    dirty: bool,
}

/// The gate.
#[derive(Debug)]
pub struct Gate {
    admin: Admin,
    /// Who may come in, where that is not everybody.
    keyring: Option<ArcSwap<Keyring>>,
    by_address: Option<ByAddress>,
    metrics_need_key: bool,
    /// Longest body that is read to its end although its request stays outside.
    max_body_bytes: usize,
    counts: Mutex<Counts>,
    files: Mutex<Files>,
    meters: Meters,
}

impl Gate {
    /// The gate that a configuration asks for, if any.
    ///
    /// # Errors
    /// When the file of keys, or the one of what was used, cannot be read.
    pub fn open(
        access: &Access,
        by_address: Option<ByAddress>,
        admin: Admin,
        max_body_bytes: usize,
        registry: &mut Registry,
    ) -> Result<Option<Arc<Self>>, Vec<String>> {
        if access.keys_file.is_none() && by_address.is_none() {
            return Ok(None);
        }
        let mut files = Files::new(access.keys_file.clone(), access.usage_file.clone());
        let keyring = files.keys().transpose()?;
        let ledger = files.usage().map_err(|error| vec![error])?;
        let meters = Meters::register(registry);
        let now = Instant::now();
        let (clients, keys) = (by_address.map_or(0, |by| by.max_clients), usize::MAX);
        let counts = Counts { addresses: Rates::new(clients, now), keys: Rates::new(keys, now), ledger, dirty: false };
        Ok(Some(Arc::new(Self {
            admin,
            keyring: keyring.map(ArcSwap::from_pointee),
            by_address,
            metrics_need_key: access.metrics_need_key,
            max_body_bytes,
            counts: Mutex::new(counts),
            files: Mutex::new(files),
            meters,
        })))
    }

    /// Whether it wants to know where requests come from.
    pub(super) fn asks_for_peers(&self) -> bool {
        self.by_address.is_some()
    }

    /// Who asks. Whoever shows nothing, or something wrong, is counted by its address: secrets are not to be tried out.
    fn identify(&self, headers: &HeaderMap, peer: IpAddr, now: Instant) -> Result<Who, Refused> {
        let Some(keyring) = &self.keyring else { return Ok(Who::Address(peer)) };
        let keyring = keyring.load();
        if let Some(caller) = credentials::shown(headers).find_map(|secret| keyring.find(secret)) {
            return Ok(Who::Key(Arc::clone(caller)));
        }
        if self.admin.recognizes(headers) {
            return Ok(Who::Admin);
        }
        self.charge(&Who::Address(peer), now, 0)?;
        let (reason, what) = match credentials::shown(headers).next() {
            None => (Reason::NoKey, "this server wants a key"),
            Some(_) => (Reason::WrongKey, "this key is not known"),
        };
        let error = format!("{what}; send `authorization: Bearer …` or `{}`", credentials::API_KEY);
        Err(Refused { reason, error: ServeError::Unauthenticated(error), standing: None })
    }

    /// Counts a request. Says how whoever asks stands, where a rate holds of it.
    fn charge(&self, who: &Who, now: Instant, unix_s: u64) -> Result<Option<Standing>, Refused> {
        match who {
            Who::Admin => Ok(None),
            Who::Address(address) => {
                let Some(ByAddress { rate, .. }) = &self.by_address else { return Ok(None) };
                let counted = self.counts().addresses.count(rate::client(*address), rate, now);
                counted.map(Some).map_err(|over| too_often(Reason::RateOfAddress, "this address", &over))
            }
            Who::Key(caller) => self.charge_key(caller, now, unix_s),
        }
    }

    fn charge_key(&self, caller: &Caller, now: Instant, unix_s: u64) -> Result<Option<Standing>, Refused> {
        let mut counts = self.counts();
        let by_rate = |rate: &Rate| {
            let counted = counts.keys.count(caller.name.clone(), rate, now);
            counted.map_err(|over| too_often(Reason::RateOfKey, &format!("key '{}'", caller.name), &over))
        };
        let standing = caller.rate.as_ref().map(by_rate).transpose()?;
        let subjects = caller.subjects();
        counts.ledger.take(&subjects, unix_s).map_err(|up| {
            let error = ServeError::TooManyRequests { message: up.what, retry_after: up.retry_after };
            Refused { reason: Reason::Quota, error, standing }
        })?;
        counts.dirty |= !subjects.is_empty();
        drop(counts);
        self.meters.asked(&caller.name);
        Ok(standing)
    }

    /// Takes back what a request was counted for that was not served for want of room.
    fn give_back(&self, who: &Who, unix_s: u64) {
        let Who::Key(caller) = who else { return };
        let subjects = caller.subjects();
        if !subjects.is_empty() {
            let mut counts = self.counts();
            counts.ledger.give_back(&subjects, unix_s);
            counts.dirty = true;
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn too_often(reason: Reason, who: &str, over: &Exceeded) -> Refused {
    let Exceeded { standing, retry_after } = *over;
    let Rate { requests, per, .. } = standing.rate;
    let per = if per == Duration::from_secs(60) { "minute".to_owned() } else { format!("{} s", per.as_secs_f64()) };
    let message = format!("{who} has made its {requests} requests per {per}");
    Refused { reason, error: ServeError::TooManyRequests { message, retry_after }, standing: Some(standing) }
}
