//! Spans by the names that OpenTelemetry has for calls, made through `tracing`.
//!
//! Nobody pays for them who does not look: without a subscriber that wants the target [`TARGET`] a call loads one number more, and makes
//! nothing.

use std::sync::atomic::{AtomicBool, Ordering};

use http::HeaderMap;
use tracing::Span;

use crate::client::Code;

/// The target of all spans, which are of the level DEBUG.
pub(crate) const TARGET: &str = "callsign::trace";

/// A span of a call that is told once how it went. Dropped untold, the call was cancelled.
#[derive(Debug)]
pub(crate) struct CallSpan {
    span: Span,
    side: Side,
    told: AtomicBool,
}

/// Who is to blame: a client for whatever went wrong, a server for what it did wrong itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// Whether anybody wants spans.
#[inline]
pub(crate) fn is_wanted() -> bool {
    tracing::span_enabled!(target: TARGET, tracing::Level::DEBUG)
}

/// The service and the method that a path names, as far as it does.
pub(crate) fn names(path: &str) -> (Option<&str>, Option<&str>) {
    match path.strip_prefix('/').and_then(|path| path.split_once('/')) {
        Some((service, method)) => (Some(service), Some(method)),
        None => (None, None),
    }
}

// === impl CallSpan ===

impl CallSpan {
    /// None for a span that nobody wants after all.
    pub(crate) fn new(span: Span, side: Side) -> Option<Box<Self>> {
        let told = AtomicBool::new(false);
        (!span.is_disabled()).then(|| Box::new(Self { span, side, told }))
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// What the head or the trailers of a response say, if they do.
    pub(crate) fn hear(&self, headers: &HeaderMap) {
        if let Some(code) = Code::of(headers) {
            self.end(code);
        }
    }

    /// It has ended with this status.
    pub(crate) fn end(&self, code: Code) {
        if self.told.swap(true, Ordering::Relaxed) {
            return;
        }
        // OpenTelemetry has no unsigned numbers.
        self.span.record("rpc.grpc.status_code", code as i64);
        if self.side.blames(code) {
            self.blame(&code.to_string());
        }
    }

    /// It has ended, and nobody has said how: gRPC owes a status, anything else does not.
    pub(crate) fn end_silently(&self, grpc: bool) {
        if grpc {
            self.end(Code::Unknown);
        } else {
            self.end_without_status(None);
        }
    }

    /// It has ended without a status: with an error, or well.
    pub(crate) fn end_without_status(&self, error: Option<&str>) {
        if !self.told.swap(true, Ordering::Relaxed)
            && let Some(error) = error
        {
            self.blame(error);
        }
    }

    fn blame(&self, error: &str) {
        self.span.record("error.type", error);
        self.span.record("otel.status_code", "ERROR");
    }
}

impl Drop for CallSpan {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

// === impl Side ===

impl Side {
    fn blames(self, code: Code) -> bool {
        match self {
            Self::Client => code != Code::Ok,
            Self::Server => matches!(
                code,
                Code::Unknown
                    | Code::DeadlineExceeded
                    | Code::Unimplemented
                    | Code::Internal
                    | Code::Unavailable
                    | Code::DataLoss
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_service_and_a_method() {
        assert_eq!(names("/greeter.Greeter/Hello"), (Some("greeter.Greeter"), Some("Hello")));
        for path in ["", "/", "/x", "x/y"] {
            assert_eq!(names(path), (None, None), "{path:?}");
        }
    }

    #[test]
    fn a_server_is_not_to_blame_for_what_its_caller_did() {
        assert!(Side::Client.blames(Code::NotFound) && !Side::Server.blames(Code::NotFound));
        assert!(Side::Server.blames(Code::Internal) && !Side::Server.blames(Code::Cancelled));
        assert!(!Side::Client.blames(Code::Ok));
    }
}
