//! The load generator: arrivals on schedule, every sample kept.
//!
//! | module | what |
//! |---|---|
//! | [`scenario`] | scenario files: as written, as run, and all that is wrong with one |
//! | [`discover`] | what a target is and which models it has, asked of the target |
//! | [`starter`] \* | a first scenario file for a target, written for people to change |
//! | [`plan`] \* | which request is due when: deterministic from steps, mix and seed |
//! | [`dispatch`] | who sends which arrival: the state machine \*, and the threads around it |
//! | [`users`] | the only module that knows Goose |
//! | [`transport`] | connections for HTTP/1.1, HTTP/2 and gRPC, over TCP, TLS and Unix sockets, that return timestamps and judge nothing |
//! | [`judge`] \* | what an attempt came to |
//! | [`payload`] | what requests carry, and what makes each unlike every other |
//! | [`streamed`] \* | an answer that comes in pieces: when, and what they say |
//! | [`record`] | samples, live figures \*, events and series |
//! | [`watch`] | scraping the target and the generator's own process |
//! | [`footprint`] \* | what a run will take on disk |
//! | [`run`] | the shell: everything is wired there |
//! | [`calibrate`] | the generator against servers whose truth is known |
//!
//! (\* is pure: no clock, no socket, no thread.)
//!
//! Latency is measured from the intended arrival, whatever the target or the generator do; every intended arrival
//! leaves exactly one sample. Analysis and verdicts are not here.

pub mod calibrate;
pub mod clock;
pub mod discover;
pub mod dispatch;
pub mod footprint;
pub mod host;
pub mod judge;
pub mod payload;
pub mod plan;
pub mod progress;
pub mod record;
pub mod run;
pub mod scenario;
pub mod starter;
pub mod stop;
pub mod streamed;
pub mod transport;
pub mod users;
pub mod watch;
