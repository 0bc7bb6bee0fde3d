//! go-micro's side: one of the Go programs, told what to do.

use std::{collections::VecDeque, fmt, process::Stdio};

use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, ChildStdin},
};

use crate::process::{Place, Said, built};

/// A line of go-micro: its last release that the Go module proxy serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoMicro {
    /// The keys of its entries come in the old order.
    V3,
    /// The last with its registries in modules of their own.
    V4,
    /// What is newest here.
    V5,
}

/// A Go process with one registry of go-micro. It dies with its guard, without deregistering anything.
#[derive(Debug)]
pub struct Peer {
    line: GoMicro,
    child: Child,
    stdin: ChildStdin,
    said: Said,
    /// Events that came while an answer was waited for.
    events: VecDeque<Value>,
}

// === impl Peer ===

impl Peer {
    /// Starts one; `registry` is `etcd` with addresses, or `mdns`.
    pub async fn start(line: GoMicro, place: &Place, registry: &[&str], env: &[(&str, &str)]) -> Self {
        let program = built("CALLSIGN_INTEROP_PEERS", &format!("peer{line}"));
        let mut command = place.command(&program);
        command.args(registry).envs(env.iter().copied()).stdin(Stdio::piped());
        let (mut child, said) = Said::start(format!("go-micro v{line}"), &mut command);
        let stdin = child.stdin.take().unwrap();
        let mut peer = Self { line, child, stdin, said, events: VecDeque::new() };
        peer.answer("start").await.unwrap();
        peer
    }

    /// Which go-micro it is.
    #[must_use]
    pub fn line(&self) -> GoMicro {
        self.line
    }

    /// Has it do something; the rest of the request is `with`.
    pub async fn ask(&mut self, what: &str, with: Value) -> Value {
        self.try_ask(what, with).await.unwrap_or_else(|error| panic!("go-micro cannot {what}: {error}"))
    }

    /// The same, where go-micro may say no.
    ///
    /// # Errors
    ///
    /// go-micro's words.
    pub async fn try_ask(&mut self, what: &str, mut with: Value) -> Result<Value, String> {
        with["do"] = what.into();
        self.stdin.write_all(format!("{with}\n").as_bytes()).await.unwrap();
        self.answer(what).await
    }

    /// The services of a name, as go-micro sees them: none if it says that there are none.
    pub async fn get(&mut self, name: &str) -> Vec<Value> {
        match self.try_ask("get", json!({ "name": name })).await {
            Ok(answer) => services(&answer),
            Err(error) if error.contains("not found") => Vec::new(),
            Err(error) => panic!("go-micro cannot look up {name}: {error}"),
        }
    }

    /// All services.
    pub async fn list(&mut self) -> Vec<Value> {
        services(&self.ask("list", json!({})).await)
    }

    /// Follows a service, or all of them.
    pub async fn watch(&mut self, name: &str) {
        self.ask("watch", json!({ "name": name })).await;
    }

    /// Reads what the watch tells until an event is as wanted, and gives its action and service.
    pub async fn until(&mut self, wanted: impl Fn(&str, &Value) -> bool) -> (String, Value) {
        loop {
            let event = match self.events.pop_front() {
                Some(event) => event,
                None => self.said.next("the event that was waited for").await,
            };
            assert!(event["failed"].is_null(), "the watch of go-micro failed: {event}");
            let action = event["event"].as_str().unwrap_or_default();
            if wanted(action, &event["service"]) {
                return (action.to_owned(), event["service"].clone());
            }
        }
    }

    /// The next event of the watch, whatever it is.
    pub async fn event(&mut self) -> (String, Value) {
        self.until(|_, _| true).await
    }

    /// Ends it as a crash would.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    async fn answer(&mut self, what: &str) -> Result<Value, String> {
        loop {
            let line = self.said.next(&format!("whether it did {what:?}")).await;
            if line["did"] == what {
                return Ok(line);
            }
            if line["failed"] == what {
                return Err(line["error"].as_str().unwrap_or_default().to_owned());
            }
            self.events.push_back(line);
        }
    }
}

fn services(answer: &Value) -> Vec<Value> {
    answer["services"].as_array().cloned().unwrap_or_default()
}

// === impl GoMicro ===

impl fmt::Display for GoMicro {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V3 => "3",
            Self::V4 => "4",
            Self::V5 => "5",
        })
    }
}
