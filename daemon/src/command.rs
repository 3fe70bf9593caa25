//! What the daemon's program does instead of serving.

use std::io::{self, Write};

use clap::Subcommand;

use crate::app::DaemonError;
use crate::front::openapi;
use crate::new_key::KeyAction;

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
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    /// When an argument is wrong, or the system refuses something that every process may have.
    pub(crate) fn run(&self) -> Result<(), DaemonError> {
        match self {
            Self::Key { action } => action.run(),
            Self::Openapi => {
                let printed = io::stdout().lock().write_all(openapi::text().as_bytes());
                printed.map_err(|source| DaemonError::System { what: "cannot print", source })
            }
        }
    }
}
