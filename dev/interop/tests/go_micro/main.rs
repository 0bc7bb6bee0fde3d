//! Each line of go-micro beside Callsign, in both directions. `cargo xtask interop` runs this.

#![allow(clippy::unwrap_used, reason = "a test, helpers included: what cannot go on may panic")]

mod etcd;
// The hosts of the mDNS registry's own tests; they stand on rustix.
#[path = "../../../../crates/registry/tests/support/host.rs"]
mod host;
mod mdns;
mod scene;
