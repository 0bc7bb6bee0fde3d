//! A socket that remembers what passed through it.
//!
//! Four questions are answered by that: has the peer shown any sign of life since a moment (keep-alive), did any byte leave
//! since a moment (was a request sent at all), what did the peer say first (does it speak HTTP/2), and what broke the socket
//! (`h2` hands on the text of an error, and not the error).

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Length of an HTTP/2 frame header.
const HEAD_BYTES: usize = 9;
/// The frame type of SETTINGS.
const FRAME_SETTINGS: u8 = 4;

/// What passed through a socket.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    head: OnceLock<Vec<u8>>,
    fault: OnceLock<io::Error>,
}

/// The language of a peer's first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Http2,
    Http1,
    Tls,
    Other,
}

/// A socket whose [`Activity`] is recorded.
#[derive(Debug)]
pub(crate) struct Recorded<T> {
    io: T,
    /// The first bytes until there are enough of them.
    head: Vec<u8>,
    activity: Arc<Activity>,
}

// === impl Activity ===

impl Activity {
    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes_written(&self) -> u64 {
        self.bytes_written.load(Ordering::Relaxed)
    }

    /// What the peer speaks, once it has said enough.
    pub(crate) fn language(&self) -> Option<Language> {
        self.head.get().map(|head| Language::of(head))
    }

    /// What broke the socket.
    #[cfg(feature = "tls")]
    pub(crate) fn fault(&self) -> Option<&io::Error> {
        self.fault.get()
    }

    /// Keeps what broke the socket, and gives the same for others to see.
    fn keep(&self, fault: io::Error) -> io::Error {
        let copy = io::Error::new(fault.kind(), fault.to_string());
        let _ = self.fault.set(fault);
        copy
    }

    /// Whether the peer's first frame is in, and is SETTINGS.
    pub(crate) fn is_settled(&self) -> bool {
        self.head.get().is_some_and(|head| match head[..] {
            [a, b, c, FRAME_SETTINGS, ..] => {
                self.bytes_read() >= HEAD_BYTES as u64 + u64::from(u32::from_be_bytes([0, a, b, c]))
            }
            _ => false,
        })
    }
}

// === impl Language ===

impl Language {
    fn of(head: &[u8]) -> Self {
        match head {
            [_, _, _, FRAME_SETTINGS, ..] => Self::Http2,
            [b'H', b'T', b'T', b'P', b'/', ..] => Self::Http1,
            // An alert (21) or handshake (22) record of any TLS version.
            [21 | 22, 3, ..] => Self::Tls,
            _ => Self::Other,
        }
    }
}

// === impl Recorded ===

impl<T> Recorded<T> {
    pub(crate) fn new(io: T) -> (Self, Arc<Activity>) {
        let activity = Arc::new(Activity::default());
        (Self { io, head: Vec::with_capacity(HEAD_BYTES), activity: activity.clone() }, activity)
    }

    /// Keeps the first bytes. A peer that says less than a frame header and stops is judged by what it said.
    fn listen(&mut self, bytes: &[u8]) {
        if self.activity.head.get().is_some() {
            return;
        }
        let missing = HEAD_BYTES - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(missing)]);
        let ended = bytes.is_empty() && !self.head.is_empty();
        // An alert is shorter than a frame header, and may be taken for one before its end is read.
        if self.head.len() == HEAD_BYTES || ended || Language::of(&self.head) == Language::Tls {
            let _ = self.activity.head.set(std::mem::take(&mut self.head));
        }
    }
}

impl<T: AsyncRead + Unpin> Recorded<T> {
    fn wrote(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                self.activity.bytes_written.fetch_add(bytes as u64, Ordering::Relaxed);
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(fault)) => self.last_words(cx, fault).map(Err),
            Poll::Pending => Poll::Pending,
        }
    }

    /// A peer that refuses us says why and hangs up, and what is noticed first may be that it takes no more bytes: so what it
    /// said lies unread when a write fails. It is read here, and if that tells more of the failure, it is the failure.
    ///
    /// Pending while the runtime has not noticed yet that the socket has ended for reading, too: the write is then tried again.
    fn last_words(&mut self, cx: &mut Context<'_>, fault: io::Error) -> Poll<io::Error> {
        let hung_up = matches!(
            fault.kind(),
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted
        );
        let mut unread = [0; 1024];
        let mut buf = ReadBuf::new(&mut unread);
        // Once it has spoken HTTP/2, its last words are in that.
        while hung_up && self.activity.head.get().is_none() {
            buf.clear();
            if ready!(Pin::new(&mut *self).poll_read(cx, &mut buf)).is_err() || buf.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(self.activity.keep(fault))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Recorded<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if let Err(fault) = ready!(Pin::new(&mut self.io).poll_read(cx, buf)) {
            self.listen(&[]);
            return Poll::Ready(Err(self.activity.keep(fault)));
        }
        let bytes = &buf.filled()[before..];
        self.activity.bytes_read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.listen(bytes);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Recorded<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.wrote(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.wrote(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.io).poll_flush(cx)) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(fault) => self.last_words(cx, fault).map(Err),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_the_language() {
        for (head, language) in [
            (&b"\0\0\x12\x04\0\0\0\0\0"[..], Language::Http2),
            (b"HTTP/1.1 ", Language::Http1),
            (b"\x15\x03\x01\0\x02\x02\x46", Language::Tls),
            (b"SSH-2.0-O", Language::Other),
            (b"x", Language::Other),
        ] {
            assert_eq!(Language::of(head), language, "{head:?}");
        }
    }
}
