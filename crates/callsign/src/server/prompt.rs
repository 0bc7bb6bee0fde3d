//! A connection that must say within a time which protocol it speaks.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use callsign_net::ErrorKind;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use super::strays::Strays;

/// What every HTTP/2 connection begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What TLS begins with, and no request does.
const TLS_HANDSHAKE: u8 = 0x16;

/// Bytes, and a clock until they have said what they are.
pub(crate) struct Prompt<S> {
    stream: S,
    /// How much of the preface has come; `None` once it is whole or something else came.
    waiting: Option<(usize, Pin<Box<Sleep>>)>,
    strays: Strays,
}

// === impl Prompt ===

impl<S> Prompt<S> {
    pub(crate) fn new(stream: S, timeout: Duration, strays: Strays) -> Self {
        Self { stream, waiting: Some((0, Box::pin(tokio::time::sleep(timeout)))), strays }
    }

    /// Looks at what came, and stops the clock when the protocol is known.
    fn saw(&mut self, bytes: &[u8]) {
        let Some((seen, _)) = &mut self.waiting else { return };
        if *seen == 0 && bytes.first() == Some(&TLS_HANDSHAKE) {
            self.strays.tell(ErrorKind::NotHttp2, "it speaks TLS, and this port speaks plaintext");
        }
        let expected = &PREFACE[*seen..];
        let common = expected.iter().zip(bytes).take_while(|(a, b)| a == b).count();
        *seen += common;
        if common < bytes.len() || *seen == PREFACE.len() {
            self.waiting = None;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prompt<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, buffer) {
            self.saw(&buffer.filled()[before..]);
            return Poll::Ready(read);
        }
        let Some((_, timer)) = &mut self.waiting else { return Poll::Pending };
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client did not say which protocol it speaks",
        )))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prompt<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
