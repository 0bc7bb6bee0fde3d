//! A private runtime folder for each test, and processes that end with it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

/// A world in which nothing is registered and nothing is set.
#[derive(Debug)]
pub(crate) struct World {
    dir: TempDir,
    set: Vec<(&'static str, String)>,
}

/// What a command printed and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: Option<i32>,
}

/// A process that is killed when the test is over.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) child: Child,
    lines: BufReader<ChildStdout>,
    _limit: Limit,
}

/// Kills a process that goes on for too long, so that a test which waits for it fails instead of hanging.
#[derive(Debug)]
struct Limit {
    _over: mpsc::Sender<()>,
}

/// No command of these tests takes longer.
const LIMIT: Duration = Duration::from_secs(90);

// === impl World ===

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("callsign-cli-").tempdir().unwrap();
        std::fs::create_dir(dir.path().join("run")).unwrap();
        std::fs::create_dir(dir.path().join("home")).unwrap();
        Self { dir, set: Vec::new() }
    }

    /// One in which the setting names this registry.
    pub(crate) fn on(registry: impl Into<String>) -> Self {
        Self::new().set("CALLSIGN_REGISTRY", registry)
    }

    /// The same, with this in the environment of each command.
    pub(crate) fn set(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.set.push((name, value.into()));
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The folder of the default registry.
    pub(crate) fn registry(&self) -> std::path::PathBuf {
        self.path().join("run/callsign")
    }

    /// The binary with arguments, none of our own environment, and a folder of its own to work in.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_callsign"));
        command
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path().join("home"))
            .env("XDG_RUNTIME_DIR", self.path().join("run"))
            .current_dir(self.path())
            .envs(self.set.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.finish(&mut self.command(args))
    }

    /// Runs a command with this on its stdin.
    pub(crate) fn run_with(&self, args: &[&str], stdin: &str) -> Ran {
        let mut command = self.command(args);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        let stdin = stdin.to_owned();
        let writer = std::thread::spawn(move || pipe.write_all(stdin.as_bytes()));
        let _limit = Limit::on(&child);
        let output = child.wait_with_output().unwrap();
        // The command may have ended before it read everything.
        let _ = writer.join().unwrap();
        self.ran(&output)
    }

    pub(crate) fn finish(&self, command: &mut Command) -> Ran {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let _limit = Limit::on(&child);
        self.ran(&child.wait_with_output().unwrap())
    }

    /// Starts a command that goes on.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        Running::start(self.command(args).stderr(Stdio::null()))
    }

    /// Starts to watch, as JSON, and waits until what is there already has been told.
    pub(crate) fn watch(&self, args: &[&str]) -> Running {
        let mut command = self.command(&["watch", "-o", "json"]);
        Running::watching(command.args(args))
    }

    /// Starts a node of the service `greeter`, and waits until it is registered.
    pub(crate) fn node(&self, id: &str, version: &str, group: &str) -> Running {
        let mut watch = self.watch(&["greeter"]);
        let mut command =
            self.command(&["demo-node", "--id", id, "--node-version", version, "--group", group]);
        let node = Running::start(command.stdin(Stdio::piped()));
        watch.until(|change| {
            matches!(change["event"].as_str(), Some("added" | "present" | "changed"))
                && change["node"]["id"] == id
                && change["node"]["version"] == version
        });
        node
    }

    /// What is different in every run is replaced by a word.
    fn ran(&self, output: &std::process::Output) -> Ran {
        let text = |bytes: &[u8]| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            steady(&text.replace(&self.path().display().to_string(), "[WORLD]"))
        };
        Ran { stdout: text(&output.stdout), stderr: text(&output.stderr), code: output.status.code() }
    }
}

// === impl Ran ===

impl Ran {
    #[track_caller]
    pub(crate) fn expect(&self, code: i32, stdout: &str, stderr: &str) {
        assert_eq!((self.stdout.as_str(), self.stderr.as_str()), (stdout, stderr));
        assert_eq!(self.code, Some(code));
    }

    /// The parts of stderr that must be there, and the code.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, said: &[&str]) {
        for said in said {
            assert!(self.stderr.contains(said), "{said:?} is not in:\n{}", self.stderr);
        }
        assert_eq!((self.code, self.stdout.as_str()), (Some(code), ""), "{}", self.stderr);
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        serde_json::from_str(&self.stdout).unwrap()
    }
}

// === impl Running ===

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let limit = Limit::on(&child);
        Self { child, lines, _limit: limit }
    }

    /// Starts a watch, and waits until what is there already has been told: what comes from then on is "added".
    pub(crate) fn watching(command: &mut Command) -> Self {
        let mut watch = Self::start(command.stderr(Stdio::piped()));
        let mut said = BufReader::new(watch.child.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert!(line.starts_with("watching "), "{line}");
        watch
    }

    /// The next line of its stdout.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the process ended: {:?}", self.child.wait());
        line.trim_end().to_owned()
    }

    /// Reads lines of JSON until one is as wanted.
    pub(crate) fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let value = serde_json::from_str(&self.line()).unwrap();
            if wanted(&value) {
                return value;
            }
        }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(pid(&self.child), signal).unwrap();
    }

    /// Waits for its end, and gives what it still printed and its code.
    pub(crate) fn end(mut self) -> (String, Option<i32>) {
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        (rest, self.child.wait().unwrap().code())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// === impl Limit ===

impl Limit {
    fn on(child: &Child) -> Self {
        let pid = pid(child);
        let (over, waiting) = mpsc::channel::<()>();
        std::thread::spawn(move || {
            if waiting.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        });
        Self { _over: over }
    }
}

fn pid(child: &Child) -> rustix::process::Pid {
    rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap()
}

/// Ports, times and durations are not the same in two runs.
fn steady(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("127.0.0.1:") {
        let (before, after) = rest.split_at(at + "127.0.0.1:".len());
        out.push_str(before);
        let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        // A port that the test chose itself has few digits.
        if digits >= 5 {
            out.push_str("[PORT]")
        } else {
            out.push_str(&after[..digits])
        }
        rest = &after[digits..];
    }
    out.push_str(rest);
    out
}
