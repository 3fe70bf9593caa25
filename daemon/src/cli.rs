//! The daemon's command line, shared by `proofload daemon` and the small binary `proofload-daemon`. What a flag
//! says goes before what the file says.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

use crate::app::DaemonError;
use crate::config::written::{self, Written};
use crate::config::{Config, validate};

/// Serve models over KServe v2 (HTTP and gRPC), and pictures as relief meshes.
#[derive(Debug, Clone, Default, Args)]
pub struct DaemonArgs {
    /// Configuration file (TOML); flags go before what it says.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
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
    /// How long requests in flight may take to finish when the daemon is stopped [default: 10].
    #[arg(long, value_name = "SECONDS")]
    pub grace: Option<f64>,
    /// Step back behind other processes, 0 to 19.
    #[arg(long, value_name = "N")]
    pub nice: Option<i32>,
    /// Threads that compute models on the CPU [default: all cores but one].
    #[arg(long, value_name = "N")]
    pub compute_threads: Option<usize>,
    /// Print one line of JSON on standard output when ready: event, http, grpc, pid.
    #[arg(long)]
    pub ready_json: bool,
    /// Drain and exit when standard input is closed, so that a child never outlives its parent.
    #[arg(long)]
    pub until_stdin_closes: bool,
}

impl DaemonArgs {
    /// The configuration that these arguments and their file mean on a machine with so many cores.
    ///
    /// # Errors
    /// When the file cannot be read or something in it, or in the arguments, cannot run.
    pub fn configuration(&self, cores: NonZeroUsize) -> Result<Config, DaemonError> {
        let mut written = self.file()?;
        self.lay_over(&mut written);
        validate(written, cores).map_err(DaemonError::Config)
    }

    fn file(&self) -> Result<Written, DaemonError> {
        let Some(path) = &self.config else { return Ok(Written::default()) };
        let failed = |what: String| DaemonError::Config(vec![format!("{}: {what}", path.display())]);
        let text = std::fs::read_to_string(path).map_err(|error| failed(format!("cannot be read: {error}")))?;
        written::parse(&text).map_err(failed)
    }

    fn lay_over(&self, written: &mut Written) {
        if !self.model_repository.is_empty() {
            written.models.repositories.clone_from(&self.model_repository);
        }
        if !self.load_model.is_empty() {
            written.models.load.clone_from(&self.load_model);
        }
        set(self.model_control_mode.clone(), &mut written.models.control);
        set(self.repository_poll_secs.map(Some), &mut written.models.poll_seconds);
        set(self.exit_on_error, &mut written.models.exit_on_error);
        set(self.http_port, &mut written.server.http_port);
        set(self.grpc_port, &mut written.server.grpc_port);
        set(self.metrics_port.map(Some), &mut written.server.metrics_port);
        set(self.bind.clone(), &mut written.server.bind);
        set(self.grace, &mut written.server.grace_seconds);
        set(self.nice, &mut written.process.nice);
        set(self.compute_threads.map(Some), &mut written.models.compute_threads);
        set(self.otlp_endpoint.clone().map(Some), &mut written.telemetry.otlp_endpoint);
        written.server.allow_client_shm |= self.allow_client_shm;
        written.server.exit_with_stdin |= self.until_stdin_closes;
    }
}

fn set<T>(given: Option<T>, place: &mut T) {
    if let Some(given) = given {
        *place = given;
    }
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
        let config = args.configuration(CORES).expect("right");
        assert_eq!((config.http_port, config.grpc_port, config.nice, config.exit_with_stdin), (9, 2, 3, true));
    }

    #[test]
    fn a_missing_file_is_named() {
        let args = DaemonArgs { config: Some(PathBuf::from("/nowhere/x.toml")), ..DaemonArgs::default() };
        let error = args.configuration(CORES).expect_err("no such file").to_string();
        assert!(error.contains("/nowhere/x.toml: cannot be read"), "{error}");
    }
}
