//! A slot at work: takes an arrival, sends it over the slot's own connections, records its sample, asks for more.

use std::sync::Arc;
use std::time::Duration;

use proofload_run::sample::{Outcome, Sample, flags};
use proofload_wire::phases::{Family, Stated};

use super::hub::{Hub, OpenSlot};
use super::retry::{Ended, Retries, asked_to_wait_ns};
use super::timer::Curtain;
use super::{Next, SlotId};
use crate::clock::RunClock;
use crate::judge::{Judgement, judge};
use crate::payload::{Entry, Values, capture};
use crate::plan::{Arrival, mix64};
use crate::record::{Ledger, Log, Retried, blank};
use crate::transport::{Address, Attempt, ConnectionPolicy, Failure, Links, Sharing};

/// Tells the draws of jitter from others of the same seed.
const JITTER: u64 = 0x6a69_7474_6572;

/// What every slot and every simulated user needs. Built once per run.
#[derive(Debug)]
pub struct Stage {
    /// The run's clock.
    pub clock: RunClock,
    /// When the run stops and ends.
    pub curtain: Arc<Curtain>,
    /// Where samples go.
    pub ledger: Arc<Ledger>,
    /// Where examples of errors go.
    pub log: Arc<Log>,
    /// The entries of the mix.
    pub entries: Vec<Entry>,
    /// The target's HTTP side.
    pub http: Option<Address>,
    /// The target's gRPC side.
    pub grpc: Option<Address>,
    /// How connections are opened and used again.
    pub connections: ConnectionPolicy,
    /// The connections that slots share, where not each has its own.
    pub shared: Sharing,
    /// Which failed attempts are made again.
    pub retries: Option<Retries>,
    /// How many were.
    pub retried: Arc<Retried>,
    /// Time limit of a request, from its intended arrival.
    pub timeout_ns: u64,
}

impl Stage {
    /// Which connection a slot's requests go over.
    fn connection_of(&self, slot: SlotId) -> u32 {
        slot / self.connections.streams
    }

    /// A slot's connections: its own, or those that it shares with its neighbours.
    fn links(&self, slot: SlotId) -> Links {
        let (http, grpc, policy) = (self.http.clone(), self.grpc.clone(), self.connections);
        if policy.streams == 1 {
            return Links::new(http, grpc, policy);
        }
        Links::sharing(http, grpc, policy, self.shared.join(self.connection_of(slot)))
    }
}

/// A place for one request at a time.
pub struct Slot {
    stage: Arc<Stage>,
    number: SlotId,
    links: Links,
    /// When its last request ended.
    free_ns: u64,
    /// Bits that every sample of this slot carries.
    flags: u16,
    /// What its requests are filled with.
    values: Values,
}

impl Slot {
    /// A slot with no connection yet.
    pub fn new(stage: Arc<Stage>, number: SlotId, flags: u16) -> Self {
        let links = stage.links(number);
        let values = Values { user: number, carried: Vec::new() };
        Self { stage, number, links, free_ns: 0, flags, values }
    }

    /// Works for the hub until the run is over.
    pub async fn work(mut self, hub: &Hub, mut mailbox: tokio::sync::mpsc::Receiver<Arrival>) {
        loop {
            let assigned = tokio::select! {
                // An arrival goes first: a connection that closed at the same moment is opened again for it.
                biased;
                assigned = mailbox.recv() => assigned,
                () = self.links.mind() => continue,
            };
            let Some(mut arrival) = assigned else { return };
            loop {
                self.send(&arrival).await;
                match hub.finished(self.number) {
                    Next::Send(next) => arrival = next,
                    Next::Idle => break,
                }
            }
        }
    }

    /// Waits for `until`, minding the connections meanwhile.
    pub async fn wait(&mut self, until: &tokio::sync::Notify) {
        loop {
            tokio::select! {
                biased;
                () = until.notified() => return,
                () = self.links.mind() => {}
            }
        }
    }

    /// Sends one arrival and records what came of it. Says whether the answer was right.
    pub async fn send(&mut self, arrival: &Arrival) -> bool {
        let stage = Arc::clone(&self.stage);
        let taken_ns = stage.clock.now_ns();
        let entry = &stage.entries[usize::from(arrival.entry)];
        let mut sample = Sample {
            generator_late_ns: taken_ns.saturating_sub(arrival.intended_ns.max(self.free_ns)),
            connection: stage.connection_of(self.number),
            flags: self.flags,
            ..blank(arrival)
        };
        stage.ledger.sending(self.number, &sample);
        let mut attempt = self.attempt(arrival, &mut sample, taken_ns).await;
        let mut judgement = judge(&entry.expect, &attempt.result, attempt.seen.as_deref());
        if let Some(retries) = &stage.retries {
            let mut attempts = 1;
            while let Some(wait_ns) = retries.wait_ns(&self.ended(arrival, attempts, &attempt, judgement.outcome)) {
                stage.retried.count(judgement.outcome);
                self.pause(Duration::from_nanos(wait_ns)).await;
                attempts += 1;
                sample.retry = sample.retry.saturating_add(1);
                attempt = self.attempt(arrival, &mut sample, stage.clock.now_ns()).await;
                judgement = judge(&entry.expect, &attempt.result, attempt.seen.as_deref());
            }
        }
        self.free_ns = attempt.times.done_ns;
        self.carry(entry, &attempt, &mut judgement);
        if let Err(Failure::Local { of, said }) = &attempt.result {
            stage.log.ran_out(self.free_ns, *of, said.clone());
        }
        fill(&mut sample, &attempt, &judgement);
        stage.ledger.finish(self.number, &sample);
        if let Some(message) = judgement.message {
            stage.log.example(&sample, message);
        }
        judgement.outcome == Outcome::Ok
    }

    /// Sends a request once. What is known of it only now goes into the sample: it was sent when it was first sent.
    async fn attempt(&mut self, arrival: &Arrival, sample: &mut Sample, now_ns: u64) -> Attempt {
        let stage = Arc::clone(&self.stage);
        let entry = &stage.entries[usize::from(arrival.entry)];
        let limit = Duration::from_nanos((arrival.intended_ns + stage.timeout_ns).saturating_sub(now_ns));
        let prepared = match entry.request(arrival, &self.values) {
            Ok(prepared) => prepared,
            Err(e) => return Attempt::unmade(format!("the request cannot be made: {e}"), stage.clock.now_ns()),
        };
        sample.bytes_out = u32::try_from(prepared.body_bytes).unwrap_or(u32::MAX);
        sample.trace_id = prepared.trace_id;
        let first_sent_ns = sample.sent_ns;
        let on_wire = |now_ns| {
            let sent_ns = if first_sent_ns == 0 { now_ns } else { first_sent_ns };
            stage.ledger.sending(self.number, &Sample { sent_ns, ..*sample });
        };
        let attempt =
            self.links.exchange(entry.via, &prepared.request, &stage.clock, limit, entry.reception(), on_wire).await;
        if first_sent_ns == 0 {
            sample.sent_ns = attempt.times.sent_ns;
        }
        sample.retry = sample.retry.saturating_add(attempt.resent);
        if attempt.new_connection {
            sample.flags |= flags::NEW_CONNECTION;
        }
        attempt
    }

    fn ended(&self, arrival: &Arrival, attempts: u8, attempt: &Attempt, outcome: Outcome) -> Ended {
        let stage = &self.stage;
        let seed = stage.entries[usize::from(arrival.entry)].seed;
        Ended {
            outcome,
            attempts,
            asked_ns: attempt.result.as_ref().ok().and_then(asked_to_wait_ns),
            left_ns: (arrival.intended_ns + stage.timeout_ns).saturating_sub(attempt.times.done_ns),
            draw: mix64(mix64(seed ^ JITTER ^ arrival.unique) ^ u64::from(attempts)),
        }
    }

    /// Waits before another attempt, minding the connections meanwhile.
    async fn pause(&mut self, wait: Duration) {
        let until = tokio::time::Instant::now() + wait;
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(until) => return,
                () = self.links.mind() => {}
            }
        }
    }

    /// Takes what later requests need out of a right answer; one that lacks it is not right.
    fn carry(&mut self, entry: &Entry, attempt: &Attempt, judgement: &mut Judgement) {
        let (Ok(answer), false) = (&attempt.result, entry.captures.is_empty()) else { return };
        if judgement.outcome != Outcome::Ok {
            return;
        }
        match capture(&entry.captures, &answer.body) {
            Ok(values) => values.into_iter().for_each(|(index, value)| self.values.set(index, value)),
            Err(message) => {
                judgement.outcome = Outcome::BadBody;
                judgement.message = Some(message);
            }
        }
    }
}

/// Opens slots as the hub asks for them and runs each until it is let go or the run is over.
pub async fn host(stage: Arc<Stage>, hub: Arc<Hub>, mut opener: tokio::sync::mpsc::UnboundedReceiver<OpenSlot>) {
    let mut slots = tokio::task::JoinSet::new();
    loop {
        let opened = tokio::select! {
            biased;
            opened = opener.recv() => opened,
            // One that was let go: the set would keep what is left of it.
            Some(_) = slots.join_next() => continue,
        };
        let Some(OpenSlot { slot, mailbox }) = opened else { return };
        let (stage, hub) = (Arc::clone(&stage), Arc::clone(&hub));
        slots.spawn(async move { Slot::new(stage, slot, 0).work(&hub, mailbox).await });
        // Whoever still sends at the end has been recorded as in flight; dropping the set ends it.
    }
}

fn fill(sample: &mut Sample, attempt: &Attempt, judgement: &Judgement) {
    sample.first_byte_ns = attempt.times.first_byte_ns;
    sample.done_ns = attempt.times.done_ns;
    sample.outcome = judgement.outcome.code();
    sample.status = judgement.status;
    sample.bytes_in = judgement.bytes_in;
    fill_tokens(sample, attempt, judgement);
    if let Some(Stated { phases, family }) = &judgement.phases {
        sample.queue_ns = phases.queue_ns;
        sample.copy_in_ns = phases.copy_in_ns;
        sample.compute_ns = phases.compute_ns;
        sample.copy_out_ns = phases.copy_out_ns;
        sample.batch_size = u16::try_from(phases.batch_size).unwrap_or(u16::MAX);
        sample.flags |= flags::HAS_PHASES;
        if phases.cache.is_hit() {
            sample.flags |= flags::CACHE_HIT;
        }
        if *family == Family::TextInference {
            sample.flags |= flags::PHASES_IN_MS;
        }
    }
}

fn fill_tokens(sample: &mut Sample, attempt: &Attempt, judgement: &Judgement) {
    if let Some(seen) = attempt.seen.as_deref().filter(|seen| seen.pieces > 0) {
        sample.first_token_ns = seen.first_ns;
        sample.last_token_ns = seen.last_ns;
        sample.longest_gap_ns = seen.longest_gap_ns;
        sample.pieces = u16::try_from(seen.pieces).unwrap_or(u16::MAX);
        sample.tokens_out = seen.pieces;
        sample.flags |= flags::STREAMED;
    }
    if let Some(usage) = judgement.usage {
        sample.tokens_in = usage.prompt;
        if usage.completion > 0 {
            sample.tokens_out = usage.completion;
            sample.flags |= flags::TOKENS_STATED;
        }
    }
}
