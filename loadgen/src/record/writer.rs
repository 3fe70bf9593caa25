//! The writer: one thread that carries finished samples from the ledger to the journal ten times a second, keeps
//! the live figures, and writes the generator's audit of itself once a second.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use proofload_run::RunError;
use proofload_run::events::EventKind;
use proofload_run::histogram::Line;
use proofload_run::journal::JournalWriter;
use proofload_run::jsonl::LineWriter;
use proofload_run::sample::{Outcome, Sample};
use proofload_run::series::Source;
use tokio::sync::watch;

use super::{Climb, Ledger, Live, Log, Missed, Retried, UnderWay, Watchdog};
use crate::clock::RunClock;
use crate::dispatch::hub::HubState;
use crate::plan::Profile;
use crate::progress::Snapshot;

/// How often samples are written. What a kill can lose.
const PERIOD: Duration = Duration::from_millis(100);
const SECOND_NS: u64 = 1_000_000_000;

/// What the writer leaves when the run is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Samples by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// Samples in the journal.
    pub kept: u64,
    /// Samples that could not be kept.
    pub lost: u64,
}

/// What the writer works with.
pub struct Writer {
    /// The run's clock.
    pub clock: RunClock,
    /// Where samples come from.
    pub ledger: Arc<Ledger>,
    /// Where samples go.
    pub journal: JournalWriter,
    /// Where the histograms of each second go.
    pub histograms: LineWriter<Line>,
    /// Which shard of the run this is.
    pub shard: u16,
    /// How many entries the run has.
    pub entries: usize,
    /// Where events and series go.
    pub log: Arc<Log>,
    /// The plan, for saying which step it is.
    pub profile: Profile,
    /// Watches for the break that ends a climb, where one is to end it.
    pub climb: Option<Climb>,
    /// Watches the thresholds that are judged while the run goes on.
    pub watchdog: Watchdog,
    /// The arrivals that wait for a connection.
    pub waiting: Box<dyn Fn() -> Vec<UnderWay> + Send>,
    /// Counts of the attempts that were made again.
    pub retried: Arc<Retried>,
    /// Time limit of a request.
    pub timeout_ns: u64,
    /// What the dispatcher is doing.
    pub hub: Box<dyn Fn() -> HubState + Send>,
    /// Where the progress goes.
    pub progress: watch::Sender<Snapshot>,
}

/// A running writer.
#[derive(Debug)]
pub struct WriterHandle {
    finish: Sender<()>,
    thread: JoinHandle<Recorded>,
}

impl WriterHandle {
    /// Writes what is left and ends. Call it when the ledger is closed.
    pub fn finish(self) -> Recorded {
        // The thread may have ended only by a panic, and then joining says so.
        let _ = self.finish.send(());
        self.thread.join().unwrap_or(Recorded { outcomes: BTreeMap::new(), kept: 0, lost: u64::MAX })
    }
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub fn start(self) -> std::io::Result<WriterHandle> {
        let (finish, finished) = channel();
        let thread =
            std::thread::Builder::new().name("load-writer".to_owned()).spawn(move || Work::new(self).run(&finished))?;
        Ok(WriterHandle { finish, thread })
    }
}

struct Work {
    writer: Writer,
    live: Live,
    buffer: Vec<Sample>,
    /// The first write to the journal that failed.
    unwritable: Option<String>,
    missed: Vec<Missed>,
    overflowed: u64,
    next_second_ns: u64,
    step: Option<u16>,
}

impl Work {
    fn new(writer: Writer) -> Self {
        Self {
            live: Live::new(writer.entries),
            writer,
            buffer: Vec::new(),
            unwritable: None,
            missed: Vec::new(),
            overflowed: 0,
            next_second_ns: SECOND_NS,
            step: None,
        }
    }

    fn run(mut self, finished: &Receiver<()>) -> Recorded {
        while finished.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
            self.tick();
        }
        self.carry();
        self.change_step(None);
        self.publish();
        self.keep_histograms(self.writer.clock.now_ns());
        // Whatever came after the last whole second.
        self.writer.log.series(self.writer.clock.now_ns(), Source::Generator, self.writer.retried.series());
        let journal = &self.writer.journal;
        Recorded { outcomes: self.live.outcomes(), kept: journal.kept(), lost: journal.lost() + self.overflowed }
    }

    fn tick(&mut self) {
        let now_ns = self.writer.clock.now_ns();
        if now_ns == 0 {
            return;
        }
        self.carry();
        self.change_step((now_ns < self.writer.profile.end_ns()).then(|| self.writer.profile.step_at(now_ns)));
        if now_ns >= self.next_second_ns {
            self.keep_histograms(self.next_second_ns);
            self.next_second_ns += SECOND_NS;
            self.audit(now_ns);
        }
        while self.writer.watchdog.is_due(now_ns) {
            self.watch();
        }
        self.publish();
    }

    /// Judges what is watched over the second that has just ended.
    fn watch(&mut self) {
        let mut under_way = self.writer.ledger.under_way();
        under_way.extend((self.writer.waiting)());
        for missed in self.writer.watchdog.turn(&under_way) {
            let kind = EventKind::ThresholdMissed { threshold: missed.threshold.to_string(), abort: missed.abort };
            self.writer.log.event(missed.at_ns, kind);
            self.missed.push(missed);
        }
    }

    fn carry(&mut self) {
        self.overflowed = self.writer.ledger.take(&mut self.buffer);
        for sample in &self.buffer {
            self.live.add(sample);
            self.writer.watchdog.add(sample);
            if let Some(climb) = &mut self.writer.climb {
                climb.add(sample);
            }
            let outcome = self.writer.journal.append(sample);
            remember(&mut self.unwritable, outcome);
        }
        let outcome = self.writer.journal.flush();
        remember(&mut self.unwritable, outcome);
    }

    fn change_step(&mut self, step: Option<u16>) {
        if self.step == step {
            return;
        }
        let steps = self.writer.profile.steps();
        if let Some(ended) = self.step {
            let kind = EventKind::StepEnded { step: ended };
            self.writer.log.event(steps[usize::from(ended)].end_ns.min(self.writer.clock.now_ns()), kind);
        }
        if let Some(started) = step {
            self.writer.log.event(steps[usize::from(started)].start_ns, EventKind::StepStarted { step: started });
        }
        self.step = step;
    }

    /// Writes down the latencies of the second that has ended.
    fn keep_histograms(&mut self, end_ns: u64) {
        let lines = self.live.lines(end_ns, self.writer.shard);
        let outcome = self.writer.histograms.append(&lines);
        remember(&mut self.unwritable, outcome);
    }

    fn audit(&mut self, now_ns: u64) {
        let hub = (self.writer.hub)();
        let mut values = vec![
            ("intended_total", self.writer.ledger.intended() as f64),
            ("backlog", hub.waiting as f64),
            ("connections", f64::from(hub.open)),
            ("connections_closed_idle", hub.closed as f64),
            ("in_flight", self.writer.ledger.in_flight() as f64),
        ];
        values.extend(self.live.turn().series());
        let values = values.into_iter().map(|(name, value)| (name.to_owned(), String::new(), value));
        self.writer.log.series(now_ns, Source::Generator, values.chain(self.writer.retried.series()));
    }

    fn publish(&self) {
        let now_ns = self.writer.clock.now_ns();
        let profile = &self.writer.profile;
        let recent = self.live.recent();
        let hub = (self.writer.hub)();
        self.writer.progress.send_replace(Snapshot {
            elapsed_ns: now_ns,
            total_ns: profile.end_ns(),
            step: self.step,
            step_name: self.step.map(|step| profile.steps()[usize::from(step)].name.clone()).unwrap_or_default(),
            level: profile.level_at(now_ns),
            finished_per_s: recent.finished_per_s,
            p50_ns: recent.p50_ns,
            p95_ns: recent.p95_ns,
            p99_ns: recent.p99_ns,
            late_p99_ns: recent.late_p99_ns,
            intended: self.writer.ledger.intended(),
            outcomes: self.live.totals(),
            ok: self.live.total(Outcome::Ok),
            errors: self.live.errors(),
            sheds: self.live.total(Outcome::Shed),
            in_flight: self.writer.ledger.in_flight() as u64,
            backlog: hub.waiting as u64,
            connections: hub.open,
            target_lost_since_ns: self.live.lost_since(now_ns, self.writer.timeout_ns),
            unwritable: self.unwritable.clone(),
            standings: self.writer.watchdog.standings(),
            missed: self.missed.first().map(|missed| missed.threshold.to_string()),
            abort: self.missed.iter().find(|missed| missed.abort).map(|missed| missed.threshold.to_string()),
            broken_by: self.writer.climb.as_ref().and_then(|climb| climb.broken_by(now_ns)),
        });
    }
}

/// Keeps the first failure, with what is most likely meant by it.
fn remember(first: &mut Option<String>, outcome: Result<(), RunError>) {
    let Err(error) = outcome else { return };
    let full = matches!(&error, RunError::Io { source, .. }
        if matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded));
    first.get_or_insert_with(|| if full { format!("the disk is full ({error})") } else { error.to_string() });
}
