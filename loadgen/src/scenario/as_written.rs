//! A scenario as its author wrote it: keys known, types right, quantities parsed, each with its place. Whether it
//! makes sense as a whole is [`super::validate`]'s affair.
//!
//! The comments on the fields are what editors show: [`super::schema`] is made from them.

use std::collections::BTreeMap;

use proofload_run::manifest::ScenarioKind;
use proofload_run::units::{parse_duration_ns, parse_share};
use schemars::JsonSchema;

use super::document::{Node, Value};
use super::reader::{Located, Problems, Table};
use super::schema::{Connections, Duration, Level, Share, words};
use crate::transport::HttpVersion;

mod mix;
mod shapes;

pub use mix::ProtocolWord;
pub(super) use mix::{Input, Journey, Mix, PolicyWord, Zipf};
pub(super) use shapes::{Burst, Ramp, Replay, Sine, Spike, Stage, Steps};

type Maybe<T> = Option<Located<T>>;

/// The kinds of scenario, by their word.
const KINDS: [(&str, ScenarioKind); 5] = [
    ("sustained", ScenarioKind::Sustained),
    ("stress", ScenarioKind::Stress),
    ("spike", ScenarioKind::Spike),
    ("endurance", ScenarioKind::Endurance),
    ("ramp", ScenarioKind::Ramp),
];

/// Open or closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ModelWord {
    Open,
    Closed,
}

/// Models, by their word.
const MODELS: [(&str, ModelWord); 2] = [("open", ModelWord::Open), ("closed", ModelWord::Closed)];

/// When arrivals come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ArrivalsWord {
    Poisson,
    Constant,
    Gamma,
    Replay,
}

/// How arrivals are spaced, by their word.
const ARRIVALS: [(&str, ArrivalsWord); 4] = [
    ("poisson", ArrivalsWord::Poisson),
    ("constant", ArrivalsWord::Constant),
    ("gamma", ArrivalsWord::Gamma),
    ("replay", ArrivalsWord::Replay),
];

/// Versions of HTTP, by their word.
const HTTP_VERSIONS: [(&str, HttpVersion); 2] = [("1.1", HttpVersion::Http1), ("2", HttpVersion::Http2)];

/// How think times are distributed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ThinkWord {
    Constant,
    Exponential,
}

/// Distributions of think times, by their word.
const THINKS: [(&str, ThinkWord); 2] = [("constant", ThinkWord::Constant), ("exponential", ThinkWord::Exponential)];

/// Whether connections are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReuseWord {
    KeepAlive,
    PerRequest,
}

/// Policies of reuse, by their word.
const REUSE: [(&str, ReuseWord); 2] = [("keep-alive", ReuseWord::KeepAlive), ("per-request", ReuseWord::PerRequest)];

/// A proofload scenario: what to send, how much of it, where, and what counts as good enough. Durations are written
/// as "250ms", "30s", "10m", "1h"; rates as "50/s", "300/m"; shares as "1%".
#[derive(Debug, JsonSchema)]
#[schemars(title = "proofload scenario", rename = "Scenario", deny_unknown_fields)]
pub(super) struct Scenario {
    #[schemars(skip)]
    pub(super) here: Located<()>,
    /// Names the run and its folder: letters, digits, `-`, `_` and `.`. Default: the file's name.
    #[schemars(default, with = "String", regex(pattern = r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*$"))]
    pub(super) name: Maybe<String>,
    /// What the scenario is for; the report shows it.
    #[schemars(default, with = "String")]
    pub(super) description: Maybe<String>,
    /// Which question it asks. sustained: does the target bear this load? stress: where does it break (load.steps, and an
    /// SLO)? spike: does it survive a burst and recover (load.spike)? endurance: as sustained, for long. ramp: an even
    /// rise (load.ramp).
    #[schemars(with = "String", extend("enum" = words(&KINDS)))]
    pub(super) kind: Maybe<ScenarioKind>,
    /// The same seed gives the same arrivals and payloads, on every machine. Default: 1.
    #[schemars(default, with = "u64")]
    pub(super) seed: Maybe<i64>,
    /// What the run must meet to pass, such as `p95 < 300ms`, `error_rate < 1%`, `goodput >= 45/s`,
    /// `burn_rate < 14.4` (how many times faster than the SLO allows its budget of bad requests is spent), or
    /// `breaking_point >= 320/s` in stress and ramp scenarios; `entry: ` before it judges one entry of the mix; `over any
    /// 10s` after it, every window of that length; `over 1h and 5m` after a burn rate, that it is missed only while both
    /// windows miss it; `else abort after 30s` at the end, that missing it ends the run. What is
    /// not bounded is bounded anyway: at most 1 % errors, and at most 1 % sheds where overload is not the plan.
    #[schemars(default, with = "Vec<String>", example = ["p95 < 300ms", "burn_rate < 14.4 over 1h and 5m"])]
    pub(super) thresholds: Vec<Located<String>>,
    /// Where the load goes. Default: an embedded daemon, which is started for the run.
    #[schemars(default, with = "Target")]
    pub(super) target: Option<Target>,
    /// How much load, in which shape.
    #[schemars(with = "Load")]
    pub(super) load: Option<Load>,
    /// What is sent: one or more entries, drawn by weight.
    #[schemars(length(min = 1))]
    pub(super) mix: Vec<Mix>,
    /// Requests that simulated users make one after the other; needs model = "closed".
    #[schemars(default)]
    pub(super) journeys: Vec<Journey>,
    /// The service level of all entries that state none of their own.
    #[schemars(default, with = "Slo")]
    pub(super) slo: Option<Slo>,
}

/// Base URLs of the target.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Target {
    #[schemars(skip)]
    pub(super) here: Located<()>,
    /// The HTTP side: http, https, or the path of a Unix socket. A path in a URL comes before every request's path.
    #[schemars(default, with = "String", example = &"http://127.0.0.1:8000", example = &"https://api.example.com", example = &"unix:/run/app.sock")]
    pub(super) http: Maybe<String>,
    /// The gRPC side, for kserve-grpc entries.
    #[schemars(default, with = "String", example = &"http://127.0.0.1:8001")]
    pub(super) grpc: Maybe<String>,
    /// Where Prometheus text is read once a second. Default: `/metrics` of the HTTP side.
    #[schemars(default, with = "String", example = &"http://127.0.0.1:8002/metrics")]
    pub(super) metrics: Maybe<String>,
    /// Which HTTP the HTTP side speaks; 2 with TLS by ALPN, without by prior knowledge. Default: 1.1.
    #[schemars(default, with = "String", extend("enum" = words(&HTTP_VERSIONS)))]
    pub(super) http_version: Maybe<HttpVersion>,
    /// Headers of every request to the target (gRPC: metadata), of the load and beside it: metadata, statistics, metrics.
    /// Values may hold `${env:NAME}`; an entry's own headers win.
    #[schemars(default, with = "BTreeMap<String, String>")]
    pub(super) headers: Vec<(String, Located<String>)>,
    /// How TLS is spoken where a URL is https.
    #[schemars(default, with = "Tls")]
    pub(super) tls: Option<Tls>,
}

/// How TLS is spoken where a URL is https.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Tls {
    #[schemars(skip)]
    pub(super) here: Located<()>,
    /// PEM file of the certificate authority that signed the server's certificate. Default: the system's.
    #[schemars(default, with = "String", example = &"ca.pem")]
    pub(super) ca: Maybe<String>,
    /// PEM file of our own certificate, where the server asks for one.
    #[schemars(default, with = "String", example = &"client.pem")]
    pub(super) client_cert: Maybe<String>,
    /// PEM file of the key of `client_cert`.
    #[schemars(default, with = "String", example = &"client.key")]
    pub(super) client_key: Maybe<String>,
    /// The name in the server's certificate. Default: the URL's host.
    #[schemars(default, with = "String")]
    pub(super) server_name: Maybe<String>,
    /// Accepts any certificate; the report warns of it. Default: false.
    #[schemars(default, with = "bool")]
    pub(super) insecure: Maybe<bool>,
}

/// How much load, in which shape.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Load {
    #[schemars(skip)]
    pub(super) here: Located<()>,
    /// open: arrivals come on schedule, whatever the target does. closed: users wait for their answers. Default: open.
    #[schemars(default, with = "String", extend("enum" = words(&MODELS)))]
    pub(super) model: Maybe<ModelWord>,
    /// How open arrivals are spaced. poisson: as independent users make them. constant: evenly. gamma: in clumps, by
    /// burstiness. replay: as recorded (load.replay). Default: poisson.
    #[schemars(default, with = "String", extend("enum" = words(&ARRIVALS)))]
    pub(super) arrivals: Maybe<ArrivalsWord>,
    /// arrivals = "gamma": squared coefficient of variation of the gaps; 1 is Poisson, more comes in clumps.
    #[schemars(default, with = "f64", example = 4.0)]
    pub(super) burstiness: Maybe<f64>,
    /// How long load is sent, after the warm-up: sustained, endurance and ramp. Other kinds take it from their tables.
    #[schemars(default, rename = "duration", with = "Duration")]
    pub(super) duration_ns: Maybe<u64>,
    /// Arrivals per second of an open load that is held: sustained and endurance.
    #[schemars(default, with = "Level")]
    pub(super) rate: Maybe<Value>,
    /// Users of a closed load that is held: sustained and endurance.
    #[schemars(default, with = "u32", range(min = 1))]
    pub(super) users: Maybe<Value>,
    /// closed: how long a user thinks before each request. Default: 0.
    #[schemars(default, rename = "think_time", with = "Duration")]
    pub(super) think_time_ns: Maybe<u64>,
    /// closed: how think times are distributed. Default: constant.
    #[schemars(default, with = "String", extend("enum" = words(&THINKS)))]
    pub(super) think_distribution: Maybe<ThinkWord>,
    /// The most connections, to all sides of the target together. Default: "as-needed".
    #[schemars(default, with = "Connections")]
    pub(super) max_connections: Maybe<Value>,
    /// Time limit of a request, from its intended arrival. Default: 10s.
    #[schemars(default, rename = "request_timeout", with = "Duration")]
    pub(super) request_timeout_ns: Maybe<u64>,
    /// Part of the time limit for opening a connection. Default: all of it.
    #[schemars(default, rename = "connect_timeout", with = "Duration")]
    pub(super) connect_timeout_ns: Maybe<u64>,
    /// Whether connections are used again. Default: keep-alive.
    #[schemars(default, with = "String", extend("enum" = words(&REUSE)))]
    pub(super) reuse: Maybe<ReuseWord>,
    /// A connection is closed after so many requests. Default: never.
    #[schemars(default, with = "u32", range(min = 1))]
    pub(super) requests_per_connection: Maybe<i64>,
    /// HTTP/2 and gRPC: requests that one connection carries at a time. Default: 1.
    #[schemars(default, with = "u32", range(min = 1, max = 1000))]
    pub(super) streams_per_connection: Maybe<i64>,
    /// Nothing more is sent over a connection older than this. Default: never.
    #[schemars(default, rename = "connection_max_age", with = "Duration")]
    pub(super) connection_max_age_ns: Maybe<u64>,
    /// Connections that nothing has needed for so long are closed, but for as many as were needed meanwhile. Default:
    /// 30s where `max_connections` is "as-needed", never where it bounds them.
    #[schemars(default, rename = "connection_idle_timeout", with = "Duration")]
    pub(super) connection_idle_timeout_ns: Maybe<u64>,
    /// Failed attempts are made again. Rates are then after retries, and the report warns. Default: nothing is.
    #[schemars(default, with = "Retries")]
    pub(super) retries: Option<Retries>,
    /// Load at the first level that is left out of every figure. Default: none.
    #[schemars(default, rename = "warm_up", with = "Duration")]
    pub(super) warm_up_ns: Maybe<u64>,
    /// How long to wait at the end for what is in flight. Default: `request_timeout`.
    #[schemars(default, rename = "drain", with = "Duration")]
    pub(super) drain_ns: Maybe<u64>,
    /// Share of the requests that start a sampled W3C trace. Default: none.
    #[schemars(default, with = "Share")]
    pub(super) traces: Maybe<f64>,
    /// kind = "stress": after two steps in a row that clearly miss the SLO, or one that is hopeless, the higher ones are
    /// not run. Default: true.
    #[schemars(default, with = "bool")]
    pub(super) stop_after_break: Maybe<bool>,
    /// kind = "stress": levels that rise until the target breaks.
    #[schemars(default, with = "Steps")]
    pub(super) steps: Option<Steps>,
    /// kind = "spike": a base level, a burst, and the base level again.
    #[schemars(default, with = "Spike")]
    pub(super) spike: Option<Spike>,
    /// kind = "ramp": evenly from one level to the other within `duration`.
    #[schemars(default, with = "Ramp")]
    pub(super) ramp: Option<Ramp>,
    /// sustained and endurance, instead of a rate: a day's curve.
    #[schemars(default, with = "Sine")]
    pub(super) sine: Option<Sine>,
    /// sustained and endurance, instead of rate and duration: parts one after the other.
    #[schemars(default)]
    pub(super) stages: Vec<Stage>,
    /// open: all arrivals of a period come in its first part.
    #[schemars(default, with = "Burst")]
    pub(super) burst: Option<Burst>,
    /// arrivals = "replay": arrivals as they were recorded.
    #[schemars(default, with = "Replay")]
    pub(super) replay: Option<Replay>,
}

/// Failed attempts that are made again.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Retries {
    #[schemars(skip)]
    pub(super) here: Located<()>,
    /// How many attempts in all, within the request's time limit. Default: 2.
    #[schemars(default, with = "u32", range(min = 2))]
    pub(super) attempts: Maybe<i64>,
    /// After which outcomes: `connect_error`, `shed`, `transport_error`, `server_error`. The last two may have changed
    /// something already.
    #[schemars(default, with = "Vec<String>", example = ["connect_error", "shed"])]
    pub(super) on: Vec<Located<String>>,
    /// Mean wait before the next attempt, doubled each time, with jitter; Retry-After is obeyed. Default: 50ms.
    #[schemars(default, rename = "backoff", with = "Duration")]
    pub(super) backoff_ns: Maybe<u64>,
}

/// A service level: at most so many arrivals may be slower than the latency, failed or shed.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Slo {
    #[schemars(skip)]
    pub(super) here: Located<()>,
    /// The latency that good answers stay below, from the intended arrival.
    #[schemars(rename = "latency", with = "Duration")]
    pub(super) latency_ns: Maybe<u64>,
    /// Streams: the time to the first token, from the intended arrival, that good answers stay below. Default: any.
    #[schemars(default, rename = "ttft", with = "Duration")]
    pub(super) ttft_ns: Maybe<u64>,
    /// Streams: the mean time between the tokens of an answer that good ones stay below. Default: any.
    #[schemars(default, rename = "itl", with = "Duration")]
    pub(super) itl_ns: Maybe<u64>,
    /// The percentage of arrivals that must be good. Default: 95.
    #[schemars(default, with = "f64", extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 100))]
    pub(super) percentile: Maybe<f64>,
    /// The share of errors allowed. Default: 1%.
    #[schemars(default, with = "Share")]
    pub(super) error_rate: Maybe<f64>,
    /// Endurance: the share of requests that has to be served over a long time, for the error budget. Default: 99.9%.
    #[schemars(default, with = "Share")]
    pub(super) availability: Maybe<f64>,
}

/// Reads a document, gathering what is wrong on the way.
pub(super) fn read(document: &Node, problems: &Problems) -> Scenario {
    let table = Table::root(document, problems);
    let scenario = Scenario {
        here: table.here(),
        name: table.string("name"),
        description: table.string("description"),
        kind: table.choice("kind", &KINDS),
        seed: table.integer("seed"),
        thresholds: table.strings("thresholds"),
        target: table.table("target").map(|t| target(&t)),
        load: table.table("load").map(|t| load(&t)),
        mix: table.tables("mix").iter().map(mix::mix).collect(),
        journeys: table.tables("journeys").iter().map(mix::journey).collect(),
        slo: table.table("slo").map(|t| slo(&t)),
    };
    table.finish();
    scenario
}

fn target(table: &Table<'_>) -> Target {
    let target = Target {
        here: table.here(),
        http: table.string("http"),
        grpc: table.string("grpc"),
        metrics: table.string("metrics"),
        http_version: table.choice("http_version", &HTTP_VERSIONS),
        headers: table.table("headers").map(|t| t.all_strings()).unwrap_or_default(),
        tls: table.table("tls").map(|t| tls(&t)),
    };
    table.finish();
    target
}

fn tls(table: &Table<'_>) -> Tls {
    let tls = Tls {
        here: table.here(),
        ca: table.string("ca"),
        client_cert: table.string("client_cert"),
        client_key: table.string("client_key"),
        server_name: table.string("server_name"),
        insecure: table.boolean("insecure"),
    };
    table.finish();
    tls
}

fn load(table: &Table<'_>) -> Load {
    let load = Load {
        here: table.here(),
        model: table.choice("model", &MODELS),
        arrivals: table.choice("arrivals", &ARRIVALS),
        burstiness: table.number("burstiness"),
        duration_ns: table.quantity("duration", parse_duration_ns),
        rate: table.raw("rate"),
        users: table.raw("users"),
        think_time_ns: table.quantity("think_time", parse_duration_ns),
        think_distribution: table.choice("think_distribution", &THINKS),
        max_connections: table.raw("max_connections"),
        request_timeout_ns: table.quantity("request_timeout", parse_duration_ns),
        connect_timeout_ns: table.quantity("connect_timeout", parse_duration_ns),
        reuse: table.choice("reuse", &REUSE),
        requests_per_connection: table.integer("requests_per_connection"),
        streams_per_connection: table.integer("streams_per_connection"),
        connection_max_age_ns: table.quantity("connection_max_age", parse_duration_ns),
        connection_idle_timeout_ns: table.quantity("connection_idle_timeout", parse_duration_ns),
        retries: table.table("retries").map(|t| retries(&t)),
        warm_up_ns: table.quantity("warm_up", parse_duration_ns),
        drain_ns: table.quantity("drain", parse_duration_ns),
        traces: table.quantity("traces", parse_share),
        stop_after_break: table.boolean("stop_after_break"),
        steps: table.table("steps").map(|t| shapes::steps(&t)),
        spike: table.table("spike").map(|t| shapes::spike(&t)),
        ramp: table.table("ramp").map(|t| shapes::ramp(&t)),
        sine: table.table("sine").map(|t| shapes::sine(&t)),
        stages: table.tables("stages").iter().map(shapes::stage).collect(),
        burst: table.table("burst").map(|t| shapes::burst(&t)),
        replay: table.table("replay").map(|t| shapes::replay(&t)),
    };
    table.finish();
    load
}

fn retries(table: &Table<'_>) -> Retries {
    let retries = Retries {
        here: table.here(),
        attempts: table.integer("attempts"),
        on: table.strings("on"),
        backoff_ns: table.quantity("backoff", parse_duration_ns),
    };
    table.finish();
    retries
}

fn slo(table: &Table<'_>) -> Slo {
    let slo = Slo {
        here: table.here(),
        latency_ns: table.quantity("latency", parse_duration_ns),
        ttft_ns: table.quantity("ttft", parse_duration_ns),
        itl_ns: table.quantity("itl", parse_duration_ns),
        percentile: table.number("percentile"),
        error_rate: table.quantity("error_rate", parse_share),
        availability: table.quantity("availability", parse_share),
    };
    table.finish();
    slo
}
