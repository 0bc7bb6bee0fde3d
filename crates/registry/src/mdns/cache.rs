//! What is known of the nodes on the link, and what changed in it. No sockets here, and no clock.
//!
//! Packets say again and again what is known, by several ways and not in order. What of it is news is decided by the
//! [`Stamp`] where there is one: an owner's later word counts, an earlier one that comes late does not, not even after the
//! node has left. Entries without a stamp are go-micro's, whose last word counts.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use callsign_core::{
    Domain, Node, NodeKey, ServiceName, WatchEvent,
    registry::{Listing, Removal, Revision},
};
use tokio::time::Instant;

use super::{dns::Name, entry::HeardNode, names, text::Stamp};

/// The most entries that are kept; who sends more is taken for a fault.
pub(super) const ENTRIES_MAX: usize = 50_000;
/// The most entries that cannot be understood of which is kept that they are there.
const GARBLED_MAX: usize = 1_000;
/// How long the leaving of a node is remembered, so that what was said before and comes later does not bring it back.
const LEFT_FOR: Duration = Duration::from_secs(20);
/// The same for a node whose owner gives no stamps. It may well come back at once.
const LEFT_UNSTAMPED_FOR: Duration = Duration::from_millis(300);

/// The entries, and the changes that nobody has been told yet.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: HashMap<NodeKey, Known>,
    services: BTreeMap<Name, BTreeSet<NodeKey>>,
    garbled: HashMap<Name, Garbled>,
    left: HashMap<NodeKey, Left>,
    revision: u64,
    changes: Vec<WatchEvent>,
}

#[derive(Debug)]
struct Known {
    node: Arc<Node>,
    service: Name,
    stamp: Option<Stamp>,
    heard: Instant,
    /// `None` for our own.
    expires: Option<Instant>,
}

#[derive(Debug)]
struct Garbled {
    reason: String,
    expires: Instant,
}

#[derive(Debug)]
struct Left {
    stamp: Option<Stamp>,
    until: Instant,
}

/// An entry that was not heard of for some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unheard {
    pub(super) key: NodeKey,
    pub(super) instance: Name,
}

// === impl Cache ===

impl Cache {
    /// Takes in what somebody else said of a node; `true` when a service is new by it.
    pub(super) fn hear(&mut self, heard: HeardNode, now: Instant) -> bool {
        let HeardNode { key, node, service, stamp, lives } = heard;
        self.garbled.remove(&names::instance(&key));
        let known = self.entries.get(&key);
        if known.is_some_and(|known| known.expires.is_none()) || self.is_old(&key, stamp, now) {
            return false;
        }
        let Some(lives) = lives else {
            self.remove(&key, Removal::Deregistered);
            self.remember(key, stamp, now);
            return false;
        };
        if known.is_none() && self.entries.len() >= ENTRIES_MAX {
            tracing::debug!(node = %key, "more entries than are kept; passed over");
            return false;
        }
        self.put(key, Arc::new(node), service, stamp, now, Some(now + lives))
    }

    /// Puts in place what this handle itself registered.
    pub(super) fn put_own(&mut self, node: &Arc<Node>, service: &Name, stamp: Option<Stamp>, now: Instant) {
        self.put(node.key(), node.clone(), service.clone(), stamp, now, None);
    }

    /// Takes away what this handle itself registered, or asked to be taken away, with the last stamp it had.
    pub(super) fn withdraw(&mut self, key: &NodeKey, stamp: Option<Stamp>, now: Instant) {
        self.remove(key, Removal::Deregistered);
        self.remember(key.clone(), stamp, now);
    }

    /// Takes away what somebody else is to be asked for anew.
    pub(super) fn expire(&mut self, key: &NodeKey) {
        self.remove(key, Removal::Expired);
    }

    /// Something cannot be understood.
    pub(super) fn garble(&mut self, instance: Name, reason: String, lives: Option<Duration>, now: Instant) {
        let Some(lives) = lives else {
            self.garbled.remove(&instance);
            return;
        };
        let known = self.garbled.get(&instance);
        if known.is_none_or(|known| known.reason != reason) {
            if known.is_none() && self.garbled.len() >= GARBLED_MAX {
                return;
            }
            tracing::warn!(%instance, reason, "entry not understood; skipped");
        }
        self.garbled.insert(instance, Garbled { reason, expires: now + lives });
    }

    /// Whether anything of `domain`, or of a service by its name, is known.
    pub(super) fn nodes_of(&self, service: &Name) -> usize {
        self.services.get(service).map_or(0, BTreeSet::len)
    }

    /// The names of the services that have nodes here, with their domains.
    pub(super) fn services(&self) -> impl Iterator<Item = (&Name, &Domain)> {
        self.services.iter().filter_map(|(name, keys)| Some((name, &keys.first()?.domain)))
    }

    /// When a node was last heard of, and what it said.
    pub(super) fn find(&self, key: &NodeKey) -> Option<(&Arc<Node>, Option<Stamp>, Instant)> {
        self.entries.get(key).map(|known| (&known.node, known.stamp, known.heard))
    }

    /// The entries of a service that were not heard of since `then`, our own left out.
    pub(super) fn unheard(&self, service: &Name, then: Instant) -> Vec<Unheard> {
        let keys = self.services.get(service).into_iter().flatten();
        let unheard = keys.filter(|key| {
            self.entries.get(*key).is_some_and(|known| known.expires.is_some() && known.heard < then)
        });
        unheard.map(|key| Unheard { key: key.clone(), instance: names::instance(key) }).collect()
    }

    /// Takes away what has not been heard of for as long as it was to be believed, and forgets who left long ago.
    pub(super) fn sweep(&mut self, now: Instant) {
        let over = |known: &Known| known.expires.is_some_and(|expires| expires <= now);
        let expired: Vec<_> =
            self.entries.iter().filter(|(_, known)| over(known)).map(|(key, _)| key.clone()).collect();
        for key in &expired {
            self.remove(key, Removal::Expired);
        }
        self.garbled.retain(|_, garbled| garbled.expires > now);
        self.left.retain(|_, left| left.until > now);
    }

    /// Believes everything for at least so long, because nobody could have been heard of meanwhile.
    pub(super) fn excuse(&mut self, until: Instant) {
        for known in self.entries.values_mut() {
            known.expires = known.expires.map(|expires| expires.max(until));
        }
    }

    /// What is there in a domain, of one service or of all.
    pub(super) fn listing(&self, domain: &Domain, service: Option<&ServiceName>) -> Listing {
        let covered = |known: &&Known| {
            domain.covers(known.node.domain()) && service.is_none_or(|name| known.node.service() == name)
        };
        let node = |known: &Known| known.node.clone();
        let nodes: Vec<_> = match service.filter(|_| !domain.is_all()) {
            Some(service) => {
                let keys = self.services.get(&names::service(domain, service)).into_iter().flatten();
                keys.filter_map(|key| self.entries.get(key)).filter(covered).map(node).collect()
            }
            None => self.entries.values().filter(covered).map(node).collect(),
        };
        let poisoned = self.garbled.keys().filter(|instance| is_within(instance, domain, service)).count();
        Listing { nodes, revision: Revision(self.revision), poisoned }
    }

    /// What changed since the last time this was asked.
    pub(super) fn take_changes(&mut self) -> Vec<WatchEvent> {
        std::mem::take(&mut self.changes)
    }

    /// Whether this was said before what is known already.
    pub(super) fn is_old(&self, key: &NodeKey, stamp: Option<Stamp>, now: Instant) -> bool {
        let of = |known: Option<Stamp>| match (known, stamp) {
            (Some(known), Some(said)) => known.owner == said.owner && said.revision < known.revision,
            _ => false,
        };
        let left = self.left.get(key).filter(|left| left.until > now).is_some_and(|left| match left.stamp {
            None => stamp.is_none(),
            // What a node says last is that it leaves.
            Some(last) => of(left.stamp) || stamp == Some(last),
        });
        left || self.entries.get(key).is_some_and(|known| of(known.stamp))
    }

    fn put(
        &mut self,
        key: NodeKey,
        node: Arc<Node>,
        service: Name,
        stamp: Option<Stamp>,
        now: Instant,
        expires: Option<Instant>,
    ) -> bool {
        if let Some(known) = self.entries.get_mut(&key) {
            (known.stamp, known.heard, known.expires) = (stamp, now, expires);
            if known.node != node {
                known.node = node.clone();
                let revision = self.advance();
                self.changes.push(WatchEvent::Upsert(node, revision));
            }
            return false;
        }
        let keys = self.services.entry(service.clone()).or_default();
        let is_new = keys.is_empty();
        keys.insert(key.clone());
        self.entries.insert(key, Known { node: node.clone(), service, stamp, heard: now, expires });
        let revision = self.advance();
        self.changes.push(WatchEvent::Upsert(node, revision));
        is_new
    }

    fn remove(&mut self, key: &NodeKey, removal: Removal) {
        let Some(Known { service, .. }) = self.entries.remove(key) else { return };
        if let Some(keys) = self.services.get_mut(&service) {
            keys.remove(key);
            if keys.is_empty() {
                self.services.remove(&service);
            }
        }
        let revision = self.advance();
        self.changes.push(WatchEvent::Remove(key.clone(), removal, revision));
    }

    fn remember(&mut self, key: NodeKey, stamp: Option<Stamp>, now: Instant) {
        let for_ = if stamp.is_some() { LEFT_FOR } else { LEFT_UNSTAMPED_FOR };
        if self.left.len() < ENTRIES_MAX {
            self.left.insert(key, Left { stamp, until: now + for_ });
        }
    }

    fn advance(&mut self) -> Revision {
        self.revision += 1;
        Revision(self.revision)
    }
}

/// Whether something so called could be a node of a domain, and of a service.
fn is_within(instance: &Name, domain: &Domain, service: Option<&ServiceName>) -> bool {
    match service {
        _ if domain.is_all() => true,
        Some(service) => instance.before(&names::service(domain, service)).is_some(),
        None => instance.before(&names::domain(domain)).is_some(),
    }
}
