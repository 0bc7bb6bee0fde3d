//! What OpenTelemetry makes of spans: its ids go out with calls, and a caller's ids come in.
//!
//! It knows only of spans whose subscriber has OpenTelemetry's layer. All others are as if this were not here.

use http::HeaderValue;
use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::{TraceContext, parent::Parent};

// === impl TraceContext ===

impl TraceContext {
    /// What OpenTelemetry has for a span, if it has anything; with the baggage of `outer`, which it knows nothing of.
    pub(crate) fn of_span(span: &Span, outer: Option<&Self>) -> Option<Self> {
        let context = span.context();
        let span = context.span();
        let own = span.span_context();
        if !own.is_valid() {
            return None;
        }
        let parent = Parent {
            trace: u128::from_be_bytes(own.trace_id().to_bytes()),
            span: u64::from_be_bytes(own.span_id().to_bytes()),
            flags: own.trace_flags().to_u8(),
        };
        let state = Some(own.trace_state().header()).filter(|state| !state.is_empty());
        let state = state.and_then(|state| HeaderValue::try_from(state).ok());
        Some(Self { parent, state, baggage: outer.and_then(|outer| outer.baggage.clone()) })
    }

    /// Makes a span that nobody has asked anything of yet a child of this.
    pub(crate) fn adopt(&self, span: &Span) {
        let state = self.state.as_ref().and_then(|state| state.to_str().ok()?.parse::<TraceState>().ok());
        let own = SpanContext::new(
            TraceId::from_bytes(self.trace_id().to_be_bytes()),
            SpanId::from_bytes(self.span_id().to_be_bytes()),
            TraceFlags::new(self.parent.flags),
            true,
            state.unwrap_or_default(),
        );
        // It fails where OpenTelemetry does not listen.
        let _ = span.set_parent(Context::new().with_remote_span_context(own));
    }
}
