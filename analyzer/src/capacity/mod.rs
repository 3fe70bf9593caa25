//! The highest rate that keeps a service level, with an interval that holds: which steps to drive, what is believed after
//! them, and what was found. Drives nothing itself; a simulated server and a real one are asked in the same way.
//!
//! The method: warm up until latencies are steady (MSER-5), bracket by steps half as high again, then drive where a Bayesian
//! posterior over a logistic curve with an effect of each step says most, waiting after every step until nothing is in
//! flight, because a backlog that is carried over is the largest error of all.

mod afterwards;
mod belief;
mod found;
mod observe;
mod posterior;
mod saturation;
mod search;
mod verdict;
mod warm_up;

pub(crate) use afterwards::from_steps;
pub use observe::observe;
pub(crate) use saturation::is_local;
pub use saturation::saturation;
pub use search::{MOST_ALLOWED, Next, Search};
pub use verdict::verdict;

pub use crate::report::write_capacity as write_page;
