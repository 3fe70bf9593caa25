//! A version that serves, held by the snapshot and by every request on its way. When the last of them lets go, it is
//! stopped on a thread of its own: that waits for an execution that nobody waits for any more, which no request and no
//! connection should do.

use std::io;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use crate::model::Model;

/// A model that takes requests, as long as anybody holds it.
pub struct Serving {
    model: Arc<Model>,
    retire: Sender<Arc<Model>>,
}

impl Deref for Serving {
    type Target = Model;

    fn deref(&self) -> &Model {
        &self.model
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // The thread is gone only when the process has given up on threads; then dropping the model stops it.
        let _ = self.retire.send(Arc::clone(&self.model));
    }
}

/// Where models go that nobody holds any more.
pub(super) struct Retirement {
    sender: Sender<Arc<Model>>,
}

impl Retirement {
    /// A way there, and its end.
    pub(super) fn new() -> (Self, Receiver<Arc<Model>>) {
        let (sender, retired) = mpsc::channel();
        (Self { sender }, retired)
    }

    /// A model from now on in service.
    pub(super) fn serve(&self, model: Arc<Model>) -> Arc<Serving> {
        Arc::new(Serving { model, retire: self.sender.clone() })
    }
}

/// Starts the thread that stops models. It tells `gone` of each that has ended, and ends itself with the last of them.
///
/// # Errors
/// When the system has no thread left.
pub(super) fn stop_all(retired: Receiver<Arc<Model>>, gone: impl Fn(&Model) + Send + 'static) -> io::Result<()> {
    let run = move || {
        for model in retired {
            model.stop();
            gone(&model);
        }
    };
    std::thread::Builder::new().name("retirement".to_owned()).spawn(run).map(drop)
}
