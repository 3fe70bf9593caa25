//! The daemon's configuration in two steps: `written` is what a file, the environment and the command line say, laid
//! over one another in `layers`; `Config` is what will run. Nothing is opened here; every contradiction is found before anything starts.

pub mod access;
pub mod cache;
pub mod changes;
mod concurrency;
mod connections;
mod cors;
pub mod gpu;
mod jobs;
pub mod keys;
pub mod layers;
pub mod models;
pub mod rate_limit;
pub mod shown;
mod tls;
pub mod written;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use self::access::Access;
use self::gpu::GpuUse;
use self::models::OnnxRuntime;
use self::rate_limit::{ByAddress, Shared as SharedLimits};
use self::written::{LogLevel, RateLimit, Written};
use crate::admit::concurrency::Defaults;
use crate::front::FrontLimits;
use crate::front::doors::limits::Limits;
use crate::front::doors::manners::Cors;
use crate::front::tls as tls_files;
use crate::gpu::monitor;
use crate::jobs::Limits as JobLimits;
use crate::lifecycle::Options;

/// More threads than this are a slip of the pen.
const MAX_COMPUTE_THREADS: usize = 1024;
/// A body must at least hold a small JSON request.
const SMALLEST_BODY_BYTES: usize = 1024;
/// Shorter pings would cut peers off that are only busy; longer ones find nobody.
const SHORTEST_PING_S: f64 = 0.05;
const LONGEST_PING_S: f64 = 3600.0;
/// More often, the driver would do little else; more rarely, what happens within a batch is not seen.
const GPU_SAMPLE_MS: (f64, f64) = (10.0, 1000.0);
/// A drain that takes longer than a day is none.
const LONGEST_GRACE_S: f64 = 86_400.0;

/// A configuration that can run.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The address that both listeners bind.
    pub bind: IpAddr,
    /// Port for HTTP; 0 for any free one.
    pub http_port: u16,
    /// Port for gRPC; 0 for any free one.
    pub grpc_port: u16,
    /// A further port for metrics, if any; 0 for any free one.
    pub metrics_port: Option<u16>,
    /// Bounds on what clients may ask for.
    pub front: FrontLimits,
    /// How much patience and room a connection gets.
    pub connections: Limits,
    /// Web pages of which other origins may ask, if any.
    pub cors: Option<Cors>,
    /// Where the certificates are, if TLS is spoken.
    pub tls: Option<tls_files::Files>,
    /// Whether clients may hand over tensors in shared memory.
    pub allow_client_shm: bool,
    /// How long requests in flight may take to finish when the daemon is stopped.
    pub grace: Duration,
    /// Whether the end of standard input stops the daemon.
    pub exit_with_stdin: bool,
    /// The resources that instances of all models share, where executions are limited: declared numbers, or none for
    /// as many as the neediest instance takes.
    pub rate_limit: Option<BTreeMap<String, u64>>,
    /// Who may ask, and who may change what is served.
    pub access: Access,
    /// How often one address may ask, where that is limited.
    pub by_address: Option<ByAddress>,
    /// Where several daemons count requests together.
    pub shared_limits: Option<SharedLimits>,
    /// Whether models limit their concurrency by themselves.
    pub concurrency: Defaults,
    /// Which models are loaded, and when.
    pub models: Options,
    /// Threads that compute models on the CPU.
    pub compute_threads: usize,
    /// Where ONNX Runtime's shared library is.
    pub onnxruntime: OnnxRuntime,
    /// Whether models run on a GPU.
    pub gpu: GpuUse,
    /// How much the daemon steps back behind other processes, 0 to 19.
    pub nice: i32,
    /// How much long work is taken on.
    pub jobs: JobLimits,
    /// Where traces go, if anywhere.
    pub traces: Option<TraceConfig>,
    /// How the GPUs are read.
    pub gpus: monitor::Options,
    /// Which answers are kept, if any.
    pub cache: Option<crate::cache::Options>,
    /// The least important of the daemon's own messages that are shown; by default `RUST_LOG` says it.
    pub log_level: Option<LogLevel>,
}

/// Where traces go.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceConfig {
    /// The collector's gRPC endpoint.
    pub endpoint: String,
    /// The share of requests without a caller's decision that are traced, 0 to 1.
    pub share: f64,
}

/// Makes what was written runnable on a machine with so many cores.
///
/// # Errors
/// One message for each thing that cannot run, naming its key and what would be right.
pub fn validate(written: Written, cores: NonZeroUsize) -> Result<Config, Vec<String>> {
    let Written {
        server,
        models,
        gpu,
        access,
        rate_limit,
        concurrency,
        jobs,
        process,
        telemetry,
        cache,
        connections,
        tls,
        cors,
    } = written;
    let mut check = Check::default();
    let bind = check.server(&server);
    let connections = connections::limits(&connections, &mut check);
    let (tls, cors) = (tls::files(tls, &mut check), cors::allowed(cors, &mut check));
    let (compute_threads, options) = (check.models(&models, cores), models::options(&models, &mut check));
    access::check(&access, !bind.is_loopback(), models.control == "explicit", &mut check);
    let (by_address, shared_limits) = rate_limit::limits(&rate_limit, &access, &mut check);
    let onnxruntime = models::onnxruntime(&models, &mut check);
    let (gpu, concurrency) = (gpu::usage(&gpu, &mut check), concurrency::defaults(&concurrency, &mut check));
    let (jobs, cache) = (jobs::limits(&jobs, server.total_body_bytes, &mut check), cache::options(&cache, &mut check));
    check.that((0..=19).contains(&process.nice), "process.nice must be between 0 and 19");
    let (gpus, log_level, traces) = (check.gpus(&telemetry), telemetry.log_level, check.traces(telemetry));
    check.finish(|| Config {
        bind,
        http_port: server.http_port,
        grpc_port: server.grpc_port,
        metrics_port: server.metrics_port,
        front: FrontLimits {
            max_body_bytes: server.max_body_bytes,
            total_body_bytes: server.total_body_bytes,
            max_connections: server.max_connections,
            http2_ping: Duration::from_secs_f64(server.http2_ping_seconds),
        },
        connections,
        tls,
        cors,
        allow_client_shm: server.allow_client_shm,
        grace: Duration::from_secs_f64(server.grace_seconds),
        exit_with_stdin: server.exit_with_stdin,
        rate_limit: (models.rate_limit == RateLimit::ExecutionCount).then_some(models.rate_limit_resources),
        access,
        by_address,
        shared_limits,
        concurrency,
        models: options,
        compute_threads,
        onnxruntime,
        gpu,
        nice: process.nice,
        jobs,
        traces,
        gpus,
        cache,
        log_level,
    })
}

#[derive(Default)]
struct Check {
    errors: Vec<String>,
}

impl Check {
    fn that(&mut self, right: bool, otherwise: impl Into<String>) {
        if !right {
            self.errors.push(otherwise.into());
        }
    }

    /// What clients see; gives the address.
    fn server(&mut self, server: &written::Server) -> IpAddr {
        let bind = server.bind.parse().unwrap_or_else(|_| {
            self.errors
                .push(format!("server.bind = \"{}\" must be an IP address, such as 127.0.0.1 or ::", server.bind));
            IpAddr::from([127, 0, 0, 1])
        });
        self.that(
            server.http_port == 0 || server.http_port != server.grpc_port,
            "server.http_port and server.grpc_port must differ, or be 0 for any free port",
        );
        self.that(
            server.metrics_port.is_none_or(|port| port == 0 || ![server.http_port, server.grpc_port].contains(&port)),
            "server.metrics_port must differ from server.http_port and server.grpc_port, or be 0 for any free port",
        );
        self.that(
            server.max_body_bytes >= SMALLEST_BODY_BYTES,
            format!("server.max_body_bytes must be at least {SMALLEST_BODY_BYTES}"),
        );
        self.that(
            server.total_body_bytes >= server.max_body_bytes,
            "server.total_body_bytes must be at least server.max_body_bytes, or the largest body would never be taken",
        );
        self.that(
            (SHORTEST_PING_S..=LONGEST_PING_S).contains(&server.http2_ping_seconds),
            "server.http2_ping_seconds must be between 0.05 and 3600",
        );
        self.that(server.max_connections >= 1, "server.max_connections must be at least 1");
        self.that(
            (0.0..=LONGEST_GRACE_S).contains(&server.grace_seconds),
            "server.grace_seconds must be between 0 and 86400",
        );
        bind
    }

    /// What is said of models; gives the number of threads that compute them.
    fn models(&mut self, models: &written::Models, cores: NonZeroUsize) -> usize {
        self.that(models.queue_requests >= 1, "models.queue_requests must be at least 1");
        self.that(models.queue_bytes >= 1, "models.queue_bytes must be at least 1");
        self.that(
            models.rate_limit == RateLimit::ExecutionCount || models.rate_limit_resources.is_empty(),
            "models.rate_limit_resources needs models.rate_limit = \"execution_count\"",
        );
        let compute_threads = models.compute_threads.unwrap_or_else(|| all_cores_but_one(cores));
        self.that(
            (1..=MAX_COMPUTE_THREADS).contains(&compute_threads),
            "models.compute_threads must be between 1 and 1024",
        );
        compute_threads
    }

    /// What is said of GPUs.
    fn gpus(&mut self, telemetry: &written::Telemetry) -> monitor::Options {
        let written::Telemetry { gpu_sample_ms, gpu_replay, gpu_record, .. } = telemetry;
        let (least, most) = GPU_SAMPLE_MS;
        let fits = (least..=most).contains(gpu_sample_ms);
        self.that(fits, format!("telemetry.gpu_sample_ms must be between {least} and {most}"));
        let period = Duration::from_secs_f64(if fits { gpu_sample_ms / 1000.0 } else { most });
        monitor::Options { period, replay: gpu_replay.clone(), record: gpu_record.clone() }
    }

    /// What is said of traces.
    fn traces(&mut self, telemetry: written::Telemetry) -> Option<TraceConfig> {
        let written::Telemetry { otlp_endpoint, trace_share: share, .. } = telemetry;
        self.that((0.0..=1.0).contains(&share), "telemetry.trace_share must be between 0 and 1");
        self.that(
            otlp_endpoint.as_ref().is_none_or(|endpoint| endpoint.starts_with("http://")),
            "telemetry.otlp_endpoint must be an http:// URL, such as http://127.0.0.1:4317",
        );
        Some(TraceConfig { endpoint: otlp_endpoint?, share })
    }

    fn finish(self, config: impl FnOnce() -> Config) -> Result<Config, Vec<String>> {
        if self.errors.is_empty() { Ok(config()) } else { Err(self.errors) }
    }
}

/// Leaves a core to whoever drives the load, or to the daemon's own connections.
fn all_cores_but_one(cores: NonZeroUsize) -> usize {
    cores.get().saturating_sub(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::gpu::GpuMode;
    use super::layers::Layers;
    use super::*;
    use crate::admit::rate::Rate;
    use crate::gpu::memory::budget::Budget;
    use crate::lifecycle::Control;
    use crate::repository::source::Source;

    const CORES: NonZeroUsize = NonZeroUsize::new(4).expect("not zero");

    fn parse(text: &str) -> Result<Written, Vec<String>> {
        let mut layers = Layers::default();
        layers.file("d.toml", text);
        let merged = layers.finish();
        if merged.errors.is_empty() { Ok(merged.written) } else { Err(merged.errors) }
    }

    fn check(text: &str, expected: Result<fn(&Config) -> bool, &[&str]>) {
        let result = parse(text).and_then(|written| validate(written, CORES));
        match (result, expected) {
            (Ok(config), Ok(holds)) => assert!(holds(&config), "{text}: {config:?}"),
            (Err(errors), Err(parts)) => {
                assert_eq!(errors.len(), parts.len(), "{text}: {errors:?}");
                assert!(errors.iter().zip(parts).all(|(error, part)| error.contains(part)), "{text}: {errors:?}");
            }
            (result, _) => panic!("{text}: {result:?}"),
        }
    }

    #[test]
    fn defaults_are_safe() {
        check("", Ok(|config| config.bind.is_loopback() && config.models.sources == [Source::Embedded]));
        check("", Ok(|config| config.compute_threads == 3 && config.nice == 0 && config.traces.is_none()));
        check("", Ok(|config| (config.http_port, config.grpc_port) == (8000, 8001)));
    }

    fn rate(config: &Config, requests: u32, burst: u32) -> bool {
        let per = Duration::from_secs(60);
        config.by_address.is_some_and(|by| by.rate == Rate { requests, per, burst })
    }

    #[test]
    fn what_is_written_runs() {
        check(
            "[models]\nrepositories = [\"/a\", \"/b\"]\nqueue_requests = 3",
            Ok(|config| config.models.sources.len() == 2 && config.models.queue.requests == 3),
        );
        check(
            "[models]\nrate_limit = \"execution_count\"\nrate_limit_resources = { R1 = 4 }",
            Ok(|config| config.rate_limit == Some(BTreeMap::from([("R1".to_owned(), 4)]))),
        );
        check("[models]\nonnxruntime = \"\"", Err(&["models.onnxruntime must be \"auto\", \"off\""]));
        check("[models]\nonnxruntime = \"off\"", Ok(|config| config.onnxruntime == OnnxRuntime::Off));
        check("[models]\nonnxruntime = \"/x\"", Ok(|config| config.onnxruntime == OnnxRuntime::At("/x".into())));
        check("", Ok(|config| config.gpu == GpuUse::default()));
        check(
            "[gpu]\nmode = \"on\"\ndevice = 2\nmemory_budget = \"14GiB\"\nlibrary_path = [\"/a\"]",
            Ok(|config| {
                let GpuUse { mode, device, budget, library_path } = &config.gpu;
                let library_path = library_path.iter().map(|path| path.display().to_string());
                (*mode, *device, *budget) == (GpuMode::On, 2, Budget::Bytes(14 << 30)) && library_path.eq(["/a"])
            }),
        );
        check("[gpu]\nmemory_budget = \"all\"", Err(&["gpu.memory_budget = \"all\" must be a share"]));
        check("[gpu]\nmode = \"yes\"", Err(&["gpu.mode = \"yes\" must be \"auto\", \"on\" or \"off\""]));
        check("[models]\nrate_limit = \"off\"", Ok(|config| config.rate_limit.is_none()));
        check("[server]\ngrace_seconds = 0.5", Ok(|config| config.grace == Duration::from_millis(500)));
        let explicit = |config: &Config| config.models.control == Control::Explicit(vec!["m".to_owned()]);
        check("[models]\ncontrol = \"explicit\"\nload = [\"m\"]", Ok(explicit));
        let poll = |config: &Config| config.models.control == Control::Poll(Duration::from_millis(500));
        check("[models]\ncontrol = \"poll\"\npoll_seconds = 0.5", Ok(poll));
        check("[rate_limit]\nprofile = \"100-per-minute\"", Ok(|config| rate(config, 100, 100)));
        check("[rate_limit]\nprofile = \"custom\"\nrequests = 9\nburst = 2", Ok(|config| rate(config, 9, 2)));
        check("[cache]\nl1_bytes = 65536", Ok(|config| config.cache.is_none()));
        let cached =
            |config: &Config| config.cache.as_ref().is_some_and(|cache| cache.ttl == Duration::from_secs(3600));
        check("[cache]\nenabled = true", Ok(cached));
        check("[server]\nhttp_port = 0\ngrpc_port = 0", Ok(|config| config.http_port == 0));
    }

    #[test]
    fn the_example_file_holds_the_defaults() {
        let example = parse(include_str!("../../daemon.example.toml")).and_then(|written| validate(written, CORES));
        assert_eq!(example, validate(Written::default(), CORES));
        let lines: Vec<_> = include_str!("../../daemon.example.toml").lines().collect();
        for key in keys::of::<Written>() {
            let name = key.path.last().unwrap();
            let shown = |line: &&str| line.trim_start_matches("# ").starts_with(&format!("{name} = "));
            assert!(lines.iter().any(shown), "{} is not in the example", key.dotted());
        }
    }

    #[test]
    fn mistakes_about_the_doors_say_what_is_right() {
        check("[tls]\ncertificate = \"c.pem\"", Err(&["tls.certificate and tls.key must be given together"]));
        check(
            "[cors]\norigins = [\"*\", \"https://a\"]\ncredentials = true",
            Err(&["alone, or", "needs origins by name"]),
        );
        check(
            "[cors]\norigins = [\"https://a.b:8\", \"a.b\", \"https://a/\", \"https://A\", \"https://*.b\", \"null\"]",
            Err(&["\"a.b\"", "\"https://a/\"", "\"https://A\"", "\"https://*.b\"", "\"null\""]),
        );
        check("[tls]\nclient_ca = \"c.pem\"", Err(&["tls.client_ca needs"]));
        check(
            "[connections]\nheader_timeout_seconds = 0\nper_address = 0\nheader_bytes = 1\nbody_bytes_per_second = 0",
            Err(&["header_timeout_seconds must", "body_bytes_per_second", "per_address", "header_bytes"]),
        );
    }

    #[test]
    fn limits_that_cannot_hold_are_mistakes() {
        check("[concurrency]\nmin = 0\nmax = 0", Err(&["concurrency.min"]));
        check("[concurrency]\nmin = 3\nmax = 2", Err(&["concurrency.max"]));
        check(
            "[access]\nusage_file = \"x\"\nmetrics_need_key = true",
            Err(&["usage_file needs", "metrics_need_key needs"]),
        );
        check(
            "[rate_limit]\nshared_redis = \"redis://a\"\nshared_budget_ms = 0",
            Err(&["shared_budget_ms", "of which there is none"]),
        );
        check("[rate_limit]\nrequests = 3", Err(&["need rate_limit.profile = \"custom\""]));
        check("[rate_limit]\nprofile = \"on\"\nmax_clients = 0", Err(&["max_clients", "\"100-per-minute\" or"]));
        let zero = "requests = 0\nseconds = 0\nburst = 0";
        let wrong = ["rate_limit.requests", "rate_limit.seconds", "rate_limit.burst"];
        check(&format!("[rate_limit]\nprofile = \"custom\"\n{zero}"), Err(&wrong));
        let open = "[server]\nbind = \"0.0.0.0\"\n[models]\ncontrol = \"explicit\"\n[access]\n";
        check(open, Err(&["set access.admin_token_file"]));
        check(&format!("{open}control_without_token = true"), Ok(|config| config.access.control_without_token));
        check(&format!("{open}admin_token = \"x\""), Ok(|config| config.access.has_token()));
        check("[access]\nadmin_token = \"x\"\nadmin_token_file = \"y\"", Err(&["give one of them"]));
    }

    #[test]
    fn mistakes_say_where_and_what_is_right() {
        check("[server]\nhttp_prt = 1", Err(&["http_prt"]));
        check("[server]\nhttp_port = \"x\"", Err(&["d.toml:2"]));
        check("[server]\nhttp_port = 70000", Err(&["70000"]));
        check("server = 1", Err(&["d.toml:1"]));
        check("[models]\nrate_limit = \"on\"", Err(&["execution_count"]));
        check("[models]\nrate_limit_resources = { R1 = 4 }", Err(&["needs models.rate_limit"]));
        check("[models]\nload = [\"m\", \"*\"]", Err(&["[\"*\"] alone", "models.load needs"]));
        check(
            "[models]\ncontrol = \"some\"\npoll_seconds = 2",
            Err(&["poll_seconds needs", "control = \"some\" must"]),
        );
        check("[models]\ncontrol = \"poll\"\npoll_seconds = nan", Err(&["poll_seconds must be"]));
        check("[cache]\nredis = [\"redis://a\", \"redis://a:6379\"]", Err(&["redis[1] is the same node"]));
        check("[cache]\nredis = [\"rediss://a\", \"x\"]", Err(&["redis[0] must be", "redis[1] must be"]));
        check("[cache]\nredis_weights = [0]", Err(&["a weight for each", "between 1 and 100"]));
        check("[cache]\nredis_cluster = true\nredis_budget_ms = 0", Err(&["redis_budget_ms", "needs a node"]));
        check("[cache]\nl1_bytes = 1\nttl_seconds = nan", Err(&["cache.l1_bytes", "cache.ttl_seconds"]));
        check("[models]\nload_threads = 0", Err(&["models.load_threads"]));
        check(
            "[server]\nbind = \"localhost\"\nhttp_port = 1\ngrpc_port = 1\nmax_body_bytes = 1\ntotal_body_bytes = 0\nhttp2_ping_seconds = 0\ngrace_seconds = -1\n\
             [models]\nqueue_requests = 0\ncompute_threads = 0\n[jobs]\nworkers = 0\nqueued = 0\nqueued_bytes = 0\n\
             run_seconds = -1\nretention_seconds = nan\nresults = 0\nresult_bytes = 0\n[process]\nnice = 20\n\
             [telemetry]\ntrace_share = 1.5\notlp_endpoint = \"127.0.0.1:4317\"",
            Err(&[
                "server.bind = \"localhost\" must be an IP address",
                "must differ",
                "server.max_body_bytes",
                "server.total_body_bytes",
                "server.http2_ping_seconds",
                "server.grace_seconds",
                "models.queue_requests",
                "models.compute_threads",
                "jobs.workers",
                "jobs.queued must",
                "jobs.queued_bytes",
                "jobs.run_seconds",
                "jobs.retention_seconds",
                "jobs.results",
                "jobs.result_bytes",
                "process.nice",
                "telemetry.trace_share",
                "telemetry.otlp_endpoint",
            ]),
        );
    }
}
