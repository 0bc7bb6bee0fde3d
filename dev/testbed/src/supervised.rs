//! A process that does not outlive the one that started it, however that ends.
//!
//! A shell stands between: it takes orders on its standard input, and when that ends (the guard is dropped, or its process is
//! gone) it kills what it started and removes its folder. It is the parent of what it started, so it also knows when that has
//! really ended, and its ports and locks are free.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::PATIENCE;

/// `start`, `wipe`, `signal NAME` and `end NAME`, each answered by a line when it is done.
const SCRIPT: &str = r#"
# A signal to all of the group ends the reading, and is not the end of this shell.
trap : HUP INT TERM
folder=$1; shift
child=
while read -r order argument; do
    case $order in
        start) "$@" >>"$folder/log" 2>&1 </dev/null & child=$!; echo "$child" ;;
        wipe) rm -rf "$folder/data"; echo wiped ;;
        signal) kill -s "$argument" "$child"; echo "$argument" ;;
        end) kill -s "$argument" "$child"; wait "$child" 2>/dev/null; child=; echo ended ;;
    esac
done
if [ -n "$child" ]; then
    kill -s KILL "$child"
    wait "$child"
fi 2>/dev/null
rm -rf "$folder"
"#;

/// A command with a folder of its own, run by a shell that ends with this.
#[derive(Debug)]
pub(crate) struct Supervised {
    folder: PathBuf,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    _shell: Child,
}

// === impl Supervised ===

impl Supervised {
    /// A shell that is ready to start `program`. What `arguments` gives may name files in the folder that it is given.
    pub(crate) fn new(program: &str, arguments: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let folder = tempfile::Builder::new().prefix("callsign-").tempdir().expect("a folder").keep();
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(&folder)
            .arg(program)
            .args(arguments(&folder))
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            // Where a server says that it is ready, and etcd's leave to run where it is less tested.
            .env("NOTIFY_SOCKET", folder.join("ready"))
            .env("ETCD_UNSUPPORTED_ARCH", "arm64")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let orders = shell.stdin.take().expect("piped");
        let answers = BufReader::new(shell.stdout.take().expect("piped")).lines();
        Self { folder, orders, answers, _shell: shell }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Gives an order, and waits until it is done.
    pub(crate) async fn order(&mut self, order: &str) -> String {
        let done = async {
            self.orders.write_all(format!("{order}\n").as_bytes()).await?;
            self.answers.next_line().await
        };
        match timeout(PATIENCE, done).await {
            Ok(Ok(Some(answer))) => answer,
            other => panic!("`{order}` was not done: {other:?}\n{}", self.log()),
        }
    }

    /// The end of what it has printed.
    pub(crate) fn log(&self) -> String {
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}
