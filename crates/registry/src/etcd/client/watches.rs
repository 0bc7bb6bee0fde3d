//! Watches: many on one stream, each with a queue of its own.
//!
//! A slow reader must not hold up the others on its stream. So its queue is bounded, by batches and by bytes, and when it is
//! full the watch ends: the reader finds that out when it has read what was queued, and starts anew from a fresh list.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    select,
    sync::{Notify, mpsc, oneshot},
    time::{Instant, sleep_until, timeout_at},
};

use super::{Call, Client, Fault, WATCH, api, fault, grpc};

/// Of what a watch's message may hold: etcd cuts them to its limit for requests, but one event comes whole.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Batches that a reader may be behind.
const BATCHES_MAX: usize = 1024;
/// Bytes that a reader may be behind.
const BYTES_MAX: usize = 32 << 20;
/// Watches that may wait to be opened.
const OPENING_MAX: usize = 1024;
/// How long a stream without watches stays open.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// How long etcd may take to make a watch before the stream is given up.
const MAKING_MAX: Duration = Duration::from_secs(5);

/// Opens watches.
#[derive(Debug)]
pub(crate) struct Watches {
    client: Client,
    stream: Mutex<Option<mpsc::Sender<Opening>>>,
}

/// From a key to before another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) key: Bytes,
    /// Empty for the one key alone.
    pub(crate) end: Bytes,
}

/// The events of one watch. Dropping it ends the watch.
#[derive(Debug)]
pub(crate) struct Feed {
    batches: mpsc::Receiver<Batch>,
    common: Arc<Common>,
    sweep: Arc<Notify>,
    /// The revision of the member that serves it, when the watch was made.
    pub(crate) made_at: i64,
}

/// What happened, in order.
#[derive(Debug)]
pub(crate) struct Batch {
    /// All of them up to the revision; none when etcd says only how far the watch has come.
    pub(crate) events: Vec<api::Event>,
    pub(crate) revision: i64,
    /// When it came in.
    pub(crate) at: Instant,
    bytes: usize,
}

/// Why a watch ended.
#[derive(Debug, Clone)]
pub(crate) enum End {
    /// Its reader was too slow.
    Lagged,
    /// What it was to begin with is there no more.
    Compacted,
    Failed(Fault),
}

/// What both ends of a feed know.
#[derive(Debug, Default)]
struct Common {
    bytes: AtomicUsize,
    end: OnceLock<End>,
}

struct Opening {
    range: Range,
    from: i64,
    asked: Instant,
    reply: oneshot::Sender<Result<Feed, Fault>>,
}

/// The watches on one stream.
struct Hub {
    opening: VecDeque<Opening>,
    watchers: HashMap<i64, Watcher>,
    sweep: Arc<Notify>,
}

struct Watcher {
    batches: mpsc::Sender<Batch>,
    common: Arc<Common>,
    /// Events of a revision of which more is to come.
    partial: Vec<api::Event>,
}

// === impl Watches ===

impl Watches {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, stream: Mutex::new(None) }
    }

    /// Watches a range from a revision on.
    ///
    /// A watch refused for lack of permission is tried once more on a new stream with a new token: a stream keeps the token it
    /// was opened with, and etcd does not say whether it was that which it did not like.
    pub(crate) async fn open(&self, range: &Range, from: i64, deadline: Instant) -> Result<Feed, Fault> {
        let first = self.try_open(range, from, deadline).await;
        match first {
            Err(Fault::Refused { status, .. })
                if status.code == grpc::code::PERMISSION_DENIED && self.client.0.has_credentials =>
            {
                let live = self.client.0.link.connected(deadline).await?;
                self.client.0.link.token_refused(&live);
                self.forget();
                self.try_open(range, from, deadline).await
            }
            // The stream had just ended: that says nothing about the next.
            Err(Fault::Ended { .. }) => self.try_open(range, from, deadline).await,
            other => other,
        }
    }

    async fn try_open(&self, range: &Range, from: i64, deadline: Instant) -> Result<Feed, Fault> {
        let (reply, answer) = oneshot::channel();
        let gone = || Fault::Ended { endpoint: self.client.endpoints().to_owned() };
        let opening = Opening { range: range.clone(), from, asked: Instant::now(), reply };
        let asked = async {
            self.stream().send(opening).await.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())?
        };
        timeout_at(deadline, asked).await.unwrap_or_else(|_| {
            let limit = self.client.0.request_timeout;
            Err(Fault::Late { endpoints: self.client.endpoints().to_owned(), limit })
        })
    }

    /// The stream's task, started if there is none.
    fn stream(&self) -> mpsc::Sender<Opening> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stream) = stream.as_ref().filter(|stream| !stream.is_closed()) {
            return stream.clone();
        }
        let (sender, inbox) = mpsc::channel(OPENING_MAX);
        let hub = Hub { opening: VecDeque::new(), watchers: HashMap::new(), sweep: Arc::default() };
        self.client.0.tasks.spawn("etcd watch stream", hub.run(self.client.clone(), inbox));
        *stream = Some(sender.clone());
        sender
    }

    /// New watches go over a new stream; those on the old one stay there.
    fn forget(&self) {
        *self.stream.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

// === impl Feed ===

impl Feed {
    /// What happened next, or why the watch ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Batch, End> {
        match self.batches.recv().await {
            Some(batch) => {
                self.common.bytes.fetch_sub(batch.bytes, Ordering::AcqRel);
                Ok(batch)
            }
            None => Err(self.common.end.get().cloned().unwrap_or(End::Failed(Fault::Closed))),
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.batches.close();
        self.sweep.notify_one();
    }
}

// === impl Batch ===

impl Batch {
    pub(crate) fn new(events: Vec<api::Event>, revision: i64) -> Self {
        let bytes = events.iter().map(bytes_of).sum();
        Self { events, revision, at: Instant::now(), bytes }
    }
}

// === impl Hub ===

impl Hub {
    async fn run(mut self, client: Client, mut inbox: mpsc::Receiver<Opening>) {
        let fault = match client.stream(WATCH).await {
            Ok(mut call) => {
                let fault = self.serve(&mut call, &mut inbox).await;
                client.stream_failed(call.live(), &fault);
                fault
            }
            Err(fault) => fault,
        };
        inbox.close();
        while let Ok(opening) = inbox.try_recv() {
            self.opening.push_back(opening);
        }
        for Opening { reply, .. } in self.opening.drain(..) {
            let _ = reply.send(Err(fault.clone()));
        }
        for watcher in self.watchers.values() {
            watcher.end(End::Failed(fault.clone()));
        }
    }

    /// Opens and feeds watches until the stream fails, or nobody needs it any more.
    async fn serve(
        &mut self,
        call: &mut Call<api::WatchResponse>,
        inbox: &mut mpsc::Receiver<Opening>,
    ) -> Fault {
        let sweep = self.sweep.clone();
        let endpoint = call.live().endpoint().to_owned();
        // Whoever opened watches here may open them elsewhere by now; those that are open are served to their end.
        let mut taking = true;
        loop {
            let idle = self.watchers.is_empty() && self.opening.is_empty();
            if idle && !taking {
                return Fault::Ended { endpoint };
            }
            let late = self.opening.front().map(|oldest| oldest.asked.max(call.opened()) + MAKING_MAX);
            let patience = late.unwrap_or_else(|| Instant::now() + IDLE_MAX);
            select! {
                // Events first: they are why all this is there. There are pauses between them.
                biased;
                response = call.next() => match response {
                    Ok(Some(response)) => self.take(call, response),
                    Ok(None) => return Fault::Ended { endpoint },
                    Err(fault) => return fault,
                },
                opening = inbox.recv(), if taking && self.opening.len() < OPENING_MAX => match opening {
                    Some(opening) => {
                        call.send(&create(&opening));
                        self.opening.push_back(opening);
                    }
                    None => taking = false,
                },
                () = sweep.notified() => self.sweep(call),
                () = sleep_until(patience), if idle || late.is_some() => {
                    let limit = MAKING_MAX;
                    return if idle { Fault::Ended { endpoint } } else { Fault::Late { endpoints: endpoint, limit } };
                }
            }
        }
    }

    fn take(&mut self, call: &mut Call<api::WatchResponse>, response: api::WatchResponse) {
        let id = response.watch_id;
        if response.created {
            self.created(call, response);
            return;
        }
        let Some(watcher) = self.watchers.get_mut(&id) else { return };
        if response.canceled {
            watcher.end(end_of(call.live().endpoint(), &response));
            self.watchers.remove(&id);
            return;
        }
        watcher.partial.extend(response.events);
        if response.fragment {
            return;
        }
        let come_to = response.header.map_or(0, |header| header.revision);
        if !watcher.pass_on(come_to) {
            call.send(&cancel(id));
            self.watchers.remove(&id);
        }
    }

    /// etcd makes watches in the order in which they were asked for.
    fn created(&mut self, call: &mut Call<api::WatchResponse>, response: api::WatchResponse) {
        let Some(Opening { reply, .. }) = self.opening.pop_front() else { return };
        if response.canceled {
            let fault = match end_of(call.live().endpoint(), &response) {
                End::Failed(fault) => fault,
                End::Lagged | End::Compacted => fault::compacted(call.live().endpoint()),
            };
            let _ = reply.send(Err(fault));
            return;
        }
        let (batches, receiver) = mpsc::channel(BATCHES_MAX);
        let common = Arc::<Common>::default();
        let made_at = response.header.as_ref().map_or(0, |header| header.revision);
        let feed = Feed { batches: receiver, common: common.clone(), sweep: self.sweep.clone(), made_at };
        self.watchers.insert(response.watch_id, Watcher { batches, common, partial: response.events });
        // Whoever asked may have gone; the feed's own end then has the watch swept up.
        let _ = reply.send(Ok(feed));
    }

    /// Ends the watches that nobody reads.
    fn sweep(&mut self, call: &mut Call<api::WatchResponse>) {
        self.watchers.retain(|id, watcher| {
            let unread = watcher.batches.is_closed();
            if unread {
                call.send(&cancel(*id));
            }
            !unread
        });
    }
}

// === impl Watcher ===

impl Watcher {
    /// Queues what has come in; `false` when there is no room, or nobody there.
    ///
    /// A response with events comes while there are more to come, and its header is ahead of them; one without says that there
    /// are none up to its header's revision.
    fn pass_on(&mut self, come_to: i64) -> bool {
        let events = std::mem::take(&mut self.partial);
        let last = events.last().and_then(|event| event.kv.as_ref()).map(|kv| kv.mod_revision);
        let revision = last.unwrap_or(come_to);
        let batch = Batch::new(events, revision);
        let bytes = batch.bytes;
        let queued = self.common.bytes.fetch_add(bytes, Ordering::AcqRel);
        // One batch is taken however large it is, or a large one would never come through.
        let fits = queued == 0 || queued + bytes <= BYTES_MAX;
        if fits && self.batches.try_send(batch).is_ok() {
            return true;
        }
        self.end(End::Lagged);
        false
    }

    fn end(&self, end: End) {
        let _ = self.common.end.set(end);
    }
}

fn bytes_of(event: &api::Event) -> usize {
    let sizes =
        [&event.kv, &event.prev_kv].map(|kv| kv.as_ref().map_or(0, |kv| kv.key.len() + kv.value.len()));
    sizes.into_iter().sum::<usize>() + size_of::<api::Event>()
}

fn create(opening: &Opening) -> api::WatchRequest {
    let Opening { range: Range { key, end }, from, asked: _, reply: _ } = opening;
    let create = api::WatchCreateRequest {
        key: key.clone(),
        range_end: end.clone(),
        start_revision: *from,
        progress_notify: true,
        prev_kv: true,
        fragment: true,
    };
    api::WatchRequest { request_union: Some(api::watch_request::RequestUnion::CreateRequest(create)) }
}

fn cancel(watch_id: i64) -> api::WatchRequest {
    let cancel = api::WatchCancelRequest { watch_id };
    api::WatchRequest { request_union: Some(api::watch_request::RequestUnion::CancelRequest(cancel)) }
}

fn end_of(endpoint: &str, response: &api::WatchResponse) -> End {
    if response.compact_revision > 0 {
        return End::Compacted;
    }
    End::Failed(fault::watch_cancelled(endpoint, &response.cancel_reason))
}
