//! The built-in server: one thread that answers every request with the same two bytes, or with a stream of tokens, when
//! its law says. It costs a few microseconds a request, so that on a small machine it leaves the generator its share; and
//! it notes when it really sent each answer, so that its own failings are not taken for the generator's.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use rustix::thread::{CpuSet, set_current_timer_slack};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};

use super::law::{Law, Service};
use super::processors::move_to;
use crate::dispatch::timer::prefer_this_thread;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
/// One token, as a chunk of HTTP/1.1.
const TOKEN: &[u8] = b"2f\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n\r\n";
const STREAM_END: &[u8] = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";
const HEAD_END: &[u8] = b"\r\n\r\n";
/// Longest request; more is none of ours.
const LONGEST_REQUEST: usize = 16 << 10;
/// How often it looks whether it is to stop.
const LONGEST_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// With more answers than this under way it looks only once in a while: to wake up for each of them would cost it more
/// than they do, and a server that is slow after a freeze is no server of its law.
const MANY: usize = 24;
/// What is due within this is due soon; while it waits for longer, it need not look often.
const SOON_NS: u64 = 2_000_000;
/// How often it looks then. An answer is late by so much at most.
const TICK_NS: u64 = 100_000;
/// The listener and the timer among the connections.
const LISTENER: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;

/// A running server; it ends when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    zero_unix_ns: u64,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    log: Mutex<Vec<Served>>,
}

/// One answer that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// The number in the request's path, or between two `#` in its body.
    pub number: u64,
    /// Which piece of the answer, from 0.
    pub piece: u32,
    /// When it should have been sent, ns on the server's clock.
    pub due_ns: u64,
    /// When it was, on the same clock.
    pub sent_ns: u64,
}

impl Server {
    /// Starts it on a free loopback port, and on these processors, or on any; its law's time counts from now.
    ///
    /// # Errors
    /// When the system gives no socket or no thread.
    pub fn start(law: Law, processors: Option<CpuSet>) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&poll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        // The waiting call itself counts in whole milliseconds.
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        epoll::add(&poll, &timer, epoll::EventData::new_u64(TIMER), epoll::EventFlags::IN)?;
        let shared = Arc::<Shared>::default();
        let zero = Instant::now();
        let zero_unix_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        let state = Loop {
            poll,
            timer,
            listener,
            connections: Vec::new(),
            service: Service::new(law),
            due: BinaryHeap::new(),
            zero,
            shared: Arc::clone(&shared),
        };
        let thread = std::thread::Builder::new().name("built-in-server".to_owned()).spawn(move || {
            processors.iter().for_each(move_to);
            state.run();
        })?;
        Ok(Self { address, zero_unix_ns, shared, thread: Some(thread) })
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A time on the clock of a run that began at `run_zero_unix_ns`, on the server's own clock.
    pub fn time_ns(&self, run_ns: u64, run_zero_unix_ns: u64) -> u64 {
        (run_ns + run_zero_unix_ns).saturating_sub(self.zero_unix_ns)
    }

    /// Every answer that was sent so far.
    pub fn served(&self) -> Vec<Served> {
        self.shared.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A piece of an answer that is to be sent; ordered by when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    due_ns: u64,
    piece: u32,
    pieces: u32,
    connection: usize,
    /// The number of its request.
    request: Option<u64>,
    streamed: bool,
}

struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

struct Loop {
    poll: OwnedFd,
    timer: OwnedFd,
    listener: TcpListener,
    /// By number; a closed one leaves its place empty, and its number is not used again.
    connections: Vec<Option<Connection>>,
    service: Service,
    due: BinaryHeap<Reverse<Due>>,
    zero: Instant,
    shared: Arc<Shared>,
}

impl Loop {
    fn run(mut self) {
        let _ = set_current_timer_slack(NonZeroU64::new(1));
        prefer_this_thread(-20);
        let mut events = Vec::with_capacity(1024);
        let mut looked_ns = 0;
        while !self.shared.stop.load(Ordering::Relaxed) {
            events.clear();
            self.rest(looked_ns);
            self.set_timer();
            // Interrupted or not: the loop looks again.
            let _ = epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), Some(&LONGEST_WAIT));
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept(),
                    // It is set anew before the next wait.
                    TIMER => {}
                    number => self.receive(number as usize),
                }
            }
            looked_ns = self.now_ns();
            self.answer_due();
        }
    }

    /// Sleeps for what is left of a tick when there are many answers under way that are due soon.
    fn rest(&self, looked_ns: u64) {
        let Some(Reverse(Due { due_ns, .. })) = self.due.peek() else { return };
        let (now_ns, next_ns) = (self.now_ns(), looked_ns + TICK_NS);
        let soon = *due_ns < now_ns + SOON_NS;
        if self.due.len() > MANY && soon && next_ns > now_ns {
            std::thread::sleep(Duration::from_nanos(next_ns - now_ns));
        }
    }

    fn now_ns(&self) -> u64 {
        self.zero.elapsed().as_nanos() as u64
    }

    /// Lets the next wait end when the next answer is due.
    fn set_timer(&self) {
        let Some(Reverse(Due { due_ns, .. })) = self.due.peek() else { return };
        // Zero would turn the timer off.
        let wait = Duration::from_nanos(due_ns.saturating_sub(self.now_ns()).max(1));
        let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: wait };
        let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once);
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let _ = stream.set_nodelay(true);
            let number = epoll::EventData::new_u64(self.connections.len() as u64);
            let watched = stream.set_nonblocking(true).is_ok()
                && epoll::add(&self.poll, &stream, number, epoll::EventFlags::IN).is_ok();
            if watched {
                self.connections.push(Some(Connection { stream, received: Vec::new() }));
            }
        }
    }

    /// Takes in what has come, and puts an answer on the list for each whole request.
    fn receive(&mut self, number: usize) {
        let now_ns = self.now_ns();
        let Some(place) = self.connections.get_mut(number) else { return };
        let Some(connection) = place else { return };
        match connection.receive() {
            Some(requests) => {
                for Request { number: request, streamed } in requests {
                    let pieces = self.service.pieces(now_ns);
                    // Whoever asks for no stream, such as a scraper, gets none.
                    let count = if streamed { pieces.count } else { 1 };
                    self.due.extend((0..count).map(|piece| {
                        let due_ns = pieces.due_ns(piece);
                        Reverse(Due { due_ns, piece, pieces: count, connection: number, request, streamed })
                    }));
                }
            }
            None => *place = None,
        }
    }

    fn answer_due(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut log = shared.log.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(Reverse(due)) = self.due.peek().copied() {
            let sent_ns = self.now_ns();
            if due.due_ns > sent_ns {
                return;
            }
            self.due.pop();
            let Due { due_ns, piece, .. } = due;
            log.extend(due.request.map(|number| Served { number, piece, due_ns, sent_ns }));
            if let Some(Some(connection)) = self.connections.get_mut(due.connection) {
                // So few bytes fit into any socket's buffer; if not, the peer is gone.
                if connection.stream.write_all(&due.bytes()).is_err() {
                    self.connections[due.connection] = None;
                }
            }
        }
    }
}

impl Due {
    /// In one piece, so that the stream's head or end makes no packet of its own.
    fn bytes(&self) -> Cow<'static, [u8]> {
        let (first, last) = (self.piece == 0, self.piece + 1 == self.pieces);
        match (self.streamed, first, last) {
            (false, ..) => ANSWER.into(),
            (true, false, false) => TOKEN.into(),
            (true, true, false) => [STREAM_HEAD, TOKEN].concat().into(),
            (true, false, true) => [TOKEN, STREAM_END].concat().into(),
            (true, true, true) => [STREAM_HEAD, TOKEN, STREAM_END].concat().into(),
        }
    }
}

/// A request that has come.
struct Request {
    number: Option<u64>,
    streamed: bool,
}

impl Connection {
    /// The whole requests that have come; `None` when the connection is over.
    fn receive(&mut self) -> Option<Vec<Request>> {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(n) => {
                    self.received.extend_from_slice(&buffer[..n]);
                    // Less than fits is all there was; the poll says so when more comes.
                    if n < buffer.len() {
                        break;
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        let mut requests = Vec::new();
        while let Some(end) = self.received.windows(HEAD_END.len()).position(|window| window == HEAD_END) {
            let (head, rest) = self.received.split_at(end + HEAD_END.len());
            let length = content_length(head);
            let Some(body) = rest.get(..length) else { break };
            let number = number_in(head).or_else(|| number_between_marks(body));
            requests.push(Request { number, streamed: length > 0 });
            self.received.drain(..end + HEAD_END.len() + length);
        }
        (self.received.len() <= LONGEST_REQUEST).then_some(requests)
    }
}

/// Length of the body that a head announces.
fn content_length(head: &[u8]) -> usize {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let value = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// The number in a body such as `{"prompt": "#17#"}`.
fn number_between_marks(body: &[u8]) -> Option<u64> {
    std::str::from_utf8(body.split(|byte| *byte == b'#').nth(1)?).ok()?.parse().ok()
}

/// The number in a request line such as `GET /17 HTTP/1.1`. Others ask too, for metrics.
fn number_in(head: &[u8]) -> Option<u64> {
    let path = head.split(|byte| *byte == b' ').nth(1)?;
    std::str::from_utf8(path.strip_prefix(b"/")?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_time_and_pipelined_requests_are_told_apart() {
        let server = Server::start(Law::Fixed { service_ns: 20_000_000 }, None).unwrap();
        let mut stream = TcpStream::connect(server.address).unwrap();
        let begun = Instant::now();
        stream.write_all(b"GET /17 HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\n").unwrap();
        std::thread::sleep(Duration::from_millis(5));
        stream.write_all(b"\r\n").unwrap();
        let mut answers = vec![0; 2 * ANSWER.len()];
        stream.read_exact(&mut answers).unwrap();
        let took = begun.elapsed();
        assert_eq!(answers, [ANSWER, ANSWER].concat());
        assert!(took >= Duration::from_millis(25) && took < Duration::from_millis(500), "{took:?}");
        let served = server.served();
        assert_eq!(served.iter().map(|answer| answer.number).collect::<Vec<_>>(), [17]);
        assert!(served.iter().all(|answer| answer.sent_ns >= answer.due_ns));
        assert_eq!(TOKEN.len(), "2f\r\n\r\n".len() + 0x2f);
        assert_eq!(STREAM_END.len(), "e\r\n\r\n0\r\n\r\n".len() + 0xe);
        let url = server.url();
        drop(server);
        assert!(TcpStream::connect(url.trim_start_matches("http://")).is_err(), "it is gone");
    }
}
