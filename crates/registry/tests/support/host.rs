//! Hosts of a test's own: network namespaces, which nothing leaves that the test did not connect.
//!
//! A namespace is kept by a process that ends when its standard input does; so it goes with the test, however that ends.

#![allow(dead_code, reason = "each test program uses its own part of it")]

use std::{
    fs::File,
    os::fd::AsFd,
    process::{Child, Command, Stdio},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A host with nothing but a loopback interface, which is up.
#[derive(Debug)]
pub(crate) struct Host {
    keeper: Child,
}

impl Host {
    /// A new one.
    ///
    /// # Panics
    ///
    /// When this user may not make one: then nothing was tested, and that must not look as if it had been.
    pub(crate) fn new() -> Self {
        let mut command = Command::new("unshare");
        command.args(["--net", "--", "sh", "-c", "ip link set lo up && echo ready && exec cat"]);
        let keeper = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut keeper = keeper.expect("`unshare` of util-linux");
        let mut word = [0; 6];
        let heard = std::io::Read::read_exact(keeper.stdout.as_mut().expect("a pipe"), &mut word);
        if heard.is_err() {
            let output = keeper.wait_with_output().expect("an end");
            panic!(
                "no network namespace can be made, so this was not tested: {}\n\
                 run it as root, or without these tests: `cargo test -- --skip namespaced`",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Self { keeper }
    }

    /// Two hosts with a cable between them: `eth0` of each, 10.77.0.1 and 10.77.0.2, fd77::1 and fd77::2.
    pub(crate) fn pair() -> [Self; 2] {
        let hosts = [Self::new(), Self::new()];
        hosts[0].cable("eth0", &hosts[1], "eth0");
        for (host, number) in hosts.iter().zip(1..) {
            host.ip(&format!("addr add 10.77.0.{number}/24 dev eth0"));
            host.ip(&format!("addr add fd77::{number}/64 dev eth0 nodad"));
            host.ip("link set eth0 up");
        }
        hosts.iter().for_each(|host| host.wait_for("eth0"));
        hosts
    }

    /// Waits until an interface is running: the kernel finds that out a moment after both ends of the cable are up.
    ///
    /// # Panics
    ///
    /// When it does not for as long as it takes to ask a thousand times.
    pub(crate) fn wait_for(&self, interface: &str) {
        let is_running = |_| {
            let output = self.command("ip").args(["link", "show", "dev", interface]).output();
            String::from_utf8_lossy(&output.expect("`ip`").stdout).contains("LOWER_UP")
        };
        assert!((0..1000).any(is_running), "{interface} does not come up");
    }

    /// Connects an interface of this host with one of another.
    pub(crate) fn cable(&self, own: &str, other: &Self, theirs: &str) {
        let there = other.pid();
        self.ip(&format!("link add name {own} type veth peer name {theirs} netns {there}"));
        // An address that is being looked for twice on the link cannot be used meanwhile.
        for (host, name) in [(self, own), (other, theirs)] {
            host.run("sysctl", &["-qw", &format!("net.ipv6.conf.{name}.accept_dad=0")]);
        }
    }

    /// Runs `ip` on it.
    pub(crate) fn ip(&self, arguments: &str) {
        self.run("ip", &arguments.split(' ').collect::<Vec<_>>());
    }

    /// Runs a program on it.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) {
        let output = self.command(program).args(arguments).output().expect("`nsenter` of util-linux");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?} failed: {said}");
    }

    /// A command that will run on it.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.pid())).arg("--").arg(program);
        command
    }

    /// Moves this thread onto it: what it opens from now on, it opens there.
    pub(crate) fn enter(&self) {
        let name = format!("/proc/{}/ns/net", self.pid());
        let namespace = File::open(name).expect("a namespace that is kept");
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("the right to enter it");
    }

    fn pid(&self) -> u32 {
        self.keeper.id()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // The program reads its input to the end, which it finds here.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}
