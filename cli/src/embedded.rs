//! The embedded daemon: this same binary as a child process on free loopback ports. It cannot outlive us: it
//! drains when its standard input closes, which the kernel sees to even when we are killed. Knows nothing of
//! scenarios or reports.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use proofload_daemon::config::layers::PREFIX;
use proofload_loadgen::run::ResolvedTarget;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Model loading and warm-up on a slow machine, with a margin.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Longer than the daemon's own grace period, so that it is the daemon that gives up first.
const STOPPED_WITHIN: Duration = Duration::from_secs(20);
/// Lower priority than the generator: on shared cores it is the daemon that must wait, or the run measures us.
const NICENESS: &str = "5";

/// The line the daemon prints when it is ready.
#[derive(Debug, Deserialize)]
struct Ready {
    http: String,
    grpc: String,
}

/// A running daemon of our own.
#[derive(Debug)]
pub(crate) struct EmbeddedDaemon {
    child: Child,
    log: PathBuf,
    /// `http://127.0.0.1:PORT`.
    pub(crate) http_url: String,
    /// `http://127.0.0.1:PORT`.
    pub(crate) grpc_url: String,
}

impl EmbeddedDaemon {
    /// Starts the daemon, its messages going to `log`, and waits until it is ready.
    pub(crate) async fn start(log: &Path) -> anyhow::Result<Self> {
        let mut child = spawn(log)?;
        let ready = tokio::time::timeout(READY_WITHIN, read_ready(&mut child)).await;
        let ready = match ready {
            Ok(Ok(ready)) => ready,
            Ok(Err(error)) => bail!("the embedded daemon did not start: {error:#}\n{}", tail_of(log)),
            Err(_) => bail!("the embedded daemon was not ready within {READY_WITHIN:?}\n{}", tail_of(log)),
        };
        Ok(Self {
            child,
            log: log.to_owned(),
            http_url: format!("http://{}", ready.http),
            grpc_url: format!("http://{}", ready.grpc),
        })
    }

    /// Both its sides, as a target.
    pub(crate) fn target(&self) -> ResolvedTarget {
        ResolvedTarget {
            http_url: Some(self.http_url.clone()),
            grpc_url: Some(self.grpc_url.clone()),
            embedded: true,
            ..ResolvedTarget::default()
        }
    }

    /// How it ended, if it has.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Asks it to drain and waits for its end; kills it when it takes too long.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(status) = self.exited() {
            bail!("the embedded daemon had ended before the run did ({status})\n{}", tail_of(&self.log));
        }
        // Closing its standard input is the request to drain.
        drop(self.child.stdin.take());
        let Ok(status) = tokio::time::timeout(STOPPED_WITHIN, self.child.wait()).await else {
            self.child.kill().await.context("the embedded daemon could not be killed")?;
            bail!("the embedded daemon did not drain within {STOPPED_WITHIN:?} and was killed");
        };
        let status = status.context("waiting for the embedded daemon")?;
        if !status.success() {
            bail!("the embedded daemon ended with {status}\n{}", tail_of(&self.log));
        }
        Ok(())
    }
}

fn spawn(log: &Path) -> anyhow::Result<Child> {
    let messages = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let program = std::env::current_exe().context("cannot find the path of this program")?;
    let ours = std::env::vars_os().map(|(name, _)| name).filter(|name| is_of_a_daemon(name));
    let mut command = Command::new(program);
    // What a run drives is what its file says, and not what this shell would have another daemon do.
    for name in ours {
        command.env_remove(name);
    }
    command
        .args(["daemon", "--ready-json", "--until-stdin-closes", "--nice", NICENESS])
        .args(["--http-port", "0", "--grpc-port", "0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(messages)
        // A Ctrl-C in the terminal is ours to handle: the daemon must go on answering while we drain.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .context("cannot start the embedded daemon")
}

fn is_of_a_daemon(variable: &OsStr) -> bool {
    variable.to_str().is_some_and(|name| name.starts_with(PREFIX))
}

async fn read_ready(child: &mut Child) -> anyhow::Result<Ready> {
    let stdout = child.stdout.take().context("its standard output is not connected")?;
    let mut lines = BufReader::new(stdout).lines();
    let line = lines.next_line().await?.context("it ended before it was ready")?;
    serde_json::from_str(&line).with_context(|| format!("its first line was not the ready message: {line}"))
}

/// The last lines of the daemon's messages: what a user needs to see when it fails.
fn tail_of(log: &Path) -> String {
    const LINES: usize = 10;
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
