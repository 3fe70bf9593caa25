//! `daemon key new`: a new API key, printed once, and the lines about it for the file of keys. It touches no file.

use std::fs::File;
use std::io::{self, Read, Write};

use clap::{Args, Subcommand};

use crate::admit::keys;
use crate::admit::secret;
use crate::app::DaemonError;

/// What is done about keys.
#[derive(Debug, Clone, Subcommand)]
pub enum KeyAction {
    /// Make a key: it is printed once and kept nowhere; the lines below it belong into the file `access.keys_file`.
    New(NewKey),
}

/// Whose the key is.
#[derive(Debug, Clone, Args)]
pub struct NewKey {
    /// Name of the key, which metrics and messages show.
    #[arg(long)]
    name: String,
    /// Its tier, a `[tiers.…]` of the file.
    #[arg(long)]
    tier: String,
    /// Its team, a `[teams.…]` of the file.
    #[arg(long)]
    team: Option<String>,
}

impl KeyAction {
    /// Does it.
    ///
    /// # Errors
    /// When an argument is wrong, or the system has no randomness.
    pub(crate) fn run(&self) -> Result<(), DaemonError> {
        let Self::New(NewKey { name, tier, team }) = self;
        if !keys::is_name(name) {
            let what = "--name must have 1 to 64 of the characters a-z, A-Z, 0-9, '-', '_' and '.'";
            return Err(DaemonError::Config(vec![what.to_owned()]));
        }
        let random = random().map_err(|source| DaemonError::System { what: "cannot read randomness", source })?;
        let key = secret::key(&random);
        let text = format!("{key}\n\n{}", keys::entry(name, tier, team.as_deref(), &key));
        let printed = io::stdout().lock().write_all(text.as_bytes());
        printed.map_err(|source| DaemonError::System { what: "cannot print", source })
    }
}

fn random() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
