//! A process that speaks in lines of JSON, and where it runs.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// What none of these processes takes longer for, even on a machine with ten times as much to do as it can.
pub(crate) const WAIT: Duration = Duration::from_secs(60);

/// The network that a process sees.
#[derive(Debug, Clone, Default)]
pub enum Place {
    /// The test's own.
    #[default]
    Here,
    /// That of a network namespace, by its file.
    Namespace(PathBuf),
}

/// The lines that a process writes to its stdout, each a JSON value.
#[derive(Debug)]
pub(crate) struct Said {
    who: String,
    lines: Lines<BufReader<ChildStdout>>,
    /// What was read so far, for the message of a failure.
    heard: Vec<String>,
}

// === impl Place ===

impl Place {
    /// The command that runs `program` there.
    pub(crate) fn command(&self, program: &Path) -> Command {
        match self {
            Self::Here => Command::new(program),
            Self::Namespace(file) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net={}", file.display())).arg("--").arg(program);
                command
            }
        }
    }
}

// === impl Said ===

impl Said {
    /// Starts a process that is killed when the test is over, and listens to it.
    pub(crate) fn start(who: impl Into<String>, command: &mut Command) -> (Child, Self) {
        let who = who.into();
        let mut child = command
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {who}: {error}"));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        (child, Self { who, lines, heard: Vec::new() })
    }

    /// The next line.
    pub(crate) async fn next(&mut self, wanted: &str) -> Value {
        let line = match timeout(WAIT, self.lines.next_line()).await {
            Ok(Ok(Some(line))) => line,
            Ok(Ok(None)) => panic!("{} ended before {wanted}; it said:\n{}", self.who, self.heard.join("\n")),
            Ok(Err(error)) => panic!("{} cannot be read: {error}", self.who),
            Err(_) => panic!("{} did not say {wanted}; it said:\n{}", self.who, self.heard.join("\n")),
        };
        self.heard.push(line.clone());
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{} said {line:?}: {error}", self.who))
    }
}

// === free functions ===

/// Where a program of `cargo xtask interop` lies.
pub(crate) fn built(variable: &str, name: &str) -> PathBuf {
    let folder: OsString = std::env::var_os(variable).unwrap_or_else(|| {
        panic!("{variable} does not say where {name} is: run this by `cargo xtask interop`, which builds it")
    });
    Path::new(&folder).join(name)
}
