//! What a run leaves behind while it goes on: samples, series, events, and the live figures of the progress line.
//! Nothing is judged here against an SLO, which is the analyzer's, but whether a climb has long passed its break.

mod climb;
mod ledger;
mod live;
mod log;
mod retried;
mod secrets;
mod watchdog;
mod writer;

pub use climb::Climb;
pub use ledger::{Ledger, blank};
pub use live::Live;
pub use log::Log;
pub use retried::Retried;
pub use secrets::Secrets;
pub use watchdog::{Missed, UnderWay, Watchdog};
pub use writer::{Recorded, Writer, WriterHandle};
