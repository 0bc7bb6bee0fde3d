//! Callsign's side: the `callsign` program.

use std::process::Stdio;

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, ChildStdin, Command},
    time::timeout,
};

use crate::process::{Place, Said, WAIT, built};

/// The program, with the registry that it is to use.
#[derive(Debug, Clone)]
pub struct Program {
    place: Place,
    env: Vec<(String, String)>,
}

/// A command that goes on. It is killed with its guard.
#[derive(Debug)]
pub struct Running {
    child: Child,
    said: Said,
    /// Ends the sidecar's program when it is closed.
    _stdin: Option<ChildStdin>,
}

// === impl Program ===

impl Program {
    /// The program on the registry of this kind, by the variable that go-micro reads too.
    #[must_use]
    pub fn new(place: &Place, registry: &str) -> Self {
        Self { place: place.clone(), env: Vec::new() }.with_env("MICRO_REGISTRY", registry)
    }

    /// The registry's address, by the variable that go-micro reads too.
    #[must_use]
    pub fn at(self, address: &str) -> Self {
        self.with_env("MICRO_REGISTRY_ADDRESS", address)
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs a command to its end, and reads the JSON that it printed.
    pub async fn json(&self, args: &[&str]) -> Value {
        let output = timeout(WAIT, self.command(args).args(["-o", "json"]).output()).await;
        let output = output.unwrap_or_else(|_| panic!("{args:?} does not end")).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?} failed: {said}");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {said}"))
    }

    /// Starts to watch, and waits until what is there already has been told.
    pub async fn watch(&self, args: &[&str]) -> Running {
        let mut command = self.command(&[&["watch", "-o", "json"], args].concat());
        let (mut child, said) = Said::start("callsign watch", command.stderr(Stdio::piped()));
        let mut words = BufReader::new(child.stderr.take().unwrap()).lines();
        let first = timeout(WAIT, words.next_line()).await.expect("it does not begin to watch").unwrap();
        assert!(first.as_ref().is_some_and(|line| line.starts_with("watching ")), "{first:?}");
        Running { child, said, _stdin: None }
    }

    /// Starts a sidecar for a program that ends with the guard, however the sidecar ends. The node is at `address`, where
    /// something must listen.
    #[must_use]
    pub fn register(&self, name: &str, address: &str, options: &[&str]) -> Running {
        let args = [&["register", name, "--address", address], options, &["--", "cat"]].concat();
        let mut command = self.command(&args);
        let (mut child, said) = Said::start("callsign register", command.stdin(Stdio::piped()));
        Running { _stdin: child.stdin.take(), child, said }
    }

    /// The command, with nothing set but what this program was given.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.place.command(&built("CALLSIGN_INTEROP_PROGRAM", "callsign"));
        command
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }
}

// === impl Running ===

impl Running {
    /// Reads what the watch tells until it is of the node `id`: a pair of the event and the whole line.
    pub async fn of(&mut self, id: &str) -> (String, Value) {
        loop {
            let line = self.said.next(&format!("anything of {id}")).await;
            if line["node"]["id"] == id {
                return (line["event"].as_str().unwrap_or_default().to_owned(), line);
            }
        }
    }

    /// Ends it as a crash would.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}
