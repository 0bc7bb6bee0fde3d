//! The demo's nodes: real processes, started from this very program.
//!
//! A node reads its standard input, a pipe whose other end only the demo holds. When that end closes, the demo is over or
//! dead, whatever it died of, and the node ends too. A node that is to stay is told so before.

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use callsign::core::Tasks;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStderr, ChildStdin, Command},
};

use super::node::KEEP;
use crate::{
    context::Context,
    error::{CliError, Result},
    exit::Exit,
    units,
};

/// The processes of the demo.
#[derive(Debug)]
pub(super) struct Fleet {
    program: PathBuf,
    settings: Vec<String>,
    /// As whom the nodes register: not among their arguments, which everybody can read.
    access: Vec<(&'static str, String)>,
    group: String,
    running: BTreeMap<String, Process>,
    tasks: Tasks,
}

#[derive(Debug)]
struct Process {
    child: Child,
    /// Kept out of the child, which closes it whenever it is waited for.
    stdin: Option<ChildStdin>,
    pid: Pid,
    said: Arc<Mutex<VecDeque<String>>>,
}

/// Last words of a node that are kept.
const WORDS_MAX: usize = 8;

/// How long the nodes get to end when the demo is over.
const END_MAX: Duration = Duration::from_secs(3);

// === impl Fleet ===

impl Fleet {
    /// No nodes yet. All of them will be in `group`, which keeps them apart from those of another demo.
    ///
    /// # Errors
    ///
    /// When this program cannot be found.
    pub(super) fn new(context: &Context, group: &str) -> Result<Self> {
        let settings = &context.settings;
        let mut flags =
            vec![format!("--registry={}", settings.registry.value), format!("--domain={}", settings.domain)];
        if let Some(address) = &settings.registry_address {
            flags.push(format!("--registry-address={}", address.value));
        }
        let access = settings.access.variables();
        Ok(Self {
            program: context.program()?,
            settings: flags,
            access: access.into_iter().map(|(name, value)| (name, value.to_owned())).collect(),
            group: group.to_owned(),
            running: BTreeMap::new(),
            tasks: Tasks::new(),
        })
    }

    /// Starts a node's process and gives its id.
    ///
    /// # Errors
    ///
    /// When the system does not start it.
    pub(super) fn start(&mut self, id: &str, version: &str) -> Result<u32> {
        let failed = |what: &str| CliError::new(Exit::Other, format!("cannot start the node {id}: {what}"));
        let mut child = Command::new(&self.program)
            .arg("demo-node")
            .args(&self.settings)
            .envs(self.access.iter().map(|(name, value)| (name, value)))
            .args(["--id", id, "--node-version", version, "--group", &self.group])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C is for the demo, which then ends its nodes in good order.
            .process_group(0)
            .spawn()
            .map_err(|error| failed("the system refuses").because_of(&error))?;
        let number = child.id().ok_or_else(|| failed("it ended at once"))?;
        let pid =
            i32::try_from(number).ok().and_then(Pid::from_raw).ok_or_else(|| failed("its id is odd"))?;
        let said = Arc::new(Mutex::new(VecDeque::new()));
        if let Some(stderr) = child.stderr.take() {
            self.tasks.spawn("node's words", listen(stderr, said.clone()));
        }
        let stdin = child.stdin.take();
        self.running.insert(id.to_owned(), Process { child, stdin, pid, said });
        Ok(number)
    }

    /// The process ids of the nodes that run, by node.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.running.values().filter_map(|process| process.child.id()).collect()
    }

    /// Kills a node as a crash would: without a word to anybody.
    ///
    /// # Errors
    ///
    /// When there is no such process.
    pub(super) fn kill(&mut self, id: &str) -> Result<()> {
        self.signal(id, Signal::KILL)
    }

    /// Asks a node to end, as a service manager would.
    ///
    /// # Errors
    ///
    /// When there is no such process.
    pub(super) fn terminate(&mut self, id: &str) -> Result<()> {
        self.signal(id, Signal::TERM)
    }

    /// Waits until a node has ended.
    ///
    /// # Errors
    ///
    /// When there is no such node, or the system does not say how it ended.
    pub(super) async fn ended(&mut self, id: &str) -> Result<ExitStatus> {
        let process = self.running.get_mut(id).ok_or_else(|| unknown(id))?;
        let status = process.child.wait().await.map_err(|error| {
            CliError::new(Exit::Other, format!("cannot tell how {id} ended")).because_of(&error)
        })?;
        self.running.remove(id);
        Ok(status)
    }

    /// Waits until a node ends by itself, and says which and why.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn fallen(&mut self) -> CliError {
        let waits = self.running.iter_mut().map(|(id, process)| {
            Box::pin(async move {
                let status = process.child.wait().await;
                let words = process.said.lock().unwrap_or_else(PoisonError::into_inner);
                let error = CliError::new(Exit::Other, format!("the node {id} ended by itself"));
                match (status, words.is_empty()) {
                    (_, false) => error.because(words.iter().cloned().collect::<Vec<_>>().join("\n")),
                    (Ok(status), true) => error.because(status.to_string()),
                    (Err(problem), true) => error.because_of(&problem),
                }
            })
        });
        futures_util::future::select_all(waits).await.0
    }

    /// Lets the nodes stay when the demo ends.
    ///
    /// # Errors
    ///
    /// When one of them cannot be told.
    pub(super) async fn keep(mut self) -> Result<()> {
        for (id, process) in &mut self.running {
            let Some(mut stdin) = process.stdin.take() else { continue };
            let told = async {
                stdin.write_all(KEEP).await?;
                stdin.flush().await
            };
            told.await.map_err(|error| {
                CliError::new(Exit::Other, format!("cannot tell {id} to stay")).because_of(&error)
            })?;
        }
        Ok(())
    }

    /// Ends all nodes, and waits until they have.
    pub(super) async fn end(mut self) {
        for process in self.running.values_mut() {
            drop(process.stdin.take());
        }
        let all =
            futures_util::future::join_all(self.running.values_mut().map(|process| process.child.wait()));
        if tokio::time::timeout(END_MAX, all).await.is_err() {
            tracing::warn!(waited = %units::short(END_MAX), "nodes did not end and are killed");
            for process in self.running.values_mut() {
                let _ = process.child.kill().await;
            }
        }
        self.tasks.close().await;
    }

    fn signal(&mut self, id: &str, signal: Signal) -> Result<()> {
        let process = self.running.get(id).ok_or_else(|| unknown(id))?;
        kill_process(process.pid, signal)
            .map_err(|error| CliError::new(Exit::Other, format!("cannot signal {id}")).because_of(&error))
    }
}

fn unknown(id: &str) -> CliError {
    CliError::new(Exit::Other, format!("the demo has no node {id}"))
}

/// Keeps the last lines that a node wrote to its stderr.
async fn listen(stderr: ChildStderr, said: Arc<Mutex<VecDeque<String>>>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() == WORDS_MAX {
            said.pop_front();
        }
        said.push_back(line);
    }
}
