//! The chores of this repository: run by `cargo xtask`, by hand and by the continuous integration alike.
//!
//! Chores that need judgement live here as code with tests of its own, rather than in a shell script nobody dares to
//! touch. It depends on next to nothing, because it is compiled before anything else can be checked.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool for the terminal: printing is what it does"
)]

mod bench;
mod ci;
mod interop;
mod libtest;
mod setup;
mod shell;
mod sim;
mod suite;
mod tidy;
mod workspace;

use std::process::ExitCode;

/// What goes wrong in a chore is told to a person and never decided by, so text is enough.
type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

const HELP: &str = "\
The chores of this repository.

Usage: cargo xtask COMMAND

Commands:
  test [--dry-run]   install what the tests need, run all of them, end with `N passed, N failed`
                     --dry-run says what would be run, and whether what it needs is there
  tidy               the rules that neither rustc nor clippy knows: sizes, crate edges, links, dead files ...
  ci [--skip STEP]   everything a change must pass: fmt, clippy, features, docs, tidy, deny, interop, test
  interop [ARGS]     Callsign and live go-micro processes on the same etcd and network; needs Go; ARGS as for a test program
  bench ARGS         cargo run --release -p callsign-bench -- ARGS
  sim ARGS           cargo run --release -p callsign-sim -- ARGS
  setup              only install what the tests need
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all was well. An error is for what kept a chore from saying so.
fn run(args: &[&str]) -> Result<bool> {
    match args {
        ["test"] => suite::run(),
        ["test", "--dry-run"] => suite::explain(),
        ["tidy"] => tidy::run(),
        ["ci", skips @ ..] => ci::run(skips),
        ["interop", args @ ..] => interop::run(args),
        ["bench", args @ ..] => bench::run(args),
        ["sim", args @ ..] => sim::run(args),
        ["setup"] => setup::ensure(setup::FOR_TESTS).map(|()| true),
        [] | ["help" | "-h" | "--help"] => {
            print!("{HELP}");
            Ok(true)
        }
        _ => Err(format!("no such command: {}\n\n{HELP}", args.join(" ")).into()),
    }
}
