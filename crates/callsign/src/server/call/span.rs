//! The span of a call that a server handles.

use std::net::SocketAddr;

use http::request::Parts;
use tracing::{debug_span, field::Empty};

use crate::{
    PreviousAttempts,
    trace::{
        TraceContext,
        span::{CallSpan, Side, TARGET, is_wanted, names},
    },
};

/// A span for the call, if anybody wants it.
#[inline]
pub(super) fn of_call(parts: &Parts, grpc: bool, peer: SocketAddr) -> Option<Box<CallSpan>> {
    if is_wanted() { begun(parts, grpc, peer) } else { None }
}

#[cold]
fn begun(parts: &Parts, grpc: bool, peer: SocketAddr) -> Option<Box<CallSpan>> {
    let path = parts.uri.path();
    let (service, method) = names(path);
    let span = debug_span!(
        target: TARGET,
        // Its parent is with its caller.
        parent: None,
        "handle",
        otel.name = path.trim_start_matches('/'),
        otel.kind = "server",
        otel.status_code = Empty,
        rpc.system = grpc.then_some("grpc"),
        rpc.service = service,
        rpc.method = method,
        rpc.grpc.status_code = Empty,
        "error.type" = Empty,
        client.address = %peer.ip(),
        client.port = i64::from(peer.port()),
        callsign.previous_attempts = PreviousAttempts::of(&parts.headers).map(|attempts| i64::from(attempts.count())),
    );
    CallSpan::new(span, Side::Server)
}

/// Puts the span into its caller's trace, and gives the context that calls belong to which are made for the call.
#[cold]
pub(super) fn place(seen: &CallSpan, caller: Option<TraceContext>) -> Option<TraceContext> {
    if let Some(caller) = &caller {
        caller.adopt(seen.span());
    }
    TraceContext::of_span(seen.span(), caller.as_ref()).or(caller)
}
