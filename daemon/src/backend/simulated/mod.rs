//! The yardstick: a backend that computes nothing and takes exactly as long as its configuration declares, so that
//! the capacity of a model is known by arithmetic. Its outputs are its inputs where they fit, else zeros.

pub mod declaration;
pub mod faults;
pub mod leak;
pub mod pace;
pub mod service_time;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use proofload_wire::tensor::{Tensor, element_count};
use rustix::thread::ClockId;
use rustix::time::Timespec;

use self::faults::{FaultSpec, Faults};
use self::leak::Leak;
use self::pace::Pace;
use self::service_time::{ServiceTimeSpec, ServiceTimes};
use super::{Backend, BackendError, Request, Stages};
use crate::repository::spec::TensorSpec;

/// What a simulated model declares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SimulatedSpec {
    /// How long its executions take.
    pub service_time: ServiceTimeSpec,
    /// Seed of the service times.
    pub seed: u64,
    /// Bytes of the GPU's memory that every execution leaves behind.
    pub leak_gpu_bytes: u64,
    /// What goes wrong.
    pub faults: FaultSpec,
}

/// An instance of a simulated model.
pub struct Simulated {
    outputs: Vec<TensorSpec>,
    batched: bool,
    times: ServiceTimes,
    pace: Pace,
    precise_timer: bool,
    leak: Option<Arc<Leak>>,
    faults: Faults,
}

impl Simulated {
    /// Instance number `instance` of a model with these outputs.
    pub fn new(spec: SimulatedSpec, outputs: Vec<TensorSpec>, batched: bool, instance: u64) -> Self {
        let times = ServiceTimes::new(spec.service_time, spec.seed, instance);
        let faults = Faults::new(spec.faults, spec.seed, instance);
        Self { outputs, batched, times, pace: Pace::default(), precise_timer: false, leak: None, faults }
    }

    /// The same with a leak.
    #[must_use]
    pub fn leaking(self, leak: Option<Arc<Leak>>) -> Self {
        Self { leak, ..self }
    }

    /// Linux lets timers of ordinary threads fire 50 µs late, to wake several at once. A thread can waive that, and
    /// only for itself, hence not before the first execution.
    fn ask_for_a_precise_timer(&mut self) {
        if !self.precise_timer {
            self.precise_timer = true;
            // Where it is refused, executions end a little late and the pace makes up for it.
            let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        }
    }
}

impl Backend for Simulated {
    fn execute(&mut self, requests: &[Request], stages: &mut Stages) -> Result<Vec<Vec<Tensor>>, BackendError> {
        self.ask_for_a_precise_timer();
        stages.compute_begins();
        let now = Instant::now();
        self.leak.iter().try_for_each(|leak| leak.grow(now))?;
        let elements = requests.iter().map(|request| request.elements).sum();
        let service = self.times.next(elements);
        let end = self.pace.next_end(stages.ready(), now, service);
        sleep_until(end);
        stages.compute_ends();
        self.faults.befall()?;
        requests.iter().map(|request| answer(&self.outputs, self.batched, request)).collect()
    }
}

fn answer(outputs: &[TensorSpec], batched: bool, request: &Request) -> Result<Vec<Tensor>, BackendError> {
    let echo = |(index, spec): (usize, &TensorSpec)| {
        let input = request.inputs.get(index).filter(|input| fits(input, spec, batched));
        input.map_or_else(|| zeros(spec, batched, request.elements), |input| Ok(renamed(input, &spec.name)))
    };
    outputs.iter().enumerate().map(echo).collect()
}

fn fits(input: &Tensor, spec: &TensorSpec, batched: bool) -> bool {
    let shape = input.shape.get(usize::from(batched)..).unwrap_or_default();
    let same = |(&size, &declared): (&i64, &i64)| declared == -1 || declared == size;
    input.datatype == spec.datatype && shape.len() == spec.dims.len() && shape.iter().zip(&spec.dims).all(same)
}

fn renamed(input: &Tensor, name: &str) -> Tensor {
    Tensor { name: name.to_owned(), datatype: input.datatype, shape: input.shape.clone(), data: input.data.clone() }
}

/// An output of zeros, with 1 for every variable dimension. A BYTES element of four zero bytes is an empty string.
fn zeros(spec: &TensorSpec, batched: bool, elements: u32) -> Result<Tensor, BackendError> {
    let dims = spec.dims.iter().map(|&size| if size == -1 { 1 } else { size });
    let shape: Vec<i64> = batched.then_some(i64::from(elements)).into_iter().chain(dims).collect();
    let failed =
        |error: proofload_wire::WireError| BackendError::Output { tensor: spec.name.clone(), what: error.to_string() };
    let count = element_count(&shape).map_err(failed)?;
    let bytes = count.saturating_mul(spec.datatype.size().unwrap_or(EMPTY_STRING_BYTES));
    Tensor::new(spec.name.clone(), spec.datatype, shape, Bytes::from(vec![0; bytes])).map_err(failed)
}

const EMPTY_STRING_BYTES: usize = 4;

/// Sleeps until `end` on the monotonic clock, by an absolute time, so that an interruption does not prolong it.
fn sleep_until(end: Instant) {
    let clock = rustix::time::clock_gettime(ClockId::Monotonic);
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return;
    }
    let left = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
    let until = clock.checked_add(left).unwrap_or(left);
    while rustix::thread::clock_nanosleep_absolute(ClockId::Monotonic, &until) == Err(rustix::io::Errno::INTR) {}
}
