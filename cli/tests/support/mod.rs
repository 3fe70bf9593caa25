//! What the end-to-end tests share: the real binary, one run at a time, temporary folders.

// Every test file uses a part of it.
#![allow(dead_code)]
// Helpers of tests are no tests to clippy, and here too an unwrap fails with its line.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use proofload_run::findings::Findings;
use rustix::process::{Pid, Signal, kill_process};

/// Two runs at once on a small machine would measure each other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A place of its own for one test, which runs alone while it holds it.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Place {
    pub(crate) fn new() -> Self {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        Self { folder: tempfile::tempdir().unwrap(), _alone: alone }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn scenario(&self, text: &str) -> PathBuf {
        let path = self.path("scenario.toml");
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// Small tensors to the embedded daemon.
pub(crate) fn small_tensors(load: &str) -> String {
    format!(
        "kind = \"sustained\"\nseed = 3\n[load]\n{load}\n[[mix]]\nname = \"small\"\nprotocol = \"kserve-http-json\"\n\
         model = \"tiny_mlp\"\ninputs = [{{ name = \"input\", datatype = \"FP32\", shape = [1, 16], data = \"random\" }}]\n"
    )
}

pub(crate) fn proofload() -> Command {
    Command::new(env!("CARGO_BIN_EXE_proofload"))
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

pub(crate) fn run(arguments: &[&str]) -> Output {
    proofload().args(arguments).stdin(Stdio::null()).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn findings(folder: &Path) -> Findings {
    serde_json::from_slice(&std::fs::read(folder.join("findings.json")).unwrap()).unwrap()
}

/// A daemon of its own; it drains when it is dropped, because its standard input closes.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) http: String,
    pub(crate) grpc: String,
}

impl Daemon {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// Starts one with further arguments.
    pub(crate) fn with(more: &[&str]) -> Self {
        let mut child = proofload()
            .args(["daemon", "--ready-json", "--until-stdin-closes", "--http-port", "0", "--grpc-port", "0"])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        let url = |side: &str| format!("http://{}", ready[side].as_str().unwrap());
        Self { http: url("http"), grpc: url("grpc"), child }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A run in the background, ended by its pid when the test ends before it does.
pub(crate) struct Background {
    pub(crate) child: Child,
    pub(crate) folder: PathBuf,
}

impl Background {
    /// Starts the run and waits until its journal has its first samples.
    pub(crate) fn start(scenario: &Path, folder: &Path) -> Self {
        let child = proofload()
            .args(["run", "--quiet"])
            .arg(scenario)
            .arg("--out")
            .arg(folder)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let background = Self { child, folder: folder.to_owned() };
        let journal = folder.join("samples-00000.journal");
        assert!(
            within(Duration::from_secs(60), || journal.metadata().is_ok_and(|file| file.len() > 32)),
            "the run did not start"
        );
        background
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Pids of its children: the embedded daemon.
    pub(crate) fn children(&self) -> Vec<u32> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        let lists = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("children")).ok());
        lists.flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>()).collect()
    }

    pub(crate) fn wait(&mut self, limit: Duration) -> Option<i32> {
        let mut status = None;
        within(limit, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.expect("the run hangs").code()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Already ended: nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Whether a process is there and is no zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

/// Whether the condition came true within the limit.
pub(crate) fn within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    while Instant::now() < end {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    condition()
}
