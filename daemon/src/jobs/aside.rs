//! Work that takes a while and a whole core, on a thread of its own that steps back behind all others of the process: what
//! somebody waits for is not kept from the cores by what nobody does.

use tokio::sync::oneshot;

use super::Failure;

/// How far such a thread steps back: it gets about a tenth of what a thread that somebody waits for gets.
const NICE: i32 = 10;

/// Does `work` and waits for it. Dropping the future does not end the work.
///
/// # Errors
/// When it panics, or no thread can be started.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let (sender, done) = oneshot::channel();
    let run = move || {
        // On Linux this is the thread's alone. Without it the work is done all the same.
        if let Err(error) = rustix::process::nice(NICE) {
            tracing::debug!(%error, "a job does not step back");
        }
        // Nobody waits any more when this fails.
        let _ = sender.send(work());
    };
    let lost = |what: String| Failure { status: 500, message: format!("the job was lost: {what}") };
    let started = std::thread::Builder::new().name("job".to_owned()).spawn(run);
    started.map_err(|error| lost(format!("no thread can be started: {error}")))?;
    done.await.map_err(|_| lost("its thread panicked; the daemon's log says why".to_owned()))
}
