//! What is going on in the demo, as its screen and its summary tell it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::tally::Tally;

/// The state shared by the script, the callers and the screen.
#[derive(Debug, Clone)]
pub(super) struct Stage(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: Instant,
    tally: Tally,
    nodes: Mutex<Vec<NodeState>>,
    events: Mutex<Vec<Event>>,
    /// Counts changes, for those who wait for one.
    changes: watch::Sender<u64>,
}

/// A node on the stage, in the order of its appearance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodeState {
    pub(super) id: String,
    pub(super) version: String,
    pub(super) address: Option<String>,
    pub(super) life: Life,
}

/// Where a node is in its life, as the demo knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// Its process has been started.
    Starting,
    /// The client can call it.
    Ready,
    /// The client has it in its view and is connecting, or failing to.
    Connecting,
    /// It has been told to end, and finishes what it has begun.
    Draining,
    /// It was killed without a word.
    Killed,
    /// It has ended in good order.
    Stopped,
}

/// Something worth a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) after: Duration,
    pub(super) weight: Weight,
    pub(super) text: String,
}

/// How an event is coloured; its words say it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// The demo does something.
    Deed,
    /// Something came of it.
    Good,
    /// Something is wrong.
    Bad,
}

// === impl Stage ===

impl Stage {
    /// An empty stage; time runs from now.
    pub(super) fn new() -> Self {
        let started = Instant::now();
        Self(Arc::new(Inner {
            started,
            tally: Tally::new(started),
            nodes: Mutex::default(),
            events: Mutex::default(),
            changes: watch::Sender::new(0),
        }))
    }

    /// The counts.
    pub(super) fn tally(&self) -> &Tally {
        &self.0.tally
    }

    /// How long it has been going on.
    pub(super) fn elapsed(&self) -> Duration {
        self.0.started.elapsed()
    }

    /// Says something.
    pub(super) fn say(&self, weight: Weight, text: impl Into<String>) {
        let event = Event { after: self.elapsed(), weight, text: text.into() };
        lock(&self.0.events).push(event);
        self.changed();
    }

    /// What was said from the event number `from` on.
    pub(super) fn events(&self, from: usize) -> Vec<Event> {
        lock(&self.0.events).get(from..).unwrap_or_default().to_vec()
    }

    /// The nodes, in the order of their appearance.
    pub(super) fn nodes(&self) -> Vec<NodeState> {
        lock(&self.0.nodes).clone()
    }

    /// One node.
    pub(super) fn node(&self, id: &str) -> Option<NodeState> {
        lock(&self.0.nodes).iter().find(|node| node.id == id).cloned()
    }

    /// A node enters, or enters again.
    pub(super) fn enter(&self, id: &str, version: &str) {
        let entered =
            NodeState { id: id.to_owned(), version: version.to_owned(), address: None, life: Life::Starting };
        let mut nodes = lock(&self.0.nodes);
        match nodes.iter_mut().find(|node| node.id == id) {
            Some(node) => *node = entered,
            None => nodes.push(entered),
        }
        drop(nodes);
        self.changed();
    }

    /// Changes a node, and tells those who wait if that made a difference.
    pub(super) fn update(&self, id: &str, change: impl FnOnce(&mut NodeState)) {
        let mut nodes = lock(&self.0.nodes);
        let Some(node) = nodes.iter_mut().find(|node| node.id == id) else { return };
        let before = node.clone();
        change(node);
        let changed = *node != before;
        drop(nodes);
        if changed {
            self.changed();
        }
    }

    /// Waits until a node is in a state.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn until(&self, id: &str, life: Life) {
        let mut changes = self.0.changes.subscribe();
        while self.node(id).is_none_or(|node| node.life != life) {
            // The sender lives as long as this stage.
            let _ = changes.changed().await;
        }
    }

    fn changed(&self) {
        self.0.changes.send_modify(|count| *count += 1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
