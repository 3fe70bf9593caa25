//! What the user can say on the command line, and the help that teaches it. Decides nothing.

mod afterwards;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use proofload_loadgen::scenario::Protocol;
use proofload_run::criteria::Slo;
use proofload_run::units::{parse_duration_ns, parse_share};

use self::afterwards::rate;
pub(crate) use self::afterwards::{ExportArgs, ExportForm, ExportWhat, PlanArgs};

const EXIT_CODES: &str = "Exit codes: 0 PASS, 1 FAIL, 2 usage or configuration error, 3 INCONCLUSIVE (too little data), \
4 INVALID (the generator, not the target, was the bottleneck).";

const EXAMPLES: &str = "Examples:
  proofload run scenarios/quick.toml                      30 s against the embedded daemon, then a report
  proofload run scenarios/stress.toml --target http://127.0.0.1:8000
  proofload run my.toml --set load.duration=10m --set load.rate=200/s
  proofload gate reports/runs/quick-20261120-101500 --format junit > verdict.xml
  proofload scenario new --kind stress --target http://127.0.0.1:8000 -o my.toml
  proofload doctor my.toml                                check machine, file and target first

Exit codes: 0 PASS, 1 FAIL, 2 usage or configuration error, 3 INCONCLUSIVE, 4 INVALID.";

const COST_HELP: &str = "A run is a folder of `run` or of `capacity`, and may be labelled: `proofload cost none=A cache=B` says what B's setting
saved against A, as measured. The machine is the one that the run's manifest names; for another say --machine.

Prices lie in the program as ballparks, with date and source. Yours go over them:
  [[price]]
  name = \"ours\"            # what --machine calls it
  per = \"gpu\"              # or core, machine
  price = 2.10             # an hour
  currency = \"USD\"
  date = \"2026-11-01\"
  source = \"our contract\"
  matches = [\"H100 HBM3\"]  # words of the GPU's name, if it is to be found by that
In the same file: machine, units, replicas, idle_w, cache_per_hour, headroom (0.3), spare (1), and [traffic].

Exit codes: 0 done, 2 usage error, or a file that is none.";

const FORECAST_HELP: &str = "Examples:
  proofload forecast memory.csv                          a time and a value a line; times in seconds, or 2026-11-22T10:00:00
  proofload forecast requests.csv --period 24 --horizon 48   hours, with days as seasons
  proofload forecast runs/*                              latency, capacity and hit rate over runs that were driven at equal times
  proofload forecast runs/long                           memory, hit rate and latency within a run of twenty minutes or more
  proofload forecast runs/capacity --peak 120/s --growth 8%   when the service level is missed
  proofload forecast runs/capacity peaks.csv             the same, with the growth of a history

A forecast is offered where it did surely better than saying that the last value stays.

Exit codes: 0 done, whether one is offered or not; 2 usage error, or nothing to forecast.";

/// Proves what load an inference service bears, and finds where it breaks.
#[derive(Debug, Parser)]
#[command(version, about, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Drive load by a scenario file, analyse it, write a report, give a verdict.
    #[command(after_help = EXIT_CODES)]
    Run(RunArgs),
    /// Search the highest rate that still keeps the service level, with an interval.
    #[command(
        after_help = "Exit codes: 0 found (and at least --at-least), 1 not borne, 2 usage or configuration error, \
3 not decided, 4 the generator was the limit."
    )]
    Capacity(CapacityArgs),
    /// Say how many replicas bear a load, and what a setting would change, by a capacity search or a run.
    #[command(after_help = "Exit codes: 0 said, 2 usage error, or no rate is known to be borne.")]
    Plan(PlanArgs),
    /// Analyse run folders again and write their reports again, offline. Also finishes a run that was killed.
    #[command(after_help = EXIT_CODES)]
    Report(ReportArgs),
    /// Write a run's samples, scraped series or timeline as one table for other tools.
    #[command(
        after_help = "Columns carry their unit in their names. Samples have words for step, entry and outcome, and all shards are
together; what did not happen or is not known is empty, or null.

Exit codes: 0 written, 2 not."
    )]
    Export(ExportArgs),
    /// Print the verdict on a run folder for CI, and exit by it.
    #[command(after_help = EXIT_CODES)]
    Gate(GateArgs),
    /// The inference daemon: KServe v2 over HTTP and gRPC, and pictures to relief meshes.
    Daemon(Box<proofload_daemon::DaemonArgs>),
    /// Check this machine, and a scenario and its target if one is named, before a run.
    #[command(after_help = "Exit codes: 0 nothing in the way, 1 something is, 2 usage or configuration error.")]
    Doctor(DoctorArgs),
    /// Prove that this machine measures what is true: drive built-in servers whose latencies are known.
    #[command(after_help = "Exit codes: 0 it does, 2 usage or configuration error, 3 stopped early, 4 it does not.")]
    Calibrate(CalibrateArgs),
    /// Begin a scenario file, check some, or print their JSON Schema.
    #[command(subcommand)]
    Scenario(ScenarioCommand),
    /// Find what was odd in recorded metrics (CSV files, a line a second) and not explained by their load.
    #[command(
        after_help = "A file has a first line `t,offered_rps,METRIC,…` and then a line a second. It is compared with the
files SYSTEM_train_*.csv of the training folder, where SYSTEM is its own name up to the first `_`; where there are no
such names, with all CSV files of the folder. Without --train each file is compared with itself, which finds less.

Exit codes: 0 done, whatever was found; 2 usage error, or a file that is none."
    )]
    Anomalies(AnomaliesArgs),
    /// Say what requests cost: of a run, a good request, a GB, an hour; of several, which machine is cheapest and what a setting saved.
    #[command(after_help = COST_HELP)]
    Cost(CostArgs),
    /// Forecast a series of the past, or when a growing demand meets the capacity; each forecast with what such ones were worth.
    #[command(after_help = FORECAST_HELP)]
    Forecast(ForecastArgs),
    /// Keep healthy runs, to compare later ones with.
    #[command(subcommand)]
    Baseline(BaselineCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ScenarioCommand {
    /// Write a commented starting file for a target, after asking it for its models and their inputs.
    #[command(
        after_help = "Exit codes: 0 written, 2 not: the target has several models and none is named, it does not \
answer, the file exists."
    )]
    New(NewArgs),
    /// Say everything that is wrong with scenario files, without opening a socket.
    #[command(after_help = "Exit codes: 0 all are valid, 2 something is wrong.")]
    Check(CheckArgs),
    /// Print the JSON Schema of scenario files, from which editors complete and check them.
    Schema,
}

#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// What the scenario is to ask.
    #[arg(long, value_enum)]
    pub(crate) kind: StarterKind,
    /// Base URL of the target: the HTTP side of a KServe, OpenAI-compatible or any other server, or a gRPC side.
    #[arg(long, value_name = "URL")]
    pub(crate) target: String,
    /// Base URL of the gRPC side, beside an HTTP one.
    #[arg(long, value_name = "URL")]
    pub(crate) grpc_target: Option<String>,
    /// The model. Needed only where the target has several.
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// How requests travel. [default: binary tensors over KServe HTTP, or what else the target speaks]
    #[arg(long, value_name = "PROTOCOL", value_parser = protocol)]
    pub(crate) protocol: Option<Protocol>,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    /// The file to write. [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Replace the file if it exists.
    #[arg(long, requires = "output")]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AccessArgs {
    /// A header of every request, once for each. A secret stays in the environment: 'authorization: Bearer ${env:TOKEN}',
    /// in single quotes.
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<String>,
    /// Authorities from which the target's certificate may come, in PEM. [default: the system's]
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub(crate) ca: Option<PathBuf>,
    /// Who we say we are, where the target asks, in PEM.
    #[arg(long, value_name = "FILE", requires = "client_key")]
    pub(crate) client_cert: Option<PathBuf>,
    /// Its private key, in PEM.
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    pub(crate) client_key: Option<PathBuf>,
    /// The name that the target's certificate has. [default: the URL's host]
    #[arg(long, value_name = "NAME")]
    pub(crate) server_name: Option<String>,
    /// Take any certificate.
    #[arg(long)]
    pub(crate) insecure: bool,
}

/// What a starting file is to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StarterKind {
    /// One rate, evenly spaced.
    Constant,
    /// One rate, as independent callers come.
    Sustained,
    /// Rising steps until it breaks.
    #[value(aliases = ["steps", "capacity"])]
    Stress,
    /// An even rise.
    Ramp,
    /// A burst, and the recovery.
    Spike,
    /// A day's curve.
    Sine,
    /// One rate for an hour.
    Endurance,
    /// Users who wait and think.
    #[value(alias = "closed")]
    Users,
    /// Such users with two kinds of request.
    Mixed,
}

fn protocol(word: &str) -> Result<Protocol, String> {
    let known: Vec<&str> = Protocol::all().map(Protocol::as_str).collect();
    Protocol::from_word(word).ok_or_else(|| format!("write one of {}", known.join(", ")))
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Scenario files.
    #[arg(required = true, value_name = "SCENARIO.toml")]
    pub(crate) scenarios: Vec<PathBuf>,
    /// Override a value of the scenarios by its dotted key; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) overrides: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Scenario files, run one after the other. A file that names no target gets the embedded daemon, started on
    /// free loopback ports and stopped at the end.
    #[arg(required = true, value_name = "SCENARIO.toml")]
    pub(crate) scenarios: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Folder for the run; with several scenarios each gets a folder below it. [default: reports/runs/NAME-TIME]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Override a value of the scenario by its dotted key; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) overrides: Vec<String>,
    /// Show the run live: rates, latencies, errors, thresholds. q stops it as Ctrl-C does.
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) tui: bool,
    /// Baseline of healthy runs to compare with (see `proofload baseline`); it is copied into the run folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) baseline: Option<PathBuf>,
    /// Run even where the disk has less room than the run is expected to need.
    #[arg(long)]
    pub(crate) ignore_disk: bool,
    #[command(flatten)]
    pub(crate) prices: PriceArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CapacityArgs {
    /// What to send, and where. Its load is replaced by the search's; a file that names no target gets the embedded daemon.
    #[arg(value_name = "SCENARIO.toml")]
    pub(crate) scenario: PathBuf,
    /// The service level, such as 'p95<200ms,errors<1%'. [default: the scenario's]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) slo: Option<Slo>,
    /// How long to search; the soak comes on top.
    #[arg(long, value_name = "TIME", default_value = "3m", value_parser = parse_duration_ns)]
    pub(crate) budget: u64,
    /// A first guess, which may be wrong by far. [default: the scenario's first rate, or 10/s]
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub(crate) from: Option<f64>,
    /// Never drive more than this.
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub(crate) most: Option<f64>,
    /// How long to drive what was found, to see that it is borne; 0s for not at all.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration_ns)]
    pub(crate) soak: u64,
    /// End once the rate is known to plus or minus this share, with 90 % probability.
    #[arg(long, value_name = "SHARE", default_value = "3%", value_parser = parse_share)]
    pub(crate) width: f64,
    /// Fail where less than this is sustainable.
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub(crate) at_least: Option<f64>,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Folder for the search; one that was stopped goes on. [default: reports/runs/capacity-NAME-TIME]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Override a value of the scenario by its dotted key; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) overrides: Vec<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Run folders.
    #[arg(required_unless_present_any = ["index", "schema"], value_name = "RUN_DIR")]
    pub(crate) runs: Vec<PathBuf>,
    /// Write index.html over all runs of a folder: a table with search, and how figures went from run to run.
    #[arg(long, value_name = "DIR")]
    pub(crate) index: Option<PathBuf>,
    /// Print the JSON Schema of findings.json.
    #[arg(long, conflicts_with_all = ["runs", "index"])]
    pub(crate) schema: bool,
    /// Baseline of healthy runs to compare with (see `proofload baseline`); it is copied into the run folders.
    #[arg(long, value_name = "DIR")]
    pub(crate) baseline: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) prices: PriceArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct GateArgs {
    /// The run folder.
    #[arg(value_name = "RUN_DIR")]
    pub(crate) run: PathBuf,
    /// How to print the verdict.
    #[arg(long, value_enum, default_value_t = GateFormat::Text)]
    pub(crate) format: GateFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GateFormat {
    /// A short table for a terminal or a log.
    Text,
    /// JUnit XML: one test case a threshold.
    Junit,
    /// Markdown for a pull request comment.
    Markdown,
    /// The findings, whole.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// A scenario to check, with its payloads and its target.
    #[arg(value_name = "SCENARIO.toml")]
    pub(crate) scenario: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Folder in which the run will be, for its disk. [default: reports/runs]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Override a value of the scenario by its dotted key; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "scenario")]
    pub(crate) overrides: Vec<String>,
}

/// Where the target is, instead of where the file says.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct TargetArgs {
    /// HTTP base URL of the target, instead of the one in the file.
    #[arg(long, value_name = "URL")]
    pub(crate) target: Option<String>,
    /// gRPC base URL of the target, instead of the one in the file.
    #[arg(long, value_name = "URL")]
    pub(crate) grpc_target: Option<String>,
    /// URL of the target's Prometheus page; without a path, /metrics is meant. [default: the file's, or with --target
    /// /metrics of that; a Triton's is found two ports further]
    #[arg(long, value_name = "URL")]
    pub(crate) metrics: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CalibrateArgs {
    /// The rate that is wanted of this machine, requests per second.
    #[arg(long, default_value_t = 1000.0, value_name = "PER_S")]
    pub(crate) rate: f64,
    /// Length of each of the five cases, seconds.
    #[arg(long, default_value_t = 10, value_name = "S", value_parser = clap::value_parser!(u64).range(2..=600))]
    pub(crate) seconds: u64,
}

#[derive(Debug, Args)]
pub(crate) struct AnomaliesArgs {
    /// Files to look at.
    #[arg(required = true, value_name = "CSV")]
    pub(crate) files: Vec<PathBuf>,
    /// Folder with files of healthy runs; eight to ten of a system are enough.
    #[arg(long, value_name = "DIR")]
    pub(crate) train: Option<PathBuf>,
    /// Where the alerts go, as JSON: by file name a list of [from, to, "METRIC", ["METRIC", …]], in seconds, the metrics
    /// ranked.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Share of healthy windows that count as odd; two odd ones in a row are an alert. 0.01 is for waking people.
    #[arg(long, default_value_t = proofload_analyzer::anomalies::SENSITIVE, value_name = "SHARE")]
    pub(crate) alpha: f64,
    /// Seconds at the beginning of each file that are left out.
    #[arg(long, default_value_t = 120, value_name = "S")]
    pub(crate) warm_up: usize,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CostArgs {
    /// Folders of runs or of searches for capacity.
    #[arg(required = true, value_name = "[LABEL=]RUN_DIR")]
    pub(crate) runs: Vec<String>,
    #[command(flatten)]
    pub(crate) prices: PriceArgs,
    /// The rate that machines are wanted for; --traffic says the same for every hour.
    #[arg(long, value_name = "RATE", value_parser = rate, conflicts_with = "traffic")]
    pub(crate) rate: Option<f64>,
    /// As JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What things cost, and which machine it was.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PriceArgs {
    /// Prices in TOML, over the built-in ones (see `proofload cost --help`); they are kept in the run folder.
    #[arg(long, value_name = "FILE")]
    pub(crate) prices: Option<PathBuf>,
    /// The price of the machine that served, by its name. [default: by the run's manifest, where the target is this machine]
    #[arg(long, value_name = "NAME")]
    pub(crate) machine: Option<String>,
    /// How many GPUs or processors that machine has. [default: those of the manifest]
    #[arg(long, value_name = "N")]
    pub(crate) units: Option<f64>,
    /// How many such machines served. [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) replicas: Option<u32>,
    /// The demand, for a month's price: TOML (`lowest_per_s`, `peak_per_s`, `peak_hour`, or `hourly_per_s`), or CSV with a rate for each
    /// hour of a day or a week.
    #[arg(long, value_name = "FILE")]
    pub(crate) traffic: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ForecastArgs {
    /// CSV files, and folders of runs or of searches for capacity.
    #[arg(required = true, value_name = "CSV|RUN_DIR")]
    pub(crate) inputs: Vec<PathBuf>,
    /// How many values ahead. [default: a fifteenth of those that there are]
    #[arg(long, value_name = "N")]
    pub(crate) horizon: Option<usize>,
    /// Values that a season has, such as 24 for hours or 7 for days. [default: no seasons]
    #[arg(long, value_name = "N")]
    pub(crate) period: Option<usize>,
    /// The demand's peak now, to be held against the capacity.
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub(crate) peak: Option<f64>,
    /// How it grows a month. [default: by the history in the CSV file]
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    pub(crate) growth: Option<f64>,
    /// As JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BaselineCommand {
    /// Add healthy runs to a baseline. A run that failed, is invalid or was cut short is refused.
    #[command(
        after_help = "Runs of different levels and shapes of load teach most; eight to ten are enough. A later run is compared
with them by `proofload report RUN_DIR --baseline DIR` or `proofload run … --baseline DIR`.

Exit codes: 0 added, 2 not."
    )]
    Add(BaselineAddArgs),
}

#[derive(Debug, Args)]
pub(crate) struct BaselineAddArgs {
    /// Run folders.
    #[arg(required = true, value_name = "RUN_DIR")]
    pub(crate) runs: Vec<PathBuf>,
    /// Folder of the baseline; it is made if need be.
    #[arg(long, value_name = "DIR", default_value = "reports/baseline")]
    pub(crate) into: PathBuf,
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct OutputArgs {
    /// No progress, no table: only errors, and the exit code.
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
