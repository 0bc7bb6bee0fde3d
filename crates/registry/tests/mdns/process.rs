//! Other processes: this test binary again, with a node on another host.
//!
//! A child registers its node, says so in a line that begins with `@`, and ends when its standard input does.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use callsign_core::{Registry, registry::RegisterOptions};
use callsign_registry::mdns::{MdnsConfig, MdnsRegistry};
use rustix::process::{Pid, Signal};

use super::{host::Host, node};

const ROLE: &str = "CALLSIGN_TEST_ROLE";

/// Another process that holds a node; killed when this is dropped.
pub(crate) struct Process(Child);

impl Process {
    /// A process on `host` with the node `id` at `address`, which is registered when this returns.
    pub(crate) fn node(host: &Host, id: &str, address: &str) -> Self {
        let mut command: Command = host.command(std::env::current_exe().unwrap());
        command.args(["--exact", "process::child", "--ignored", "--nocapture"]);
        command.env(ROLE, format!("{id} {address}"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = lines.map(Result::unwrap).find_map(|line| Some(line.split_once('@')?.1.to_owned()));
        assert_eq!(said.as_deref(), Some("registered"));
        Self(child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.0.id().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Not a test: what a child does.
#[test]
#[ignore = "the role of a child process"]
#[expect(clippy::disallowed_methods, reason = "how a parent tells its child what to do")]
fn child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (id, address) = role.split_once(' ').unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let registry = MdnsRegistry::open(MdnsConfig::new()).unwrap();
        let _lease = registry.register(&node(id, address), &RegisterOptions::default()).await.unwrap();
        println!("@registered");
        tokio::task::spawn_blocking(|| std::io::stdin().lock().lines().count()).await.unwrap();
    });
}
