//! What becomes of nodes and of calls when etcd, or the way to it, fails: real servers, a real channel, a real etcd.
//!
//! Of every fault the same is asked: no call fails, no process is touched, what happens is said, and the node is back within two
//! seconds of etcd accepting writes.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests, helpers included")]

mod access;
mod cluster;
mod fleet;
mod hand;
mod history;
mod load;
mod log;
mod network;
mod outages;
mod restarts;
mod room;
mod values;
