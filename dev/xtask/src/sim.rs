//! `cargo xtask sim`: the simulator, always built for release.

use crate::{Result, shell::Step};

/// Runs `callsign-sim` with the arguments given.
pub(crate) fn run(args: &[&str]) -> Result<bool> {
    let mut all = vec!["run", "--release", "-p", "callsign-sim", "--"];
    all.extend(args);
    Step::cargo(&all).run()
}
