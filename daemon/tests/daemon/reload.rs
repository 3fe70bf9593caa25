//! SIGHUP, and what systemd hears of the daemon's life: the real process, with a real socket to listen on.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_secs(30);

fn daemon(config: &Path, socket: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_proofload-daemon"))
        .args(["--http-port=0", "--grpc-port=0"])
        .arg("--config")
        .arg(config)
        .env("NOTIFY_SOCKET", socket)
        .env("WATCHDOG_USEC", "200000")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Listens until a message begins so, and gives all that came until then.
fn until(socket: &UnixDatagram, wanted: &str) -> Vec<String> {
    let mut heard = Vec::new();
    loop {
        let mut buffer = [0; 512];
        let read = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("no {wanted}: {error}; {heard:?}"));
        let message = String::from_utf8_lossy(&buffer[..read]).into_owned();
        let found = message.starts_with(wanted);
        heard.push(message);
        if found {
            return heard;
        }
    }
}

#[test]
fn sighup_reloads_what_can_be_and_keeps_the_rest() {
    let place = tempfile::tempdir().unwrap();
    let (config, address) = (place.path().join("daemon.toml"), place.path().join("notify"));
    let socket = UnixDatagram::bind(&address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    fs::write(&config, "[connections]\nper_address = 5\n").unwrap();
    let child = daemon(&config, &address);
    let hang_up = |text: &str| {
        fs::write(&config, text).unwrap();
        kill_process(Pid::from_child(&child), Signal::HUP).unwrap();
        assert!(until(&socket, "READY=1").iter().any(|message| message.starts_with("RELOADING=1\n")));
    };
    until(&socket, "READY=1");
    until(&socket, "WATCHDOG=1");
    hang_up("[connections]\nper_address = 6\n[server]\nmax_connections = 7\n");
    hang_up("[connections]\nper_address = 0\nno_such = 1\n");
    hang_up("[connections]\nper_address = 6\n[telemetry]\nlog_level = \"warn\"\n");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    until(&socket, "STOPPING=1");
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.success(), "{said}");
    for part in [
        "connections.per_address was 5 and is 6",
        "server.max_connections is still 4096; 7 needs a restart",
        "everything stays as it is",
        "there is no key `connections.no_such`",
        "connections.per_address must be at least 1",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert!(!said.contains("every request in flight was answered"), "a level that was taken away: {said}");
}
