//! Asking a run to end early. The first request ends the load and lets what is in flight finish; the second ends
//! the drain too.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What a shell calls the end by Ctrl-C.
const EXIT_INTERRUPTED: i32 = 130;

#[derive(Debug, Default)]
struct Requests {
    count: AtomicU32,
    by: Mutex<String>,
    before_exit: OnceLock<fn()>,
}

/// Shared by whoever may ask and the run that obeys.
#[derive(Debug, Clone, Default)]
pub struct StopHandle {
    requests: Arc<Requests>,
}

impl StopHandle {
    /// Asks the run to end. `by` says who asks: `ctrl-c`, `sigterm`. Returns how often that has happened now.
    pub fn request(&self, by: &str) -> u32 {
        let mut first = self.requests.by.lock().unwrap_or_else(PoisonError::into_inner);
        if first.is_empty() {
            by.clone_into(&mut first);
        }
        self.requests.count.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// How often the run was asked to end.
    pub fn count(&self) -> u32 {
        self.requests.count.load(Ordering::Acquire)
    }

    /// Who asked first; empty while nobody has.
    pub fn by(&self) -> String {
        self.requests.by.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is done before the third Ctrl-C ends the process, which runs nothing else then: giving a terminal back, say.
    /// The first who says so is heard.
    pub fn before_exit(&self, act: fn()) {
        let _ = self.requests.before_exit.set(act);
    }

    /// Ends the process at once, as the third Ctrl-C does.
    pub fn leave(&self) -> ! {
        if let Some(act) = self.requests.before_exit.get() {
            act();
        }
        std::process::exit(EXIT_INTERRUPTED)
    }

    /// Makes Ctrl-C ask this run to end; the third Ctrl-C ends the process. It must be called before any run
    /// starts, because the process has one handler only and Goose would install its own, which knows nothing of
    /// a run's end. Where a handler is in place already, that one stays.
    pub fn obey_ctrl_c(&self) {
        let stop = self.clone();
        let installed = ctrlc::set_handler(move || {
            if stop.request("ctrl-c") > 2 {
                stop.leave();
            }
        });
        if let Err(e) = installed {
            tracing::debug!("Ctrl-C has a handler already: {e}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_who_asks_is_remembered() {
        let stop = StopHandle::default();
        assert_eq!((stop.count(), stop.by().as_str()), (0, ""));
        assert_eq!(stop.clone().request("sigterm"), 1);
        assert_eq!(stop.request("ctrl-c"), 2);
        assert_eq!((stop.count(), stop.by().as_str()), (2, "sigterm"));
    }
}
