//! The processes whose time is measured: they count no allocations, since counting takes a good part of the time.
//!
//! Each allocation and each release adds to two counters that all threads share. With 25 allocations a call that is a
//! hundred contended additions, and the way that allocates most would pay most for being watched.

#![expect(clippy::print_stderr, reason = "a person may start it by mistake")]

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    callsign_bench::child(&args).unwrap_or_else(|| {
        eprintln!("error: this is a part of callsign-bench: run `cargo xtask bench`");
        ExitCode::from(2)
    })
}
