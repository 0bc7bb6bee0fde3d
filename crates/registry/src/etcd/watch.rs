//! A watch: a list, then what changes from its revision on.
//!
//! ```text
//! behind ──list──> following ──events──> following
//!    ^                │
//!    └──── resting <──┘   lagged, compacted, failed: a new list
//! ```
//!
//! A gap is never guessed over. Whenever the stream of changes ends, for whatever reason, what is there is listed anew and handed
//! out as a snapshot; a failure is said before that. Two watches of etcd's are merged where entries may be in two ranges.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use callsign_core::{
    Node, NodeKey, WatchEvent,
    error::Error,
    registry::{Removal, Revision, Watch},
    retry::Backoff,
};
use futures_util::{StreamExt, future::select_all, stream};
use tokio::{
    select,
    time::{Instant, sleep_until, timeout},
};

use super::{
    Handle,
    client::{Batch, End, Feed, api},
    clock::Moment,
    keys,
    lease::REVOKE_AFTER,
    list::{Key, Picture, Scope, is_stray},
};

const OP: &str = "watch registry";
/// A watch that was followed for so long begins its waits anew.
const STEADY_AFTER: Duration = Duration::from_secs(10);
/// How many leases are asked after at once, and how long that may take.
const FATES_AT_ONCE: usize = 32;
const FATE_MAX: Duration = Duration::from_secs(1);

struct Following {
    handle: Arc<Handle>,
    scope: Scope,
    state: State,
    backoff: Backoff,
    /// The latest revision handed out.
    shown: Revision,
    /// What is to be handed out before anything else.
    queue: VecDeque<WatchEvent>,
}

enum State {
    /// A list has to be read.
    Behind,
    /// Not yet: it did not work, or just ended.
    Resting(Instant),
    Changes(Changes),
}

/// What follows on a list.
struct Changes {
    feeds: Vec<Feed>,
    /// The list's.
    moment: Moment,
    since: Instant,
    /// Whether an entry may be there twice.
    has_strays: bool,
}

/// What an event of etcd's means.
enum Change {
    Put {
        key: bytes::Bytes,
        before: Vec<NodeKey>,
        now: Vec<Arc<Node>>,
        at: i64,
    },
    Gone {
        before: Vec<NodeKey>,
        lease: i64,
        at: i64,
    },
    /// It cannot be told what was there before.
    Unclear,
}

/// The stream of a watch.
pub(super) fn follow(handle: Arc<Handle>, scope: Scope) -> Watch {
    let start = Following {
        handle,
        scope,
        state: State::Behind,
        backoff: Backoff::calls(),
        shown: Revision::default(),
        queue: VecDeque::new(),
    };
    Watch::new(stream::unfold(start, |mut watch| async move {
        let event = watch.next().await?;
        Some((event, watch))
    }))
}

// === impl Following ===

impl Following {
    async fn next(&mut self) -> Option<WatchEvent> {
        let stopped = self.handle.stopped();
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some(event);
            }
            select! {
                // A closed handle has nothing more to say.
                biased;
                () = stopped.cancelled() => return None,
                () = self.advance() => {}
            }
        }
    }

    async fn advance(&mut self) {
        match &mut self.state {
            State::Behind => self.begin().await,
            State::Resting(until) => {
                sleep_until(*until).await;
                self.state = State::Behind;
            }
            State::Changes(changes) => match changes.next().await {
                Ok(batch) => self.take(batch).await,
                Err(end) => {
                    if changes.since.elapsed() >= STEADY_AFTER {
                        self.backoff.reset();
                    }
                    self.end(end);
                }
            },
        }
    }

    /// Lists, and opens the watches that follow on it.
    async fn begin(&mut self) {
        match self.list_and_follow().await {
            Ok((Picture { nodes, moment, poisoned: _, has_strays }, feeds)) => {
                self.shown = self.shown.max(moment.ours);
                self.queue.push_back(WatchEvent::SnapshotStart);
                self.queue.extend(nodes.into_iter().map(WatchEvent::Node));
                self.queue.push_back(WatchEvent::SnapshotDone(self.shown));
                let since = Instant::now();
                self.state = State::Changes(Changes { feeds, moment, since, has_strays });
            }
            Err(error) => {
                self.queue.push_back(WatchEvent::Error(error));
                self.rest();
            }
        }
    }

    async fn list_and_follow(&self) -> Result<(Picture, Vec<Feed>), Error> {
        let picture = self.handle.picture(OP, &self.scope).await?;
        let mut feeds = Vec::new();
        for range in keys::ranges(&self.scope.domain, self.scope.service.as_ref()) {
            let (from, deadline) = (picture.moment.etcd + 1, self.handle.client.deadline());
            let feed = self.handle.watches.open(&range, from, deadline).await;
            feeds.push(feed.map_err(|fault| fault.into_error(OP))?);
        }
        Ok((picture, feeds))
    }

    fn rest(&mut self) {
        self.state = State::Resting(Instant::now() + self.handle.jitter(&mut self.backoff));
    }

    fn end(&mut self, end: End) {
        match end {
            End::Lagged => tracing::debug!("a watch's reader fell behind; listing anew"),
            End::Compacted => tracing::debug!("a watch was overtaken by a compaction; listing anew"),
            End::Failed(fault) => self.queue.push_back(WatchEvent::Error(fault.into_error(OP))),
        }
        self.rest();
    }

    /// Turns what came in into what is handed out.
    async fn take(&mut self, batch: Batch) {
        let State::Changes(changes) = &self.state else { return };
        let (moment, has_strays) = (changes.moment, changes.has_strays);
        if !self.handle.clock.is_current(&moment) {
            return self.end(End::Compacted);
        }
        let Batch { events, at, .. } = batch;
        let understood: Vec<_> = events.into_iter().filter_map(|event| self.understand(event)).collect();
        let leases = understood.iter().filter_map(|change| match change {
            Change::Gone { lease, .. } => Some(*lease),
            Change::Put { .. } | Change::Unclear => None,
        });
        let fates = fates(&self.handle, leases.collect(), at).await;
        for change in understood {
            match change {
                Change::Put { key, before, now, at } => {
                    let revision = self.show(&moment, at);
                    let left =
                        before.into_iter().filter(|before| now.iter().all(|node| node.key() != *before));
                    self.queue.extend(left.map(|key| WatchEvent::Remove(key, Removal::Unknown, revision)));
                    if let State::Changes(changes) = &mut self.state {
                        changes.has_strays |= now.iter().any(|node| is_stray(&key, node));
                    }
                    self.queue.extend(now.into_iter().map(|node| WatchEvent::Upsert(node, revision)));
                }
                // It may still be there in the other place.
                Change::Gone { .. } if has_strays => return self.end(End::Compacted),
                Change::Gone { before, lease, at } => {
                    let revision = self.show(&moment, at);
                    let removal = fates.get(&lease).copied().unwrap_or(Removal::Unknown);
                    self.queue
                        .extend(before.into_iter().map(|key| WatchEvent::Remove(key, removal, revision)));
                }
                Change::Unclear => return self.end(End::Compacted),
            }
        }
    }

    /// Our number for the revision, which never goes back.
    fn show(&mut self, moment: &Moment, at: i64) -> Revision {
        self.shown = self.shown.max(self.handle.clock.saw(moment, at));
        self.shown
    }

    /// `None` for what does not concern this watch, or changes nothing.
    fn understand(&self, event: api::Event) -> Option<Change> {
        let put = event.r#type() == api::event::EventType::Put;
        let api::Event { kv, prev_kv, .. } = event;
        let kv = kv?;
        // The value of before is missing only where it was compacted; a key that is new has none.
        if prev_kv.is_none() && (!put || kv.version > 1) {
            return Some(Change::Unclear);
        }
        if put && prev_kv.as_ref().is_some_and(|before| before.value == kv.value) {
            return None;
        }
        let read = |of: &api::KeyValue| -> Vec<Node> {
            let read = self.handle.reader.read(&of.key, &of.value);
            if let (Some(error), true) = (read.poison, of.mod_revision == kv.mod_revision) {
                tracing::warn!(key = %Key(&of.key), error = error.chain(), "entry not understood; skipped");
            }
            read.nodes.into_iter().filter(|node| self.scope.covers(node)).collect()
        };
        let before: Vec<_> = prev_kv.as_ref().map(read).unwrap_or_default().iter().map(Node::key).collect();
        let at = kv.mod_revision;
        if put {
            let now: Vec<_> = read(&kv).into_iter().map(Arc::new).collect();
            return (!before.is_empty() || !now.is_empty()).then_some(Change::Put {
                key: kv.key,
                before,
                now,
                at,
            });
        }
        let lease = prev_kv.map_or(0, |before| before.lease);
        (!before.is_empty()).then_some(Change::Gone { before, lease, at })
    }
}

// === impl Changes ===

impl Changes {
    /// The next batch of any feed, or why one of them ended.
    async fn next(&mut self) -> Result<Batch, End> {
        let nexts = self.feeds.iter_mut().map(|feed| Box::pin(feed.next()));
        select_all(nexts).await.0
    }
}

/// How each of these leases ended, if it did. What had none was taken away on purpose; so was what had one that lives on. One that
/// is gone had expired, unless it is so long since that its owner may have ended it after removing the entry.
async fn fates(handle: &Handle, leases: HashSet<i64>, since: Instant) -> HashMap<i64, Removal> {
    let asked = leases.into_iter().map(|lease| async move {
        if lease == 0 {
            return (lease, Removal::Deregistered);
        }
        let deadline = Instant::now() + FATE_MAX;
        let removal = match timeout(FATE_MAX, handle.client.is_alive(lease, deadline)).await {
            Ok(Ok(true)) => Removal::Deregistered,
            Ok(Ok(false)) if since.elapsed() < REVOKE_AFTER / 2 => Removal::Expired,
            _ => Removal::Unknown,
        };
        (lease, removal)
    });
    stream::iter(asked).buffer_unordered(FATES_AT_ONCE).collect().await
}
