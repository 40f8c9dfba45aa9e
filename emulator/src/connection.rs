//! One connection of a client, plain or TLS, that can be cut: closed without a word, as if the network had gone.
//!
//! ```text
//! Plain                                    Shaking ── handshake ──▶ Secure
//!                                             └── failed: each read and write fails, so the server closes it
//! ```
//! The handshake happens at the first read or write, so a client that is slow with it keeps no other one waiting.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

/// Shared by a connection and its requests: whether it is to close without a word.
#[derive(Clone, Default)]
pub(crate) struct Cut(Arc<AtomicBool>);

impl Cut {
    pub(crate) fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) { Err(ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

/// A connection. Once cut, every write fails, so the server closes it before a byte of the answer is sent; of TLS not even
/// its farewell.
pub(crate) struct Connection {
    stream: Stream,
    pub(crate) cut: Cut,
}

enum Stream {
    Plain(TcpStream),
    Shaking(Box<Accept<TcpStream>>),
    Secure(Box<TlsStream<TcpStream>>),
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, tls: Option<&TlsAcceptor>) -> Self {
        // Small answers are not held back to be sent with the next one.
        let _ = stream.set_nodelay(true);
        let stream = match tls {
            None => Stream::Plain(stream),
            Some(tls) => Stream::Shaking(Box::new(tls.accept(stream))),
        };
        Self { stream, cut: Cut::default() }
    }

    /// The bytes' way, once it is there.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<Result<Pin<&mut dyn Both>>> {
        if let Stream::Shaking(handshake) = &mut self.stream {
            let secure = ready!(Pin::new(handshake.as_mut()).poll(context))?;
            self.stream = Stream::Secure(Box::new(secure));
        }
        Poll::Ready(match &mut self.stream {
            Stream::Plain(stream) => Ok(Pin::new(stream)),
            Stream::Secure(stream) => Ok(Pin::new(stream.as_mut())),
            Stream::Shaking(_) => Err(Error::other("the TLS handshake has not ended")),
        })
    }
}

/// What both kinds of streams can do.
trait Both: AsyncRead + AsyncWrite + Unpin {}
impl Both for TcpStream {}
impl Both for TlsStream<TcpStream> {}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        ready!(self.poll_open(context))?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        self.cut.check()?;
        ready!(self.poll_open(context))?.poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.cut.check()?;
        ready!(self.poll_open(context))?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.cut.check()?;
        ready!(self.poll_open(context))?.poll_shutdown(context)
    }
}
