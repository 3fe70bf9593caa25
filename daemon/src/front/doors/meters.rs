//! The doors' metrics: connections that were cut off or turned away, by reason.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::vigil::Cause;
use crate::telemetry::catalogue::CONNECTIONS_CUT;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// The counters.
#[derive(Debug, Clone, Default)]
pub struct Meters {
    cut: Family<ReasonLabel, Counter>,
}

impl Meters {
    /// Counters that a scrape shows.
    pub fn register(registry: &mut Registry) -> Self {
        let meters = Self::default();
        registry.register(CONNECTIONS_CUT.name, CONNECTIONS_CUT.help, meters.cut.clone());
        meters
    }

    pub(super) fn cut(&self, cause: Cause) {
        let reason = match cause {
            Cause::SlowHead => "slow_head",
            Cause::SlowReader => "slow_reader",
            Cause::Resets => "resets",
        };
        self.count(reason);
    }

    /// There were too many from its address.
    pub(super) fn turned_away(&self) {
        self.count("per_address");
    }

    /// No handshake of TLS came about.
    pub(super) fn no_handshake(&self) {
        self.count("tls");
    }

    fn count(&self, reason: &'static str) {
        self.cut.get_or_create(&ReasonLabel { reason }).inc();
    }
}
