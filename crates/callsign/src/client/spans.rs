//! The spans of a call and of its attempts, and the context of the trace that each attempt sends on.
//!
//! A call that nobody wants to see runs without any of this; one that is seen runs in a future of its own, so that the others stay small.

use std::borrow::Cow;

use bytes::Bytes;
use callsign_core::{Error, select::Outcome};
use http::{HeaderMap, Request, Response};
use http_body::Body;
use tracing::{Instrument as _, Span, debug_span, field::Empty};

use super::{
    call::{call, is_grpc},
    channel::Channel,
    link::Link,
    options::CallOptions,
    plan::Plan,
    response::ResponseBody,
};
use crate::{
    BoxError,
    trace::{
        TraceContext,
        span::{CallSpan, Side, TARGET, is_wanted, names},
    },
};

/// Makes a call in a span of its own.
pub(super) fn seen<B>(
    channel: Channel,
    request: Request<B>,
) -> impl Future<Output = Result<Response<ResponseBody>, Error>> + Send
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let seen = of_call(&channel, &request);
    let span = seen.as_ref().map_or_else(Span::none, |seen| seen.span().clone());
    let made = span.in_scope(|| call(channel, request)).instrument(span.clone());
    async move {
        let made = made.await;
        let Some(seen) = seen else { return made };
        match &made {
            Ok(response) => seen.hear(response.headers()),
            Err(error) => seen.end_without_status(Some(&format!("{:?}", error.kind()))),
        }
        made.map(|response| response.map(|body| body.seen(seen)))
    }
}

fn of_call<B>(channel: &Channel, request: &Request<B>) -> Option<Box<CallSpan>> {
    let path = request.uri().path();
    let (service, method) = names(path);
    let span = debug_span!(
        target: TARGET,
        "call",
        otel.name = path.trim_start_matches('/'),
        otel.kind = "client",
        otel.status_code = Empty,
        rpc.system = is_grpc(request.headers()).then_some("grpc"),
        rpc.service = service,
        rpc.method = method,
        rpc.grpc.status_code = Empty,
        "error.type" = Empty,
        callsign.service = channel.service().as_str(),
    );
    if let Some(outer) = outer(request) {
        // Where the caller's own span belongs to that trace, it is the nearer parent.
        let near = TraceContext::of_span(&Span::current(), None);
        if near.is_none_or(|near| near.trace_id() != outer.trace_id()) {
            outer.adopt(&span);
        }
    }
    CallSpan::new(span, Side::Client)
}

/// The trace that the caller has named.
fn outer<B>(request: &Request<B>) -> Option<Cow<'_, TraceContext>> {
    let options = request.extensions().get::<CallOptions>();
    let within = options.and_then(CallOptions::trace).map(Cow::Borrowed);
    within.or_else(|| TraceContext::from_headers(request.headers()).map(Cow::Owned))
}

/// A span for the attempt of this number, the first being 1, if anybody wants it.
#[inline]
pub(super) fn of_attempt(plan: &Plan, link: &Link, number: u32, hedge: bool) -> Option<Box<CallSpan>> {
    if is_wanted() { begun(plan, link, number, hedge) } else { None }
}

#[cold]
fn begun(plan: &Plan, link: &Link, number: u32, hedge: bool) -> Option<Box<CallSpan>> {
    let span = debug_span!(
        target: TARGET,
        "attempt",
        otel.kind = "client",
        otel.status_code = Empty,
        rpc.grpc.status_code = Empty,
        "error.type" = Empty,
        server.address = link.address.host(),
        server.port = i64::from(link.address.port()),
        callsign.node = link.id.as_str(),
        callsign.attempt = i64::from(number),
        callsign.hedge = hedge,
        callsign.strategy = plan.channel.roster().strategy.name(),
        // Where OpenTelemetry gives no ids.
        trace_id = Empty,
        span_id = Empty,
    );
    CallSpan::new(span, Side::Client)
}

/// Tells the node which trace the attempt belongs to, if it belongs to any.
#[inline]
pub(super) fn tell(seen: Option<&CallSpan>, plan: &Plan, headers: &mut HeaderMap) {
    if seen.is_some() || plan.options.trace().is_some() {
        told(seen, plan, headers);
    }
}

#[cold]
fn told(seen: Option<&CallSpan>, plan: &Plan, headers: &mut HeaderMap) {
    let outer = plan.options.trace();
    if let Some(own) = seen.and_then(|seen| TraceContext::of_span(seen.span(), outer)) {
        return own.write_nearer(headers);
    }
    let Some(outer) = outer else { return };
    let own = outer.child(plan.channel.roster().rng().u64(1..));
    if let Some(seen) = seen {
        seen.span().record("trace_id", format_args!("{:032x}", own.trace_id()));
        seen.span().record("span_id", format_args!("{:016x}", own.span_id()));
    }
    own.write(headers);
}

/// An attempt that was not the call's answer has ended, so far as its node's answer does not tell.
pub(super) fn end(span: &CallSpan, outcome: Outcome) {
    span.end_without_status(match outcome {
        Outcome::Success => None,
        Outcome::NotSent => Some("not_sent"),
        Outcome::Overloaded { .. } => Some("overloaded"),
        Outcome::DeadlineExceeded => Some("timeout"),
        Outcome::Cancelled => Some("cancelled"),
        _ => Some("failed"),
    });
}
