//! The jobs that wait, run and have ended, as a pure state machine: who is next, what may still come in, what is kept and
//! for how long. It takes `now`; doing the work is the shell's affair.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::estimate::{self, Taken};
use super::job::{Change, End, Failure, Owner, State, Step, Submission, View};
use super::{JobId, Kind, Limits};

/// So many jobs whose outcome was dropped are remembered, to be told from those that never were.
const REMEMBERED: usize = 1000;
/// More steps than any job has: what a client may ask to be told again is bounded.
const MOST_CHANGES: usize = 32;

/// Why a job is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// As many wait as may.
    #[error("{queued} jobs wait, which is as many as `jobs.queued` lets; try again later, or raise it")]
    Full {
        /// How many wait.
        queued: usize,
        /// When the next one is begun.
        retry_after: Duration,
    },
    /// Those that wait hold as much as they may.
    #[error(
        "no room for {wanted_bytes} bytes now: the jobs that wait hold {held_bytes} of the {total_bytes} bytes in \
         `jobs.queued_bytes`; try again later, or raise it"
    )]
    NoRoom {
        /// How much was asked for.
        wanted_bytes: usize,
        /// How much the others hold.
        held_bytes: usize,
        /// How much all may hold.
        total_bytes: usize,
        /// When the next one is begun.
        retry_after: Duration,
    },
    /// It would never find room.
    #[error(
        "the job holds {wanted_bytes} bytes, more than the {total_bytes} of `jobs.queued_bytes`; send less, or raise it"
    )]
    TooLarge {
        /// How much was asked for.
        wanted_bytes: usize,
        /// How much all may hold.
        total_bytes: usize,
    },
    /// Nothing is begun any more.
    #[error("the daemon is stopping and takes no jobs")]
    Stopping,
}

/// What became of a wish to cancel a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelling {
    /// It is cancelled now.
    Now {
        /// Whether it was running.
        ran: bool,
    },
    /// It was cancelled before.
    Before,
    /// It has ended otherwise.
    TooLate(State),
}

/// A job that begins.
#[derive(Debug)]
pub(super) struct Begun<W> {
    /// Its name.
    pub(super) id: JobId,
    /// What kind of work it is.
    pub(super) kind: Kind,
    /// How long it waited.
    pub(super) waited: Duration,
    /// What is to be done.
    pub(super) work: W,
}

enum Phase<W, R> {
    Queued(W),
    Running { began: Instant },
    Ended { began: Option<Instant>, at: Instant, end: End<R> },
    Expired { began: Option<Instant>, at: Instant },
}

struct Entry<W, R> {
    kind: Kind,
    priority: u8,
    owner: Owner,
    held_bytes: usize,
    /// In which order they came.
    number: u64,
    submitted: Instant,
    submitted_unix_ms: u64,
    phase: Phase<W, R>,
    changes: Vec<Change>,
}

impl<W, R> Entry<W, R> {
    fn state(&self) -> State {
        match &self.phase {
            Phase::Queued(_) => State::Queued,
            Phase::Running { .. } => State::Running,
            Phase::Ended { end, .. } => end.state(),
            Phase::Expired { .. } => State::Expired,
        }
    }

    fn changed(&mut self, step: Option<Step>, now: Instant) {
        let change = Change { state: self.state(), step, after: now.saturating_duration_since(self.submitted) };
        if self.changes.len() < MOST_CHANGES || change.state.is_final() {
            self.changes.push(change);
        }
    }

    fn began(&self) -> Option<Instant> {
        match self.phase {
            Phase::Queued(_) => None,
            Phase::Running { began } => Some(began),
            Phase::Ended { began, .. } | Phase::Expired { began, .. } => began,
        }
    }

    fn ended(&self) -> Option<Instant> {
        match self.phase {
            Phase::Queued(_) | Phase::Running { .. } => None,
            Phase::Ended { at, .. } | Phase::Expired { at, .. } => Some(at),
        }
    }

    fn visible(&self, owner: &Owner) -> bool {
        self.owner.is_none() || self.owner == *owner
    }
}

/// See the module.
pub(super) struct Board<W, R> {
    limits: Limits,
    stopping: bool,
    came: u64,
    jobs: HashMap<JobId, Entry<W, R>>,
    /// Those that wait, in the order in which they are begun.
    queue: BTreeMap<(u8, u64), JobId>,
    queued_bytes: usize,
    running: Vec<JobId>,
    /// Those whose outcome is kept, the one that ended first in front.
    kept: VecDeque<JobId>,
    kept_bytes: usize,
    expired: VecDeque<JobId>,
    taken: Taken,
}

impl<W, R> Board<W, R> {
    /// A board without jobs.
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            stopping: false,
            came: 0,
            jobs: HashMap::new(),
            queue: BTreeMap::new(),
            queued_bytes: 0,
            running: Vec::new(),
            kept: VecDeque::new(),
            kept_bytes: 0,
            expired: VecDeque::new(),
            taken: Taken::default(),
        }
    }

    /// How many wait.
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// How many run.
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// Memory of the results that are kept.
    pub(super) fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// Whether a job that holds so much would be taken.
    ///
    /// # Errors
    /// When it would not.
    pub(super) fn room(&self, wanted_bytes: usize, now: Instant) -> Result<(), Refused> {
        let (queued, total_bytes, held_bytes) = (self.queue.len(), self.limits.queued_bytes, self.queued_bytes);
        if self.stopping {
            return Err(Refused::Stopping);
        }
        if wanted_bytes > total_bytes {
            return Err(Refused::TooLarge { wanted_bytes, total_bytes });
        }
        let retry_after = || estimate::wait(self.limits.workers, self.remaining(now), []);
        if queued >= self.limits.queued {
            return Err(Refused::Full { queued, retry_after: retry_after() });
        }
        if wanted_bytes > total_bytes - held_bytes {
            return Err(Refused::NoRoom { wanted_bytes, held_bytes, total_bytes, retry_after: retry_after() });
        }
        Ok(())
    }

    /// Lets a job wait.
    ///
    /// # Errors
    /// When it is not taken.
    pub(super) fn submit(&mut self, id: JobId, job: Submission<W>, now: Instant) -> Result<(), Refused> {
        self.room(job.held_bytes, now)?;
        let Submission { kind, priority, owner, held_bytes, submitted_unix_ms, work } = job;
        self.came += 1;
        let number = self.came;
        let phase = Phase::Queued(work);
        let changes = Vec::new();
        let mut entry =
            Entry { kind, priority, owner, held_bytes, number, submitted: now, submitted_unix_ms, phase, changes };
        entry.changed(None, now);
        self.queue.insert((priority, number), id);
        self.queued_bytes += held_bytes;
        self.jobs.insert(id, entry);
        Ok(())
    }

    /// Begins the next job, if there is one and a worker is free.
    pub(super) fn next(&mut self, now: Instant) -> Option<Begun<W>> {
        if self.running.len() >= self.limits.workers {
            return None;
        }
        let (_, id) = self.queue.pop_first()?;
        let entry = self.jobs.get_mut(&id)?;
        self.queued_bytes -= entry.held_bytes;
        let Phase::Queued(work) = std::mem::replace(&mut entry.phase, Phase::Running { began: now }) else {
            return None;
        };
        entry.changed(None, now);
        self.running.push(id);
        Some(Begun { id, kind: entry.kind, waited: now.saturating_duration_since(entry.submitted), work })
    }

    /// A job has come to a step. Says whether it still runs.
    pub(super) fn step(&mut self, id: JobId, step: Step, now: Instant) -> bool {
        let Some(entry) = self.jobs.get_mut(&id) else { return false };
        let runs = matches!(entry.phase, Phase::Running { .. });
        if runs {
            entry.changed(Some(step), now);
        }
        runs
    }

    /// A job that ran has ended. One that was cancelled meanwhile stays so. Says how it ended and how
    /// long it ran, unless it did not run any more.
    pub(super) fn end(&mut self, id: JobId, end: End<R>, now: Instant) -> Option<(Kind, State, Duration)> {
        let &Entry { kind, phase: Phase::Running { began }, .. } = self.jobs.get(&id)? else { return None };
        let ran = now.saturating_duration_since(began);
        let end = match end {
            End::Done { bytes, .. } if bytes > self.limits.result_bytes => End::Failed(self.too_large(bytes)),
            End::Done { .. } => {
                self.taken.observe(kind, ran);
                end
            }
            other => other,
        };
        self.running.retain(|running| *running != id);
        let state = end.state();
        self.conclude(id, end, now);
        Some((kind, state, ran))
    }

    fn too_large(&self, bytes: usize) -> Failure {
        let most = self.limits.result_bytes;
        let message =
            format!("the result is {bytes} bytes long, more than the {most} of `jobs.result_bytes`; raise it");
        Failure { status: 507, message }
    }

    /// Gives a job up. `None` when there is no such job for this owner.
    pub(super) fn cancel(&mut self, id: JobId, owner: &Owner, now: Instant) -> Option<Cancelling> {
        let entry = self.jobs.get(&id).filter(|entry| entry.visible(owner))?;
        let ran = match entry.state() {
            State::Cancelled => return Some(Cancelling::Before),
            state @ (State::Done | State::Failed | State::Expired) => return Some(Cancelling::TooLate(state)),
            State::Queued => {
                self.queue.remove(&(entry.priority, entry.number));
                self.queued_bytes -= entry.held_bytes;
                false
            }
            State::Running => {
                self.running.retain(|running| *running != id);
                true
            }
        };
        self.conclude(id, End::Cancelled, now);
        Some(Cancelling::Now { ran })
    }

    /// Takes no more jobs, and fails those that wait. Gives their kinds.
    pub(super) fn stop(&mut self, failure: &Failure, now: Instant) -> Vec<Kind> {
        self.stopping = true;
        self.queued_bytes = 0;
        let waiting: Vec<_> = std::mem::take(&mut self.queue).into_values().collect();
        for id in &waiting {
            self.conclude(*id, End::Failed(failure.clone()), now);
        }
        waiting.iter().filter_map(|id| Some(self.jobs.get(id)?.kind)).collect()
    }

    /// The one way in which a job ends.
    fn conclude(&mut self, id: JobId, end: End<R>, now: Instant) {
        let Some(entry) = self.jobs.get_mut(&id) else { return };
        if let End::Done { bytes, .. } = end {
            self.kept_bytes += bytes;
        }
        entry.phase = Phase::Ended { began: entry.began(), at: now, end };
        entry.changed(None, now);
        self.kept.push_back(id);
        self.sweep(now);
    }

    /// Drops the outcomes that have been kept for long enough, and the oldest ones where there are too many.
    pub(super) fn sweep(&mut self, now: Instant) {
        while let Some(&id) = self.kept.front() {
            let ended = self.jobs.get(&id).and_then(Entry::ended);
            let due = ended.is_none_or(|at| now.saturating_duration_since(at) >= self.limits.retention);
            if !due && self.kept.len() <= self.limits.results && self.kept_bytes <= self.limits.result_bytes {
                break;
            }
            self.kept.pop_front();
            self.expire(id);
        }
        while self.expired.len() > REMEMBERED {
            self.expired.pop_front().and_then(|id| self.jobs.remove(&id));
        }
    }

    fn expire(&mut self, id: JobId) {
        let Some(entry) = self.jobs.get_mut(&id) else { return };
        if let Phase::Ended { began, at, end } = &entry.phase {
            if let End::Done { bytes, .. } = end {
                self.kept_bytes -= bytes;
            }
            entry.phase = Phase::Expired { began: *began, at: *at };
        }
        entry.changes = Vec::new();
        self.expired.push_back(id);
    }

    /// Whose a job is. `None` when there is no such job.
    pub(super) fn owner_of(&self, id: JobId) -> Option<Owner> {
        self.jobs.get(&id).map(|entry| entry.owner)
    }

    /// A job as it is now. `None` when there is no such job for this owner.
    pub(super) fn view(&self, id: JobId, owner: &Owner, now: Instant) -> Option<View<R>> {
        let entry = self.jobs.get(&id).filter(|entry| entry.visible(owner))?;
        let place = (entry.priority, entry.number);
        let queued = entry.state() == State::Queued;
        let (began, ended) = (entry.began(), entry.ended());
        let until = ended.unwrap_or(now);
        let expires = matches!(entry.phase, Phase::Ended { .. }).then_some(ended).flatten();
        Some(View {
            id,
            kind: entry.kind,
            priority: entry.priority,
            submitted_unix_ms: entry.submitted_unix_ms,
            state: entry.state(),
            position: queued.then(|| self.queue.range(..=place).count()),
            estimated_wait: queued.then(|| self.estimated_wait(place, now)).flatten(),
            waited: began.unwrap_or(until).saturating_duration_since(entry.submitted),
            ran: began.map(|began| until.saturating_duration_since(began)),
            step: entry.changes.iter().rev().find_map(|change| change.step),
            end: match &entry.phase {
                Phase::Ended { end, .. } => Some(end.clone()),
                _ => None,
            },
            expires: expires.and_then(|at| at.checked_add(self.limits.retention)),
        })
    }

    fn estimated_wait(&self, place: (u8, u64), now: Instant) -> Option<Duration> {
        let kind = |id: &JobId| self.jobs.get(id).map(|entry| entry.kind);
        let ahead = self.queue.range(..place).map(|(_, id)| kind(id).and_then(|kind| self.taken.mean(kind)));
        let ahead: Option<Vec<_>> = ahead.collect();
        let measured = self.running.iter().all(|id| kind(id).is_some_and(|kind| self.taken.mean(kind).is_some()));
        let ahead = ahead.filter(|_| measured)?;
        Some(estimate::wait(self.limits.workers, self.remaining(now), ahead))
    }

    /// How long each of those that run will, by what others of its kind took.
    fn remaining(&self, now: Instant) -> impl Iterator<Item = Duration> {
        self.running.iter().filter_map(move |id| {
            let entry = self.jobs.get(id)?;
            let mean = self.taken.mean(entry.kind).unwrap_or_default();
            Some(mean.saturating_sub(now.saturating_duration_since(entry.began()?)))
        })
    }

    /// What has happened to a job after its first `seen` changes, and its state.
    pub(super) fn changes(&self, id: JobId, owner: &Owner, seen: usize) -> Option<(State, Vec<Change>)> {
        let entry = self.jobs.get(&id).filter(|entry| entry.visible(owner))?;
        Some((entry.state(), entry.changes.get(seen..).unwrap_or_default().to_vec()))
    }

    /// At most `limit` of an owner's jobs, the newest first, beginning behind the one called `after`; and whether there
    /// are more. `None` when there is no job of that name.
    pub(super) fn list(&self, owner: &Owner, after: Option<JobId>, limit: usize) -> Option<(Vec<JobId>, bool)> {
        let before = match after {
            Some(id) => self.jobs.get(&id).filter(|entry| entry.owner == *owner)?.number,
            None => u64::MAX,
        };
        let own = self.jobs.iter().filter(|(_, entry)| entry.owner == *owner && entry.number < before);
        let mut numbered: Vec<_> = own.map(|(id, entry)| (entry.number, *id)).collect();
        numbered.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
        let more = numbered.len() > limit;
        Some((numbered.into_iter().take(limit).map(|(_, id)| id).collect(), more))
    }
}

#[cfg(test)]
mod tests;
