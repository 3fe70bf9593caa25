//! Who may change what the daemon serves: the one place that every administrative call asks.

use crate::engine::ServeError;

/// What is known of who can reach the doors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admin {
    /// Whether other machines can.
    pub reachable: bool,
}

impl Admin {
    /// Whether an administrative call may go on. As long as there are no tokens to tell callers apart, a daemon that
    /// other machines can reach takes none.
    ///
    /// # Errors
    /// When it may not.
    pub(super) fn permit(self) -> Result<(), ServeError> {
        if self.reachable {
            let message = "models can be loaded and unloaded, and settings changed, only on a daemon that is bound to a loopback \
                           address";
            return Err(ServeError::Unsupported(message.to_owned()));
        }
        Ok(())
    }
}
