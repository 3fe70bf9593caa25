//! Reading the configuration and the certificates again while the daemon serves: on SIGHUP, and when a file of `[tls]`
//! has changed. What cannot be read or cannot run changes nothing, and says why.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::signal::unix::Signal;

use crate::app::{DaemonError, rules};
use crate::cli::{DaemonArgs, validated};
use crate::config::changes::{self, Change};
use crate::config::layers::Merged;
use crate::config::{Config, written::Written};
use crate::front::doors::Rules;
use crate::notify::Notifier;
use crate::telemetry::logs;

/// How often the files of `[tls]` are looked at.
const LOOK_AT_FILES: Duration = Duration::from_secs(5);

/// What takes effect without a restart.
#[derive(Debug, Clone)]
pub struct Reloadable {
    /// The doors' rules.
    pub rules: Arc<ArcSwap<Rules>>,
}

impl Reloadable {
    /// Makes a configuration hold, as far as that is possible while serving.
    ///
    /// # Errors
    /// When certificates cannot be used. Nothing is changed then.
    pub fn apply(&self, config: &Config) -> Result<(), DaemonError> {
        let rules = rules(config)?;
        self.rules.store(Arc::new(rules));
        logs::choose(config.log_level);
        Ok(())
    }
}

/// Reads again what was read at the start.
pub(crate) struct Reloader {
    args: DaemonArgs,
    cores: NonZeroUsize,
    reloadable: Reloadable,
    written: Written,
    config: Config,
    stamps: Vec<Option<(SystemTime, u64)>>,
}

impl Reloader {
    /// Of a daemon that was started so.
    pub(crate) fn new(
        args: DaemonArgs,
        cores: NonZeroUsize,
        merged: Merged,
        config: Config,
        reloadable: Reloadable,
    ) -> Self {
        let stamps = stamps(&config);
        Self { args, cores, reloadable, written: merged.written, config, stamps }
    }

    /// Reads everything again; gives what is different.
    fn reload(&mut self, environment: impl IntoIterator<Item = (String, String)>) -> Result<Vec<Change>, DaemonError> {
        let (merged, config) = validated(self.args.merged(environment), self.cores)?;
        let changed = changes::between(&self.written, &merged.written);
        self.reloadable.apply(&config)?;
        self.stamps = stamps(&config);
        self.written = changes::holding(&self.written, &merged.written);
        self.config = config;
        Ok(changed)
    }

    /// Reads the certificates again if their files have changed; says whether they had. Until they can be used, every
    /// look tries again.
    fn renew(&mut self) -> Result<bool, DaemonError> {
        let stamps = stamps(&self.config);
        if stamps == self.stamps {
            return Ok(false);
        }
        self.reloadable.apply(&self.config)?;
        self.stamps = stamps;
        Ok(true)
    }
}

fn stamps(config: &Config) -> Vec<Option<(SystemTime, u64)>> {
    let stamp = |path: &Path| {
        let about = std::fs::metadata(path).ok()?;
        Some((about.modified().ok()?, about.len()))
    };
    let files = config.tls.iter().flat_map(|tls| [Some(&tls.certificate), Some(&tls.key), tls.client_ca.as_ref()]);
    files.flatten().map(|path| stamp(path)).collect()
}

/// Reloads whenever it is time to, for as long as the daemon serves. It reads files where it runs: they are small, and
/// nobody waits for this task.
pub(crate) async fn run(mut reloader: Reloader, mut hangup: Signal, notifier: Notifier) {
    let mut looks = tokio::time::interval(LOOK_AT_FILES);
    loop {
        tokio::select! {
            asked = hangup.recv() => {
                if asked.is_none() {
                    return;
                }
                notifier.reloading();
                say(reloader.reload(crate::process::environment()));
                notifier.ready();
            }
            _ = looks.tick() => match reloader.renew() {
                Ok(true) => tracing::info!("the certificates have changed and were read again"),
                Ok(false) => {}
                Err(error) => tracing::error!("the certificates stay as they are: {error}"),
            },
        }
    }
}

fn say(reloaded: Result<Vec<Change>, DaemonError>) {
    match reloaded {
        Err(error) => tracing::error!("SIGHUP: everything stays as it is: {error}"),
        Ok(changed) if changed.is_empty() => tracing::info!("SIGHUP: read again; no key has changed"),
        Ok(changed) => {
            for Change { key, from, to, at_once } in changed {
                if at_once {
                    tracing::info!("SIGHUP: {key} was {from} and is {to}");
                } else {
                    tracing::warn!("SIGHUP: {key} is still {from}; {to} needs a restart");
                }
            }
        }
    }
}
