//! What can go wrong between us and etcd, and the one place where that becomes an error of the workspace.

use std::{fmt, time::Duration};

use callsign_core::error::{Error, ErrorKind};
use callsign_net::{Disposition, ErrorKind as Net};

use super::grpc::{Status, code};

/// A failure of a call or a stream. Cheap enough to clone: one broken stream ends many watches.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// No endpoint could be connected to; what each of them said.
    Away(Vec<(String, callsign_net::Error)>),
    /// The connection or the stream broke.
    Broken { endpoint: String, cause: callsign_net::Error },
    /// The stream ended without an error, which this one should not.
    Ended { endpoint: String },
    /// No answer in time.
    Late { endpoints: String, limit: Duration },
    /// etcd answered with an error.
    Refused { endpoint: String, status: Status },
    /// Something answered that is not etcd.
    NotEtcd(String),
    /// A message longer than we take.
    TooBig { bytes: usize, bytes_max: usize },
    /// The handle was closed.
    Closed,
}

// === impl Fault ===

impl Fault {
    pub(super) fn refused(endpoint: &str, status: Status) -> Self {
        Self::Refused { endpoint: endpoint.to_owned(), status }
    }

    fn status(&self) -> Option<&Status> {
        if let Self::Refused { status, .. } = self { Some(status) } else { None }
    }

    fn is(&self, wanted: u16, words: &str) -> bool {
        self.status().is_some_and(|status| status.code == wanted && status.message.contains(words))
    }

    /// Whether the request was certainly not acted upon, so that it may be made again whatever it does.
    pub(super) fn is_unprocessed(&self) -> bool {
        match self {
            Self::Broken { cause, .. } => cause.disposition() != Disposition::Unknown,
            _ => false,
        }
    }

    /// Whether another endpoint, or the same one a little later, may well answer.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Broken { .. } | Self::Ended { .. } | Self::Late { .. } => true,
            Self::Refused { status, .. } => status.code == code::UNAVAILABLE,
            Self::Away(_) | Self::NotEtcd(_) | Self::TooBig { .. } | Self::Closed => false,
        }
    }

    /// Whether the token is no longer good: expired, forgotten by a restart, or older than a change of users.
    pub(super) fn wants_token(&self) -> bool {
        self.is(code::UNAUTHENTICATED, "")
            || self.is(code::INVALID_ARGUMENT, "revision of auth store is old")
            || self.is(code::INVALID_ARGUMENT, "user name is empty")
    }

    /// Whether users and passwords are not in use there.
    pub(super) fn is_auth_off(&self) -> bool {
        self.is(code::FAILED_PRECONDITION, "authentication is not enabled")
    }

    /// Whether the revision asked for is not there: no longer, or not yet.
    pub(crate) fn is_other_revision(&self) -> bool {
        self.is(code::OUT_OF_RANGE, "")
    }

    pub(crate) fn is_too_big(&self) -> bool {
        matches!(self, Self::TooBig { .. })
    }

    pub(crate) fn is_no_lease(&self) -> bool {
        self.is(code::NOT_FOUND, "lease not found")
    }

    pub(crate) fn is_lease_taken(&self) -> bool {
        self.is(code::FAILED_PRECONDITION, "lease already exists")
    }

    /// The error for whoever asked for `op`.
    pub(crate) fn into_error(self, op: &'static str) -> Error {
        match self {
            Self::Away(tried) => away(op, tried),
            Self::Broken { endpoint, cause } => {
                Error::new(ErrorKind::Unavailable, op, format!("the connection to etcd at {endpoint} broke"))
                    .with_source(cause)
            }
            Self::Ended { endpoint } => Error::new(
                ErrorKind::Unavailable,
                op,
                format!("etcd at {endpoint} ended the stream: it may be shutting down"),
            ),
            Self::Late { endpoints, limit } => Error::new(
                ErrorKind::DeadlineExceeded,
                op,
                format!("no answer from etcd at {endpoints} within {limit:?}"),
            )
            .with_hint("see whether etcd is overloaded, or has lost its majority: `etcdctl endpoint status`"),
            Self::Refused { endpoint, status } => refused(op, &endpoint, &status),
            Self::NotEtcd(what) => {
                Error::new(ErrorKind::Unavailable, op, format!("that is not etcd: {what}"))
                    .with_hint("look at the address: etcd's clients connect to its client port, usually 2379")
            }
            Self::TooBig { bytes, bytes_max } => Error::new(
                ErrorKind::ResourceExhausted,
                op,
                format!("etcd sent a message of {bytes} bytes, and {bytes_max} is the most that is read"),
            ),
            Self::Closed => Error::new(ErrorKind::Closed, op, "this etcd registry was closed"),
        }
    }
}

fn away(op: &'static str, tried: Vec<(String, callsign_net::Error)>) -> Error {
    let endpoints: Vec<_> = tried.iter().map(|(endpoint, _)| endpoint.as_str()).collect();
    let mut message = format!("no answer from etcd at {}", endpoints.join(", "));
    // With several endpoints each has a reason of its own; the last is told as the source.
    for (endpoint, cause) in tried.iter().rev().skip(1).rev() {
        message.push_str(&format!("; {endpoint}: {cause}"));
    }
    let Some((_, cause)) = tried.into_iter().next_back() else {
        return Error::new(ErrorKind::Unavailable, op, message);
    };
    let (kind, hint) = match cause.kind() {
        Net::NotTls => (
            ErrorKind::Unavailable,
            Some("write http:// before the address, or nothing, if it is to be plaintext"),
        ),
        Net::NotHttp2 | Net::HungUp => {
            (ErrorKind::Unavailable, Some("write https:// before the address if etcd speaks TLS there"))
        }
        // The cause says what to do.
        Net::TlsRefused => (ErrorKind::PermissionDenied, None),
        Net::Untrusted => (ErrorKind::Unavailable, None),
        _ => {
            (ErrorKind::Unavailable, Some("start etcd, or name its endpoints with CALLSIGN_REGISTRY_ADDRESS"))
        }
    };
    let error = Error::new(kind, op, message).with_source(cause);
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// A watch that etcd ended; it gives its reason in words only.
pub(super) fn watch_cancelled(endpoint: &str, reason: &str) -> Fault {
    let code = if reason.contains("permission denied") {
        code::PERMISSION_DENIED
    } else if reason.contains("auth token") {
        code::UNAUTHENTICATED
    } else {
        code::UNAVAILABLE
    };
    let message = if reason.is_empty() { "the watch was cancelled" } else { reason };
    Fault::refused(endpoint, Status { code, message: message.to_owned() })
}

/// A watch that was to begin where nothing is left.
pub(super) fn compacted(endpoint: &str) -> Fault {
    let message = "the watch was to begin at a revision that has been compacted".to_owned();
    Fault::refused(endpoint, Status { code: code::OUT_OF_RANGE, message })
}

/// An entry that etcd does not take for its length.
const TOO_LONG: (ErrorKind, Option<&str>) = (
    ErrorKind::InvalidInput,
    Some("shorten the node's metadata or endpoints, or raise etcd's --max-request-bytes"),
);

/// The table from etcd's answers to our kinds.
fn refused(op: &'static str, endpoint: &str, status: &Status) -> Error {
    let Status { code, message } = status;
    let has = |words: &str| message.contains(words);
    let (kind, hint) = match *code {
        code::INVALID_ARGUMENT if has("user name is empty") => (
            ErrorKind::PermissionDenied,
            Some(
                "this etcd wants a user: set ETCD_USERNAME and ETCD_PASSWORD, or put them in the configuration",
            ),
        ),
        code::INVALID_ARGUMENT if has("authentication failed") => (
            ErrorKind::PermissionDenied,
            Some(
                "check the user and the password: ETCD_USERNAME and ETCD_PASSWORD, or those in the configuration",
            ),
        ),
        code::INVALID_ARGUMENT if has("too large") => TOO_LONG,
        // Said by etcd's gRPC, which looks at it first.
        code::RESOURCE_EXHAUSTED if has("larger than max") => TOO_LONG,
        code::PERMISSION_DENIED => (
            ErrorKind::PermissionDenied,
            Some(
                "grant the user's role access: `etcdctl role grant-permission ROLE readwrite --prefix=true /micro/registry/`",
            ),
        ),
        code::UNAUTHENTICATED => (ErrorKind::PermissionDenied, None),
        code::NOT_FOUND => (ErrorKind::NotFound, None),
        code::RESOURCE_EXHAUSTED if has("space exceeded") => (
            ErrorKind::ResourceExhausted,
            Some("make room in etcd: compact, `etcdctl defrag`, then `etcdctl alarm disarm`"),
        ),
        code::RESOURCE_EXHAUSTED => (ErrorKind::ResourceExhausted, None),
        code::DEADLINE_EXCEEDED => (ErrorKind::DeadlineExceeded, None),
        code::UNIMPLEMENTED => (ErrorKind::Unsupported, Some("use etcd 3.3 or later")),
        code::UNAVAILABLE | code::UNKNOWN | code::CANCELLED | code::OUT_OF_RANGE => {
            (ErrorKind::Unavailable, None)
        }
        _ => (ErrorKind::Internal, None),
    };
    let error = Error::new(kind, op, format!("etcd at {endpoint} said: {status}"));
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.message {
            "" => write!(f, "status {}", self.code),
            message => f.write_str(message.strip_prefix("etcdserver: ").unwrap_or(message)),
        }
    }
}

/// For logs: the failure in one line.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.clone().into_error("talk to etcd").chain())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_etcd_says_is_sorted_by_what_can_be_done_about_it() {
        for (code, message, kind, retryable) in [
            (
                3,
                "etcdserver: authentication failed, invalid user ID or password",
                ErrorKind::PermissionDenied,
                false,
            ),
            (3, "etcdserver: user name is empty", ErrorKind::PermissionDenied, false),
            (3, "etcdserver: request is too large", ErrorKind::InvalidInput, false),
            (
                8,
                "grpc: received message larger than max (2097264 vs. 2097152)",
                ErrorKind::InvalidInput,
                false,
            ),
            (3, "etcdserver: key is not provided", ErrorKind::Internal, false),
            (4, "context deadline exceeded", ErrorKind::DeadlineExceeded, true),
            (5, "etcdserver: requested lease not found", ErrorKind::NotFound, false),
            (7, "etcdserver: permission denied", ErrorKind::PermissionDenied, false),
            (8, "etcdserver: mvcc: database space exceeded", ErrorKind::ResourceExhausted, true),
            (8, "etcdserver: too many requests", ErrorKind::ResourceExhausted, true),
            (11, "etcdserver: mvcc: required revision has been compacted", ErrorKind::Unavailable, true),
            (12, "unknown service etcdserverpb.KV", ErrorKind::Unsupported, false),
            (14, "etcdserver: no leader", ErrorKind::Unavailable, true),
            (16, "etcdserver: invalid auth token", ErrorKind::PermissionDenied, false),
            (99, "", ErrorKind::Internal, false),
        ] {
            let status = Status { code, message: message.into() };
            let error = Fault::refused("10.0.0.1:2379", status).into_error("list services");
            assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{code} {message}");
            assert!(error.to_string().contains("10.0.0.1:2379"), "{error}");
        }
    }

    #[test]
    fn only_what_a_new_token_can_mend_asks_for_one() {
        let wants =
            |code, message: &str| Fault::refused("a", Status { code, message: message.into() }).wants_token();
        assert!(wants(16, "etcdserver: invalid auth token"));
        assert!(wants(3, "etcdserver: revision of auth store is old"));
        assert!(!wants(3, "etcdserver: authentication failed, invalid user ID or password"));
        assert!(!wants(7, "etcdserver: permission denied"));
    }
}
