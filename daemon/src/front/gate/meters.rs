//! What the gate counts: who was kept outside and why, and how often each key asked. A key is known here by its name only.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::telemetry::catalogue::{GATE_REFUSED, KEY_REQUESTS, Metric};

/// Why a request was kept outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// It showed no key.
    NoKey,
    /// It showed something else.
    WrongKey,
    /// Its address asks too often.
    RateOfAddress,
    /// Its key asks too often.
    RateOfKey,
    /// A quota is used up.
    Quota,
}

impl Reason {
    fn label(self) -> ReasonLabel {
        let reason = match self {
            Self::NoKey => "no_key",
            Self::WrongKey => "wrong_key",
            Self::RateOfAddress => "address_rate",
            Self::RateOfKey => "key_rate",
            Self::Quota => "quota",
        };
        ReasonLabel { reason }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KeyLabel {
    key: String,
}

/// The counters.
#[derive(Debug, Clone, Default)]
pub(super) struct Meters {
    refused: Family<ReasonLabel, Counter>,
    keys: Family<KeyLabel, Counter>,
}

impl Meters {
    /// Puts them into the registry.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let meters = Self::default();
        let Metric { name, help } = GATE_REFUSED;
        registry.register(name, help, meters.refused.clone());
        let Metric { name, help } = KEY_REQUESTS;
        registry.register(name, help, meters.keys.clone());
        meters
    }

    /// A request was kept outside.
    pub(super) fn refused(&self, reason: Reason) {
        self.refused.get_or_create(&reason.label()).inc();
    }

    /// A request with the key of this name came in.
    pub(super) fn asked(&self, key: &str) {
        self.keys.get_or_create(&KeyLabel { key: key.to_owned() }).inc();
    }

    /// There is no key of this name any more.
    pub(super) fn forget(&self, key: &str) {
        self.keys.remove(&KeyLabel { key: key.to_owned() });
    }
}
