//! Which trace a call belongs to, and what is told of it.
//!
//! The *context* of a trace travels in W3C headers, whether or not anything here records traces: a server puts the [`TraceContext`] of a
//! request into its extensions, and calls that are made [within](crate::CallOptions::within) these are sent on with it. Nothing is
//! carried along unasked: a handler may also do work that is nobody's.
//!
//! *Spans* of calls are made through `tracing`, by OpenTelemetry's names, for whoever subscribes to the target `callsign::trace` at the
//! level `DEBUG`: one for each call and each attempt of it on a client, one for each call that a server handles.
//!
//! With the feature `otlp` an `OtlpExporter` sends them to a collector, and what travels in the headers are the ids that they have there.

mod context;
#[cfg(feature = "otlp")]
mod otel;
#[cfg(feature = "otlp")]
mod otlp;
mod parent;
pub(crate) mod span;
mod state;

pub use self::context::TraceContext;
#[cfg(feature = "otlp")]
pub use self::otlp::OtlpExporter;
