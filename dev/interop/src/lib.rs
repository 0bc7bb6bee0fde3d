//! Callsign and go-micro on the same registries, each seeing what the other does.
//!
//! `go/` is a Go module with one small program for each line of go-micro ([`GoMicro`]): it does on a registry what it is told
//! over stdin, and tells on stdout what it got. `tests/go_micro` drives it ([`Peer`]) beside the library and beside the
//! `callsign` program ([`Program`]), on a real etcd and over real multicast. `cargo xtask interop` builds both sides and runs
//! the tests; it needs a Go toolchain, and says so where there is none.
//!
//! What go-micro writes was also recorded, and core's tests read it wherever they run.
#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "parts of a test: what cannot go on panics, and the panic is what fails the test"
)]

mod peer;
mod process;
mod program;

pub use self::peer::{GoMicro, Peer};
pub use self::process::Place;
pub use self::program::{Program, Running};
