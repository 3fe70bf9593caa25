//! Redis servers of our own, on loopback and free ports, each with a folder of its own.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::Value;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long anything may take that takes milliseconds on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A server.
pub(crate) struct Redis {
    port: u16,
    more: Vec<String>,
    folder: TempDir,
    process: Option<Child>,
}

impl Redis {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// Starts one with further arguments.
    pub(crate) async fn with(more: &[&str]) -> Self {
        let mut redis = Self::down();
        redis.more = more.iter().map(|&word| word.to_owned()).collect();
        redis.up().await;
        redis
    }

    /// One that could be started.
    pub(crate) fn down() -> Self {
        Self { port: free_port(), more: Vec::new(), folder: tempfile::tempdir().unwrap(), process: None }
    }

    /// Starts it, and waits until it answers.
    pub(crate) async fn up(&mut self) {
        let process = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(&self.more)
            .current_dir(self.folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("these tests need redis-server on the path; scripts/test installs it");
        self.process = Some(process);
        until("redis-server answers", async || self.try_ask(&["PING"]).await.is_ok()).await;
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Has it answer nobody and keep its connections.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(self.process.as_ref().unwrap());
        kill_process(pid, signal).unwrap();
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Asks it something.
    pub(crate) async fn ask(&self, words: &[&str]) -> Value {
        self.try_ask(words).await.unwrap()
    }

    async fn try_ask(&self, words: &[&str]) -> redis::RedisResult<Value> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query_async(&mut connection).await
    }

    /// The names of all values.
    pub(crate) async fn names(&self) -> Vec<String> {
        redis::from_redis_value(self.ask(&["KEYS", "proofload:*"]).await).unwrap()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "{what}: never");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
