//! A watch: a list, then what changes from its revision on.
//!
//! ```text
//! behind ──list──> following ──broken──> resuming ──> following
//!    ^                 │                     │
//!    └──── resting <───┴── lagged, compacted ┴── failed: a new list
//! ```
//!
//! When the stream of changes breaks (a member restarts, the connection is lost), it is taken up where it ended, at once and only
//! once, from whichever member answers: a fleet that lists everything anew whenever a member restarts would knock over the next.
//! Nothing was missed then, and nothing is said. But a gap is never guessed over. That the store is still the one that was followed
//! is asked by something it must remember; if it does not, or does not answer soon, the failure is said, and what is there is listed
//! anew and handed out as a snapshot. Two watches of etcd's are merged where entries may be in two ranges.

#[cfg(test)]
mod tests;

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
use futures_util::{
    StreamExt,
    future::{select_all, try_join_all},
    stream,
};
use tokio::{
    select,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    Handle,
    client::{Batch, End, Fault, Feed, api},
    clock::Moment,
    keys,
    lease::REVOKE_AFTER,
    list::{Picture, Scope, Witness, is_stray},
};

const OP: &str = "watch registry";
/// How long it may take to go on where a stream broke off before that is said.
const RESUME_MAX: Duration = Duration::from_secs(2);
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
    /// The changes broke off.
    Broken(Changes, Fault),
}

/// What follows on a list.
struct Changes {
    feeds: Vec<Feed>,
    /// How far each of them has come, by etcd's count.
    come_to: Vec<i64>,
    /// The list's.
    moment: Moment,
    /// The last writing seen, while it is in place.
    witness: Option<Witness>,
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
                Ok((feed, batch)) => self.take(feed, batch).await,
                Err(end) => self.end(end),
            },
            State::Broken(..) => self.resume().await,
        }
    }

    /// Lists, and opens the watches that follow on it.
    async fn begin(&mut self) {
        match self.list_and_follow().await {
            Ok((Picture { nodes, moment, poisoned: _, has_strays, witness }, feeds)) => {
                self.shown = self.shown.max(moment.ours);
                self.queue.push_back(WatchEvent::SnapshotStart);
                self.queue.extend(nodes.into_iter().map(WatchEvent::Node));
                self.queue.push_back(WatchEvent::SnapshotDone(self.shown));
                let (since, come_to) = (Instant::now(), vec![moment.etcd; feeds.len()]);
                self.state = State::Changes(Changes { feeds, come_to, moment, witness, since, has_strays });
            }
            Err(error) => self.fail(error),
        }
    }

    async fn list_and_follow(&self) -> Result<(Picture, Vec<Feed>), Error> {
        let picture = self.handle.picture(OP, &self.scope).await?;
        let ranges = keys::ranges(&self.scope.domain, self.scope.service.as_ref());
        let come_to = vec![picture.moment.etcd; ranges.len()];
        let feeds = self.feeds(&come_to, self.handle.client.deadline()).await;
        Ok((picture, feeds.map_err(|fault| fault.into_error(OP))?))
    }

    /// Watches each range from where one has come to.
    async fn feeds(&self, come_to: &[i64], deadline: Instant) -> Result<Vec<Feed>, Fault> {
        let ranges = keys::ranges(&self.scope.domain, self.scope.service.as_ref());
        let opening = ranges
            .iter()
            .zip(come_to)
            .map(|(range, come_to)| self.handle.watches.open(range, come_to + 1, deadline));
        try_join_all(opening).await
    }

    /// Goes on where the changes broke off, if the store remembers it.
    async fn resume(&mut self) {
        let State::Broken(mut changes, broken) = std::mem::replace(&mut self.state, State::Behind) else {
            return;
        };
        let (deadline, mut backoff) = (Instant::now() + RESUME_MAX, Backoff::calls());
        loop {
            match self.try_resume(&changes, deadline).await {
                Ok(Some(feeds)) => {
                    tracing::debug!(%broken, "a watch broke, and was taken up where it ended");
                    (changes.feeds, changes.since) = (feeds, Instant::now());
                    self.state = State::Changes(changes);
                    return;
                }
                Ok(None) => break,
                Err(fault) => tracing::debug!(%fault, "a watch broke, and cannot be taken up"),
            }
            let rest = self.handle.jitter(&mut backoff);
            if Instant::now() + rest >= deadline {
                break;
            }
            sleep(rest).await;
        }
        self.fail(broken.into_error(OP));
    }

    async fn try_resume(&self, changes: &Changes, deadline: Instant) -> Result<Option<Vec<Feed>>, Fault> {
        let Some(witness) = &changes.witness else { return Ok(None) };
        let come_to = changes.come_to.iter().copied().max().unwrap_or_default();
        if !self.handle.remembers(witness, come_to, deadline).await? {
            return Ok(None);
        }
        self.feeds(&changes.come_to, deadline).await.map(Some)
    }

    fn fail(&mut self, error: Error) {
        self.queue.push_back(WatchEvent::Error(error));
        self.rest();
    }

    fn rest(&mut self) {
        self.state = State::Resting(Instant::now() + self.handle.jitter(&mut self.backoff));
    }

    fn end(&mut self, end: End) {
        let State::Changes(changes) = std::mem::replace(&mut self.state, State::Behind) else { return };
        // One that keeps ending is not taken up again and again without a rest.
        let was_steady = changes.since.elapsed() >= STEADY_AFTER;
        if was_steady {
            self.backoff.reset();
        }
        match end {
            End::Failed(fault) if self.backoff.attempts() == 0 => {
                // It counts as an attempt, or the next break were the first again.
                let _ = self.handle.jitter(&mut self.backoff);
                self.state = State::Broken(changes, fault);
            }
            End::Failed(fault) => self.fail(fault.into_error(OP)),
            End::Lagged => self.overtaken("its reader fell behind"),
            End::Compacted => self.overtaken("it was overtaken by a compaction, or a store that begins anew"),
        }
    }

    fn overtaken(&mut self, why: &'static str) {
        tracing::debug!(why, "a watch begins anew with a list");
        self.rest();
    }

    /// Turns what came in into what is handed out.
    async fn take(&mut self, feed: usize, batch: Batch) {
        let State::Changes(changes) = &mut self.state else { return };
        let (moment, has_strays) = (changes.moment, changes.has_strays);
        if !self.handle.clock.is_current(&moment) {
            return self.end(End::Compacted);
        }
        changes.note(feed, &batch);
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
            let nodes = self.handle.reader.read(&of.key, &of.value).nodes;
            nodes.into_iter().filter(|node| self.scope.covers(node)).collect()
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
    /// The next batch of any feed, and which of them that is; or why one of them ended.
    async fn next(&mut self) -> Result<(usize, Batch), End> {
        if let [feed] = &mut *self.feeds {
            return Ok((0, feed.next().await?));
        }
        let nexts = self.feeds.iter_mut().map(|feed| Box::pin(feed.next()));
        let (batch, index, _) = select_all(nexts).await;
        Ok((index, batch?))
    }

    /// Remembers how far a feed has come, and what was written last.
    fn note(&mut self, feed: usize, batch: &Batch) {
        self.come_to[feed] = self.come_to[feed].max(batch.revision);
        for event in &batch.events {
            let Some(kv) = &event.kv else { continue };
            if event.r#type() == api::event::EventType::Put {
                self.witness = Some(Witness::of(kv));
            } else if self.witness.as_ref().is_some_and(|witness| witness.key == kv.key) {
                self.witness = None;
            }
        }
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
