//! One HTTP/1.1 connection, driven by the task that uses it: no second task, so no second wake-up per request.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};

use http::Request;
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use tokio::net::TcpStream;

use super::link::{Unsent, receive};
use super::{Answer, Failure, Keep, Segments, Times};
use crate::clock::RunClock;

/// See the module.
pub(super) struct Http1 {
    sender: SendRequest<Segments>,
    connection: Option<Pin<Box<Connection<TokioIo<TcpStream>, Segments>>>>,
}

impl Http1 {
    pub(super) async fn connect(to: SocketAddr) -> Result<Self, Failure> {
        let stream = open(to).await?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|e| Failure::Connect(e.to_string()))?;
        Ok(Self { sender, connection: Some(Box::pin(connection)) })
    }

    /// Ends when the server has closed the idle connection.
    pub(super) async fn closed(&mut self) {
        if let Some(connection) = &mut self.connection {
            let _ = connection.await;
        }
        self.connection = None;
    }

    pub(super) async fn exchange(
        &mut self,
        request: Request<Segments>,
        clock: &RunClock,
        times: &mut Times,
        keep: Keep,
    ) -> Result<Answer, Unsent> {
        if drive(&mut self.connection, self.sender.ready()).await.is_err() {
            return Err(Unsent::Closed(Box::new(request)));
        }
        times.sent_ns = clock.now_ns();
        let response = self.sender.try_send_request(request);
        let response = match drive(&mut self.connection, response).await {
            Ok(response) => response,
            Err(mut e) => {
                return Err(match e.take_message() {
                    Some(request) => Unsent::Closed(Box::new(request)),
                    None => Unsent::Failed(Failure::Transport(describe(e.error()))),
                });
            }
        };
        times.first_byte_ns = clock.now_ns();
        Ok(drive(&mut self.connection, receive(response, keep)).await?)
    }

    /// Whether another request may go over it.
    pub(super) fn is_usable(&self) -> bool {
        self.connection.is_some() && !self.sender.is_closed()
    }
}

/// Runs `future` and the connection it depends on.
async fn drive<F: Future>(
    connection: &mut Option<Pin<Box<Connection<TokioIo<TcpStream>, Segments>>>>,
    future: F,
) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if let Some(running) = connection
            && running.as_mut().poll(cx).is_ready()
        {
            *connection = None;
        }
        future.as_mut().poll(cx)
    })
    .await
}

/// Opens a TCP connection that sends at once what it is given.
pub(super) async fn open(to: SocketAddr) -> Result<TcpStream, Failure> {
    let failed = |e: io::Error| {
        let message = format!("{to}: {e}");
        if is_local(&e) { Failure::Local(message) } else { Failure::Connect(message) }
    };
    let stream = TcpStream::connect(to).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    Ok(stream)
}

/// Whether this machine has run out of files, ports or memory, of which the target knows nothing.
fn is_local(error: &io::Error) -> bool {
    let exhausted = [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| exhausted.contains(&errno))
}

/// An error of hyper with its cause.
pub(super) fn describe(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_machine_lacks_is_not_the_targets_fault() {
        let check = |errno: Errno, expected: bool| {
            let error = io::Error::from_raw_os_error(errno.raw_os_error());
            assert_eq!(is_local(&error), expected, "{error}");
        };
        check(Errno::MFILE, true);
        check(Errno::NFILE, true);
        check(Errno::ADDRNOTAVAIL, true);
        check(Errno::NOBUFS, true);
        check(Errno::NOMEM, true);
        check(Errno::CONNREFUSED, false);
        check(Errno::TIMEDOUT, false);
        check(Errno::HOSTUNREACH, false);
        assert!(!is_local(&io::Error::other("no number")));
    }

    #[tokio::test]
    async fn a_refused_connection_is_the_targets() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(matches!(open(free).await, Err(Failure::Connect(_))));
    }
}
