//! Watching while the load runs: the target's metrics and statistics, and the generator's own process, once a
//! second on the run's clock.

mod fetch;
mod page;
mod process;
pub mod prometheus;
mod pulse;
mod scraper;
pub mod statistics;

pub(crate) use process::USERS_THREAD;
pub use pulse::Pulse;

pub use fetch::{FetchError, fetch};
pub(crate) use fetch::{ask, page as page_of, request as get};
pub use page::{find_metrics, metrics_below};
pub use scraper::{Expected, Scraper, describe_target, points_per_scrape, server_name};
