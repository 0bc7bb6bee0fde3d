//! `cargo xtask bench`: the benchmarks, always built for release.

use crate::{Result, shell::Step};

/// Runs `callsign-bench` with the arguments given.
pub(crate) fn run(args: &[&str]) -> Result<bool> {
    if !Step::cargo(&["build", "--release", "-p", "callsign-bench", "--bins"]).run()? {
        return Ok(false);
    }
    let mut all = vec!["run", "--release", "-p", "callsign-bench", "--"];
    all.extend(args);
    Step::cargo(&all).run()
}
