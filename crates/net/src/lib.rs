//! One HTTP/2 connection: TCP, handshake, keep-alive, and the streams on it.
//!
//! This crate knows no names and no nodes; it serves both the channel that calls go through and the clients of registries
//! that speak gRPC. It differs from a general HTTP client in what it promises about *failure*:
//!
//! - [`connect`] returns only when the peer has answered with HTTP/2 SETTINGS, so a port that accepts and never answers, one
//!   that speaks HTTP/1 and one that wants TLS are told apart, by name, and are never used for a call.
//! - Every error of a stream carries its [`Disposition`]: whether the request may have been processed. A request that never
//!   left, or that the peer says it did not look at, can be sent elsewhere whatever it does.
//! - The caller drives its own stream. There is no queue and no task between it and the connection's buffers; the
//!   [`Driver`] only moves bytes between those buffers and the socket.
//! - With the feature `tls`, the handshake's failures are told apart just so: a plaintext peer, a wrong name, an expired or
//!   unknown certificate, a peer that wants one of ours.
//!
//! It is written on [`h2`] itself, since a connection over it costs neither a channel hop nor a spawned task for each request.

mod activity;
mod bundle;
mod config;
mod connect;
mod connection;
mod driver;
mod error;
mod incoming;
mod socket;
mod stream;
#[cfg(feature = "tls")]
pub mod tls;

pub use self::bundle::{Bundle, Turn};
pub use self::config::Config;
pub use self::connect::{Host, connect};
pub use self::connection::{Connection, Slot, Status};
pub use self::driver::Driver;
pub use self::error::{Disposition, Error, ErrorKind};
pub use self::incoming::Incoming;
pub use self::stream::{Outgoing, Stream};

#[cfg(test)]
mod tests;
