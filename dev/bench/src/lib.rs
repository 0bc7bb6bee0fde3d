//! The benchmarks: `cargo xtask bench NAME`.
//!
//! Every benchmark compares: its cases are run in turn, again and again, in one process, and the table shows the median of each.
//! A difference between two runs of this program says little, a ratio within one a lot.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing tables is what this program is for")]

mod calls;
mod etcd;
mod fleet;
mod frame;
mod local;
mod pick;
mod slates;

use std::{alloc::System, process::ExitCode};

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use self::frame::Settings;

/// A benchmark's name, what it compares, and how it is run.
type Benchmark = (&'static str, &'static str, fn(&Settings) -> frame::Report);

/// What has been allocated, where the program has it for its global allocator; else always nothing.
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const BENCHMARKS: [Benchmark; 22] = [
    ("calls", "unary calls, beside tonic's channels, hyper and bare h2", calls::unary),
    ("remember", "calls that the channel remembers, beside calls that it does not", calls::remembered),
    ("streams", "large messages and reply streams, beside tonic's channels", calls::streams),
    ("pick", "choosing a node, by each strategy, beside tower's balancer", pick::run),
    ("slates", "publishing that a node has come or gone, with up to 10,000 nodes", slates::run),
    ("local", "the local registry: how soon a change is seen, a killed process too", local::seen),
    ("local-size", "the local registry: lists and memory, with 1,000 and 10,000 nodes", local::size),
    ("etcd", "the etcd registry: how soon a put is seen, beside a bare watch", etcd::seen),
    ("etcd-list", "the etcd registry: a cold list of 100,000 nodes, beside a bare range", etcd::list),
    ("etcd-size", "the etcd registry: memory held for each node", etcd::size),
    ("etcd-churn", "the etcd registry: 1,000 changes a second for a minute", etcd::churn),
    (
        "slow-node",
        "one node of three turns 50 times slower, beside tonic's and tower's balancers",
        fleet::slow,
    ),
    ("failing-node", "one node of three fails at once, beside the same", fleet::failing),
    ("cut-off", "a client whose own network fails, beside one whose does not", fleet::cut_off),
    ("growth", "from three nodes to six under load over long connections", fleet::growth),
    ("even", "twenty nodes under load: how evenly calls are spread", fleet::even),
    ("kills", "a random node is killed every two seconds", fleet::kills),
    ("restarts", "rolling restarts of three nodes, with unary calls and streams", fleet::restarts),
    ("tiers", "four tiers, the lowest of which fails: how much retries add", fleet::tiers),
    ("hedging", "calls that are slow, with a second attempt and without", fleet::hedging),
    ("overload", "a server at twice its capacity, with its limit of calls and without", fleet::overload),
    ("resets", "connections are reset all the time: does a handler run twice?", fleet::resets),
];

/// The benchmarks, or one of the processes that they start.
#[must_use]
pub fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = child(&args) {
        return code;
    }
    match parse(&args) {
        Ok((chosen, settings)) => {
            for (name, _, run) in chosen {
                let report = run(&settings);
                println!("{report}");
                match report.write(name) {
                    Ok(path) => println!("written to {}\n", path.display()),
                    Err(error) => {
                        eprintln!("error: cannot write the results of {name}: {error}");
                        return ExitCode::FAILURE;
                    }
                }
            }
            ExitCode::SUCCESS
        }
        Err(wrong) => {
            eprintln!("error: {wrong}\n\n{}", usage());
            ExitCode::from(2)
        }
    }
}

/// One of the processes that benchmarks start, if the arguments ask for one.
#[must_use]
pub fn child(args: &[String]) -> Option<ExitCode> {
    match args.split_first()? {
        (first, _) if first == "--serve" => calls::server_main(),
        (first, rest) if first == "--client" => calls::client_main(rest),
        (first, rest) if first == "--turns" => calls::turns_main(rest),
        (first, rest) if first == local::CHILD => return Some(local::child(rest)),
        (first, rest) => return fleet::child(first, rest),
    }
    Some(ExitCode::SUCCESS)
}

/// The benchmarks asked for, all without a name, and how thorough they are to be.
fn parse(args: &[String]) -> Result<(Vec<Benchmark>, Settings), String> {
    let (mut chosen, mut settings) = (Vec::new(), Settings::default());
    for arg in args {
        match &**arg {
            "--quick" => settings = Settings::quick(),
            name => match BENCHMARKS.iter().find(|(known, ..)| *known == name) {
                Some(benchmark) => chosen.push(*benchmark),
                None => return Err(format!("there is no benchmark or option {name:?}")),
            },
        }
    }
    if chosen.is_empty() {
        chosen.extend(BENCHMARKS);
    }
    Ok((chosen, settings))
}

fn usage() -> String {
    let mut text = "usage: cargo xtask bench [NAME...] [--quick]\n".to_owned();
    for (name, about, _) in BENCHMARKS {
        text.push_str(&format!("\n  {name:<12} {about}"));
    }
    text.push_str("\n\n  --quick    fewer and shorter runs: to see that it works, not to quote");
    text
}
