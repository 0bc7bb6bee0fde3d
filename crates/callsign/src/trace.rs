//! Which trace a call belongs to, and what is told of it.
//!
//! The *context* of a trace travels in W3C headers, whether or not anything here records traces: a server puts the [`TraceContext`] of a
//! request into its extensions, and calls that are made [within](crate::CallOptions::within) these are sent on with it. Nothing is
//! carried along unasked: a handler may also do work that is nobody's.

mod context;
mod parent;
mod state;

pub use self::context::TraceContext;
