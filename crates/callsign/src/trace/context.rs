//! The context of a trace: read from a request's headers, and written to those of the calls that are made for it.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, header::GetAll};

use super::{parent::Parent, state};

/// The header that says which trace and which span. Who sets it himself keeps what he has set.
static PARENT: HeaderName = HeaderName::from_static("traceparent");
static STATE: HeaderName = HeaderName::from_static("tracestate");
static BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// Most bytes of baggage that are handed on: what W3C Baggage asks of everybody.
const BAGGAGE_MAX: usize = 8192;

/// The trace that a request belongs to, by its headers `traceparent`, `tracestate` and `baggage` (W3C Trace Context, level 1): an
/// extension of the request, if its caller has sent one that can be read.
///
/// A handler that gives its request's extensions to [`CallOptions::within`](crate::CallOptions::within) hands it on: each attempt of its
/// calls is a span of the same trace, with an id of its own.
///
/// ```
/// use callsign::trace::TraceContext;
///
/// async fn hello<T>(request: tonic::Request<T>) {
///     if let Some(trace) = request.extensions().get::<TraceContext>() {
///         // For a log, or a header of another protocol.
///         println!("{:032x}: {trace}", trace.trace_id());
///     }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    pub(super) parent: Parent,
    pub(super) state: Option<HeaderValue>,
    pub(super) baggage: Option<HeaderValue>,
}

// === impl TraceContext ===

impl TraceContext {
    /// What a request's headers say. None if they say nothing, or what cannot be read: that is as good as nothing, and no error.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut parents = headers.get_all(&PARENT).iter();
        let parent = Parent::parse(parents.next()?.as_bytes())?;
        if parents.next().is_some() {
            return None;
        }
        let state = joined(&headers.get_all(&STATE)).filter(|list| list.to_str().is_ok_and(state::is_valid));
        let baggage = joined(&headers.get_all(&BAGGAGE)).filter(|list| list.len() <= BAGGAGE_MAX);
        Some(Self { parent, state, baggage })
    }

    /// The trace's id, never zero.
    #[must_use]
    pub fn trace_id(&self) -> u128 {
        self.parent.trace
    }

    /// The id of the span that calls belong to which are made for the request, never zero.
    #[must_use]
    pub fn span_id(&self) -> u64 {
        self.parent.span
    }

    /// Whether the caller records the trace.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.parent.is_sampled()
    }

    /// The same trace, from another span of it.
    pub(crate) fn child(&self, span: u64) -> Self {
        Self { parent: Parent { span, ..self.parent }, ..self.clone() }
    }

    /// Writes it to headers that do not name another trace. A span of its own that they name is farther than this one.
    pub(crate) fn write_nearer(&self, headers: &mut HeaderMap) {
        if Self::from_headers(headers).is_some_and(|named| named.trace_id() == self.trace_id()) {
            headers.remove(&PARENT);
        }
        self.write(headers);
    }

    /// Writes it to headers that do not name a trace themselves.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        if headers.contains_key(&PARENT) {
            return;
        }
        // Digits and dashes are a header's value.
        if let Ok(value) = HeaderValue::try_from(self.parent.to_string()) {
            headers.insert(&PARENT, value);
        }
        for (name, value) in [(&STATE, &self.state), (&BAGGAGE, &self.baggage)] {
            if let Some(value) = value {
                headers.entry(name).or_insert_with(|| value.clone());
            }
        }
    }
}

#[cfg(not(feature = "otlp"))]
impl TraceContext {
    /// Without OpenTelemetry no span has one.
    pub(crate) fn of_span(_: &tracing::Span, _: Option<&Self>) -> Option<Self> {
        None
    }

    /// Without OpenTelemetry no span can be told.
    pub(crate) fn adopt(&self, _: &tracing::Span) {}
}

impl fmt::Display for TraceContext {
    /// As in `traceparent`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parent.fmt(f)
    }
}

/// Headers that are there several times are one list.
fn joined(values: &GetAll<'_, HeaderValue>) -> Option<HeaderValue> {
    let mut values = values.iter();
    let first = values.next()?;
    let mut rest = values.peekable();
    if rest.peek().is_none() {
        return Some(first.clone());
    }
    let mut list = first.as_bytes().to_vec();
    for value in rest {
        list.push(b',');
        list.extend_from_slice(value.as_bytes());
    }
    HeaderValue::from_bytes(&list).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_context_is_handed_on_with_another_span() {
        let received = headers(&[
            ("traceparent", GOOD),
            ("tracestate", "a=1"),
            ("tracestate", "b=2"),
            ("baggage", "user=7;x"),
        ]);
        let context = TraceContext::from_headers(&received).unwrap();
        assert_eq!(context.to_string(), GOOD);
        let mut sent = HeaderMap::new();
        context.child(0xabc).write(&mut sent);
        let wanted = "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000abc-03";
        assert_eq!(
            sent,
            headers(&[("traceparent", wanted), ("tracestate", "a=1,b=2"), ("baggage", "user=7;x")])
        );
    }

    #[test]
    fn what_cannot_be_read_is_dropped_and_the_rest_is_kept() {
        assert_eq!(TraceContext::from_headers(&HeaderMap::new()), None);
        assert_eq!(
            TraceContext::from_headers(&headers(&[("traceparent", GOOD), ("traceparent", GOOD)])),
            None
        );
        assert_eq!(
            TraceContext::from_headers(&headers(&[("traceparent", "x"), ("tracestate", "a=1")])),
            None
        );
        let long = "x".repeat(BAGGAGE_MAX + 1);
        let context = TraceContext::from_headers(&headers(&[
            ("traceparent", GOOD),
            ("tracestate", "a=1,a=2"),
            ("baggage", &long),
        ]));
        assert_eq!(context, TraceContext::from_headers(&headers(&[("traceparent", GOOD)])));
        assert!(context.is_some_and(|context| context.is_sampled()));
    }

    #[test]
    fn who_names_a_trace_keeps_it() {
        let context =
            TraceContext::from_headers(&headers(&[("traceparent", GOOD), ("tracestate", "a=1")])).unwrap();
        let mut sent = headers(&[("traceparent", "mine")]);
        context.child(1).write(&mut sent);
        assert_eq!(sent, headers(&[("traceparent", "mine")]));
    }

    #[test]
    fn a_nearer_span_takes_the_place_of_one_of_the_same_trace() {
        let context = TraceContext::from_headers(&headers(&[("traceparent", GOOD)])).unwrap();
        let mut sent = headers(&[("traceparent", GOOD), ("tracestate", "a=1")]);
        context.child(0xabc).write_nearer(&mut sent);
        let wanted = "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000abc-03";
        assert_eq!(sent, headers(&[("traceparent", wanted), ("tracestate", "a=1")]));
        let other = headers(&[("traceparent", "00-00000000000000000000000000000001-00f067aa0ba902b7-03")]);
        let mut sent = other.clone();
        context.child(0xabc).write_nearer(&mut sent);
        assert_eq!(sent, other);
    }
}
