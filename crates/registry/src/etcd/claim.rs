//! Whose a key is: what may be written where something is already.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use callsign_core::{
    Node, NodeKey,
    error::{Error, ErrorKind, Result},
};
use tokio::time::Instant;

use super::{
    client::api::{self, compare},
    entry::Reader,
};

/// Leases that a handle made and that may still hold a key.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<HashMap<i64, Option<Instant>>>);

/// Under which condition a key may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// Nothing is there.
    Absent,
    /// What is there is still of this revision.
    Unchanged(i64),
    /// The lease still has it.
    HeldBy(i64),
}

// === impl Leases ===

impl Leases {
    pub(super) fn insert(&self, id: i64) {
        let mut leases = self.leases();
        // Those that were lost are of interest for as long as they may live.
        let now = Instant::now();
        leases.retain(|_, ends| ends.is_none_or(|ends| ends > now));
        leases.insert(id, None);
    }

    /// Nobody renews it any more; it is gone by then.
    pub(super) fn ends(&self, id: i64, at: Instant) {
        if let Some(ends) = self.leases().get_mut(&id) {
            *ends = Some(at);
        }
    }

    pub(super) fn remove(&self, id: i64) {
        self.leases().remove(&id);
    }

    pub(super) fn has(&self, id: i64) -> bool {
        self.leases().contains_key(&id)
    }

    fn leases(&self) -> MutexGuard<'_, HashMap<i64, Option<Instant>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Condition ===

impl Condition {
    /// As etcd is asked for it.
    pub(super) fn on(self, key: &bytes::Bytes) -> api::Compare {
        let (target, union) = match self {
            Self::Absent => (compare::CompareTarget::Version, compare::TargetUnion::Version(0)),
            Self::Unchanged(revision) => {
                (compare::CompareTarget::Mod, compare::TargetUnion::ModRevision(revision))
            }
            Self::HeldBy(lease) => (compare::CompareTarget::Lease, compare::TargetUnion::Lease(lease)),
        };
        api::Compare {
            result: compare::CompareResult::Equal.into(),
            target: target.into(),
            key: key.clone(),
            target_union: Some(union),
        }
    }
}

/// Whether `node` may be written where `there` is. What is ours, what nobody keeps alive, and what nobody can read, is
/// replaced; so is an entry of the same id at the same address, which is the node itself before it was restarted.
pub(super) fn judge(
    node: &Node,
    there: Option<&api::KeyValue>,
    reader: &Reader,
    is_ours: impl Fn(i64) -> bool,
) -> Result<Condition> {
    let Some(there) = there else { return Ok(Condition::Absent) };
    let replace = Condition::Unchanged(there.mod_revision);
    let nodes = reader.read(&there.key, &there.value).nodes;
    if let (Some(other), None) = (nodes.first(), nodes.iter().find(|other| other.key() == node.key())) {
        return Err(same_place(&node.key(), &other.key()));
    }
    if there.lease == 0 || is_ours(there.lease) {
        return Ok(replace);
    }
    match nodes.iter().find(|other| other.key() == node.key()) {
        Some(other) if other.address() != node.address() => Err(taken(&node.key(), other, there.lease)),
        _ => Ok(replace),
    }
}

/// Whether what is under a key is an entry of this node, or of nobody that can be told.
pub(super) fn may_remove(node: &NodeKey, there: &api::KeyValue, reader: &Reader) -> bool {
    let nodes = reader.read(&there.key, &there.value).nodes;
    nodes.is_empty() || nodes.iter().any(|other| other.key() == *node)
}

fn same_place(ours: &NodeKey, other: &NodeKey) -> Error {
    Error::new(
        ErrorKind::Conflict,
        "register node",
        format!("{other} is where {ours} would be: in etcd's keys a slash in a name becomes a dash"),
    )
    .with_hint("give one of them another id")
}

fn taken(ours: &NodeKey, other: &Node, lease: i64) -> Error {
    Error::new(
        ErrorKind::Conflict,
        "register node",
        format!("a live node holds {ours} already, at {} (lease {lease:x})", other.address()),
    )
    .with_hint("give each node an id of its own, or end the other one; if it is dead, its entry soon expires")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::etcd::{entry, keys};

    fn node(service: &str, address: &str) -> Node {
        Node::builder(service, "1", address).build().unwrap()
    }

    fn entry(of: &Node, lease: i64) -> api::KeyValue {
        let value = entry::encode("test", of).unwrap().into();
        api::KeyValue { key: keys::key(&of.key()), value, mod_revision: 7, lease, ..Default::default() }
    }

    fn judged(there: Option<&api::KeyValue>) -> Result<Condition> {
        judge(&node("a/b", "10.0.0.1:1"), there, &Reader::default(), |lease| lease == 5)
    }

    #[tokio::test(start_paused = true)]
    async fn leases_are_ours_until_they_cannot_live_any_more() {
        let leases = Leases::default();
        for id in [1, 2] {
            leases.insert(id);
        }
        leases.ends(1, Instant::now() + Duration::from_secs(30));
        leases.insert(3);
        assert!([1, 2, 3].iter().all(|id| leases.has(*id)));
        tokio::time::advance(Duration::from_secs(31)).await;
        leases.insert(4);
        assert!(!leases.has(1) && leases.has(2));
    }

    #[test]
    fn only_a_live_stranger_keeps_a_key() {
        let (same, other) = (node("a/b", "10.0.0.1:1"), node("a/b", "10.0.0.2:1"));
        assert_eq!(judged(None).unwrap(), Condition::Absent);
        for ours in [entry(&other, 5), entry(&other, 0), entry(&same, 9)] {
            assert_eq!(judged(Some(&ours)).unwrap(), Condition::Unchanged(7));
        }
        let garbage = api::KeyValue { value: "garbage".into(), ..entry(&other, 9) };
        assert_eq!(judged(Some(&garbage)).unwrap(), Condition::Unchanged(7));
        let error = judged(Some(&entry(&other, 9))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains("10.0.0.2:1"), "{error}");
    }

    #[test]
    fn another_services_entry_in_the_same_place_is_never_replaced() {
        for lease in [0, 5, 9] {
            let error = judged(Some(&entry(&node("a-b", "10.0.0.1:1"), lease))).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict);
            assert!(error.to_string().contains("micro/a-b/1"), "{error}");
        }
        let there = entry(&node("a-b", "10.0.0.1:1"), 9);
        assert!(!may_remove(&node("a/b", "10.0.0.1:1").key(), &there, &Reader::default()));
        assert!(may_remove(&node("a-b", "x:1").key(), &there, &Reader::default()));
    }
}
