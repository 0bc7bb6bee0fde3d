//! The processes of a fleet: this program in another role, told what to do line by line.
//!
//! A child says where it is when it is ready, and then answers each line that it is sent by a line of JSON. It ends with its input.

use std::process::Stdio;

use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{Id, WaitPidFlag, waitid},
    },
    unistd::Pid,
};
use serde::Serialize;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{ChildStdin, ChildStdout, Command},
    time::timeout,
};

use super::PATIENCE;
use crate::calls::bare_program;

/// A process, killed when this is dropped.
#[derive(Debug)]
pub(super) struct Child {
    process: tokio::process::Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    /// What it said when it was ready.
    pub(super) ready: Value,
}

// === impl Child ===

impl Child {
    /// Starts a process in a role, and waits until it is ready.
    pub(super) async fn start(role: &str, options: &impl Serialize) -> Self {
        let options = serde_json::to_string(options).expect("options are plain data");
        let mut process = Command::new(bare_program())
            .args([role, &options])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a process more");
        let orders = process.stdin.take().expect("piped");
        let answers = BufReader::new(process.stdout.take().expect("piped")).lines();
        let mut child = Self { process, orders, answers, ready: Value::Null };
        child.ready = child.answer("start").await;
        child
    }

    /// Gives an order, and waits for the answer.
    pub(super) async fn ask(&mut self, order: &str) -> Value {
        self.orders.write_all(format!("{order}\n").as_bytes()).await.expect("a child that lives");
        self.answer(order).await
    }

    /// The same for an answer that is a number.
    pub(super) async fn number(&mut self, order: &str) -> f64 {
        self.ask(order).await.as_f64().expect("a number")
    }

    /// Sends a signal; the process has it when this returns.
    pub(super) fn signal(&self, signal: Signal) {
        kill(self.id(), signal).expect("a child of ours");
    }

    /// Kills it. It is dead when this returns, and its connections are closed; no task of this thread has run meanwhile.
    pub(super) fn kill(&self) {
        self.signal(Signal::SIGKILL);
        // On a busy machine a killed process may wait its turn to die, and takes calls until then.
        let looking = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        waitid(Id::Pid(self.id()), looking).expect("a child of ours");
    }

    fn id(&self) -> Pid {
        Pid::from_raw(self.process.id().expect("a child that lives").cast_signed())
    }

    /// Waits until it has ended.
    pub(super) async fn ended(&mut self) {
        let ended = timeout(PATIENCE, self.process.wait()).await.expect("a child that ends");
        ended.expect("a child of ours");
    }

    async fn answer(&mut self, order: &str) -> Value {
        let line = timeout(PATIENCE, self.answers.next_line()).await;
        let Ok(Ok(Some(line))) = line else { panic!("no answer to `{order}`: {line:?}") };
        serde_json::from_str(&line).expect("an answer in JSON")
    }
}

// === the child's side ===

/// Says that this process is ready, and obeys until its input ends.
pub(super) async fn obey(ready: Value, mut act: impl AsyncFnMut(&str, &str) -> Value) {
    println!("{ready}");
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let (order, argument) = line.split_once(' ').unwrap_or((&line, ""));
        println!("{}", act(order, argument).await);
    }
}
