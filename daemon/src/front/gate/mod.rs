//! The gate before all doors: who asks, whether it may, and whether it has asked too often. Whoever shows a key is counted
//! by the key, everybody else by the address. Decisions are made in `admit`; here are the tables, and the clock of those
//! who come is handed in.

mod keeper;
mod layer;
mod meters;
mod shared;
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
use self::shared::Shared;
pub(super) use self::toll::Toll;
use super::admin::Admin;
use super::credentials;
use crate::admit::keys::{Caller, Keyring};
use crate::admit::quota::{self, Ledger};
use crate::admit::rate::{self, Exceeded, Rate, Rates, Standing};
use crate::config::Config;
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
    /// Where other daemons count, too.
    shared: Option<Shared>,
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
    /// When the file of keys, or the one of what was used, cannot be read, or the Redis is none.
    pub fn open(config: &Config, admin: Admin, registry: &mut Registry) -> Result<Option<Arc<Self>>, Vec<String>> {
        let Config { access, by_address, shared_limits, .. } = config;
        if access.keys_file.is_none() && by_address.is_none() {
            return Ok(None);
        }
        let mut files = Files::new(access.keys_file.clone(), access.usage_file.clone());
        let keyring = files.keys().transpose()?;
        let ledger = files.usage().map_err(|error| vec![error])?;
        let shared = shared_limits.as_ref().map(Shared::start).transpose().map_err(|error| vec![error])?;
        let meters = Meters::register(registry);
        let now = Instant::now();
        let (clients, keys) = (by_address.map_or(0, |by| by.max_clients), usize::MAX);
        let counts = Counts { addresses: Rates::new(clients, now), keys: Rates::new(keys, now), ledger, dirty: false };
        Ok(Some(Arc::new(Self {
            admin,
            keyring: keyring.map(ArcSwap::from_pointee),
            by_address: *by_address,
            shared,
            metrics_need_key: access.metrics_need_key,
            max_body_bytes: config.front.max_body_bytes,
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
    async fn identify(&self, headers: &HeaderMap, peer: IpAddr, now: Instant) -> Result<Who, Refused> {
        let Some(keyring) = &self.keyring else { return Ok(Who::Address(peer)) };
        let keyring = keyring.load();
        if let Some(caller) = credentials::shown(headers).find_map(|secret| keyring.find(secret)) {
            return Ok(Who::Key(Arc::clone(caller)));
        }
        if self.admin.recognizes(headers) {
            return Ok(Who::Admin);
        }
        self.charge(&Who::Address(peer), now, 0).await?;
        let (reason, what) = match credentials::shown(headers).next() {
            None => (Reason::NoKey, "this server wants a key"),
            Some(_) => (Reason::WrongKey, "this key is not known"),
        };
        let error = format!("{what}; send `authorization: Bearer …` or `{}`", credentials::API_KEY);
        Err(Refused { reason, error: ServeError::Unauthenticated(error), standing: None })
    }

    /// Counts a request. Says how whoever asks stands, where a rate holds of it.
    async fn charge(&self, who: &Who, now: Instant, unix_s: u64) -> Result<Option<Standing>, Refused> {
        match who {
            Who::Admin => Ok(None),
            Who::Address(address) => {
                let Some(ByAddress { rate, .. }) = &self.by_address else { return Ok(None) };
                let client = rate::client(*address);
                let name = format!("address:{client}");
                let together = self.shared.as_ref().map(|shared| shared.count(&name, rate));
                let counted = count(together, || self.counts().addresses.count(client, rate, now)).await;
                counted.map(Some).map_err(|over| too_often(Reason::RateOfAddress, "this address", &over))
            }
            Who::Key(caller) => {
                let standing = self.charge_rate(caller, now).await?;
                self.charge_quotas(caller, unix_s).await.map_err(|error| Refused { standing, ..error })?;
                self.meters.asked(&caller.name);
                Ok(standing)
            }
        }
    }

    async fn charge_rate(&self, caller: &Caller, now: Instant) -> Result<Option<Standing>, Refused> {
        let Some(rate) = &caller.rate else { return Ok(None) };
        let name = format!("key:{}", caller.name);
        let together = self.shared.as_ref().map(|shared| shared.count(&name, rate));
        let counted = count(together, || self.counts().keys.count(caller.name.clone(), rate, now)).await;
        counted.map(Some).map_err(|over| too_often(Reason::RateOfKey, &format!("key '{}'", caller.name), &over))
    }

    async fn charge_quotas(&self, caller: &Caller, unix_s: u64) -> Result<(), Refused> {
        let subjects = caller.subjects();
        if subjects.is_empty() {
            return Ok(());
        }
        let due = quota::due(&subjects, unix_s);
        let together = self.shared.as_ref().map(|shared| shared.take(&due));
        let alone = || {
            let mut counts = self.counts();
            counts.dirty = true;
            counts.ledger.take(&subjects, unix_s)
        };
        count(together, alone).await.map_err(|up| {
            let error = ServeError::TooManyRequests { message: up.what, retry_after: up.retry_after };
            Refused { reason: Reason::Quota, error, standing: None }
        })
    }

    /// Takes back what a request was counted for that was not served for want of room.
    async fn give_back(&self, who: &Who, unix_s: u64) {
        let Who::Key(caller) = who else { return };
        let subjects = caller.subjects();
        if subjects.is_empty() {
            return;
        }
        {
            let mut counts = self.counts();
            counts.ledger.give_back(&subjects, unix_s);
            counts.dirty = true;
        }
        if let Some(shared) = &self.shared {
            shared.give_back(&quota::due(&subjects, unix_s)).await;
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts together with others, or alone where there are none or they cannot be asked. What was let in together is counted
/// here as well, for the time when they cannot be asked.
async fn count<T, E>(
    together: Option<impl Future<Output = Option<Result<T, E>>>>,
    alone: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let together = match together {
        Some(asked) => asked.await,
        None => None,
    };
    match together {
        Some(Ok(counted)) => {
            // That more are in than may come alone is what counting together is for.
            let _ = alone();
            Ok(counted)
        }
        Some(refused) => refused,
        None => alone(),
    }
}

fn too_often(reason: Reason, who: &str, over: &Exceeded) -> Refused {
    let Exceeded { standing, retry_after } = *over;
    let Rate { requests, per, .. } = standing.rate;
    let per = if per == Duration::from_secs(60) { "minute".to_owned() } else { format!("{} s", per.as_secs_f64()) };
    let message = format!("{who} has made its {requests} requests per {per}");
    Refused { reason, error: ServeError::TooManyRequests { message, retry_after }, standing: Some(standing) }
}
