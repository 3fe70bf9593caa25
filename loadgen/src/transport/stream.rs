//! The bytes under a connection: TCP, TLS over TCP, or a Unix socket. An enum and no trait object, because every
//! byte of the load goes through it.

use std::io::{self, IoSlice};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use proofload_run::events::Shortage;
use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use super::{Address, Endpoint, Failure};

/// See the module.
pub(super) enum Stream {
    Tcp(TcpStream),
    // In a box for its size: it is a kilobyte, and the others a few words.
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl Stream {
    /// Opens a connection that sends at once what it is given, its TLS handshake done.
    pub(super) async fn open(to: &Address) -> Result<Self, Failure> {
        let socket = match &to.endpoint {
            Endpoint::Unix(path) => return open_unix(path).await,
            Endpoint::Tcp(socket) => *socket,
        };
        let failed = |e: io::Error| failure(&e, &socket);
        let tcp = TcpStream::connect(socket).await.map_err(failed)?;
        tcp.set_nodelay(true).map_err(failed)?;
        match &to.tls {
            None => Ok(Self::Tcp(tcp)),
            Some(tls) => match tls.handshake(tcp).await {
                Ok(stream) => Ok(Self::Tls(Box::new(stream))),
                Err(why) => Err(Failure::Connect(format!("{}: {why}", to.authority))),
            },
        }
    }
}

async fn open_unix(path: &Path) -> Result<Stream, Failure> {
    UnixStream::connect(path).await.map(Stream::Unix).map_err(|e| failure(&e, &path.display()))
}

fn failure(error: &io::Error, to: &dyn std::fmt::Display) -> Failure {
    let message = format!("{to}: {error}");
    match shortage(error) {
        Some(of) => Failure::Local { of, said: message },
        None => Failure::Connect(message),
    }
}

/// What this machine has run out of, of which the target knows nothing.
fn shortage(error: &io::Error) -> Option<Shortage> {
    match Errno::from_io_error(error)? {
        Errno::MFILE | Errno::NFILE => Some(Shortage::OpenFiles),
        Errno::ADDRNOTAVAIL => Some(Shortage::LocalPorts),
        Errno::NOBUFS | Errno::NOMEM => Some(Shortage::Memory),
        _ => None,
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::{HttpVersion, TlsOptions};

    #[test]
    fn what_this_machine_lacks_is_not_the_targets_fault() {
        let check = |errno: Errno, expected: Option<Shortage>| {
            let error = io::Error::from_raw_os_error(errno.raw_os_error());
            assert_eq!(shortage(&error), expected, "{error}");
        };
        check(Errno::MFILE, Some(Shortage::OpenFiles));
        check(Errno::NFILE, Some(Shortage::OpenFiles));
        check(Errno::ADDRNOTAVAIL, Some(Shortage::LocalPorts));
        check(Errno::NOBUFS, Some(Shortage::Memory));
        check(Errno::NOMEM, Some(Shortage::Memory));
        check(Errno::CONNREFUSED, None);
        check(Errno::TIMEDOUT, None);
        check(Errno::HOSTUNREACH, None);
        assert_eq!(shortage(&io::Error::other("no number")), None);
    }

    #[tokio::test]
    async fn a_refused_connection_is_the_targets() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        for url in [format!("http://{free}"), format!("unix:{}/none.sock", folder.path().display())] {
            let to = Address::resolve(&url, HttpVersion::Http1, &TlsOptions::default()).unwrap();
            assert!(matches!(Stream::open(&to).await, Err(Failure::Connect(_))), "{url}");
        }
    }
}
