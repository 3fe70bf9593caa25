//! A server that answers in a fixed time and freezes periodically: nothing is answered, and nothing worked on,
//! while it is frozen. One thread a connection, so that a sleep is as exact as the system's timers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::reference::Freeze;

/// A running server. Its threads end with the process.
#[derive(Debug)]
pub(crate) struct FreezingServer {
    address: SocketAddr,
    zero_unix_ns: u64,
}

impl FreezingServer {
    /// Starts it on a free port; its periods count from now.
    pub(crate) fn start(freeze: Freeze) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let zero = Instant::now();
        let zero_unix_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        thread::Builder::new().spawn(move || {
            for stream in listener.incoming().flatten() {
                let serve = move || serve(stream, freeze, zero);
                // Without a thread the connection is dropped, and the client counts an error.
                let _ = thread::Builder::new().stack_size(128 << 10).spawn(serve);
            }
        })?;
        Ok(Self { address, zero_unix_ns })
    }

    /// Its base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// When its periods began, ms on the clock of a run that began at `run_zero_unix_ns`; negative when before.
    pub(crate) fn zero_ms(&self, run_zero_unix_ns: u64) -> f64 {
        (self.zero_unix_ns as f64 - run_zero_unix_ns as f64) / 1e6
    }
}

fn serve(mut stream: TcpStream, freeze: Freeze, zero: Instant) {
    let _ = stream.set_nodelay(true);
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(n) => received.extend_from_slice(&buffer[..n]),
        }
        while let Some(end) = received.windows(4).position(|w| w == b"\r\n\r\n") {
            received.drain(..end + 4);
            let now_ms = zero.elapsed().as_secs_f64() * 1e3;
            let wait_ms = freeze.answered_ms(now_ms) - now_ms;
            thread::sleep(Duration::from_secs_f64(wait_ms / 1e3));
            if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").is_err() {
                return;
            }
        }
    }
}
