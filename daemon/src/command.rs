//! What the daemon's program does instead of serving.

use std::io::{self, Write};

use clap::Subcommand;

use crate::app::DaemonError;
use crate::cli::DaemonArgs;
use crate::front::openapi;
use crate::new_key::KeyAction;
use crate::profile::ProfileArgs;

/// See the module.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// API keys.
    Key {
        /// What about them.
        #[command(subcommand)]
        action: KeyAction,
    },
    /// Print the document of the REST part (`OpenAPI` 3.1).
    Openapi,
    /// Measure a model's batches on every engine, and write that beside it.
    Profile(ProfileArgs),
}

impl Command {
    /// Does it, as the daemon that has these arguments.
    ///
    /// # Errors
    /// When an argument is wrong, or the system refuses something that every process may have.
    pub(crate) fn run(&self, args: &DaemonArgs) -> Result<(), DaemonError> {
        match self {
            Self::Profile(profile) => profile.run(args),
            Self::Key { action } => action.run(),
            Self::Openapi => {
                let printed = io::stdout().lock().write_all(openapi::text().as_bytes());
                printed.map_err(|source| DaemonError::System { what: "cannot print", source })
            }
        }
    }
}
