//! Looks at the repositories again and again, and has what has changed there loaded, and unloaded what has gone. A model
//! that could not be loaded is tried again when its files change.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Live;
use super::load::Wanted;
use super::stamp::Stamp;
use crate::repository::source::Source;
use crate::repository::{self, Place};

/// The thread that looks. It ends with this handle.
pub(super) struct Poll {
    _owner: Sender<()>,
}

type Stamps = BTreeMap<String, Option<Stamp>>;

impl Poll {
    /// Starts the thread. What is loaded already is taken for what is there now.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(super) fn start(live: &Arc<Live>, period: Duration) -> std::io::Result<Self> {
        let (owner, ends) = mpsc::channel();
        let (places, _) = repository::places(&live.options.sources);
        let mut stamps = stamps(&places);
        let live = Arc::downgrade(live);
        let run = move || {
            while ends.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
                let Some(live) = Weak::upgrade(&live) else { return };
                live.look(&mut stamps);
            }
        };
        std::thread::Builder::new().name("poll".to_owned()).spawn(run)?;
        Ok(Self { _owner: owner })
    }
}

fn stamps(places: &BTreeMap<String, Place<'_>>) -> Stamps {
    places.iter().map(|(name, place)| (name.clone(), stamp(name, place))).collect()
}

/// `None` for what cannot change, and for what cannot be read, which is as good as changed when it can be.
fn stamp(name: &str, place: &Place<'_>) -> Option<Stamp> {
    match place {
        Place::In(Source::Folder(root)) => Stamp::of(&root.join(name)).ok(),
        Place::In(Source::Embedded) | Place::Twice(_) => None,
    }
}

impl Live {
    fn look(&self, before: &mut Stamps) {
        let (places, errors) = repository::places(&self.options.sources);
        if !errors.is_empty() {
            // A repository that is away for a moment is no reason to unload everything.
            errors.iter().for_each(|error| tracing::warn!("{error}; what is loaded serves on"));
            return;
        }
        let now = stamps(&places);
        for name in before.keys().filter(|name| !now.contains_key(*name)) {
            tracing::info!("model '{name}' has gone from the repository");
            self.update_with(|snapshot, ensembles| {
                ensembles.forget(name);
                snapshot.unload(name);
            });
            self.update(|snapshot| snapshot.forget(name));
        }
        let changed = places.keys().filter(|name| before.get(*name) != now.get(*name)).map(|name| Wanted::of(name));
        for failed in self.load_all(&places, changed.collect()) {
            failed.errors.iter().for_each(|error| tracing::error!("{error}"));
        }
        *before = now;
    }
}
