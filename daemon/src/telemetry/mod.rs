//! What the daemon tells about itself: Prometheus metrics and OTLP traces. Measuring is done where things happen;
//! here it is named, collected and exposed. Nothing here decides anything.

pub mod catalogue;
mod gpus;
pub mod logs;
pub mod meters;
pub mod process;
pub mod sampler;
pub mod scrape;
pub mod trace;
