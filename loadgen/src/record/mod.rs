//! What a run leaves behind while it goes on: samples, series, events, and the live figures of the progress line.
//! Nothing is judged here against an SLO; that is the analyzer's.

mod ledger;
mod live;
mod log;
mod writer;

pub use ledger::{Ledger, blank};
pub use live::Live;
pub use log::Log;
pub use writer::{Recorded, Writer, WriterHandle};
