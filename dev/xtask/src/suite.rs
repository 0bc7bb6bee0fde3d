//! `cargo xtask test`: every test there is, and one line at the end that says how it went.
//!
//! The README's blocks are among them: `dev/xtask/tests/readme` runs the shell ones and compiles the Rust ones.

use crate::{Result, libtest::Tally, setup, shell::Step};

/// Runs all tests.
pub(crate) fn run() -> Result<bool> {
    setup::ensure(setup::FOR_TESTS)?;
    let mut tally = Tally::default();
    let mut ended_well = true;
    for step in steps() {
        ended_well &= step.follow(|line| tally.see(line))?;
    }
    println!();
    for name in &tally.failures {
        println!("failed: {name}");
    }
    if tally.ignored > 0 {
        println!("{} ignored", tally.ignored);
    }
    if !ended_well && tally.failed == 0 {
        println!("not all tests were run: something did not compile, or a test program died");
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    Ok(ended_well && tally.is_success())
}

/// Says what [`run`] would do.
pub(crate) fn explain() -> Result<bool> {
    setup::explain(setup::FOR_TESTS);
    for step in steps() {
        println!("would run {}", step.line());
    }
    Ok(true)
}

/// Unit, integration and documentation tests of every crate, the README's blocks included; a failure stops none of the rest.
fn steps() -> Vec<Step> {
    vec![Step::cargo(&["test", "--workspace", "--all-features", "--no-fail-fast"])]
}
