//! From a registry's events to what a person wants to know of them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use callsign::core::{Error, Node, NodeKey, WatchEvent, registry::Removal};
use serde::Serialize;

use crate::{
    commands::view::{NodeView, rfc3339},
    output::{Paint, Render, printable},
};

/// The nodes seen so far, to tell what is new.
#[derive(Debug, Default)]
pub(super) struct Changes {
    nodes: BTreeMap<NodeKey, Arc<Node>>,
    /// The snapshot that is being read.
    snapshot: Option<BTreeMap<NodeKey, Arc<Node>>>,
    started: bool,
}

/// One thing that happened, as JSON shows it. Part of the interface.
#[derive(Debug, Serialize)]
pub(super) struct Change {
    at: String,
    event: Event,
    reason: Option<String>,
    changes: Vec<String>,
    node: Option<NodeView>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Event {
    Present,
    Added,
    Changed,
    Removed,
    Error,
}

// === impl Changes ===

impl Changes {
    /// Whether a whole picture has been seen.
    pub(super) fn is_started(&self) -> bool {
        self.started
    }

    /// What an event means, at `now` since the Unix epoch.
    pub(super) fn take(&mut self, event: WatchEvent, now: Duration) -> Vec<Change> {
        match event {
            WatchEvent::SnapshotStart => {
                self.snapshot = Some(BTreeMap::new());
                Vec::new()
            }
            WatchEvent::Node(node) => {
                self.snapshot.get_or_insert_default().insert(node.key(), node);
                Vec::new()
            }
            WatchEvent::SnapshotDone(_) => self.replace(now),
            WatchEvent::Upsert(node, _) => self.upsert(&node, now).into_iter().collect(),
            WatchEvent::Remove(key, removal, _) => {
                let reason = match removal {
                    Removal::Deregistered => "it deregistered",
                    Removal::Expired => "it died: its process is gone or stopped renewing",
                    Removal::Unknown => "the registry does not say why",
                };
                self.nodes.remove(&key).map(|node| Change::removed(&node, reason, now)).into_iter().collect()
            }
            WatchEvent::Error(error) => vec![Change::error(&error, now)],
        }
    }

    /// A whole picture replaces what was known; only the differences are news.
    fn replace(&mut self, now: Duration) -> Vec<Change> {
        let snapshot = self.snapshot.take().unwrap_or_default();
        let first = !std::mem::replace(&mut self.started, true);
        let gone: Vec<_> = self.nodes.keys().filter(|key| !snapshot.contains_key(key)).cloned().collect();
        let mut changes: Vec<_> = gone
            .iter()
            .filter_map(|key| self.nodes.remove(key))
            .map(|node| Change::removed(&node, "it went while the registry could not be watched", now))
            .collect();
        for node in snapshot.into_values() {
            changes.extend(
                self.upsert(&node, now).map(|change| if first { change.into_present() } else { change }),
            );
        }
        changes
    }

    fn upsert(&mut self, node: &Arc<Node>, now: Duration) -> Option<Change> {
        match self.nodes.insert(node.key(), node.clone()) {
            None => Some(Change::new(Event::Added, node, now)),
            Some(before) if before == *node => None,
            Some(before) => {
                let mut change = Change::new(Event::Changed, node, now);
                change.changes = differences(&before, node);
                Some(change)
            }
        }
    }
}

// === impl Change ===

impl Change {
    fn new(event: Event, node: &Node, now: Duration) -> Self {
        let node = Some(NodeView::new(node, now));
        Self { at: rfc3339(now), event, reason: None, changes: Vec::new(), node }
    }

    fn removed(node: &Node, reason: &str, now: Duration) -> Self {
        Self { reason: Some(reason.to_owned()), ..Self::new(Event::Removed, node, now) }
    }

    fn error(error: &Error, now: Duration) -> Self {
        Self {
            at: rfc3339(now),
            event: Event::Error,
            reason: Some(error.chain()),
            changes: Vec::new(),
            node: None,
        }
    }

    fn into_present(self) -> Self {
        Self { event: Event::Present, ..self }
    }
}

impl Render for Change {
    type Data = Self;

    fn data(&self) -> &Self {
        self
    }

    fn text(&self, wide: bool, paint: Paint) -> Vec<String> {
        let sign = match self.event {
            Event::Present => paint.dim("="),
            Event::Added => paint.good("+"),
            Event::Changed => paint.warn("~"),
            Event::Removed => paint.bad("-"),
            Event::Error => paint.error("!"),
        };
        // The time of day is enough on a screen; JSON has the date.
        let time = self.at.get(11..19).unwrap_or_default();
        let mut line = format!("{} {sign} ", paint.dim(time));
        if let Some(node) = &self.node {
            line.push_str(&node.line(wide));
        }
        let why: Vec<&str> = self.changes.iter().chain(&self.reason).map(String::as_str).collect();
        if !why.is_empty() {
            if self.node.is_some() {
                line.push_str("  ");
            }
            line.push_str(&printable(&why.join(", "), false));
        }
        vec![line]
    }

    fn names(&self) -> Vec<String> {
        self.node.iter().map(NodeView::name).collect()
    }
}

/// What changed from one entry to the next, field by field.
fn differences(before: &Node, after: &Node) -> Vec<String> {
    let mut changes = Vec::new();
    let mut differ = |what: &str, before: Option<&str>, after: Option<&str>| {
        if before != after {
            let show = |value: Option<&str>| value.unwrap_or("none").to_owned();
            changes.push(format!("{what} {} -> {}", show(before), show(after)));
        }
    };
    differ("address", Some(before.address()), Some(after.address()));
    differ("version", Some(before.version()), Some(after.version()));
    let keys: std::collections::BTreeSet<_> =
        before.metadata().keys().chain(after.metadata().keys()).collect();
    for key in keys {
        differ(key, before.metadata().get(key), after.metadata().get(key));
    }
    if before.endpoints() != after.endpoints() {
        changes.push("endpoints changed".to_owned());
    }
    changes
}

#[cfg(test)]
mod tests {
    use callsign::core::registry::Revision;

    use super::*;

    fn node(id: &str, version: &str) -> Arc<Node> {
        Arc::new(Node::builder("greeter", id, "127.0.0.1:4000").version(version).build().unwrap())
    }

    fn lines(changes: &mut Changes, event: WatchEvent) -> Vec<String> {
        let now = Duration::from_secs(1_700_000_000);
        changes.take(event, now).iter().flat_map(|change| change.text(false, Paint::OFF)).collect()
    }

    fn snapshot(changes: &mut Changes, nodes: &[Arc<Node>]) -> Vec<String> {
        assert!(lines(changes, WatchEvent::SnapshotStart).is_empty());
        for node in nodes {
            assert!(lines(changes, WatchEvent::Node(node.clone())).is_empty());
        }
        lines(changes, WatchEvent::SnapshotDone(Revision(1)))
    }

    #[test]
    fn only_what_is_new_is_told_and_why() {
        let mut changes = Changes::default();
        assert_eq!(snapshot(&mut changes, &[node("a", "1")]), ["22:13:20 = greeter/a  127.0.0.1:4000  1"]);
        assert_eq!(
            lines(&mut changes, WatchEvent::Upsert(node("b", "1"), Revision(2))),
            ["22:13:20 + greeter/b  127.0.0.1:4000  1"]
        );
        assert!(lines(&mut changes, WatchEvent::Upsert(node("b", "1"), Revision(3))).is_empty());
        assert_eq!(
            lines(&mut changes, WatchEvent::Upsert(node("b", "2"), Revision(4))),
            ["22:13:20 ~ greeter/b  127.0.0.1:4000  2  version 1 -> 2"]
        );
        let gone = WatchEvent::Remove(node("b", "2").key(), Removal::Deregistered, Revision(5));
        assert_eq!(
            lines(&mut changes, gone.clone()),
            ["22:13:20 - greeter/b  127.0.0.1:4000  2  it deregistered"]
        );
        assert!(lines(&mut changes, gone).is_empty());
    }

    #[test]
    fn a_second_snapshot_tells_the_differences_only() {
        let mut changes = Changes::default();
        snapshot(&mut changes, &[node("a", "1"), node("b", "1")]);
        assert_eq!(
            snapshot(&mut changes, &[node("b", "1"), node("c", "1")]),
            [
                "22:13:20 - greeter/a  127.0.0.1:4000  1  it went while the registry could not be watched",
                "22:13:20 + greeter/c  127.0.0.1:4000  1"
            ]
        );
    }
}
