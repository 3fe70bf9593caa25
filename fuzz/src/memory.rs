//! How much memory a parser asks for, counted by the allocator: the system's own figure leaves out what is asked for
//! and never touched, and that is what a length made up by a stranger leads to.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// 2¹⁰.
pub const KIB: usize = 1 << 10;
/// 2²⁰.
pub const MIB: usize = 1 << 20;

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;
static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);
static PEAK_BYTES: AtomicUsize = AtomicUsize::new(0);

fn taken(bytes: usize) {
    let live = LIVE_BYTES.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK_BYTES.fetch_max(live, Ordering::Relaxed);
}

fn given_back(bytes: usize) {
    LIVE_BYTES.fetch_sub(bytes, Ordering::Relaxed);
}

// SAFETY: every call is handed to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        given_back(layout.size());
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The old block may have to stay until it is copied.
        taken(size);
        given_back(layout.size());
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// The most memory that reading an input may take at any moment.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    /// Whatever the input's length.
    pub fixed: usize,
    /// For each byte of input.
    pub per_byte: usize,
}

impl Allowance {
    /// Runs `work`, and fails when it held more than it may.
    pub fn hold<T>(self, input_bytes: usize, work: impl FnOnce() -> T) -> T {
        let before = LIVE_BYTES.load(Ordering::Relaxed);
        PEAK_BYTES.store(before, Ordering::Relaxed);
        let result = work();
        let held = PEAK_BYTES.load(Ordering::Relaxed).saturating_sub(before);
        let most = self.fixed + self.per_byte * input_bytes;
        assert!(held <= most, "{held} bytes of memory for {input_bytes} of input, where at most {most} are allowed");
        result
    }
}
