//! `cargo xtask ci`: everything a change must pass, in the order in which a failure is cheapest to learn of.

use std::time::Duration;

use crate::{
    Result, interop,
    shell::{Step, is_there},
    suite, tidy,
    workspace::Workspace,
};

/// How one step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    /// Not run, and why.
    Skipped(&'static str),
}

type Check = fn() -> Result<Outcome>;

const STEPS: &[(&str, Check)] = &[
    ("fmt", fmt),
    ("tidy", || tidy::run().map(Outcome::from)),
    ("clippy", clippy),
    ("features", features),
    ("docs", docs),
    ("deny", deny),
    ("interop", interop),
    ("test", || suite::run().map(Outcome::from)),
];

/// Runs every step but the skipped ones, even after one has failed, and says at the end how each went.
pub(crate) fn run(args: &[&str]) -> Result<bool> {
    let skips = skips(args)?;
    let mut report = Vec::new();
    for &(name, check) in STEPS {
        let (outcome, took) = if skips.contains(&name) {
            (Outcome::Skipped("asked to"), Duration::ZERO)
        } else {
            println!("\n== {name}");
            timed(|| {
                check().unwrap_or_else(|error| {
                    eprintln!("xtask: {error}");
                    Outcome::Failed
                })
            })
        };
        report.push((name, outcome, took));
    }
    println!();
    for (name, outcome, took) in &report {
        match outcome {
            Outcome::Passed => println!("{name:<10} passed  {:>5} s", took.as_secs()),
            Outcome::Failed => println!("{name:<10} FAILED  {:>5} s", took.as_secs()),
            Outcome::Skipped(why) => println!("{name:<10} not run: {why}"),
        }
    }
    Ok(report.iter().all(|(_, outcome, _)| *outcome != Outcome::Failed))
}

// === impl Outcome ===

impl From<bool> for Outcome {
    fn from(passed: bool) -> Self {
        if passed { Self::Passed } else { Self::Failed }
    }
}

// === steps ===

fn fmt() -> Result<Outcome> {
    Step::cargo(&["fmt", "--all", "--check"]).run().map(Outcome::from)
}

fn clippy() -> Result<Outcome> {
    let clippy = |of: &[&str]| Step::cargo(&[&["clippy"], of, &["--", "-D", "warnings"]].concat()).run();
    // `--all-targets` passes over those that are no part of `cargo test`.
    let well = clippy(&["--workspace", "--all-targets", "--all-features"])?
        & clippy(&["--package", "callsign-interop", "--test", "go_micro"])?;
    Ok(well.into())
}

/// Each feature of the crates that have some, alone, and none at all: what only works by the company of another
/// feature is found here.
fn features() -> Result<Outcome> {
    let workspace = Workspace::load()?;
    let mut well = true;
    for name in ["callsign-core", "callsign-net", "callsign-registry", "callsign"] {
        let package = workspace.package(name)?;
        let check = ["check", "--package", name, "--no-default-features"];
        well &= Step::cargo(&check).run()?;
        for feature in package.features.iter().filter(|feature| *feature != "default") {
            well &= Step::cargo(&[&check[..], &["--features", feature]].concat()).run()?;
        }
    }
    Ok(well.into())
}

fn docs() -> Result<Outcome> {
    Step::cargo(&["doc", "--no-deps", "--workspace", "--all-features"])
        .env("RUSTDOCFLAGS", "-D warnings")
        .run()
        .map(Outcome::from)
}

fn deny() -> Result<Outcome> {
    if !is_there("cargo-deny") {
        return Ok(Outcome::Skipped("cargo-deny is not installed (`cargo install cargo-deny --locked`)"));
    }
    Step::cargo(&["deny", "--all-features", "check"]).run().map(Outcome::from)
}

fn interop() -> Result<Outcome> {
    if !interop::is_available() {
        return Ok(Outcome::Skipped(interop::NO_GO));
    }
    interop::run(&[]).map(Outcome::from)
}

// === free functions ===

/// Reads `--skip A --skip B`.
fn skips<'a>(args: &[&'a str]) -> Result<Vec<&'a str>> {
    let mut skips = Vec::new();
    let mut rest = args;
    while let [option, step, more @ ..] = rest {
        if *option != "--skip" || !STEPS.iter().any(|(name, _)| name == step) {
            break;
        }
        skips.push(*step);
        rest = more;
    }
    if rest.is_empty() {
        return Ok(skips);
    }
    let names: Vec<_> = STEPS.iter().map(|(name, _)| *name).collect();
    Err(format!("cannot read {rest:?}: only `--skip STEP` is known, with one of {}", names.join(", ")).into())
}

#[expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "how long a step took, for people; no test asks"
)]
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = std::time::Instant::now();
    let done = work();
    (done, start.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_skipped_by_name_and_a_wrong_name_is_refused() {
        assert_eq!(skips(&["--skip", "test", "--skip", "docs"]).unwrap(), ["test", "docs"]);
        assert!(skips(&[]).unwrap().is_empty());
        for wrong in [&["--skip", "tests"][..], &["--skip"], &["test"], &["--skip", "docs", "x"]] {
            let error = skips(wrong).unwrap_err().to_string();
            assert!(error.contains("one of fmt, tidy, clippy"), "{error}");
        }
    }
}
