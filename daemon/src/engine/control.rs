//! Loading and unloading models for clients, and what the repository holds. Files are read and threads started on the
//! way, so all of it happens aside from the connections' threads.

use std::sync::Arc;

use proofload_wire::types::RepositoryIndexEntry;

use super::{Engine, ServeError};
use crate::lifecycle::{ControlError, Live};
use crate::repository::origin::Given;

impl Engine {
    /// Loads a model, or loads it again, and waits until it serves.
    ///
    /// # Errors
    /// When clients have no say in that, there is no such model, it cannot be served, or the daemon is stopping.
    pub async fn load_model(&self, name: String, given: Given) -> Result<(), ServeError> {
        self.while_serving()?;
        Ok(self.aside(move |models| models.load(&name, &given)).await??)
    }

    /// Takes a model out of service, and with `dependents` what was loaded only for it. Requests on their way are finished.
    ///
    /// # Errors
    /// When clients have no say in that, or the daemon is stopping.
    pub async fn unload_model(&self, name: String, dependents: bool) -> Result<(), ServeError> {
        self.while_serving()?;
        Ok(self.aside(move |models| models.unload(&name, dependents)).await??)
    }

    /// What the repository holds, or what of it serves.
    ///
    /// # Errors
    /// When the system does not let it be read.
    pub async fn repository_index(&self, ready_only: bool) -> Result<Vec<RepositoryIndexEntry>, ServeError> {
        let mut entries = self.aside(move |models| models.index(ready_only)).await?;
        if !self.is_ready() {
            let serving = entries.iter_mut().filter(|entry| entry.state == "READY");
            serving.for_each(|entry| {
                "UNLOADING".clone_into(&mut entry.state);
                "the server is stopping".clone_into(&mut entry.reason);
            });
            entries.retain(|entry| !ready_only || entry.state == "READY");
        }
        Ok(entries)
    }

    fn while_serving(&self) -> Result<(), ServeError> {
        if self.is_ready() {
            return Ok(());
        }
        Err(ServeError::Unavailable { message: "the server is stopping".to_owned(), retry_after: None })
    }

    async fn aside<T: Send + 'static>(&self, act: impl FnOnce(&Live) -> T + Send + 'static) -> Result<T, ServeError> {
        let models = Arc::clone(&self.inner.parts.models);
        let done = tokio::task::spawn_blocking(move || act(&models)).await;
        done.map_err(|error| ServeError::Internal(format!("the model repository: {error}")))
    }
}

impl From<ControlError> for ServeError {
    fn from(error: ControlError) -> Self {
        let message = error.to_string();
        match error {
            ControlError::NotAllowed => Self::Unavailable { message, retry_after: None },
            ControlError::Unknown(_) => Self::Internal(message),
            ControlError::Failed { .. } => Self::InvalidArgument(message),
        }
    }
}
