//! Each rule of the directory as a sentence: the machine alone, the machine against a model, and the whole over a registry.

mod doubt;
mod live;
mod model;
mod order;
mod publish;
mod scripted;

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    answer::{Answer, Freshness, View},
    config::DirectoryConfig,
    machine::{Action, Machine},
    names::Names,
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{Node, NodeKey, ServiceName},
    registry::{Listing, Removal, Revision, WatchEvent},
};

/// A machine in a world of the test's making.
struct Rig {
    machine: Machine,
    names: Names,
    now: Instant,
    start: Instant,
    /// Everything published, in order, with its time since the start.
    published: HashMap<ServiceName, Vec<(Duration, Answer)>>,
    /// Readings begun and not answered yet, with their time since the start.
    reads: Vec<(Duration, ServiceName, u64)>,
    reopened: Vec<Duration>,
    freshness: Freshness,
}

impl Rig {
    fn new() -> Self {
        Self::with_config(DirectoryConfig::default())
    }

    fn with_config(config: DirectoryConfig) -> Self {
        let (names, now) = (Names::default(), Instant::now());
        Self {
            machine: Machine::new(config, names.clone(), fastrand::Rng::with_seed(7)),
            names,
            now,
            start: now,
            published: HashMap::new(),
            reads: Vec::new(),
            reopened: Vec::new(),
            freshness: Freshness::Fresh,
        }
    }

    /// A machine that has asked for `greeter`, and been shown these nodes of it at revision 10, long ago.
    fn knowing(ids: &[&str]) -> Self {
        let mut rig = Self::new();
        rig.ask();
        rig.snapshot(&nodes(ids), 10);
        rig.answer_read(Err(away()));
        rig.advance(Duration::from_secs(60));
        rig.published.clear();
        rig
    }

    fn ask(&mut self) {
        self.machine.ask(&greeter(), self.now);
        self.settle();
    }

    fn event(&mut self, event: WatchEvent) {
        self.machine.on_event(event, self.now);
        self.settle();
    }

    fn upsert(&mut self, id: &str, at: u64) {
        self.event(WatchEvent::Upsert(node(id), Revision(at)));
    }

    fn remove(&mut self, id: &str, removal: Removal, at: u64) {
        self.event(WatchEvent::Remove(node(id).key(), removal, Revision(at)));
    }

    fn outage(&mut self) {
        self.event(WatchEvent::Error(away()));
    }

    fn snapshot(&mut self, nodes: &[Arc<Node>], at: u64) {
        self.event(WatchEvent::SnapshotStart);
        for node in nodes {
            self.event(WatchEvent::Node(node.clone()));
        }
        self.event(WatchEvent::SnapshotDone(Revision(at)));
    }

    /// Answers the oldest reading.
    fn answer_read(&mut self, result: Result<Listing>) {
        let (_, name, ticket) = self.reads.remove(0);
        self.machine.on_listing(&name, ticket, result, self.now);
        self.settle();
    }

    /// Lets time pass, doing everything that is due on the way at its time.
    fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        while let Some(due) = self.machine.next()
            && due <= end
        {
            self.now = self.now.max(due);
            self.settle();
        }
        self.now = end;
        self.settle();
    }

    fn settle(&mut self) {
        self.machine.tick(self.now);
        let at = self.now - self.start;
        for action in self.machine.take_actions() {
            match action {
                Action::Publish { name, answer } => {
                    self.published.entry(name).or_default().push((at, answer))
                }
                Action::Read { name, ticket } => self.reads.push((at, name, ticket)),
                Action::Freshness(freshness) => self.freshness = freshness,
                Action::Reopen(wait) => self.reopened.push(wait),
            }
        }
    }

    /// What readers of `greeter` see: the last that was published.
    fn seen(&self) -> Answer {
        let published = self.published.get(&greeter()).and_then(|published| published.last());
        published.map_or_else(|| self.machine.answer(&greeter()).unwrap(), |(_, answer)| answer.clone())
    }

    fn view(&self) -> Arc<View> {
        self.seen().view().unwrap_or_else(|| panic!("not known: {:?}", self.seen())).clone()
    }

    fn ids(&self) -> Vec<String> {
        ids(&self.view())
    }

    fn suspects(&self) -> Vec<String> {
        self.view().suspects().map(|node| node.id().to_string()).collect()
    }

    fn publications(&self) -> usize {
        self.published.get(&greeter()).map_or(0, Vec::len)
    }
}

fn greeter() -> ServiceName {
    ServiceName::new("greeter").unwrap()
}

fn node(id: &str) -> Arc<Node> {
    node_of("greeter", id)
}

fn node_of(service: &str, id: &str) -> Arc<Node> {
    Arc::new(Node::builder(service, id, "127.0.0.1:4000").build().unwrap())
}

fn nodes(ids: &[&str]) -> Vec<Arc<Node>> {
    ids.iter().map(|id| node(id)).collect()
}

fn listing(ids: &[&str], at: u64) -> Result<Listing> {
    Ok(Listing { nodes: nodes(ids), revision: Revision(at), poisoned: 0 })
}

fn ids(view: &View) -> Vec<String> {
    view.nodes().iter().map(|node| node.id().to_string()).collect()
}

fn away() -> Error {
    Error::new(ErrorKind::Unavailable, "reach registry", "nobody answers")
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
