//! Scenario files: every shipped one is valid, and every broken one says what is wrong with it and where.

// Helpers outside of the test functions unwrap for the same reason as these do.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proofload_loadgen::scenario::{Model, Place, Scenario};

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    paths.sort();
    paths
}

#[test]
fn every_shipped_scenario_is_valid() {
    let shipped: Vec<_> = ["", "/classic", "/slo"].iter().flat_map(|f| files(&format!("../scenarios{f}"))).collect();
    assert!(shipped.len() >= 19, "{shipped:?}");
    for path in shipped {
        if let Err(errors) = Scenario::load(&path, &[]) {
            panic!("{errors}");
        }
    }
}

/// File (without `.toml`), then for each problem `line:column key: beginning of the message`.
const BROKEN: &[(&str, &[&str])] = &[
    (
        "connections",
        &[
            "6:19 load.connect_timeout: write 1ms to load.request_timeout",
            "8:22 load.connection_max_age: is of no use with reuse = \"per-request\"",
            "9:27 load.connection_idle_timeout: is of no use with reuse = \"per-request\", which keeps none",
            "9:27 load.connection_idle_timeout: write 1s or more",
            "10:27 load.requests_per_connection: is of no use with reuse = \"per-request\"",
            "10:27 load.requests_per_connection: write how many requests a connection carries",
            "12:12 load.retries.attempts: write 2 to 10, the first included",
            "13:15 load.retries.on.1: a request that has used up its time limit has none left",
            "13:26 load.retries.on.2: no such failure is tried again; write connect_error",
            "13:38 load.retries.on.3: is there twice",
        ],
    ),
    ("duration_without_unit", &["4:12 load.duration: `30` is not a duration; write a number and a unit"]),
    ("endless_recovery", &["9:18 load.spike.recover_within: leaves nothing to judge; write less than `recovery`"]),
    ("endless_steps", &["5:8 load.steps.step: steps of 0 never reach `to`"]),
    ("half_precision_in_json", &["10:36 mix.0.inputs.0.datatype: FP16 has no JSON form; use protocol"]),
    ("impossible_slo", &["13:14 slo.percentile: a percentile lies above 0 and below 100"]),
    ("malformed_threshold", &["2:15 thresholds.0: `p95 = 300ms` is not a threshold; write a metric"]),
    (
        "many_mistakes",
        &[
            "2:8 seed: a seed is a whole number of 0 or more",
            "4:8 load.rate: `fast` is not a rate; write requests per second",
            "6:19 load.request_timeout: write 1ms to 1h",
            "8:8 mix.0.name: a name is not empty and has no `:`",
            "10:8 mix.0.path: a path begins with `/`",
            "11:10 mix.0.method: `FETCH` is no method; write GET, POST",
        ],
    ),
    (
        "completions",
        &[
            "13:10 mix.0.method: does not belong to a request for text",
            "14:10 mix.0.system: belongs to protocol = \"openai-chat\"",
            "15:10 mix.0.stream: write protocol = \"generate-stream\" for a stream",
            "16:8 mix.0.path: follows from model and version",
            "17:16 mix.0.prompt_words: write 1 to 1000000 words",
            "17:16 mix.0.prompt_words: write one of prompt, prompt_words and files",
            "18:14 mix.0.max_tokens: write 1 or more",
            "19:14 mix.0.parameters: `stream` has a key of its own",
            "21:1 mix.1: `model` is missing; write model = ",
            "21:1 mix.1: `prompt` is missing; write prompt = ",
            "29:14 mix.2.max_tokens: belongs to the protocols openai-chat",
        ],
    ),
    (
        "tokens_of_no_stream",
        &[
            "2:15 thresholds.0: ttft_p95 is known of streamed answers, and no entry has any",
            "2:35 thresholds.1: itl_p95 is known of streamed answers, and no entry has any",
            "18:8 slo.ttft: is known of streamed answers, and no entry has any",
        ],
    ),
    ("missing_grpc_side", &["2:1 target: an entry speaks kserve-grpc; add grpc = "]),
    ("missing_payload", &["10:10 mix.0.files.0: "]),
    ("negative_rate", &["3:8 load.rate: a rate of -5/s is negative; write one above 0"]),
    ("negative_shape", &["10:52 mix.0.inputs.0.shape: shape [-1, 4] is impossible"]),
    ("no_kind", &["0:0 : `kind` is missing; write kind = "]),
    ("no_load", &["0:0 : `load` is missing; add [load] with rate"]),
    ("no_mix", &["0:0 : `mix` is missing; add [[mix]] with a name"]),
    ("not_toml", &["2:6 : not valid TOML: unclosed table, expected `]`"]),
    ("rate_in_closed_model", &["5:8 load.rate: belongs to model = \"open\""]),
    ("same_name", &["12:8 mix.1.name: there is another entry `a`"]),
    ("stop_after_break_without_a_climb", &["5:20 load.stop_after_break: belongs to kind = \"stress\""]),
    (
        "secrets",
        &[
            "5:1 load.retries: `on` is missing; write on = ",
            "11:29 mix.0.headers.authorization: the environment variable `PROOFLOAD_NO_SUCH_VARIABLE` is not set",
            "11:79 mix.0.headers.x-a: `${env:` is never closed",
            "11:96 mix.0.headers.x-b: cannot hold both",
            "16:28 mix.1.headers.grpc-timeout: belongs to gRPC itself",
        ],
    ),
    ("table_of_another_kind", &["8:1 load.ramp: belongs to kind = \"ramp\"; remove it or change the kind"]),
    ("think_time_in_open_model", &["5:14 load.think_time: belongs to model = \"closed\""]),
    ("threshold_on_unknown_entry", &["2:15 thresholds.0: there is no entry `b` in the mix; there are a"]),
    (
        "tls_files",
        &[
            "5:6 target.tls.ca: ",
            "6:15 target.tls.client_cert: ",
            "8:15 target.tls.server_name: `not a name` is no name of a server",
        ],
    ),
    (
        "tls_half",
        &[
            "4:16 target.http_version: `3` is none of 1.1, 2",
            "6:14 target.tls.client_key: a private key needs its certificate",
            "7:12 target.tls.insecure: true or false was expected, not a string",
        ],
    ),
    (
        "tls_in_vain",
        &[
            "3:8 target.http: `unix:app.sock`: write the whole path of the socket",
            "4:8 target.grpc: `ftp://127.0.0.1` is neither http nor https nor unix",
            "5:1 target.tls: is of no use, since no URL begins with https://",
        ],
    ),
    ("too_many_arrivals", &["2:1 load: 360000000000 arrivals are too many"]),
    ("unknown_key", &["4:1 load.durration: unknown key; did you mean `duration`?"]),
    ("unknown_kind", &["1:8 kind: `smoke` is none of sustained, stress, spike, endurance, ramp"]),
    ("wrong_datatype", &["10:36 mix.0.inputs.0.datatype: `FLOAT` is no datatype; write one of BOOL"]),
    ("wrong_type", &["4:12 load.duration: a quantity such as \"30s\" was expected, not a boolean"]),
    (
        "windows",
        &[
            "3:5 thresholds.0: burn_rate is measured against an SLO; add [slo], or an slo to every entry",
            "4:5 thresholds.1: goodput is measured against an SLO; add [slo], or an slo to every entry",
            "5:5 thresholds.2: the bound of burn_rate: `2%` is not a factor; write a plain number such as 2 or 14.4",
            "6:5 thresholds.3: `p95 < 1s over any 1500ms`: a window is a whole number of seconds, 1s to 24h",
            "7:5 thresholds.4: the window is longer than the load; shorten it, or lengthen the load",
            "8:5 thresholds.5: `p95 < 1s else stop`: write `else abort`, or `else abort after 30s`",
            "9:5 thresholds.6: `breaking_point > 5/s over any 2s`: breaking_point is known of the whole run only",
            "11:5 thresholds.8: `a: burn_rate < 1 over 2s and 4s`: the second window has to be the shorter one",
            "12:5 thresholds.9: the window is longer than the load; shorten it, or lengthen the load",
            "13:5 thresholds.10: `p95 < 1s over 4s and 2s`: two windows together are for burn_rate",
        ],
    ),
    ("zero_weights", &["8:10 mix.0.weight: all weights are 0, so nothing would be sent"]),
];

#[test]
fn every_broken_scenario_says_what_is_wrong_and_where() {
    let listed: BTreeSet<&str> = BROKEN.iter().map(|(name, _)| *name).collect();
    let found = files("tests/broken");
    let found: BTreeSet<&str> = found.iter().map(|path| path.file_stem().unwrap().to_str().unwrap()).collect();
    assert_eq!(listed, found);
    for (name, expected) in BROKEN {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken").join(format!("{name}.toml"));
        let errors = Scenario::load(&path, &[]).unwrap_err();
        let said: Vec<String> = errors
            .problems
            .iter()
            .map(|problem| match &problem.place {
                Place::File { line, column } => format!("{line}:{column} {}: {}", problem.key, problem.message),
                _ => format!("0:0 {}: {}", problem.key, problem.message),
            })
            .collect();
        assert_eq!(said.len(), expected.len(), "{name}: {said:#?}");
        for (said, expected) in said.iter().zip(*expected) {
            assert!(said.starts_with(expected), "{name}: {said}");
        }
        assert!(errors.to_string().contains(&format!("{name}.toml")), "{errors}");
    }
}

const VALID: &str = r#"
kind = "sustained"
[load]
rate = "10/s"
duration = "5s"
[[mix]]
name = "a"
protocol = "http"
path = "/"
"#;

#[test]
fn overrides_change_what_they_name_and_are_checked_like_the_file() {
    let load = |overrides: &[&str]| {
        let overrides: Vec<String> = overrides.iter().map(|o| (*o).to_owned()).collect();
        Scenario::parse(Path::new("dir/test.toml"), VALID, &overrides)
    };
    let scenario = load(&["load.duration=1h", "mix.a.weight=3", "name=longer"]).unwrap();
    assert_eq!(scenario.load.steps[0].end_ns, 3_600_000_000_000);
    assert!((scenario.mix[0].weight - 3.0).abs() < 1e-9);
    assert_eq!(scenario.name, "longer");

    let refused = |overrides: &[&str], expected: &str| {
        let message = load(overrides).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    };
    refused(&["load.duration=soon"], "--set load.duration=soon: load.duration: `soon` is not a duration");
    refused(&["load.length=1h"], "--set load.length=1h: load.length: unknown key");
    refused(&["load.model=closed"], "`users` is missing");
    refused(&["nonsense"], "write key=value");
    refused(&["target.http='http://a:1'", "target.headers.te='x'"], "belongs to the protocol itself");
    refused(&["target.http='http://a:1'", "target.headers.a='{{user}}'"], "only an entry's headers are filled");
    refused(&["load.streams_per_connection=8"], "HTTP/1.1 carries one request at a time");
    let closed = ["load.model=closed", "load.users=2", "load.connection_idle_timeout=1h"];
    refused(&closed, "connection_idle_timeout: is of no use with model = \"closed\", whose users keep");
    let idle_ns = |overrides: &[&str]| load(overrides).unwrap().load.connections.idle_timeout_ns;
    assert_eq!(idle_ns(&[]), Some(30_000_000_000));
    assert_eq!(idle_ns(&["load.max_connections=9"]), None);
    assert_eq!(idle_ns(&["load.reuse=per-request"]), None);
    assert_eq!(idle_ns(&["load.max_connections=9", "load.connection_idle_timeout=5s"]), Some(5_000_000_000));
    refused(&["load.streams_per_connection=0"], "write 1 to 1000 requests at a time");
    refused(&["thresholds=[\"p95 < 1s over any 6s\"]"], "the window is longer than the load");
    refused(&["thresholds=[\"goodput > 1/s over any 2s\"]"], "goodput is measured against an SLO; add [slo]");
    refused(&["thresholds=[\"a: burn_rate < 2 else abort\"]"], "burn_rate is measured against an SLO; add [slo]");
    load(&["slo.latency=1s", "thresholds=[\"burn_rate < 14.4 over any 5s\"]"]).unwrap();
    load(&["thresholds=[\"p95 < 1s over any 5s else abort\"]"]).unwrap();
    refused(&["mix.b.weight=2"], "nor the name of an entry");
}

#[test]
fn defaults_are_filled_in() {
    let scenario = Scenario::parse(Path::new("dir/plain.toml"), VALID, &[]).unwrap();
    assert_eq!(scenario.name, "plain");
    assert_eq!(scenario.seed, 1);
    assert!(matches!(scenario.load.model, Model::Open { .. }));
    assert_eq!((scenario.load.request_timeout_ns, scenario.load.max_connections), (10_000_000_000, None));
    assert_eq!(scenario.load.drain_ns, scenario.load.request_timeout_ns);
    assert!(scenario.thresholds.is_empty(), "only what the file states");
    let patient = ["load.request_timeout=30s".to_owned()];
    let patient = Scenario::parse(Path::new("plain.toml"), VALID, &patient).unwrap();
    assert_eq!(patient.load.drain_ns, 30_000_000_000);
    let json = serde_json::to_value(&scenario).unwrap();
    assert_eq!(json["load"]["model"], "open");
    assert_eq!(json["mix"][0]["path"], "/");
}

#[test]
fn service_levels_of_all_entries_are_as_good_as_one_of_the_run() {
    const STEPS: &str = "[load]\n[load.steps]\nfrom = 1\nto = 3\nstep = 1\nhold = \"1s\"\n";
    let entry = |name: &str, slo: bool| {
        let slo = if slo { "slo = { latency = \"1s\" }\n" } else { "" };
        format!("[[mix]]\nname = \"{name}\"\nprotocol = \"http\"\npath = \"/\"\n{slo}")
    };
    let check = |threshold: &str, entries: [bool; 2], run: bool, expected: Option<&str>| {
        let (a, b) = (entry("a", entries[0]), entry("b", entries[1]));
        let slo = if run { "[slo]\nlatency = \"1s\"\n" } else { "" };
        let text = format!("kind = \"stress\"\nthresholds = [{threshold}]\n{STEPS}{a}{b}{slo}");
        let said = Scenario::parse(Path::new("a.toml"), &text, &[]).map_or_else(|e| e.to_string(), |_| String::new());
        assert!(expected.map_or(said.is_empty(), |part| said.contains(part)), "{text}\n{said}");
    };
    let climb = |set: &[&str]| {
        let text = format!("kind = \"stress\"\n{STEPS}{}", entry("a", true));
        let set: Vec<String> = set.iter().map(|set| (*set).to_owned()).collect();
        Scenario::parse(Path::new("a.toml"), &text, &set).unwrap().load.stop_after_break
    };
    assert_eq!((climb(&[]), climb(&["load.stop_after_break=false"])), (true, false));
    check("", [true, true], false, None);
    check("", [false, false], true, None);
    check("", [true, false], false, Some("or an slo to every entry of the mix"));
    check("\"goodput >= 1/s\", \"breaking_point >= 1/s\"", [true, true], false, None);
    check("\"goodput >= 1/s\"", [true, false], true, None);
    check("\"goodput >= 1/s\"", [true, false], false, Some("thresholds.0: goodput is measured against an SLO"));
    check("\"a: goodput >= 1/s\"", [true, false], false, Some("or an slo to every entry of the mix"));
}
