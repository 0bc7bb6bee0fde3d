//! The processes of the benchmark: this program, in another role. They end with their standard input.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{ChildStdout, Command, ExitCode, Stdio},
};

use callsign_core::{
    Registry,
    registry::{GetOptions, ListOptions, RegisterOptions},
};
use callsign_registry::local::{LocalConfig, LocalRegistry};
use tokio::time::Instant;

use super::{microseconds, node, open};

/// The first argument of a child.
pub(crate) const CHILD: &str = "--local-child";

/// How often the quick questions are asked, for a mean.
const QUESTIONS: usize = 100;

/// A child, killed when this is dropped.
pub(super) struct Child {
    process: std::process::Child,
    output: BufReader<ChildStdout>,
}

// === impl Child ===

impl Child {
    pub(super) fn start(role: &str, folder: &Path, numbers: &[usize]) -> Self {
        let program = std::env::current_exe().expect("a program with a path");
        let mut process = Command::new(program)
            .args([CHILD, role])
            .arg(folder)
            .args(numbers.iter().map(ToString::to_string))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process more");
        let output = BufReader::new(process.stdout.take().expect("a pipe"));
        Self { process, output }
    }

    /// What it measured, once it is done.
    pub(super) fn numbers(&mut self) -> Vec<f64> {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a child that answers");
        line.split_whitespace().map(|number| number.parse().expect("a number")).collect()
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self) {
        self.process.kill().expect("a child that lives");
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a child does: `ROLE FOLDER NUMBER...`.
pub(crate) fn run(args: &[String]) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let [role, folder, numbers @ ..] = args else { return ExitCode::from(2) };
    let numbers: Vec<usize> = numbers.iter().filter_map(|number| number.parse().ok()).collect();
    match (role.as_str(), &*numbers) {
        ("hold", [from, count]) => runtime.block_on(hold(Path::new(folder), *from, *count)),
        ("read", [nodes]) => runtime.block_on(read(Path::new(folder), *nodes)),
        _ => return ExitCode::from(2),
    }
    ExitCode::SUCCESS
}

/// Holds nodes, and says how many bytes they took.
async fn hold(folder: &Path, from: usize, count: usize) {
    let registry = open(folder);
    if count > 1 {
        // One first, for the threads that all of them share.
        let warm = registry.register(&node(from, 1), &RegisterOptions::default()).await;
        warm.expect("a free name").release().await.expect("an entry of ours");
    }
    let before = resident_bytes();
    let mut leases = Vec::with_capacity(count);
    for number in from..from + count {
        let lease = registry.register(&node(number, 1), &RegisterOptions::default()).await;
        leases.push(lease.expect("a free name"));
    }
    println!("{}", resident_bytes() - before);
    let _ = std::io::stdin().read(&mut [0]);
}

/// Comes to a folder of many nodes, and says what it had to wait for.
async fn read(folder: &Path, nodes: usize) {
    let registry = open(folder);
    let before = resident_bytes();
    let start = Instant::now();
    let listing = registry.list(&ListOptions::default()).await.expect("a readable folder");
    let first = microseconds(start) / 1e3;
    assert_eq!(listing.nodes.len(), nodes);
    drop(listing);
    let memory = (resident_bytes() - before) / nodes as f64;

    let start = Instant::now();
    for _ in 0..QUESTIONS {
        registry.list(&ListOptions::default()).await.expect("a readable folder");
    }
    let list = microseconds(start) / QUESTIONS as f64;
    let service = node(nodes / 2, 1).service().clone();
    let start = Instant::now();
    for _ in 0..QUESTIONS {
        registry.get(&service, &GetOptions::default()).await.expect("a readable folder");
    }
    let get = microseconds(start) / QUESTIONS as f64;

    // Without the kernel's help every question is a look through the folder.
    let looking =
        LocalRegistry::open(LocalConfig::new(folder).without_kernel_events()).expect("a folder of ours");
    looking.get(&service, &GetOptions::default()).await.expect("a readable folder");
    let start = Instant::now();
    looking.get(&service, &GetOptions::default()).await.expect("a readable folder");
    let rescan = microseconds(start) / 1e3;
    println!("{first} {list} {get} {rescan} {memory}");
}

/// How much memory this process has now.
fn resident_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok())
        .map_or(f64::NAN, |kib| kib * 1024.0)
}
