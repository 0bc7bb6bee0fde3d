//! The directory without its IO: events, listings and time go in; readings to begin and answers to publish come out.
//!
//! One watch feeds all names. Of the names that somebody asked for the nodes are held; of the others only that they exist.
//! A name asked for later is read once, and the revision of what was read puts it in order with the watch, which has moved
//! on meanwhile.
//!
//! Nothing is published but in [`Machine::tick`], so a caller may hand in a burst of events and have one answer per name
//! come out of it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use fastrand::Rng;
use tokio::time::Instant;

use super::{
    answer::{Answer, Freshness, says_same},
    config::DirectoryConfig,
    entry::{Context, Entry},
    members::{Key, Picture, Source},
    names::Names,
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{Node, NodeKey, ServiceName},
    registry::{Listing, Removal, Revision, WatchEvent},
};

/// What a directory knows and is waiting for.
#[derive(Debug)]
pub(super) struct Machine {
    config: DirectoryConfig,
    rng: Rng,
    names: Names,
    entries: HashMap<ServiceName, Entry>,
    /// Each entry that waits for a time, by that time.
    timers: BTreeSet<(Instant, ServiceName)>,
    actions: Vec<Action>,
    tickets: u64,
    feed: Feed,
}

/// What is to be done about the world outside.
#[derive(Debug)]
pub(super) enum Action {
    /// Read the name, and hand the result to [`Machine::on_listing`] with the ticket.
    Read { name: ServiceName, ticket: u64 },
    /// Let the readers of the name have this answer.
    Publish { name: ServiceName, answer: Answer },
    /// Whether the registry is heard has changed.
    Freshness(Freshness),
    /// Drop the watch, and open another after this long.
    Reopen(Duration),
}

/// The one watch.
#[derive(Debug)]
struct Feed {
    /// The newest state that it has shown.
    revision: Revision,
    freshness: Freshness,
    /// The snapshot that is coming in, by name. Shown to nobody before it is whole.
    snapshot: Option<HashMap<ServiceName, Vec<Arc<Node>>>>,
    /// How many snapshots in a row were older than what had been shown before.
    outdated: usize,
}

// === impl Machine ===

impl Machine {
    pub(super) fn new(config: DirectoryConfig, names: Names, rng: Rng) -> Self {
        Self {
            config,
            rng,
            names,
            entries: HashMap::new(),
            timers: BTreeSet::new(),
            actions: Vec::new(),
            tickets: 0,
            feed: Feed {
                revision: Revision::default(),
                freshness: Freshness::Fresh,
                snapshot: None,
                outdated: 0,
            },
        }
    }

    /// Somebody asks for `name`: it is read, and followed from now on.
    pub(super) fn ask(&mut self, name: &ServiceName, now: Instant) {
        if !self.entries.contains_key(name) {
            self.entries.insert(name.clone(), Entry::new(self.feed.revision, now));
            self.with_entry(name, now, |_, _| ());
        }
    }

    /// Nobody asks for `name` any more.
    pub(super) fn forget(&mut self, name: &ServiceName) {
        if let Some(entry) = self.entries.remove(name)
            && let Some(timer) = entry.timer
        {
            self.timers.remove(&(timer, name.clone()));
        }
    }

    /// The names that are followed.
    pub(super) fn followed(&self) -> impl Iterator<Item = &ServiceName> {
        self.entries.keys()
    }

    /// What is to be answered for `name` now; `None` when it is not followed.
    pub(super) fn answer(&self, name: &ServiceName) -> Option<Answer> {
        Some(self.entries.get(name)?.answer(&self.feed.freshness))
    }

    /// Takes the next event of the watch.
    pub(super) fn on_event(&mut self, event: WatchEvent, now: Instant) {
        match event {
            WatchEvent::SnapshotStart => self.feed.snapshot = Some(HashMap::new()),
            WatchEvent::Node(node) => {
                if let Some(snapshot) = &mut self.feed.snapshot
                    && self.config.domain.covers(node.domain())
                {
                    snapshot.entry(node.service().clone()).or_default().push(node);
                }
            }
            WatchEvent::SnapshotDone(at) => self.on_snapshot(at, now),
            WatchEvent::Upsert(node, at) => self.on_upsert(node, at, now),
            WatchEvent::Remove(key, removal, at) => self.on_remove(key, removal, at, now),
            WatchEvent::Error(error) => self.on_outage(error, now),
        }
    }

    /// Takes the result of a reading. One that nobody waits for any more is dropped.
    pub(super) fn on_listing(
        &mut self,
        name: &ServiceName,
        ticket: u64,
        result: Result<Listing>,
        now: Instant,
    ) {
        let result = result.map(|mut listing| {
            let domain = &self.config.domain;
            listing.nodes.retain(|node| node.service() == name && domain.covers(node.domain()));
            listing
        });
        self.with_entry(name, now, |entry, cx| {
            if !entry.on_listing(ticket, result, cx) {
                tracing::trace!(ticket, "a reading came too late");
            }
        });
    }

    /// A caller found a suspect dead.
    pub(super) fn refute(&mut self, node: NodeKey, now: Instant) {
        let NodeKey { domain, service, id } = node;
        let key = Key::new(id, domain);
        self.with_entry(&service, now, |entry, cx| entry.on_event(|members| members.refute(&key), cx));
    }

    /// Does what is due: begins readings, and publishes.
    pub(super) fn tick(&mut self, now: Instant) {
        while let Some((due, name)) = self.timers.first().cloned()
            && due <= now
        {
            self.tickets += 1;
            let ticket = self.tickets;
            let mut published = None;
            let mut reads = false;
            self.with_entry(&name, now, |entry, cx| {
                entry.end_grace(cx);
                reads = entry.begin_reading(ticket, now);
                if entry.begin_publication(now) {
                    published = Some(entry.answer(cx.registry));
                }
            });
            if reads {
                self.actions.push(Action::Read { name: name.clone(), ticket });
            }
            if let Some(answer) = published {
                self.actions.push(Action::Publish { name, answer });
            }
        }
    }

    /// When [`tick`](Self::tick) is to be called next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Takes what is to be done, in order.
    pub(super) fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    fn on_upsert(&mut self, node: Arc<Node>, at: Revision, now: Instant) {
        if !self.config.domain.covers(node.domain()) {
            return;
        }
        self.on_contact(now);
        self.feed.revision = self.feed.revision.max(at);
        self.names.saw(node.service());
        let name = node.service().clone();
        self.with_entry(&name, now, |entry, cx| entry.on_event(|members| members.upsert(node, at), cx));
    }

    fn on_remove(&mut self, key: NodeKey, removal: Removal, at: Revision, now: Instant) {
        let NodeKey { domain, service, id } = key;
        if !self.config.domain.covers(&domain) {
            return;
        }
        self.on_contact(now);
        self.feed.revision = self.feed.revision.max(at);
        let sudden = self.config.sudden;
        let key = Key::new(id, domain);
        let mut is_empty = false;
        self.with_entry(&service, now, |entry, cx| {
            entry.on_event(|members| members.remove(key, removal, at, now, sudden), cx);
            is_empty = entry.is_empty();
        });
        if is_empty {
            self.names.lost(&service);
        }
    }

    fn on_snapshot(&mut self, at: Revision, now: Instant) {
        let Some(mut snapshot) = self.feed.snapshot.take() else {
            return;
        };
        if at < self.feed.revision && !self.believes_outdated(at, now) {
            return;
        }
        self.feed.outdated = 0;
        self.feed.revision = at;
        self.names.replace(snapshot.keys().cloned().collect());
        let after_outage = self.feed.freshness.is_stale();
        self.on_contact(now);
        let source = if after_outage { Source::AfterOutage } else { Source::Regular };
        let names: Vec<_> = self.entries.keys().cloned().collect();
        for name in names {
            let nodes = snapshot.remove(&name).unwrap_or_default();
            self.with_entry(&name, now, |entry, cx| entry.on_snapshot(Picture { nodes, at, source }, cx));
        }
    }

    /// A snapshot is older than what had been shown: a replica that lags, or a registry that counts anew. Only the second
    /// stays that way, so it takes as many more snapshots as there are planned readings.
    fn believes_outdated(&mut self, at: Revision, now: Instant) -> bool {
        let shown = self.feed.revision;
        let [first, second] = self.config.rereads;
        let wait = match self.feed.outdated {
            0 => first,
            1 => second.saturating_sub(first),
            _ => {
                tracing::info!(%shown, %at, "the registry counts its states anew");
                self.entries.values_mut().for_each(Entry::renumber);
                return true;
            }
        };
        self.feed.outdated += 1;
        self.actions.push(Action::Reopen(wait));
        let message = format!("its snapshot shows state {at}, older than {shown} which it had shown already");
        self.on_outage(Error::new(ErrorKind::Unavailable, "watch registry", message), now);
        false
    }

    /// The watch has trouble. All that is known stays, and is marked with since when nobody stands by it.
    fn on_outage(&mut self, error: Error, now: Instant) {
        let since = match &self.feed.freshness {
            Freshness::Fresh => {
                tracing::info!(error = error.chain(), "the registry is away: the last good views are kept");
                now
            }
            Freshness::Stale { error: before, .. } if says_same(before, &error) => return,
            Freshness::Stale { since, error: _ } => *since,
        };
        self.set_freshness(Freshness::Stale { since, error }, now);
    }

    fn on_contact(&mut self, now: Instant) {
        if let Freshness::Stale { since, error: _ } = &self.feed.freshness {
            let away = now.saturating_duration_since(*since);
            tracing::info!(?away, "the registry is back");
            self.set_freshness(Freshness::Fresh, now);
        }
    }

    fn set_freshness(&mut self, freshness: Freshness, now: Instant) {
        self.actions.push(Action::Freshness(freshness.clone()));
        self.feed.freshness = freshness;
        let names: Vec<_> = self.entries.keys().cloned().collect();
        for name in names {
            self.with_entry(&name, now, |entry, cx| entry.on_freshness(cx));
        }
    }

    /// Does something to a followed name, and lists it under the time at which it wants to be looked at again.
    fn with_entry(
        &mut self,
        name: &ServiceName,
        now: Instant,
        change: impl FnOnce(&mut Entry, &mut Context<'_>),
    ) {
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        let Feed { freshness, .. } = &self.feed;
        let mut cx = Context { config: &self.config, registry: freshness, rng: &mut self.rng, now };
        change(entry, &mut cx);
        let timer = entry.next(freshness, &self.config);
        if timer != entry.timer {
            if let Some(before) = entry.timer {
                self.timers.remove(&(before, name.clone()));
            }
            if let Some(timer) = timer {
                self.timers.insert((timer, name.clone()));
            }
            entry.timer = timer;
        }
    }
}
