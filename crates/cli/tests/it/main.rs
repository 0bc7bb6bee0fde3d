//! The real binary, in a world of its own: what it prints, where, and how it ends.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may say so")]

mod call;
#[cfg(target_os = "linux")] // it looks for processes in /proc
mod demo;
mod describe;
mod drain;
mod etcd;
mod explain;
mod harness;
#[cfg(target_os = "linux")]
#[path = "../../../registry/tests/support/host.rs"]
mod host;
mod ls;
mod register;
mod rollout;
mod shell;
mod tls;
mod traces;
mod watch;
