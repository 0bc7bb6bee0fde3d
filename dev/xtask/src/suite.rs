//! `cargo xtask test`: every test there is, and one line at the end that says how it went.
//!
//! The README's blocks are among them: `dev/xtask/tests/readme` runs the shell ones and compiles the Rust ones.

use crate::{Result, libtest::Tally, setup, shell::Step};

/// The module of tests that make network namespaces.
const NAMESPACED: &str = "namespaced";
const NAMESPACED_LEFT_OUT: &str = "not run: the tests of mDNS on hosts of their own, for which this user may make no network \
                                   namespaces; run this as root";

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
    if !setup::may_make_namespaces() {
        println!("{NAMESPACED_LEFT_OUT}");
    }
    Ok(ended_well && tally.is_success())
}

/// Says what [`run`] would do.
pub(crate) fn explain() -> Result<bool> {
    setup::explain(setup::FOR_TESTS);
    for step in steps() {
        println!("would run {}", step.line());
    }
    if !setup::may_make_namespaces() {
        println!("{NAMESPACED_LEFT_OUT}");
    }
    Ok(true)
}

/// Unit, integration and documentation tests of every crate, the README's blocks included; a failure stops none of the rest.
fn steps() -> Vec<Step> {
    let mut args = vec!["test", "--workspace", "--all-features", "--no-fail-fast"];
    if !setup::may_make_namespaces() {
        args.extend(["--", "--skip", NAMESPACED]);
    }
    vec![Step::cargo(&args)]
}
