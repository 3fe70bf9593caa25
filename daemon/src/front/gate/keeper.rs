//! The gate's files: keys, which are read again when they change, and what was used of quotas, which is written about once
//! a second, so that a killed daemon has forgotten no more than that.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use super::{Gate, layer};
use crate::admit::keys::Keyring;
use crate::admit::quota::Ledger;

const PERIOD: Duration = Duration::from_secs(1);

/// What changes when a file does.
type Stamp = (SystemTime, u64, u64);

/// The files.
#[derive(Debug)]
pub(super) struct Files {
    keys: Option<PathBuf>,
    usage: Option<PathBuf>,
    /// The file of keys as it was last read, whatever it held.
    read: Option<Stamp>,
    /// Whether writing last failed, so that it is said once.
    failing: bool,
}

impl Files {
    pub(super) fn new(keys: Option<PathBuf>, usage: Option<PathBuf>) -> Self {
        Self { keys, usage, read: None, failing: false }
    }

    /// Reads the keys, where there is a file of them.
    pub(super) fn keys(&mut self) -> Option<Result<Keyring, Vec<String>>> {
        let path = self.keys.clone()?;
        let named = |what: String| format!("{}: {what}", path.display());
        self.read = stamp(&path);
        let text = fs::read_to_string(&path).map_err(|error| vec![named(format!("cannot be read: {error}"))]);
        let parse = |text: String| Keyring::parse(&text).map_err(|errors| errors.into_iter().map(named).collect());
        Some(text.and_then(parse))
    }

    /// What was used before; nothing where that was not kept.
    pub(super) fn usage(&self) -> Result<Ledger, String> {
        let Some(path) = &self.usage else { return Ok(Ledger::default()) };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ledger::default()),
            Err(error) => return Err(format!("{}: cannot be read: {error}", path.display())),
        };
        Ledger::from_json(&text)
            .map_err(|error| format!("{}: {error}; remove the file to begin at zero", path.display()))
    }

    /// The keys, if their file is another than the one that was last read.
    fn changed_keys(&mut self) -> Option<Result<Keyring, Vec<String>>> {
        let now = stamp(self.keys.as_ref()?);
        if now == self.read { None } else { self.keys() }
    }
}

impl Gate {
    /// Looks after the files for as long as the gate stands. Must be called within a tokio runtime.
    pub fn keep(self: &Arc<Self>) {
        let gate = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(PERIOD).await;
                let Some(gate) = gate.upgrade() else { return };
                let looked = tokio::task::spawn_blocking(move || {
                    gate.reload_keys();
                    gate.save_usage();
                });
                // It ends early only when the runtime does.
                let _ = looked.await;
            }
        });
    }

    /// Reads the keys again if their file has changed. One that is wrong leaves the old ones in force.
    pub fn reload_keys(&self) {
        let changed = self.files.lock().unwrap_or_else(PoisonError::into_inner).changed_keys();
        let (Some(changed), Some(keyring)) = (changed, &self.keyring) else { return };
        match changed {
            Ok(new) => {
                let old = keyring.swap(Arc::new(new));
                let new = keyring.load();
                let known: std::collections::BTreeSet<_> = new.callers().map(|caller| &caller.name).collect();
                let gone = old.callers().filter(|caller| !known.contains(&caller.name));
                gone.for_each(|caller| self.meters.forget(&caller.name));
                self.counts().ledger.retain(|subject| new.knows(subject), layer::unix_s());
                tracing::info!("{} keys are in force", known.len());
            }
            Err(errors) => tracing::error!("the old keys stay in force: {}", errors.join("; ")),
        }
    }

    /// Writes what was used of quotas, if that has changed.
    pub fn save_usage(&self) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(path) = files.usage.clone() else { return };
        let text = {
            let mut counts = self.counts();
            if !counts.dirty {
                return;
            }
            counts.dirty = false;
            counts.ledger.to_json()
        };
        let written = replace(&path, &text);
        if let Err(error) = &written {
            self.counts().dirty = true;
            if !files.failing {
                tracing::error!("{}: what was used of quotas cannot be written: {error}", path.display());
            }
        }
        files.failing = written.is_err();
    }
}

/// A file appears whole or not at all.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let mut file = fs::File::create(&name)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&name, path)
}

fn stamp(path: &Path) -> Option<Stamp> {
    let about = fs::metadata(path).ok()?;
    Some((about.modified().ok()?, about.len(), about.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_again_when_their_file_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        let mut files = Files::new(Some(path.clone()), None);
        assert!(files.keys().unwrap().unwrap_err()[0].contains("keys.toml: cannot be read"));
        assert!(files.changed_keys().is_none());
        fs::write(&path, "[tiers.a]").unwrap();
        assert!(files.changed_keys().unwrap().is_ok() && files.changed_keys().is_none());
        replace(&path, "nonsense").unwrap();
        assert!(files.changed_keys().unwrap().is_err() && files.changed_keys().is_none(), "a mistake is told once");
    }

    #[test]
    fn what_was_used_is_read_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("usage.json");
        let files = Files::new(None, Some(path.clone()));
        assert_eq!(files.usage(), Ok(Ledger::default()));
        fs::write(&path, "{").unwrap();
        assert!(files.usage().unwrap_err().contains("remove the file"));
    }
}
