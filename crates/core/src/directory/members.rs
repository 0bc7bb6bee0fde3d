//! The nodes of one name, as put together from listings and events that may overlap and come late.
//!
//! # Order
//!
//! Every held node remembers the revision it was last heard of at, and so does every node that went; a listing speaks for
//! all nodes at its own revision, which becomes the `floor`. What is older than what is known is passed over, so a `get`
//! and the watch may race in any order and a repeated event changes nothing.
//!
//! # Doubt
//!
//! A node that was deregistered is gone. A node that merely is not there any more is gone too, unless that befalls more
//! than half of the name's nodes at once, or the registry has just been away: then it is far more likely that the registry
//! lost its data than that the nodes died, so they stay, as suspects, until there is a clear word:
//!
//! - the node comes back: it is a node like the others again;
//! - it was missing from a listing, and two later readings, of which nothing was unreadable, do not have it either: gone;
//! - the registry said that it expired: reading again can only say the same, so it stays for the whole grace;
//! - the grace ends, a deregistration comes, or a caller [refutes](Members::refute) it: gone.

use std::collections::{BTreeMap, VecDeque};
use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::config::after;
use crate::{
    model::{Domain, Node, NodeId},
    registry::{Removal, Revision},
};

/// Most departed nodes remembered one by one; older ones are covered by the floor.
const GONE_MAX: usize = 256;

/// Readings without a node that make an end of it.
const CONFIRMATIONS: u8 = 2;

/// The nodes of one name.
#[derive(Debug)]
pub(super) struct Members {
    held: BTreeMap<Key, Held>,
    /// When nodes went that did not come back: an older word about them must not revive them.
    gone: BTreeMap<Key, Revision>,
    /// Losses that were believed and may turn out to have been the beginning of a sudden one, oldest first.
    recent: VecDeque<(Instant, Key, Held)>,
    /// What is not newer than this is already in `held`.
    floor: Revision,
    latest: Revision,
    /// Whether a whole picture has been seen; before, nothing has been shown to anybody and nothing needs protection.
    whole: bool,
    suspects: usize,
    suspects_max: usize,
    /// The suspects by when and why they became such, counted.
    doubts: BTreeMap<(Instant, Cause), usize>,
    /// How many pictures have been taken in.
    pictures: u32,
}

/// A node within one name: the same id may be there in two domains when all of them are followed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    id: NodeId,
    domain: Domain,
}

/// A whole picture of the name.
#[derive(Debug)]
pub(super) struct Picture {
    /// Every node.
    pub(super) nodes: Vec<Arc<Node>>,
    /// The state that it shows.
    pub(super) at: Revision,
    /// How it was come by.
    pub(super) source: Source,
}

/// How a whole picture was come by, which decides what an absence in it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// In the ordinary course.
    Regular,
    /// It was read while the watch is away, so that nothing of it may be taken for a loss.
    WhileAway,
    /// The first after the registry was away: nodes may not have found back to it yet.
    AfterOutage,
    /// It was asked for because of a doubt, and nothing in it was unreadable.
    Confirming,
}

/// How soon readers need to know what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    /// Nothing to see.
    None,
    /// Together with what else happens just now.
    Merge,
    /// Now: a node is not to be called any more.
    AtOnce,
}

#[derive(Debug)]
struct Held {
    node: Arc<Node>,
    revision: Revision,
    /// Boxed, since nearly no node has one.
    suspicion: Option<Box<Suspicion>>,
    /// The last picture that showed it.
    picture: u32,
}

#[derive(Debug, Clone, Copy)]
struct Suspicion {
    since: Instant,
    cause: Cause,
    confirmations: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    /// It was not in a picture, or went without a word why.
    Missing,
    /// The registry said that its owner stopped keeping it alive.
    Expired,
}

// === impl Members ===

impl Members {
    /// Nobody yet; events up to `floor` have passed unseen, and any picture has to be at least as new.
    pub(super) fn new(floor: Revision) -> Self {
        Self {
            held: BTreeMap::new(),
            gone: BTreeMap::new(),
            recent: VecDeque::new(),
            floor,
            latest: floor,
            whole: false,
            suspects: 0,
            suspects_max: 0,
            doubts: BTreeMap::new(),
            pictures: 0,
        }
    }

    /// The oldest picture that can still be believed.
    pub(super) fn floor(&self) -> Revision {
        self.floor
    }

    /// The newest state that something is known of.
    pub(super) fn revision(&self) -> Revision {
        self.latest
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The nodes in the order of their ids, and which of them are suspects.
    pub(super) fn show(&self) -> (Arc<[Arc<Node>]>, Box<[usize]>) {
        let nodes = self.held.values().map(|held| held.node.clone()).collect();
        let suspects = if self.suspects == 0 {
            Box::default()
        } else {
            let marked = self.held.values().enumerate().filter(|(_, held)| held.suspicion.is_some());
            marked.map(|(at, _)| at).collect()
        };
        (nodes, suspects)
    }

    /// A node was registered or changed.
    pub(super) fn upsert(&mut self, node: Arc<Node>, at: Revision) -> Change {
        let key = Key::of(&node);
        if at <= self.floor || self.gone.get(&key).is_some_and(|gone| *gone > at) {
            return Change::None;
        }
        self.latest = self.latest.max(at);
        self.put(key, node, at)
    }

    /// A node's entry went.
    pub(super) fn remove(
        &mut self,
        key: Key,
        removal: Removal,
        at: Revision,
        now: Instant,
        sudden: Duration,
    ) -> Change {
        if at <= self.floor || self.held.get(&key).is_some_and(|held| held.revision > at) {
            return Change::None;
        }
        self.latest = self.latest.max(at);
        let gone = self.gone.entry(key.clone()).or_default();
        *gone = at.max(*gone);
        self.forget_oldest_gone();
        let cause = match removal {
            Removal::Deregistered => {
                self.recent.retain(|(_, recent, _)| *recent != key);
                return if self.take(&key).is_some() { Change::AtOnce } else { Change::None };
            }
            Removal::Expired => Cause::Expired,
            Removal::Unknown => Cause::Missing,
        };
        match self.held.get(&key) {
            Some(held) if held.suspicion.is_none() => {
                self.lose(vec![key], self.firm(), cause, Source::Regular, now, sudden)
            }
            _ => Change::None,
        }
    }

    /// Brings everything in step with a whole picture, which must not be older than the [floor](Self::floor).
    pub(super) fn reconcile(&mut self, picture: Picture, now: Instant, sudden: Duration) -> Change {
        let Picture { nodes, at, source } = picture;
        debug_assert!(at >= self.floor);
        let firm = self.firm();
        let mut change = Change::None;
        self.pictures = self.pictures.wrapping_add(1);
        let picture = self.pictures;
        for node in nodes {
            let key = Key::of(&node);
            if self.gone.get(&key).is_none_or(|gone| *gone <= at) {
                change = change.max(self.put(key, node, at));
            }
        }
        let unlisted =
            self.held.iter_mut().filter(|(_, held)| held.revision <= at && held.picture != picture);
        let (mut lost, mut settled) = (Vec::new(), Vec::new());
        for (key, held) in unlisted {
            match &mut held.suspicion {
                None => lost.push(key.clone()),
                Some(suspicion) if suspicion.cause == Cause::Missing && source == Source::Confirming => {
                    suspicion.confirmations += 1;
                    if suspicion.confirmations >= CONFIRMATIONS {
                        settled.push(key.clone());
                    }
                }
                Some(_) => {}
            }
        }
        change = change.max(self.take_all(&settled));
        change = change.max(self.lose(lost, firm, Cause::Missing, source, now, sudden));
        self.floor = at;
        self.latest = self.latest.max(at);
        self.gone.retain(|_, gone| *gone > at);
        self.whole = true;
        change
    }

    /// Takes out a suspect that a caller found dead. A node that the registry stands by stays.
    pub(super) fn refute(&mut self, key: &Key) -> Change {
        match self.held.get(key) {
            Some(held) if held.suspicion.is_some() => {
                self.take(key);
                Change::AtOnce
            }
            _ => Change::None,
        }
    }

    /// Takes out the suspects whose grace is over.
    pub(super) fn end_grace(&mut self, now: Instant, grace: Duration) -> Change {
        if self.grace_ends(grace).is_none_or(|end| end > now) {
            return Change::None;
        }
        let over = |held: &Held| {
            let suspicion = held.suspicion.as_ref();
            suspicion.and_then(|suspicion| after(suspicion.since, grace)).is_some_and(|end| end <= now)
        };
        let keys: Vec<_> =
            self.held.iter().filter(|(_, held)| over(held)).map(|(key, _)| key.clone()).collect();
        self.take_all(&keys)
    }

    /// When the next suspect's grace is over.
    pub(super) fn grace_ends(&self, grace: Duration) -> Option<Instant> {
        let ((since, _), _) = self.doubts.first_key_value()?;
        after(*since, grace)
    }

    /// Since when there has been a suspect that reading again can settle; of several, the latest.
    pub(super) fn doubted_since(&self) -> Option<Instant> {
        let missing = self.doubts.keys().rev().find(|(_, cause)| *cause == Cause::Missing);
        missing.map(|(since, _)| *since)
    }

    /// The registry is back: suspects get their whole time again, since they could not report while it was away.
    pub(super) fn restart_doubts(&mut self, now: Instant) {
        if self.suspects == 0 {
            return;
        }
        for suspicion in self.held.values_mut().filter_map(|held| held.suspicion.as_deref_mut()) {
            suspicion.since = now;
            suspicion.confirmations = 0;
        }
        for ((_, cause), count) in std::mem::take(&mut self.doubts) {
            *self.doubts.entry((now, cause)).or_default() += count;
        }
    }

    /// The registry counts its states anew: what is held stays, as the oldest there is.
    pub(super) fn renumber(&mut self) {
        self.floor = Revision::default();
        self.latest = Revision::default();
        self.gone.clear();
        for held in self.held.values_mut() {
            held.revision = Revision::default();
        }
    }

    /// Holds a node as heard of at `at`, unless something newer is known of it.
    fn put(&mut self, key: Key, node: Arc<Node>, at: Revision) -> Change {
        self.gone.remove(&key);
        if !self.recent.is_empty() {
            self.recent.retain(|(_, recent, _)| *recent != key);
        }
        let Some(held) = self.held.get_mut(&key) else {
            let picture = self.pictures;
            self.held.insert(key, Held { node, revision: at, suspicion: None, picture });
            return Change::Merge;
        };
        held.picture = self.pictures;
        if held.revision > at {
            return Change::None;
        }
        held.revision = at;
        let before = std::mem::replace(&mut held.node, node);
        let is_same = Arc::ptr_eq(&held.node, &before) || *held.node == *before;
        let drains = held.node.weight() == Some(0) && before.weight() != Some(0);
        if is_same {
            // Whoever has the earlier one may go on comparing pointers.
            held.node = before;
        }
        let cleared = held.suspicion.take();
        self.acquit(cleared.as_deref());
        match (drains, is_same && cleared.is_none()) {
            (true, _) => Change::AtOnce,
            (false, true) => Change::None,
            (false, false) => Change::Merge,
        }
    }

    /// Nodes went, of so many `firm` ones, without having been deregistered: believed when they are few, else held as
    /// suspects.
    fn lose(
        &mut self,
        lost: Vec<Key>,
        firm: usize,
        cause: Cause,
        source: Source,
        now: Instant,
        sudden: Duration,
    ) -> Change {
        if lost.is_empty() {
            return Change::None;
        }
        if !self.whole {
            return self.take_all(&lost);
        }
        while self.recent.front().is_some_and(|(at, ..)| now.saturating_duration_since(*at) > sudden) {
            self.recent.pop_front();
        }
        let before = firm + self.recent.len();
        let is_sudden = (lost.len() + self.recent.len()) * 2 > before;
        let believes = matches!(source, Source::Regular | Source::Confirming);
        if believes && !is_sudden {
            for key in lost {
                if let Some(held) = self.take(&key) {
                    self.recent.push_back((now, key, held));
                }
            }
            return Change::Merge;
        }
        tracing::debug!(lost = lost.len(), of = before, ?cause, "nodes vanished suddenly: held as suspects");
        if self.suspects == 0 {
            self.suspects_max = before;
        }
        for key in lost {
            if let Some(held) = self.held.remove(&key) {
                self.suspect(key, held, cause, now);
            }
        }
        if is_sudden {
            for (_, key, held) in std::mem::take(&mut self.recent) {
                self.suspect(key, held, cause, now);
            }
        }
        if source != Source::WhileAway {
            self.bound_suspects();
        }
        Change::Merge
    }

    /// Lets the oldest suspects go when there are more than the name had nodes when the first was doubted.
    fn bound_suspects(&mut self) {
        while self.suspects > self.suspects_max.max(1) {
            let suspects =
                self.held.iter().filter_map(|(key, held)| Some((held.suspicion.as_ref()?.since, key)));
            let Some((_, oldest)) = suspects.min() else { return };
            let oldest = oldest.clone();
            self.take(&oldest);
        }
    }

    fn forget_oldest_gone(&mut self) {
        if self.gone.len() > GONE_MAX {
            let oldest = self.gone.values().copied().min().unwrap_or_default();
            self.gone.retain(|_, gone| *gone > oldest);
            // Other nodes may have changed at that same revision and still be on their way, so it stays open itself.
            self.floor = self.floor.max(Revision(oldest.0.saturating_sub(1)));
        }
    }

    /// How many nodes are held that are not suspects.
    fn firm(&self) -> usize {
        self.held.len() - self.suspects
    }

    fn take(&mut self, key: &Key) -> Option<Held> {
        let held = self.held.remove(key)?;
        self.acquit(held.suspicion.as_deref());
        Some(held)
    }

    fn take_all(&mut self, keys: &[Key]) -> Change {
        for key in keys {
            self.take(key);
        }
        if keys.is_empty() { Change::None } else { Change::Merge }
    }

    /// Holds a node that was a firm one as a suspect.
    fn suspect(&mut self, key: Key, held: Held, cause: Cause, now: Instant) {
        let suspicion = Some(Box::new(Suspicion { since: now, cause, confirmations: 0 }));
        self.held.insert(key, Held { suspicion, ..held });
        self.suspects += 1;
        *self.doubts.entry((now, cause)).or_default() += 1;
    }

    /// Counts a suspect less.
    fn acquit(&mut self, suspicion: Option<&Suspicion>) {
        let Some(Suspicion { since, cause, confirmations: _ }) = suspicion else { return };
        self.suspects -= 1;
        if let Some(count) = self.doubts.get_mut(&(*since, *cause)) {
            *count -= 1;
            if *count == 0 {
                self.doubts.remove(&(*since, *cause));
            }
        }
    }
}

// === impl Key ===

impl Key {
    pub(super) fn new(id: NodeId, domain: Domain) -> Self {
        Self { id, domain }
    }

    fn of(node: &Node) -> Self {
        Self::new(node.id().clone(), node.domain().clone())
    }
}
