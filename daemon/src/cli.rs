//! The daemon's command line, shared by `proofload daemon` and the small binary `proofload-daemon`. What a flag
//! says goes before what the environment says, and that before what the file says.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;
use toml::Value;

use crate::app::DaemonError;
use crate::command::Command;
use crate::config::access::exposed;
use crate::config::layers::{Layers, Merged};
use crate::config::{Config, validate};

/// Serve models over KServe v2 (HTTP and gRPC), and pictures as relief meshes.
#[derive(Debug, Clone, Default, Args)]
pub struct DaemonArgs {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Configuration file (TOML); the environment (`PROOFLOAD_SERVER_HTTP_PORT=0` for `http_port` of `[server]`) and
    /// flags go before what it says.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Any key of the configuration, such as `server.http_port=0`; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Only say everything that is wrong with the configuration; nothing is loaded. Exit 2 if there is anything.
    #[arg(long)]
    pub check: bool,
    /// Only print the configuration as it would run, as TOML, with where each value came from and without secrets.
    #[arg(long)]
    pub print_config: bool,
    /// Model repository in Triton's layout, instead of the built-in models; may be given several times.
    #[arg(long, value_name = "DIR")]
    pub model_repository: Vec<PathBuf>,
    /// Who decides which models are loaded: none (all at the start), explicit (clients), poll (the repository)
    /// [default: none].
    #[arg(long, value_name = "MODE")]
    pub model_control_mode: Option<String>,
    /// With explicit, a model to load at the start, `*` for all; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub load_model: Vec<String>,
    /// With poll, how often the repository is looked at [default: 15].
    #[arg(long, value_name = "SECONDS")]
    pub repository_poll_secs: Option<f64>,
    /// Whether a model that cannot be loaded at the start keeps the daemon from starting [default: true].
    #[arg(long, value_name = "BOOL")]
    pub exit_on_error: Option<bool>,
    /// Port for HTTP; 0 for any free one [default: 8000].
    #[arg(long, value_name = "PORT")]
    pub http_port: Option<u16>,
    /// Port for gRPC; 0 for any free one [default: 8001].
    #[arg(long, value_name = "PORT")]
    pub grpc_port: Option<u16>,
    /// Further port for metrics, such as Triton's 8002; 0 for any free one [default: none, they are on HTTP's].
    #[arg(long, value_name = "PORT")]
    pub metrics_port: Option<u16>,
    /// Address to listen on [default: 127.0.0.1].
    #[arg(long, value_name = "IP")]
    pub bind: Option<String>,
    /// Let clients hand over tensors in shared memory under /dev/shm; only for clients that are trusted.
    #[arg(long)]
    pub allow_client_shm: bool,
    /// Collector for OTLP traces over gRPC, such as `http://127.0.0.1:4317` [default: no traces].
    #[arg(long, value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// Show what was recorded of GPUs, over and over, in place of this machine's own; every figure says so.
    #[arg(long, value_name = "FILE")]
    pub gpu_replay: Option<PathBuf>,
    /// Record what the GPUs report into a new file.
    #[arg(long, value_name = "FILE")]
    pub gpu_record: Option<PathBuf>,
    /// How long requests in flight may take to finish when the daemon is stopped [default: 10].
    #[arg(long, value_name = "SECONDS")]
    pub grace: Option<f64>,
    /// Step back behind other processes, 0 to 19.
    #[arg(long, value_name = "N")]
    pub nice: Option<i32>,
    /// Threads that compute models on the CPU [default: all cores but one].
    #[arg(long, value_name = "N")]
    pub compute_threads: Option<usize>,
    /// Whether models run on a GPU, which is new: auto (if there is one), on (or the daemon does not start) [default: off].
    #[arg(long, value_name = "MODE", num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    pub gpu: Option<String>,
    /// Print one line of JSON on standard output when ready: event, http, grpc, pid.
    #[arg(long)]
    pub ready_json: bool,
    /// Drain and exit when standard input is closed, so that a child never outlives its parent.
    #[arg(long)]
    pub until_stdin_closes: bool,
}

impl DaemonArgs {
    /// The configuration that these arguments, their file and these variables mean on a machine with so many cores.
    ///
    /// # Errors
    /// When the file cannot be read or anything that was said cannot run.
    pub fn configuration(
        &self,
        environment: impl IntoIterator<Item = (String, String)>,
        cores: NonZeroUsize,
    ) -> Result<Config, DaemonError> {
        validated(self.merged(environment), cores).map(|(_, config)| config)
    }

    /// What was said, with where it was said; whether it can run is not known yet.
    pub(crate) fn merged(&self, environment: impl IntoIterator<Item = (String, String)>) -> Merged {
        let mut layers = Layers::default();
        if let Some(path) = &self.config {
            let name = path.display().to_string();
            match std::fs::read_to_string(path) {
                Ok(text) => layers.file(&name, &text),
                Err(error) => layers.complain(format!("{name}: cannot be read: {error}")),
            }
        }
        layers.environment(environment);
        self.flags(&mut layers);
        self.set.iter().for_each(|text| layers.assignment(text));
        layers.finish()
    }

    fn flags(&self, layers: &mut Layers) {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let path = |path: &Path| Value::from(path.to_string_lossy().into_owned());
        let mut flag = |flag: &str, key: &str, value: Option<Value>| {
            if let Some(value) = value {
                layers.flag(flag, key, value);
            }
        };
        flag(
            "--model-repository",
            "models.repositories",
            list(self.model_repository.iter().map(|p| p.to_string_lossy())),
        );
        flag("--load-model", "models.load", list(self.load_model.iter()));
        flag("--model-control-mode", "models.control", self.model_control_mode.clone().map(Value::from));
        flag("--repository-poll-secs", "models.poll_seconds", self.repository_poll_secs.map(Value::from));
        flag("--exit-on-error", "models.exit_on_error", self.exit_on_error.map(Value::from));
        flag("--compute-threads", "models.compute_threads", self.compute_threads.map(|n| count(n).into()));
        flag("--gpu", "gpu.mode", self.gpu.clone().map(Value::from));
        flag("--http-port", "server.http_port", self.http_port.map(|port| i64::from(port).into()));
        flag("--grpc-port", "server.grpc_port", self.grpc_port.map(|port| i64::from(port).into()));
        flag("--metrics-port", "server.metrics_port", self.metrics_port.map(|port| i64::from(port).into()));
        flag("--bind", "server.bind", self.bind.clone().map(Value::from));
        flag("--grace", "server.grace_seconds", self.grace.map(Value::from));
        flag("--allow-client-shm", "server.allow_client_shm", self.allow_client_shm.then_some(true.into()));
        flag("--until-stdin-closes", "server.exit_with_stdin", self.until_stdin_closes.then_some(true.into()));
        flag("--nice", "process.nice", self.nice.map(|nice| i64::from(nice).into()));
        flag("--otlp-endpoint", "telemetry.otlp_endpoint", self.otlp_endpoint.clone().map(Value::from));
        flag("--gpu-replay", "telemetry.gpu_replay", self.gpu_replay.as_deref().map(path));
        flag("--gpu-record", "telemetry.gpu_record", self.gpu_record.as_deref().map(path));
    }
}

/// What can run, of what was said; or else everything that is wrong with it.
///
/// # Errors
/// When anything cannot run.
pub(crate) fn validated(mut merged: Merged, cores: NonZeroUsize) -> Result<(Merged, Config), DaemonError> {
    let mut errors = std::mem::take(&mut merged.errors);
    errors.extend(exposed(&merged.origins));
    match validate(merged.written.clone(), cores) {
        Ok(config) if errors.is_empty() => return Ok((merged, config)),
        Ok(_) => {}
        Err(more) => errors.extend(more),
    }
    Err(DaemonError::Config(errors))
}

/// A list that was given, or nothing.
fn list(items: impl ExactSizeIterator<Item = impl Into<String>>) -> Option<Value> {
    (items.len() > 0).then(|| Value::Array(items.map(|item| Value::String(item.into())).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORES: NonZeroUsize = NonZeroUsize::new(2).expect("not zero");

    #[test]
    fn flags_go_before_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("daemon.toml");
        std::fs::write(&path, "[server]\nhttp_port = 1\ngrpc_port = 2\n[process]\nnice = 3").expect("written");
        let args =
            DaemonArgs { config: Some(path), http_port: Some(9), until_stdin_closes: true, ..DaemonArgs::default() };
        let config = args.configuration([], CORES).expect("right");
        assert_eq!((config.http_port, config.grpc_port, config.nice, config.exit_with_stdin), (9, 2, 3, true));
    }

    #[test]
    fn a_missing_file_is_named() {
        let args = DaemonArgs { config: Some(PathBuf::from("/nowhere/x.toml")), ..DaemonArgs::default() };
        let variable = ("PROOFLOAD_SERVER_BIND".to_owned(), "x".to_owned());
        let error = args.configuration([variable], CORES).expect_err("no such file").to_string();
        assert!(error.contains("/nowhere/x.toml: cannot be read"), "{error}");
        assert!(error.contains("server.bind = \"x\" must be"), "what else is wrong is said, too: {error}");
    }
}
