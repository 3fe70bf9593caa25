//! A scenario as its author wrote it: keys known, types right, quantities parsed, each with its place. Whether it
//! makes sense as a whole is [`super::validate`]'s affair.

use proofload_run::manifest::ScenarioKind;
use proofload_run::units::{parse_bytes, parse_duration_ns, parse_share};

use super::DataSpec;
use super::document::{Node, Value};
use super::reader::{Located, Problems, Table};
use crate::transport::HttpVersion;

mod shapes;

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

/// How think times are distributed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ThinkWord {
    Constant,
    Exponential,
}

/// Whether payloads repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PolicyWord {
    Unique,
    Fixed,
    Zipf,
}

/// Payload policies, by their word.
const POLICIES: [(&str, PolicyWord); 3] =
    [("unique", PolicyWord::Unique), ("fixed", PolicyWord::Fixed), ("zipf", PolicyWord::Zipf)];

/// Whether connections are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReuseWord {
    KeepAlive,
    PerRequest,
}

/// Policies of reuse, by their word.
const REUSE: [(&str, ReuseWord); 2] = [("keep-alive", ReuseWord::KeepAlive), ("per-request", ReuseWord::PerRequest)];

/// How an entry travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProtocolWord {
    Http,
    KserveHttpJson,
    KserveHttpBinary,
    KserveGrpc,
}

/// The whole file.
#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) here: Located<()>,
    pub(super) name: Maybe<String>,
    pub(super) description: Maybe<String>,
    pub(super) kind: Maybe<ScenarioKind>,
    pub(super) seed: Maybe<i64>,
    pub(super) thresholds: Vec<Located<String>>,
    pub(super) target: Option<Target>,
    pub(super) load: Option<Load>,
    pub(super) mix: Vec<Mix>,
    pub(super) journeys: Vec<Journey>,
    pub(super) slo: Option<Slo>,
}

#[derive(Debug)]
pub(super) struct Target {
    pub(super) here: Located<()>,
    pub(super) http: Maybe<String>,
    pub(super) grpc: Maybe<String>,
    pub(super) metrics: Maybe<String>,
    pub(super) http_version: Maybe<HttpVersion>,
    pub(super) tls: Option<Tls>,
}

/// `[target.tls]`.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) here: Located<()>,
    pub(super) ca: Maybe<String>,
    pub(super) client_cert: Maybe<String>,
    pub(super) client_key: Maybe<String>,
    pub(super) server_name: Maybe<String>,
    pub(super) insecure: Maybe<bool>,
}

#[derive(Debug)]
pub(super) struct Load {
    pub(super) here: Located<()>,
    pub(super) model: Maybe<ModelWord>,
    pub(super) arrivals: Maybe<ArrivalsWord>,
    pub(super) burstiness: Maybe<f64>,
    pub(super) duration_ns: Maybe<u64>,
    pub(super) rate: Maybe<Value>,
    pub(super) users: Maybe<Value>,
    pub(super) think_time_ns: Maybe<u64>,
    pub(super) think_distribution: Maybe<ThinkWord>,
    pub(super) max_connections: Maybe<Value>,
    pub(super) request_timeout_ns: Maybe<u64>,
    pub(super) connect_timeout_ns: Maybe<u64>,
    pub(super) reuse: Maybe<ReuseWord>,
    pub(super) requests_per_connection: Maybe<i64>,
    pub(super) connection_max_age_ns: Maybe<u64>,
    pub(super) retries: Option<Retries>,
    pub(super) warm_up_ns: Maybe<u64>,
    pub(super) drain_ns: Maybe<u64>,
    pub(super) traces: Maybe<f64>,
    pub(super) stop_after_break: Maybe<bool>,
    pub(super) steps: Option<Steps>,
    pub(super) spike: Option<Spike>,
    pub(super) ramp: Option<Ramp>,
    pub(super) sine: Option<Sine>,
    pub(super) stages: Vec<Stage>,
    pub(super) burst: Option<Burst>,
    pub(super) replay: Option<Replay>,
}

/// `[load.retries]`.
#[derive(Debug)]
pub(super) struct Retries {
    pub(super) here: Located<()>,
    pub(super) attempts: Maybe<i64>,
    pub(super) on: Vec<Located<String>>,
    pub(super) backoff_ns: Maybe<u64>,
}

/// `[[mix]]`.
#[derive(Debug)]
pub(super) struct Mix {
    pub(super) here: Located<()>,
    pub(super) name: Maybe<String>,
    pub(super) weight: Maybe<f64>,
    pub(super) protocol: Maybe<ProtocolWord>,
    pub(super) payload: Maybe<PolicyWord>,
    pub(super) zipf: Option<Zipf>,
    pub(super) method: Maybe<String>,
    pub(super) path: Maybe<String>,
    pub(super) headers: Vec<(String, Located<String>)>,
    pub(super) files: Vec<Located<String>>,
    pub(super) body: Maybe<String>,
    pub(super) expect: Option<Expect>,
    pub(super) captures: Vec<(String, Located<String>)>,
    pub(super) model: Maybe<String>,
    pub(super) version: Maybe<String>,
    pub(super) inputs: Vec<Input>,
    pub(super) outputs: Vec<Located<String>>,
    pub(super) slo: Option<Slo>,
}

/// `[[journeys]]`.
#[derive(Debug)]
pub(super) struct Journey {
    pub(super) here: Located<()>,
    pub(super) name: Maybe<String>,
    pub(super) weight: Maybe<f64>,
    pub(super) requests: Vec<Located<String>>,
}

/// `zipf` of an entry.
#[derive(Debug)]
pub(super) struct Zipf {
    pub(super) here: Located<()>,
    pub(super) items: Maybe<i64>,
    pub(super) exponent: Maybe<f64>,
}

/// What a plain HTTP answer should look like.
#[derive(Debug)]
pub(super) struct Expect {
    pub(super) status: Maybe<i64>,
    pub(super) min_bytes: Maybe<u64>,
    pub(super) content_type: Maybe<String>,
}

/// An input tensor.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) here: Located<()>,
    pub(super) name: Maybe<String>,
    pub(super) datatype: Maybe<String>,
    pub(super) shape: Maybe<Vec<i64>>,
    pub(super) data: Maybe<DataSpec>,
}

/// A service level.
#[derive(Debug)]
pub(super) struct Slo {
    pub(super) here: Located<()>,
    pub(super) latency_ns: Maybe<u64>,
    pub(super) percentile: Maybe<f64>,
    pub(super) error_rate: Maybe<f64>,
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
        mix: table.tables("mix").iter().map(mix).collect(),
        journeys: table.tables("journeys").iter().map(journey).collect(),
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
        http_version: table.choice("http_version", &[("1.1", HttpVersion::Http1), ("2", HttpVersion::Http2)]),
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
        model: table.choice("model", &[("open", ModelWord::Open), ("closed", ModelWord::Closed)]),
        arrivals: table.choice("arrivals", &ARRIVALS),
        burstiness: table.number("burstiness"),
        duration_ns: table.quantity("duration", parse_duration_ns),
        rate: table.raw("rate"),
        users: table.raw("users"),
        think_time_ns: table.quantity("think_time", parse_duration_ns),
        think_distribution: table.choice(
            "think_distribution",
            &[("constant", ThinkWord::Constant), ("exponential", ThinkWord::Exponential)],
        ),
        max_connections: table.raw("max_connections"),
        request_timeout_ns: table.quantity("request_timeout", parse_duration_ns),
        connect_timeout_ns: table.quantity("connect_timeout", parse_duration_ns),
        reuse: table.choice("reuse", &REUSE),
        requests_per_connection: table.integer("requests_per_connection"),
        connection_max_age_ns: table.quantity("connection_max_age", parse_duration_ns),
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

fn mix(table: &Table<'_>) -> Mix {
    let mix = Mix {
        here: table.here(),
        name: table.string("name"),
        weight: table.number("weight"),
        protocol: table.choice(
            "protocol",
            &[
                ("http", ProtocolWord::Http),
                ("kserve-http-json", ProtocolWord::KserveHttpJson),
                ("kserve-http-binary", ProtocolWord::KserveHttpBinary),
                ("kserve-grpc", ProtocolWord::KserveGrpc),
            ],
        ),
        payload: table.choice("payload", &POLICIES),
        zipf: table.table("zipf").map(|t| zipf(&t)),
        method: table.string("method"),
        path: table.string("path"),
        headers: table.table("headers").map(|t| t.all_strings()).unwrap_or_default(),
        files: table.strings("files"),
        body: table.string("body"),
        expect: table.table("expect").map(|t| expect(&t)),
        captures: table.table("capture").map(|t| t.all_strings()).unwrap_or_default(),
        model: table.string("model"),
        version: table.string("version"),
        inputs: table.tables("inputs").iter().map(input).collect(),
        outputs: table.strings("outputs"),
        slo: table.table("slo").map(|t| slo(&t)),
    };
    table.finish();
    mix
}

fn journey(table: &Table<'_>) -> Journey {
    let journey = Journey {
        here: table.here(),
        name: table.string("name"),
        weight: table.number("weight"),
        requests: table.strings("requests"),
    };
    table.finish();
    journey
}

fn zipf(table: &Table<'_>) -> Zipf {
    let zipf = Zipf { here: table.here(), items: table.integer("items"), exponent: table.number("exponent") };
    table.finish();
    zipf
}

fn expect(table: &Table<'_>) -> Expect {
    let expect = Expect {
        status: table.integer("status"),
        min_bytes: table.quantity("min_bytes", parse_bytes),
        content_type: table.string("content_type"),
    };
    table.finish();
    expect
}

fn input(table: &Table<'_>) -> Input {
    let input = Input {
        here: table.here(),
        name: table.string("name"),
        datatype: table.string("datatype"),
        shape: table.integers("shape"),
        data: table.choice("data", &[("random", DataSpec::Random), ("zeros", DataSpec::Zeros)]),
    };
    table.finish();
    input
}

fn slo(table: &Table<'_>) -> Slo {
    let slo = Slo {
        here: table.here(),
        latency_ns: table.quantity("latency", parse_duration_ns),
        percentile: table.number("percentile"),
        error_rate: table.quantity("error_rate", parse_share),
    };
    table.finish();
    slo
}
