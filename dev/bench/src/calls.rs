//! Calls by name over three nodes, beside tonic's channels and bare HTTP/2, against the same servers.
//!
//! Each server and each measured client is a process of its own, so that the CPU time and the allocations of a client are its
//! alone. Allocations are counted in another process than time, since counting them takes time. The measuring process only
//! starts them, in turn.

#![expect(clippy::disallowed_methods, reason = "the peers' connections have no owner but the process")]

mod client;
mod measure;
mod server;
mod turns;
mod way;

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

pub(crate) use self::client::main as client_main;
use self::{client::Load, way::Way};
pub(crate) use self::{
    server::main as server_main,
    turns::{main as turns_main, remembered},
};
use crate::frame::{Comparison, Metric, Report, Settings};

/// The generated service.
pub(crate) mod pb {
    #![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]
    callsign::include_proto!("bench");

    const _: &[u8] = FILE_DESCRIPTOR_SET;
}

const NODES: usize = 3;

/// How many times a settings' span one client measures: calls over sockets need longer than picks.
const SPANS: u32 = 20;

const METRICS: [Metric; 5] = [
    Metric { name: "calls/s", digits: 0 },
    Metric { name: "p50 µs", digits: 0 },
    Metric { name: "p99 µs", digits: 0 },
    Metric { name: "CPU µs/call", digits: 2 },
    Metric { name: "allocs/call", digits: 1 },
];

/// A server process that ends with this value.
struct Server {
    child: Child,
    address: String,
}

/// Small unary calls, at three depths.
pub(crate) fn unary(settings: &Settings) -> Report {
    let ways = [
        Way::Callsign,
        Way::CallsignLeastRequest,
        Way::CallsignRoundRobin,
        Way::CallsignForgetful,
        Way::TonicBalanced,
        Way::TonicOne,
        Way::HyperOne,
        Way::H2,
    ];
    compare(
        "Unary calls over three nodes",
        settings,
        &ways,
        &[
            ("1 in flight", Load::Unary { inflight: 1, bytes: 16 }),
            ("64 in flight", Load::Unary { inflight: 64, bytes: 16 }),
            ("256 in flight", Load::Unary { inflight: 256, bytes: 16 }),
        ],
    )
}

/// Large messages and reply streams.
pub(crate) fn streams(settings: &Settings) -> Report {
    let ways = [Way::Callsign, Way::TonicBalanced, Way::TonicOne];
    compare(
        "Large messages and reply streams",
        settings,
        &ways,
        &[
            ("1 MB messages, 4 in flight", Load::Unary { inflight: 4, bytes: 1 << 20 }),
            (
                "streams of 1000 small messages, 16 in flight",
                Load::Flow { inflight: 16, messages: 1000, bytes: 16 },
            ),
        ],
    )
}

fn compare(title: &'static str, settings: &Settings, ways: &[Way], loads: &[(&str, Load)]) -> Report {
    let servers: Vec<Server> = (0..NODES).map(|_| Server::start()).collect();
    let addresses: Vec<&str> = servers.iter().map(|server| server.address.as_str()).collect();
    let span = settings.span * SPANS;
    let mut comparison = Comparison::new(title, METRICS);
    for (name, load) in loads {
        for way in ways {
            let addresses = &addresses;
            comparison.case(format!("{name}: {way}"), move || client::spawn(*way, *load, span, addresses));
        }
    }
    comparison.run(settings)
}

// === impl Server ===

impl Server {
    fn start() -> Self {
        let mut child = Command::new(bare_program())
            .arg("--serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a server process starts");
        let mut address = String::new();
        let stdout = child.stdout.take().expect("its output is ours");
        BufReader::new(stdout).read_line(&mut address).expect("it says its address");
        Self { child, address: address.trim().to_owned() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process also ends by itself when its input does.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program to its end, and gives the numbers that it prints.
fn numbers_of(program: &Path, args: &[String]) -> Vec<f64> {
    let output =
        Command::new(program).args(args).stderr(Stdio::inherit()).output().expect("a process starts");
    assert!(output.status.success(), "{} {} failed", program.display(), args.join(" "));
    let text = String::from_utf8(output.stdout).expect("it prints text");
    text.split_whitespace().map(|number| number.parse().expect("it prints numbers")).collect()
}

/// This program, which counts allocations.
fn counting_program() -> PathBuf {
    std::env::current_exe().expect("the program knows its own path")
}

/// The program beside this one that counts no allocations.
pub(crate) fn bare_program() -> PathBuf {
    let bare = counting_program().with_file_name("callsign-bench-bare");
    assert!(bare.exists(), "{} is there: `cargo xtask bench` builds both", bare.display());
    bare
}
