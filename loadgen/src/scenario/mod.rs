//! Scenario files: what to send, how much of it, where, and what counts as good enough.
//!
//! A file is read in two steps. First as written: keys, types and quantities, each with its place in the file. Then
//! as run: defaults filled in and everything checked that can be checked without opening a socket. All problems of
//! a file come at once, each with its place, what is wrong, and what would be right. The reading is done by hand
//! and not by `serde`, which stops at the first mistake.
//!
//! ```toml
//! name = "quick"                 # default: the file's name
//! description = "…"
//! kind = "sustained"             # sustained | stress | spike | endurance | ramp
//! seed = 42                      # default 1: the same seed gives the same arrivals and payloads
//! thresholds = ["p95 < 300ms", "relief: error_rate < 1%", "p95 < 500ms over any 10s", "error_rate < 5% else abort after 30s",
//!     "burn_rate < 14.4 over any 60s",          # share of bad requests over what the SLO allows; also goodput
//!     "burn_rate < 14.4 over 1h and 5m"]        # missed only while both windows miss it
//!
//! [target]                       # absent: proofload starts its own daemon
//! http = "http://127.0.0.1:8000"                # or https://…, or unix:/run/app.sock
//! grpc = "http://127.0.0.1:8001"                # for kserve-grpc entries
//! metrics = "http://127.0.0.1:8002/metrics"     # default: <http>/metrics, or a Triton's port; without a path: /metrics
//! http_version = "2"             # of http: 1.1 (default) | 2 (with TLS by ALPN, without by prior knowledge)
//! headers = { authorization = "Bearer ${env:TOKEN}" }   # of every request: load, metadata, statistics, metrics
//! [target.tls]                   # for https URLs; all of it optional. Paths are relative to the scenario file
//! ca = "ca.pem"                  # authorities to trust instead of the system's
//! client_cert = "client.pem"     # who we are, where the server asks
//! client_key = "client-key.pem"
//! server_name = "api.example.com"               # the name that its certificate has; default: the URL's host
//! insecure = true                # any certificate will do; the report warns of it
//!
//! [load]
//! model = "open"                 # open (default): arrivals come on schedule | closed: users wait for answers
//! arrivals = "poisson"           # open: poisson (default) | constant | gamma | replay
//! burstiness = 4.0               # gamma: squared coefficient of variation of the gaps; 1 is Poisson
//! rate = "40/s"                  # open, sustained and endurance;  closed: users = 10
//! duration = "30s"               # sustained, endurance, ramp
//! think_time = "100ms"           # closed; default 0
//! think_distribution = "exponential"            # closed: constant (default) | exponential
//! max_connections = 256          # default "as-needed"; to all sides of the target together
//! request_timeout = "10s"        # from the intended arrival; default 10s
//! connect_timeout = "1s"         # of it, for opening a connection; default all of it
//! reuse = "per-request"          # a connection for each request; default "keep-alive"
//! requests_per_connection = 100  # closed after so many; default never
//! streams_per_connection = 8     # HTTP/2, gRPC: requests at a time over one; default 1
//! connection_max_age = "30s"     # nothing more is sent over an older one; default never
//! connection_idle_timeout = "30s"               # closed when nothing needed them for so long, but for as many as were
//!                                # needed; default 30s as-needed, never with a number in max_connections
//! warm_up = "2s"                 # at the first level, left out of every figure; default none
//! drain = "10s"                  # wait at the end for what is in flight; default request_timeout
//! traces = "1%"                  # share of requests that start a sampled W3C trace; default none
//! stop_after_break = true        # stress: after two steps in a row that clearly miss the SLO, or one that is
//!                                # hopeless, the higher ones are not run; default true
//! [load.retries]                 # default: nothing is tried again. Rates are then after retries, and the report warns
//! attempts = 2                   # in all, within request_timeout; default 2
//! on = ["connect_error", "shed"] # also transport_error, server_error: your choice for requests that change something
//! backoff = "50ms"               # mean, doubled each time, with jitter; Retry-After is obeyed. Default 50ms
//! [load.steps]                   # stress: from, to, and step or percent; each level held
//! from = "100/s"
//! to = "500/s"
//! step = "20/s"                  # or percent = "5%"
//! hold = "10s"
//! settle = "2s"                  # start of each step that does not count; default a fifth of hold
//! [load.spike]                   # spike: base for `before`, peak for `hold`, base again for `recovery`
//! base = "50/s"
//! peak = "200/s"
//! before = "10s"
//! hold = "10s"
//! recovery = "20s"
//! recover_within = "5s"          # start of the recovery that is not judged; default a third of it
//! [load.ramp]                    # ramp: evenly from one level to the other within `duration`
//! from = "10/s"
//! to = "200/s"
//!
//! [load.sine]                    # sustained, endurance, instead of rate: a day's curve, in 24 straight pieces a period
//! mean = "50/s"
//! amplitude = "30/s"
//! period = "24h"
//! [[load.stages]]                # sustained, endurance, instead of rate and duration: one after the other, each one of
//! name = "morning"               #   level = "50/s"                            held
//! duration = "5m"                #   to = "200/s" (from: where the last ended) ramped
//! settle = "10s"                 #   mean, amplitude, period                   as [load.sine]
//! to = "200/s"
//! [load.burst]                   # open: all arrivals of a period come in its first part
//! every = "10s"
//! length = "1s"                  # default 0: all at once
//! [load.replay]                  # arrivals = "replay": as recorded; load.duration cuts it short
//! file = "trace.csv"             # or .parquet; a row for each request, in any order
//! column = "sent_ms"             # its moment, unit by ending (_s _ms _us _ns), or a date; default: the first such column
//! entries = "kind"               # a column that names the entry of the mix; default: drawn by weight
//! speed = 2.0                    # default 1
//!
//! [[mix]]                        # one or more; drawn by weight
//! name = "relief"
//! weight = 1                     # default 1
//! protocol = "http"              # http | kserve-http-json | kserve-http-binary | kserve-grpc | kserve-grpc-stream |
//!                                # openai-chat | openai-completions | generate | generate-stream
//! payload = "unique"             # unique: no two requests alike (default where possible) | fixed | zipf
//! zipf = { items = 1000, exponent = 1.0 }       # zipf: requests repeat contents out of a set, by popularity
//! method = "POST"                # http; default GET without files or body
//! path = "/api/v1/generate-3d?format=stl"
//! headers = { authorization = "Bearer ${env:TOKEN}" }   # all protocols (gRPC: metadata). ${env:NAME} stays secret:
//!                                # its value is in no file of the run
//! files = ["payloads/*.png"]     # relative to the scenario file; one is drawn for each request
//! model = "relief_depth"         # http: optional, under which the server's statistics count it
//! expect = { status = 200, min_bytes = 84, content_type = "model/stl" }
//! # kserve:
//! # model = "tiny_mlp"; version = "1"; outputs = ["y"]   (outputs that must come back)
//! # inputs = [{ name = "x", datatype = "FP32", shape = [1, 16], data = "random" }]   (random | zeros)
//!
//! # openai-chat, openai-completions, generate, generate-stream:
//! # model = "llama-3"; prompt = "Tell me about the sea." (or prompt_words = 200, or files, a prompt each)
//! # system = "Be brief."; max_tokens = 128; stream = true; parameters = { temperature = 0.0 }; path = "/v1/chat/completions"
//!
//! # path, headers and body of plain HTTP, and prompts, may hold {{user}}, {{sequence}}, {{unique}}, {{uuid}}, {{content}}
//! # (as unique, but repeating as payload says) and captured values
//! capture = { token = "/access_token" }         # http: a JSON pointer into the answer, for {{token}} later in a journey
//!
//! [[journeys]]                   # closed: requests one after the other, with think time between; by weight, beside
//! name = "shopper"               #   entries that state a weight of their own. A failed request ends a journey
//! weight = 2                     # default 1
//! requests = ["login", "list", "item"]
//!
//! [slo]                          # also in an entry of the mix
//! latency = "300ms"
//! ttft = "200ms"                 # streams: time to the first token; default any
//! itl = "50ms"                   # streams: mean time between the tokens of an answer; default any
//! percentile = 95.0              # default 95
//! error_rate = "1%"              # default 1%
//! availability = "99.9%"         # endurance: the share of requests that has to be served, for the error budget; default 99.9%
//! ```
//! In a closed model every level is a whole number of users. The thresholds here are those that the file states;
//! which others hold by default is the analyzer's affair.

mod as_run;
mod as_written;
mod completions;
mod connections;
mod document;
mod entries;
pub(crate) mod environment;
mod files;
mod held;
mod journeys;
mod levels;
mod policy;
mod problem;
mod reader;
mod recording_file;
mod schema;
mod shapes;
mod steps;
mod target;
mod timing;
mod validate;

use std::path::Path;

pub use as_run::*;
pub use as_written::ProtocolWord as Protocol;
pub use held::Held;
pub use problem::{Place, Problem, ScenarioErrors};
pub use schema::schema;

use reader::Problems;

impl Scenario {
    /// Reads a scenario file with overrides (`load.duration=1h`), checks it, and opens no socket.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, ScenarioErrors> {
        let text = std::fs::read_to_string(path).map_err(|e| ScenarioErrors {
            path: path.to_owned(),
            problems: vec![Problem {
                place: Place::Whole,
                key: String::new(),
                message: format!("cannot be read: {e}; name a scenario file such as scenarios/quick.toml"),
            }],
        })?;
        Self::parse(path, &text, overrides)
    }

    /// As [`Scenario::load`], from text that stands at `path`.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn parse(path: &Path, text: &str, overrides: &[String]) -> Result<Self, ScenarioErrors> {
        let (mut document, syntax) = document::parse(text);
        let broken = !syntax.is_empty();
        let problems = Problems::new(syntax);
        for text in overrides {
            if let Err(problem) = document::set(&mut document, text) {
                problems.borrow_mut().push(problem);
            }
        }
        let source = Source { path: path.to_owned(), text: text.to_owned(), overrides: overrides.to_owned() };
        // What a file with broken syntax seems to lack may only be unreadable.
        let scenario = if broken {
            None
        } else {
            let written = as_written::read(&document, &problems);
            validate::validate(&written, source, &problems)
        };
        let problems = problems.into_inner();
        scenario
            .filter(|_| problems.is_empty())
            .ok_or_else(|| ScenarioErrors { path: path.to_owned(), problems: in_order(problems) })
    }
}

/// Problems from the top of the file to its end, overrides last.
fn in_order(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by_key(|problem| match problem.place {
        Place::Whole => (0, 0, 0),
        Place::File { line, column } => (1, line, column),
        Place::Override(_) => (2, 0, 0),
    });
    problems.dedup();
    problems
}
