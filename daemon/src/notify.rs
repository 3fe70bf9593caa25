//! What systemd is told of the daemon (`sd_notify(3)`), as datagrams to the socket that it names. Whoever started the
//! daemon otherwise named none, and nothing is sent.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Whom to tell.
#[derive(Debug, Clone, Default)]
pub struct Notifier {
    to: Option<Arc<(UnixDatagram, SocketAddr)>>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// By the variables `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` of process `pid`.
    ///
    /// # Errors
    /// When the socket's name is none. A service that systemd waits for in vain would be killed: better to say it.
    pub fn of(variable: impl Fn(&str) -> Option<String>, pid: u32) -> std::io::Result<Self> {
        let Some(name) = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return Ok(Self::default()) };
        let address = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&name)?,
        };
        let for_us = variable("WATCHDOG_PID").is_none_or(|text| text == pid.to_string());
        let watchdog = variable("WATCHDOG_USEC").and_then(|text| text.parse().ok()).filter(|us| *us > 0 && for_us);
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { to: Some(Arc::new((socket, address))), watchdog: watchdog.map(Duration::from_micros) })
    }

    /// It serves, or serves again.
    pub fn ready(&self) {
        self.send("READY=1\nSTATUS=serving");
    }

    /// It reads its configuration again.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let us = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000);
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={us}\nSTATUS=reading the configuration"));
    }

    /// It finishes what is in flight.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=finishing what is in flight");
    }

    /// Says that the daemon lives, twice as often as asked, for as long as it does. Where nobody asks it ends at once.
    pub async fn watch(self, lives: impl Fn() -> bool) {
        let Some(within) = self.watchdog else { return };
        let mut beats = tokio::time::interval(within / 2);
        loop {
            beats.tick().await;
            if lives() {
                self.send("WATCHDOG=1");
            }
        }
    }

    fn send(&self, message: &str) {
        let Some((socket, address)) = self.to.as_deref() else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            tracing::warn!(%error, "cannot tell systemd {message:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notifier(variables: &[(&str, &str)]) -> Notifier {
        let of = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Notifier::of(of, 7).unwrap()
    }

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let read = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..read]).into_owned()
    }

    #[test]
    fn messages_reach_a_socket_of_either_kind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("proofload-test-{}", std::process::id());
        let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let by_path = UnixDatagram::bind(&path).unwrap();
        for (socket, address) in [(by_path, path.display().to_string()), (by_name, format!("@{name}"))] {
            let notifier = notifier(&[("NOTIFY_SOCKET", &address)]);
            notifier.ready();
            assert!(received(&socket).starts_with("READY=1\n"));
            notifier.reloading();
            let reloading = received(&socket);
            let us = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).expect("a time");
            assert!(reloading.starts_with("RELOADING=1\n") && us.parse::<u64>().unwrap() > 0, "{reloading}");
            notifier.stopping();
            assert!(received(&socket).starts_with("STOPPING=1\n"));
        }
    }

    #[test]
    fn nobody_is_told_where_nobody_listens() {
        notifier(&[]).ready();
        notifier(&[("NOTIFY_SOCKET", "")]).ready();
        notifier(&[("NOTIFY_SOCKET", "/nowhere/at/all")]).ready();
        assert!(Notifier::of(|name| (name == "NOTIFY_SOCKET").then(|| "x".repeat(500)), 7).is_err());
    }

    #[test]
    fn the_watchdog_is_for_the_process_that_is_named() {
        let check = |more: &[(&str, &str)], expected: Option<u64>| {
            let variables = [&[("NOTIFY_SOCKET", "@x")][..], more].concat();
            assert_eq!(notifier(&variables).watchdog, expected.map(Duration::from_micros), "{more:?}");
        };
        check(&[], None);
        check(&[("WATCHDOG_USEC", "3000")], Some(3000));
        check(&[("WATCHDOG_USEC", "0")], None);
        check(&[("WATCHDOG_USEC", "3000"), ("WATCHDOG_PID", "7")], Some(3000));
        check(&[("WATCHDOG_USEC", "3000"), ("WATCHDOG_PID", "8")], None);
    }

    #[tokio::test]
    async fn who_is_dead_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let address = path.display().to_string();
        let notifier = notifier(&[("NOTIFY_SOCKET", &address), ("WATCHDOG_USEC", "20000")]);
        let dead = notifier.clone().watch(|| false);
        assert!(tokio::time::timeout(Duration::from_millis(100), dead).await.is_err());
        socket.set_nonblocking(true).unwrap();
        assert!(socket.recv(&mut [0; 9]).is_err());
        socket.set_nonblocking(false).unwrap();
        let living = tokio::spawn(notifier.watch(|| true));
        let heard = tokio::task::spawn_blocking(move || [received(&socket), received(&socket)]).await.unwrap();
        assert_eq!(heard, ["WATCHDOG=1", "WATCHDOG=1"]);
        living.abort();
    }
}
