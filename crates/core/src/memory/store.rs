//! The table itself, who watches it, and when its entries expire.
//!
//! All of it is one state under one lock, held for no longer than a change takes; tasks are woken after it is let go.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    task::Waker,
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::{
    error::{Error, ErrorKind, Result},
    model::{Domain, Node, NodeId, NodeKey, ServiceName},
    registry::{Listing, Removal, Revision, WatchEvent, WatchOptions},
};

/// How many events a watch may be behind before it is given a fresh snapshot instead.
pub const WATCH_BUFFER_MAX: usize = 1024;

#[derive(Default)]
pub(super) struct Store(Mutex<State>);

#[derive(Default)]
pub(super) struct State {
    services: BTreeMap<ServiceName, BTreeMap<(Domain, NodeId), Slot>>,
    /// When entries expire, soonest first.
    deadlines: BTreeSet<(Instant, NodeKey)>,
    watchers: HashMap<u64, Watcher>,
    revision: u64,
    /// The last number given to an owner, a lease or a watcher.
    last_number: u64,
    away: bool,
    /// Whom to wake once the lock is let go.
    woken: Vec<Waker>,
}

/// One entry.
struct Slot {
    node: Arc<Node>,
    owner: u64,
    lease: u64,
    /// `None` for an entry that never expires.
    deadline: Option<Instant>,
    /// Told when the entry is no longer the lease's.
    lost: Arc<Notify>,
}

/// What a lease needs to know of its entry.
pub(super) struct Registered {
    pub(super) lease: u64,
    pub(super) lost: Arc<Notify>,
}

/// One watch's part of the state.
struct Watcher {
    options: WatchOptions,
    queue: VecDeque<WatchEvent>,
    /// Whether a snapshot must come before anything else that happens.
    resync: bool,
    waker: Option<Waker>,
}

/// What a watch finds when it looks.
pub(super) enum Next {
    Event(WatchEvent),
    Snapshot(Listing),
    /// Nothing now; an entry may expire at this time.
    Wait(Option<Instant>),
}

// === impl Store ===

impl Store {
    /// Runs `change` on the state, and then wakes whom it concerns.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let (result, woken) = {
            // A panic cannot leave the state half changed: nothing in here runs code of others.
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let result = change(&mut state);
            (result, std::mem::take(&mut state.woken))
        };
        woken.into_iter().for_each(Waker::wake);
        result
    }
}

// === impl State ===

impl State {
    /// A number that nothing else has.
    pub(super) fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Whether the registry can be reached.
    pub(super) fn reach(&self, operation: &'static str) -> Result<()> {
        if self.away { Err(away(operation)) } else { Ok(()) }
    }

    /// Puts an entry in place for a new lease.
    pub(super) fn insert(
        &mut self,
        node: &Arc<Node>,
        owner: u64,
        ttl: Duration,
        now: Instant,
    ) -> Result<Registered> {
        self.reach("register node")?;
        self.expire(now);
        let key = node.key();
        if self.slot(&key).is_some_and(|slot| slot.owner != owner) {
            return Err(taken(&key));
        }
        self.take(&key);
        let (lease, lost) = (self.number(), Arc::new(Notify::new()));
        let deadline = deadline(ttl, now);
        self.deadlines.extend(deadline.map(|at| (at, key.clone())));
        let slot = Slot { node: node.clone(), owner, lease, deadline, lost: lost.clone() };
        self.services.entry(key.service).or_default().insert((key.domain, key.id), slot);
        self.revision += 1;
        self.publish(&node.key(), |revision| WatchEvent::Upsert(node.clone(), revision));
        Ok(Registered { lease, lost })
    }

    /// Says that the owner of `lease` is alive.
    pub(super) fn renew(&mut self, key: &NodeKey, lease: u64, ttl: Duration, now: Instant) -> Result<()> {
        self.check(key, lease, "renew registration", now)?;
        let deadline = deadline(ttl, now);
        let Some(slot) = self.slot(key) else { return Ok(()) };
        let old = std::mem::replace(&mut slot.deadline, deadline);
        old.map(|at| self.deadlines.remove(&(at, key.clone())));
        self.deadlines.extend(deadline.map(|at| (at, key.clone())));
        Ok(())
    }

    /// Whether `lease` still holds the entry.
    pub(super) fn check(
        &mut self,
        key: &NodeKey,
        lease: u64,
        operation: &'static str,
        now: Instant,
    ) -> Result<()> {
        self.reach(operation)?;
        self.expire(now);
        match self.slot(key) {
            Some(slot) if slot.lease == lease => Ok(()),
            Some(_) => Err(taken(key)),
            None => Err(Error::new(
                ErrorKind::NotFound,
                operation,
                format!("the entry {key} is no longer in the registry: it was removed, or expired"),
            )),
        }
    }

    /// Replaces what an entry says.
    pub(super) fn update(&mut self, lease: u64, node: &Arc<Node>, now: Instant) -> Result<()> {
        let key = node.key();
        self.check(&key, lease, "update registration", now)?;
        if let Some(slot) = self.slot(&key) {
            slot.node = node.clone();
        }
        self.revision += 1;
        self.publish(&key, |revision| WatchEvent::Upsert(node.clone(), revision));
        Ok(())
    }

    /// Takes an entry away, and says so if it was there.
    pub(super) fn remove(&mut self, key: &NodeKey, removal: Removal) {
        if self.take(key) {
            self.revision += 1;
            self.publish(key, |revision| WatchEvent::Remove(key.clone(), removal, revision));
        }
    }

    /// The entries of one service or of all.
    pub(super) fn listing(
        &mut self,
        domain: &Domain,
        service: Option<&ServiceName>,
        now: Instant,
    ) -> Listing {
        self.expire(now);
        let nodes = match service {
            Some(service) => self.services.get(service).into_iter().flat_map(covered(domain)).collect(),
            None => self.services.values().flat_map(covered(domain)).collect(),
        };
        Listing { nodes, revision: Revision(self.revision), poisoned: 0 }
    }

    pub(super) fn set_away(&mut self, away_now: bool) {
        if std::mem::replace(&mut self.away, away_now) == away_now {
            return;
        }
        for watcher in self.watchers.values_mut() {
            if away_now {
                watcher.queue.clear();
                watcher.queue.push_back(WatchEvent::Error(away("watch")));
                watcher.resync = true;
            }
            self.woken.extend(watcher.waker.take());
        }
    }

    pub(super) fn wipe(&mut self) {
        for slot in std::mem::take(&mut self.services).into_values().flat_map(BTreeMap::into_values) {
            slot.lost.notify_one();
        }
        self.deadlines.clear();
        self.revision += 1;
        for watcher in self.watchers.values_mut() {
            watcher.resync = true;
            self.woken.extend(watcher.waker.take());
        }
    }

    /// Adds a watch and gives its number.
    pub(super) fn subscribe(&mut self, options: &WatchOptions) -> u64 {
        let queue = self.reach("watch").err().map(WatchEvent::Error).into_iter().collect();
        let watcher = Watcher { options: options.clone(), queue, resync: true, waker: None };
        let number = self.number();
        self.watchers.insert(number, watcher);
        number
    }

    pub(super) fn unsubscribe(&mut self, number: u64) {
        self.watchers.remove(&number);
    }

    #[cfg(test)]
    pub(super) fn watching(&self) -> usize {
        self.watchers.len()
    }

    /// What the watch is to see next; if there is nothing, `waker` is woken as soon as there is.
    pub(super) fn next(&mut self, number: u64, now: Instant, waker: &Waker) -> Next {
        self.expire(now);
        let away = self.away;
        let Some(watcher) = self.watchers.get_mut(&number) else { return Next::Wait(None) };
        if let Some(event) = watcher.queue.pop_front() {
            return Next::Event(event);
        }
        if watcher.resync && !away {
            watcher.resync = false;
            let options = watcher.options.clone();
            return Next::Snapshot(self.listing(&options.domain, options.service.as_ref(), now));
        }
        watcher.waker = Some(waker.clone());
        Next::Wait(self.deadlines.first().map(|(at, _)| *at))
    }

    /// Removes what should have been renewed by `now`.
    fn expire(&mut self, now: Instant) {
        while let Some((_, key)) = self.deadlines.first().filter(|(at, _)| *at <= now).cloned() {
            self.remove(&key, Removal::Expired);
        }
    }

    fn slot(&mut self, key: &NodeKey) -> Option<&mut Slot> {
        self.services.get_mut(&key.service)?.get_mut(&(key.domain.clone(), key.id.clone()))
    }

    /// Takes an entry out of the tables; its lease is told.
    fn take(&mut self, key: &NodeKey) -> bool {
        let Some(nodes) = self.services.get_mut(&key.service) else { return false };
        let Some(slot) = nodes.remove(&(key.domain.clone(), key.id.clone())) else { return false };
        if nodes.is_empty() {
            self.services.remove(&key.service);
        }
        slot.deadline.map(|at| self.deadlines.remove(&(at, key.clone())));
        slot.lost.notify_one();
        true
    }

    /// Hands an event to every watch that it concerns.
    fn publish(&mut self, key: &NodeKey, event: impl Fn(Revision) -> WatchEvent) {
        let revision = Revision(self.revision);
        for watcher in self.watchers.values_mut() {
            let WatchOptions { domain, service } = &watcher.options;
            let concerned =
                domain.covers(&key.domain) && service.as_ref().is_none_or(|name| *name == key.service);
            if !concerned || watcher.resync {
                continue;
            }
            if watcher.queue.len() < WATCH_BUFFER_MAX {
                watcher.queue.push_back(event(revision));
            } else {
                watcher.queue.clear();
                watcher.resync = true;
            }
            self.woken.extend(watcher.waker.take());
        }
    }
}

/// A time to live of zero means that an entry never expires, as it does in go-micro.
fn deadline(ttl: Duration, now: Instant) -> Option<Instant> {
    if ttl.is_zero() { None } else { now.checked_add(ttl) }
}

fn covered(domain: &Domain) -> impl Fn(&BTreeMap<(Domain, NodeId), Slot>) -> Vec<Arc<Node>> {
    |nodes| {
        nodes.iter().filter(|((own, _), _)| domain.covers(own)).map(|(_, slot)| slot.node.clone()).collect()
    }
}

fn away(operation: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, operation, "the memory registry was told to be away")
}

fn taken(key: &NodeKey) -> Error {
    Error::new(ErrorKind::Conflict, "register node", format!("a live node holds {key} already"))
        .with_hint("give each node an id of its own, or leave the id out to get a random one")
}
