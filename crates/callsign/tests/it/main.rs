//! What can only be seen over real sockets and in real processes.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::disallowed_methods,
    reason = "tests"
)]
#![allow(unreachable_pub, reason = "one binary, whose modules use each other")]

mod client;
mod metrics;
mod server;
mod spans;
mod support;
#[cfg(feature = "tls")]
mod tls;
