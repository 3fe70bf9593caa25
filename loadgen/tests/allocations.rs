//! What it costs to keep a sample: in steady state, no allocation at all. A file of its own, because it replaces the
//! allocator. It counts what its own thread allocates, on which everything here is done: the test harness has others.

// Helpers outside of the test functions unwrap for the same reason as these do.
#![allow(clippy::unwrap_used)]
#![allow(unsafe_code, reason = "an allocator is unsafe by its trait; this one only counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use proofload_loadgen::plan::Arrival;
use proofload_loadgen::record::{Ledger, Live, Watchdog, blank};
use proofload_run::criteria::{Rule, Slo};
use proofload_run::journal::JournalWriter;
use proofload_run::sample::Sample;

struct Counting;

thread_local! {
    // Without a destructor and made before the program runs, so that counting allocates nothing itself.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: everything is the system allocator's doing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// As the threads of a run keep samples: slots put them into the ledger, the writer carries them on.
struct Recorder {
    ledger: Ledger,
    live: Live,
    watchdog: Watchdog,
    journal: JournalWriter,
    buffer: Vec<Sample>,
    sequence: u64,
}

impl Recorder {
    /// A tenth of a second with so many requests over 50 connections.
    fn tick(&mut self, requests: u64) {
        for _ in 0..requests {
            let slot = (self.sequence % 50) as u32;
            let intended_ns = self.sequence * 1_000_000;
            let arrival =
                Arrival { sequence: self.sequence, intended_ns, step: 0, entry: 0, payload: 0, content: 0, unique: 0 };
            self.ledger.intend();
            self.ledger.assign(slot, &arrival);
            let done_ns = intended_ns + 1_000_000 + self.sequence % 7 * 20_000_000;
            self.ledger.finish(slot, &Sample { sent_ns: intended_ns + 1, done_ns, ..blank(&arrival) });
            self.sequence += 1;
        }
        self.ledger.take(&mut self.buffer);
        for sample in &self.buffer {
            self.live.add(sample);
            self.watchdog.add(sample);
            self.journal.append(sample).unwrap();
        }
        self.journal.flush().unwrap();
    }

    /// A second, and what is done at its end.
    fn second(&mut self) -> u64 {
        let before = ALLOCATIONS.get();
        (0..10).for_each(|_| self.tick(100));
        let allocated = ALLOCATIONS.get() - before;
        drop(self.live.lines(self.sequence * 1_000_000, 0));
        self.live.turn();
        while self.watchdog.is_due(self.sequence * 1_000_000 + 100_000_000) {
            self.watchdog.turn(&self.ledger.under_way());
        }
        allocated
    }
}

#[test]
fn keeping_a_sample_allocates_nothing_in_steady_state() {
    let folder = tempfile::tempdir().unwrap();
    let thresholds = ["p95 < 500ms over any 10s", "burn_rate < 14.4 over any 60s"];
    let slo = Slo::new(100_000_000, 95.0, 0.01);
    let rules = thresholds.map(|text| Rule::new(&text.parse().unwrap(), Some(slo), [("a", None)]));
    let mut recorder = Recorder {
        ledger: Ledger::default(),
        live: Live::new(1),
        watchdog: Watchdog::new(rules, 0, 3_600_000_000_000),
        journal: JournalWriter::create(&folder.path().join("a.journal"), 0, 1024).unwrap(),
        buffer: Vec::new(),
        sequence: 0,
    };
    let filling: u64 = (0..3).map(|_| recorder.second()).sum();
    assert!(filling > 0, "a counter that saw nothing of what fills for the first time proves nothing");
    let allocated: Vec<u64> = (0..20).map(|_| recorder.second()).collect();
    assert_eq!(allocated, [0; 20], "allocations in each second of 1000 requests");
}
