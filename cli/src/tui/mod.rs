//! `proofload run --tui`: the live view. [`view`] \* is what is shown, [`draw`] \* how; here are the terminal, its keys and
//! the thread that redraws it, four times a second at most, apart from the threads that send. (\* is pure.)

mod draw;
mod view;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, bail};
use proofload_loadgen::dispatch::timer::prefer_this_thread;
use proofload_loadgen::progress::Snapshot;
use proofload_loadgen::scenario::Scenario;
use proofload_loadgen::stop::StopHandle;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::watch;

use view::View;

/// How often the view is drawn.
const PERIOD: Duration = Duration::from_millis(250);

/// Says why there can be no live view, if there cannot.
pub(crate) fn problem() -> Option<&'static str> {
    use std::io::IsTerminal as _;
    let shown = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    (!shown).then_some("--tui needs a terminal for its input and output; leave it out to have a line of progress")
}

/// A live view. The terminal is as it was when this is dropped, whatever happened.
pub(crate) struct Tui {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Tui {
    /// Takes the terminal and shows the run until dropped. Keys ask `stop`, as signals do.
    ///
    /// # Errors
    /// When the terminal cannot be taken.
    pub(crate) fn start(
        scenario: &Scenario,
        snapshots: watch::Receiver<Snapshot>,
        stop: StopHandle,
    ) -> anyhow::Result<Self> {
        if let Some(problem) = problem() {
            bail!(problem);
        }
        let mut screen = Screen { terminal: ratatui::try_init().context("the terminal cannot be taken for --tui")? };
        stop.before_exit(ratatui::restore);
        let over = Arc::<AtomicBool>::default();
        let (mut view, until) = (View::of(scenario), Arc::clone(&over));
        let work = move || {
            // The sending threads go first. Where the system does not let us, the view costs what it costs.
            prefer_this_thread(10);
            while !until.load(Ordering::Acquire) {
                view.fold(&snapshots.borrow(), stop.count());
                // A terminal that cannot be drawn on is gone: the run goes on without it.
                if screen.terminal.draw(|frame| draw::draw(frame, &view)).is_err() || !heed_keys(&stop) {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("live-view".to_owned()).spawn(work)?;
        Ok(Self { over, thread: Some(thread) })
    }
}

impl Drop for Tui {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic there was shown when it happened.
            let _ = thread.join();
        }
    }
}

/// The terminal while it is ours.
struct Screen {
    terminal: DefaultTerminal,
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Waits a period for keys; `false` when there is no terminal any more.
fn heed_keys(stop: &StopHandle) -> bool {
    match event::poll(PERIOD) {
        Ok(false) => true,
        Ok(true) => {
            if let Ok(Event::Key(key)) = event::read()
                && asks_to_stop(key)
                && stop.request("the live view's key") > 2
            {
                stop.leave();
            }
            true
        }
        Err(_) => false,
    }
}

/// In a terminal that is ours Ctrl-C is a key, and no signal.
fn asks_to_stop(key: KeyEvent) -> bool {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press
        && match key.code {
            KeyCode::Char('q' | 'Q') => !is_control,
            KeyCode::Char('c') => is_control,
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_and_ctrl_c_ask_to_stop() {
        let check = |code, modifiers, expected| {
            assert_eq!(asks_to_stop(KeyEvent::new(code, modifiers)), expected, "{code:?} {modifiers:?}");
        };
        check(KeyCode::Char('q'), KeyModifiers::NONE, true);
        check(KeyCode::Char('Q'), KeyModifiers::SHIFT, true);
        check(KeyCode::Char('c'), KeyModifiers::CONTROL, true);
        check(KeyCode::Char('c'), KeyModifiers::NONE, false);
        check(KeyCode::Esc, KeyModifiers::NONE, false);
        let released =
            KeyEvent { kind: KeyEventKind::Release, ..KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE) };
        assert!(!asks_to_stop(released));
    }
}
