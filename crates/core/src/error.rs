//! The one error type of this crate, shared by every registry backend.
//!
//! It says *what kind* of failure it was (to decide by), *which operation* failed, *what was tried*, whether trying again
//! can help, and what a person can do next. The cause stays in [`source`](std::error::Error::source) and is never repeated
//! in the message. It is cheap to clone, because a terminal failure must reach every waiter.

use std::{borrow::Cow, error::Error as StdError, fmt, sync::Arc};

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong in a registry, a directory, or the reading of a name, address or setting.
///
/// ```
/// use callsign_core::{Error, ErrorKind};
///
/// let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
/// let error = Error::new(ErrorKind::Unavailable, "list services", "no answer from 127.0.0.1:2379")
///     .with_source(refused)
///     .with_hint("start etcd, or name another registry");
/// assert!(error.is_retryable());
/// assert_eq!(error.to_string(), "cannot list services: no answer from 127.0.0.1:2379");
/// assert_eq!(error.chain(), "cannot list services: no answer from 127.0.0.1:2379: connection refused");
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

/// The kind of a failure: what a program decides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller gave something that can never work: a malformed name, address, weight or setting.
    InvalidInput,
    /// The registry answered, and what was asked for is not there.
    NotFound,
    /// The registry cannot be reached or is not able to answer now.
    Unavailable,
    /// The time given ran out first.
    DeadlineExceeded,
    /// The registry refused because of who is asking, or the file system because of whose files they are.
    PermissionDenied,
    /// Something else holds what was asked for: a live node with the same id, for instance.
    Conflict,
    /// No room: a full disk, a quota, a bound of our own.
    ResourceExhausted,
    /// Data was read that cannot be understood.
    Corrupt,
    /// The handle was closed.
    Closed,
    /// This backend cannot do that at all.
    Unsupported,
    /// A defect of ours.
    Internal,
}

struct Inner {
    kind: ErrorKind,
    op: &'static str,
    message: Cow<'static, str>,
    hint: Option<Cow<'static, str>>,
    retryable: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

// === impl Error ===

impl Error {
    /// A failure of `kind` while doing `op` (a short verb phrase: `"register node"`), with what was tried in `message`.
    ///
    /// Whether it is worth trying again follows from the kind; [`retryable`](Self::retryable) overrides that.
    pub fn new(kind: ErrorKind, op: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        let retryable = matches!(
            kind,
            ErrorKind::Unavailable | ErrorKind::DeadlineExceeded | ErrorKind::ResourceExhausted
        );
        Self(Arc::new(Inner { kind, op, message: message.into(), hint: None, retryable, source: None }))
    }

    /// [`ErrorKind::InvalidInput`] with `message`.
    pub fn invalid(op: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidInput, op, message)
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.change(|inner| inner.source = Some(source.into()))
    }

    /// Adds what a person can do next, as one imperative sentence without a full stop.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.change(|inner| inner.hint = Some(hint.into()))
    }

    /// Says whether the same operation may succeed later without anybody changing the input.
    #[must_use]
    pub fn retryable(self, retryable: bool) -> Self {
        self.change(|inner| inner.retryable = retryable)
    }

    /// The kind of failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What was being done.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.0.op
    }

    /// What a person can do next, if we know.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Whether the same operation may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// Whether the registry answered that there is no such thing.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.0.kind == ErrorKind::NotFound
    }

    /// The message, then each cause, joined by `": "`: for a log line or a terminal.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }

    /// Builder steps run before the error is shared, so the payload is ours alone; a shared one is left as it is.
    fn change(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            change(inner);
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.0.op, self.0.message)
    }
}

/// What a program prints whose `main` returns the error: the message, its causes, and what to do next.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain())?;
        match self.hint() {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_does_not_repeat_the_cause_and_the_chain_has_it_once() {
        let error = Error::new(ErrorKind::Unavailable, "list services", "no answer from 127.0.0.1:2379")
            .with_source("connection refused")
            .with_hint("start etcd");
        assert_eq!(error.to_string(), "cannot list services: no answer from 127.0.0.1:2379");
        assert_eq!(error.chain(), "cannot list services: no answer from 127.0.0.1:2379: connection refused");
        assert_eq!(format!("{error:?}"), format!("{}\n  hint: start etcd", error.chain()));
        assert!(error.is_retryable());
        assert!(!Error::invalid("parse name", "empty").is_retryable());
    }
}
