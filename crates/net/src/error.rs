//! What can go wrong with a connection or a stream, and whether the request may have been processed.

use std::{borrow::Cow, error::Error as StdError, fmt, sync::Arc};

/// A failure of a connection or of one stream on it. Cheap to clone: one failure ends many streams.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The host's name has no address.
    Resolve,
    /// No TCP connection: refused, unreachable.
    Connect,
    /// The peer took the connection, and closed it before it answered: it wants TLS, or is ending.
    HungUp,
    /// Nothing usable within the time to connect.
    ConnectTimeout,
    /// The peer answered, but not in HTTP/2.
    NotHttp2,
    /// The peer was spoken to in TLS, and does not speak it.
    NotTls,
    /// The peer's certificate was not accepted here: wrong name, expired, unknown issuer.
    Untrusted,
    /// The peer refused the TLS connection: it wants a client certificate, or another one.
    TlsRefused,
    /// Settings that cannot be used, whatever the peer does.
    Settings,
    /// The peer asked us to go away (GOAWAY).
    GoAway,
    /// The peer reset the stream.
    Reset,
    /// The peer did not answer a ping.
    KeepAlive,
    /// The connection ended or broke.
    Closed,
    /// The request cannot be expressed in HTTP/2.
    Request,
    /// The caller's body failed.
    Body,
    /// The peer broke the protocol.
    Protocol,
}

/// Whether a request whose stream failed may have been seen by the application behind the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// No byte of it left this machine.
    Unsent,
    /// It left, and the peer says that it did not process it (REFUSED_STREAM, or above the last id of a GOAWAY).
    Refused,
    /// It may have been processed.
    Unknown,
}

struct Inner {
    kind: ErrorKind,
    disposition: Disposition,
    message: Cow<'static, str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

// === impl Error ===

impl Error {
    pub(crate) fn new(
        kind: ErrorKind,
        disposition: Disposition,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self(Arc::new(Inner { kind, disposition, message: message.into(), source: None }))
    }

    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.source = Some(source.into());
        }
        self
    }

    /// The same failure, seen by a request of which more is known.
    pub(crate) fn disposed(&self, disposition: Disposition) -> Self {
        Self::new(self.kind(), disposition, self.0.message.clone()).with_source(self.clone())
    }

    /// Reads what `h2` says of a stream.
    pub(crate) fn of_stream(error: h2::Error) -> Self {
        let reason = error.reason();
        let (kind, disposition, message) = if error.is_reset() && error.is_remote() {
            match reason {
                Some(h2::Reason::REFUSED_STREAM) => {
                    (ErrorKind::Reset, Disposition::Refused, "the peer refused the stream".into())
                }
                _ => (ErrorKind::Reset, Disposition::Unknown, told("the peer reset the stream", reason)),
            }
        } else if error.is_go_away() && error.is_remote() {
            // A GOAWAY ends the streams above its last id. Those below it go on, and if the connection ends before they do,
            // they are told that it broke.
            (ErrorKind::GoAway, Disposition::Refused, told("the peer is going away", reason))
        } else if error.is_io() {
            (ErrorKind::Closed, Disposition::Unknown, "the connection broke".into())
        } else if error.is_library() {
            (ErrorKind::Protocol, Disposition::Unknown, told("the peer broke the protocol", reason))
        } else {
            (ErrorKind::Closed, Disposition::Unknown, "the connection ended".into())
        };
        Self::new(kind, disposition, message).with_source(error)
    }

    /// Reads what `h2` says of a connection that ended, which tells nothing of any one stream on it.
    pub(crate) fn of_connection(error: h2::Error) -> Self {
        let mut error = Self::of_stream(error);
        if let Some(inner) = Arc::get_mut(&mut error.0) {
            inner.disposition = Disposition::Unknown;
        }
        error
    }

    /// What failed.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the request may have been processed.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        self.0.disposition
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, disposition, message, source } = &*self.0;
        f.debug_struct("Error")
            .field("kind", kind)
            .field("disposition", disposition)
            .field("message", message)
            .field("source", source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

fn told(what: &'static str, reason: Option<h2::Reason>) -> Cow<'static, str> {
    match reason {
        Some(reason) if reason != h2::Reason::NO_ERROR => format!("{what} ({reason:?})").into(),
        _ => what.into(),
    }
}
