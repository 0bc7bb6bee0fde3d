//! What a watch amounts to: its events played over a plain map, each of them checked.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    model::{Node, NodeKey},
    registry::{Listing, Removal, Revision, Watch, WatchEvent},
};

/// Follows a watch and holds every event against the contract: snapshots are whole, revisions grow, nothing is removed
/// that was not there.
#[derive(Debug)]
pub struct Replica {
    watch: Watch,
    case: &'static str,
    patience: Duration,
    nodes: BTreeMap<NodeKey, Arc<Node>>,
    revision: Revision,
    /// The snapshot under way.
    snapshot: Option<BTreeMap<NodeKey, Arc<Node>>>,
    /// Everything seen, in order.
    log: Vec<WatchEvent>,
}

// === impl Replica ===

impl Replica {
    /// Plays `watch`; `patience` is the longest wait for an event that must come, and `case` is named when it does not.
    #[must_use]
    pub fn new(watch: Watch, case: &'static str, patience: Duration) -> Self {
        Self {
            watch,
            case,
            patience,
            nodes: BTreeMap::new(),
            revision: Revision::default(),
            snapshot: None,
            log: Vec::new(),
        }
    }

    /// The nodes as the last whole picture has them.
    #[must_use]
    pub fn nodes(&self) -> &BTreeMap<NodeKey, Arc<Node>> {
        &self.nodes
    }

    /// The revision that the nodes show.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// How the entry went away, each time it did.
    #[must_use]
    pub fn removals(&self, key: &NodeKey) -> Vec<Removal> {
        let removals = self.log.iter().filter_map(|event| match event {
            WatchEvent::Remove(removed, removal, _) if removed == key => Some(*removal),
            _ => None,
        });
        removals.collect()
    }

    /// How many failures the watch has told of.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.log.iter().filter(|event| matches!(event, WatchEvent::Error(_))).count()
    }

    /// Waits for events until the nodes are as `wanted`.
    ///
    /// # Panics
    ///
    /// When they do not become so in time, with `what` and the nodes as they are; when an event breaks the contract.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&BTreeMap<NodeKey, Arc<Node>>) -> bool) {
        self.until_within(Duration::ZERO, what, wanted).await;
    }

    /// [`until`](Self::until), with more patience for each event.
    ///
    /// # Panics
    ///
    /// As [`until`](Self::until).
    pub async fn until_within(
        &mut self,
        more: Duration,
        what: &str,
        wanted: impl Fn(&BTreeMap<NodeKey, Arc<Node>>) -> bool,
    ) {
        // Before its first snapshot is done a replica knows nothing, which is not the same as that there is nothing.
        while !self.is_synced() || !wanted(&self.nodes) {
            let deadline = Instant::now() + self.patience + more;
            match tokio::time::timeout_at(deadline, self.watch.next()).await {
                Ok(Some(event)) => self.apply(event),
                Ok(None) => self.fail(&format!("the watch ended while waiting until {what}")),
                Err(_) => self.fail(&format!("no event came while waiting until {what}")),
            }
        }
    }

    /// Takes in what comes within `time`: to see that something does not happen.
    ///
    /// # Panics
    ///
    /// When an event breaks the contract, or the watch has ended.
    pub async fn listen(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while tokio::time::timeout_at(end, self.step()).await.is_ok() {}
    }

    /// Whether a whole snapshot was seen, and none is under way.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.snapshot.is_none() && self.log.iter().any(|event| matches!(event, WatchEvent::SnapshotDone(_)))
    }

    /// Waits for the next event and takes it in.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe if the watch is, which it must be.
    ///
    /// # Panics
    ///
    /// When the event breaks the contract, or the watch has ended.
    pub async fn step(&mut self) {
        match self.watch.next().await {
            Some(event) => self.apply(event),
            None => self.fail("the watch ended"),
        }
    }

    /// Plays one event.
    ///
    /// # Panics
    ///
    /// When it breaks the contract.
    pub fn apply(&mut self, event: WatchEvent) {
        self.log.push(event.clone());
        match event {
            WatchEvent::SnapshotStart => {
                if self.snapshot.replace(BTreeMap::new()).is_some() {
                    self.fail("a snapshot began within a snapshot");
                }
            }
            WatchEvent::Node(node) => {
                let Some(snapshot) = &mut self.snapshot else {
                    self.fail("a node came outside of a snapshot")
                };
                if snapshot.insert(node.key(), node.clone()).is_some() {
                    self.fail(&format!("{} is twice in one snapshot", node.key()));
                }
            }
            WatchEvent::SnapshotDone(revision) => {
                let Some(nodes) = self.snapshot.take() else {
                    self.fail("a snapshot ended that never began")
                };
                if revision < self.revision {
                    self.fail(&format!("the revision went back from {} to {revision}", self.revision));
                }
                (self.nodes, self.revision) = (nodes, revision);
            }
            WatchEvent::Upsert(node, revision) => {
                self.advance(revision);
                self.nodes.insert(node.key(), node);
            }
            WatchEvent::Remove(key, _, revision) => {
                self.advance(revision);
                if self.nodes.remove(&key).is_none() {
                    self.fail(&format!("{key} was removed although it was not there"));
                }
            }
            WatchEvent::Error(_) => {}
        }
    }

    /// What the nodes would be for a caller who listed, and then followed this watch from the listing's revision on.
    #[must_use]
    pub fn replayed_over(&self, listing: &Listing) -> BTreeMap<NodeKey, Arc<Node>> {
        let mut nodes: BTreeMap<_, _> = listing.nodes.iter().map(|node| (node.key(), node.clone())).collect();
        let mut snapshot = BTreeMap::new();
        for event in &self.log {
            match event {
                WatchEvent::SnapshotStart => snapshot.clear(),
                WatchEvent::Node(node) => {
                    snapshot.insert(node.key(), node.clone());
                }
                WatchEvent::SnapshotDone(revision) if *revision > listing.revision => {
                    nodes.clone_from(&snapshot);
                }
                WatchEvent::Upsert(node, revision) if *revision > listing.revision => {
                    nodes.insert(node.key(), node.clone());
                }
                WatchEvent::Remove(key, _, revision) if *revision > listing.revision => {
                    nodes.remove(key);
                }
                WatchEvent::SnapshotDone(_)
                | WatchEvent::Upsert(..)
                | WatchEvent::Remove(..)
                | WatchEvent::Error(_) => {}
            }
        }
        nodes
    }

    /// Every description of a node that came as a change, with its revision, in order.
    pub fn descriptions(&self) -> impl Iterator<Item = (&Arc<Node>, Revision)> {
        self.log.iter().filter_map(|event| match event {
            WatchEvent::Upsert(node, revision) => Some((node, *revision)),
            _ => None,
        })
    }

    fn advance(&mut self, revision: Revision) {
        if self.snapshot.is_some() || !self.is_synced() {
            self.fail("a change came before the snapshot was done");
        }
        if revision < self.revision {
            self.fail(&format!("the revision went back from {} to {revision}", self.revision));
        }
        self.revision = revision;
    }

    fn fail(&self, problem: &str) -> ! {
        let last = self.log.len().saturating_sub(8);
        panic!(
            "{}: {problem}\n  nodes at revision {}: {}\n  last events: {:#?}",
            self.case,
            self.revision,
            Keys(&self.nodes),
            &self.log[last..]
        );
    }
}

/// The keys of at most a few nodes, and how many there are.
struct Keys<'a>(&'a BTreeMap<NodeKey, Arc<Node>>);

impl fmt::Display for Keys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} nodes", self.0.len())?;
        for key in self.0.keys().take(16) {
            write!(f, ", {key}")?;
        }
        Ok(())
    }
}
