//! Other processes: this test binary again, in another role.
//!
//! A child says what it did in lines that begin with `@`, and does what it is told on its standard input. When that ends,
//! it ends: no child outlives its test.

use std::{os::unix::process::CommandExt, path::Path, process::Stdio};

use callsign_core::{
    Registry, WatchEvent,
    registry::{Lease, RegisterOptions},
};
use callsign_registry::local::{LocalConfig, LocalRegistry};
use rustix::process::{Pid, Signal};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
};

use super::{NEVER, PATIENCE, next, node};

const ROLE: &str = "CALLSIGN_TEST_ROLE";
const FOLDER: &str = "CALLSIGN_TEST_FOLDER";

/// Another process, killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts `role` on `folder`.
    pub(crate) fn start(role: &str, folder: &Path) -> Self {
        Self::run(command(role, folder))
    }

    /// Starts a command made by [`command`], perhaps changed.
    pub(crate) fn run(command: std::process::Command) -> Self {
        let mut child = tokio::process::Command::from(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, input, lines }
    }

    /// A process that holds the node `id`.
    pub(crate) async fn node(folder: &Path, id: &str) -> Self {
        let mut process = Self::start("node", folder);
        process.ask(&format!("register {id}"), &format!("registered {id}")).await;
        process
    }

    /// The next thing that it says, or `None` once it has ended.
    pub(crate) async fn heard(&mut self) -> Option<String> {
        loop {
            let line = tokio::time::timeout(PATIENCE, self.lines.next_line());
            let line = line.await.expect("a word in time").unwrap()?;
            if let Some((_, said)) = line.split_once('@') {
                return Some(said.to_owned());
            }
        }
    }

    pub(crate) async fn tell(&mut self, order: &str) {
        self.input.write_all(format!("{order}\n").as_bytes()).await.unwrap();
    }

    pub(crate) async fn ask(&mut self, order: &str, expected: &str) {
        self.tell(order).await;
        assert_eq!(self.heard().await.as_deref(), Some(expected));
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_raw(self.pid().try_into().unwrap()).unwrap(), signal)
            .unwrap();
    }

    /// Kills it, and waits until it is no more.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// The command that runs this binary in `role`.
pub(crate) fn command(role: &str, folder: &Path) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "process::child", "--ignored", "--nocapture"])
        .env(ROLE, role)
        .env(FOLDER, folder);
    command
}

/// The same, run by a shell after `before`, in its process.
pub(crate) fn command_after(before: &str, role: &str, folder: &Path) -> std::process::Command {
    let inner = command(role, folder);
    let mut shell = std::process::Command::new("sh");
    shell
        .arg("-c")
        .arg(format!("{before} && exec \"$@\""))
        .arg("sh")
        .arg(inner.get_program())
        .args(inner.get_args());
    shell.env(ROLE, role).env(FOLDER, folder);
    shell
}

/// Runs as another user, where this process may.
pub(crate) fn as_nobody(mut command: std::process::Command) -> std::process::Command {
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    command
}

fn say(what: impl std::fmt::Display) {
    println!("@{what}");
}

/// Not a test: what a child does.
#[test]
#[ignore = "the role of a child process"]
#[expect(clippy::disallowed_methods, reason = "how a parent tells its child what to do")]
fn child() {
    let (Ok(role), Ok(folder)) = (std::env::var(ROLE), std::env::var(FOLDER)) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let registry = match LocalRegistry::open(LocalConfig::new(folder).with_rescan(NEVER)) {
            Ok(registry) => registry,
            Err(error) => return say(format_args!("{:?}; {}", error.kind(), error.chain())),
        };
        match role.as_str() {
            "node" => obey(&registry).await,
            "watch" => report(&registry).await,
            other => panic!("no role {other}"),
        }
    });
}

/// Registers and deregisters as it is told.
async fn obey(registry: &LocalRegistry) {
    let mut leases: Vec<(String, Box<dyn Lease>)> = Vec::new();
    let mut children = Vec::new();
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    while let Some(order) = orders.next_line().await.unwrap() {
        match order.split_once(' ').unwrap_or((&order, "")) {
            ("register", id) => match registry.register(&node(id), &RegisterOptions::default()).await {
                Ok(lease) => {
                    leases.push((id.to_owned(), lease));
                    say(format_args!("registered {id}"));
                }
                Err(error) => say(format_args!(
                    "{:?}; {}; {}",
                    error.kind(),
                    error.chain(),
                    error.hint().unwrap_or_default()
                )),
            },
            ("release", id) => {
                let at = leases.iter().position(|(held, _)| held == id).unwrap();
                leases.swap_remove(at).1.release().await.unwrap();
                say(format_args!("released {id}"));
            }
            ("list", _) => say(super::ids(registry).await.join(",")),
            ("spawn", program) => {
                let child =
                    std::process::Command::new(program).arg("60").stdout(Stdio::null()).spawn().unwrap();
                say(child.id());
                children.push(child);
            }
            (other, _) => panic!("no order {other}"),
        }
    }
}

/// Says what a watch shows.
async fn report(registry: &LocalRegistry) {
    let mut watch = registry.watch(&Default::default()).await.unwrap();
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    loop {
        let event = tokio::select! {
            biased;
            order = orders.next_line() => { assert!(order.unwrap().is_none()); return }
            event = next(&mut watch) => event,
        };
        match event {
            WatchEvent::SnapshotStart => {}
            WatchEvent::Node(node) => say(format_args!("there is {}", node.id())),
            WatchEvent::SnapshotDone(_) => say("ready"),
            WatchEvent::Upsert(node, _) => say(format_args!("came {}", node.id())),
            WatchEvent::Remove(key, removal, _) => say(format_args!("went {} {removal:?}", key.id)),
            WatchEvent::Error(error) => say(format_args!("error {}", error.chain())),
        }
    }
}
