//! One node's connections, kept by a task of the node's own.
//!
//! ```text
//! connecting ──► ready ──► connecting ...        the connection ended: another one at once
//!      │           └─────► idle                  nobody calls: no connection until somebody does
//!      ▼
//!   backoff ──► connecting ...                   jittered, cut short when the node registers anew
//! any ──► gone                                   the node left: calls in flight finish, no others begin
//! ```
//!
//! A node that is connected may still say, if it is asked ([`HealthCheck`]), that it does not serve. It is then not picked either.
//!
//! Calls read the connections without a lock and never wait for this task while one is open.

mod news;
mod outcome;
mod phase;
mod word;

use std::{
    fmt,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use callsign_core::{
    Node, NodeId, WeakTasks,
    health::Verdict,
    model::Address,
    retry::{Backoff, Jitter},
    select::{Load, Paces},
};
use callsign_net::{Bundle, Config, Connection, Slot, Status, connect};
use http::uri::{Authority, Scheme};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::news::News;
use self::phase::{Phase, State};
use super::{
    HealthCheck, NodeState, NodeStatus,
    health_check::{Asking, Word},
    histogram::Histogram,
    reports::Reports,
    speech::{authority, host},
};

/// Most connections to one node, opened when the stream limit of the others is reached (as in gRFC A105).
const CONNECTIONS_MAX: usize = 10;
/// How long after a further connection could not be made the next one is tried.
const GROWTH_PAUSE: Duration = Duration::from_secs(1);
/// A connection that ended sooner than this without an answer was no success, and the next one waits as after a failure.
const PROVEN_AFTER: Duration = Duration::from_secs(1);

/// The way to one node at one address.
pub(crate) struct Link {
    pub(crate) id: NodeId,
    pub(crate) address: Address,
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    pub(crate) load: Load,
    open: ArcSwap<Vec<Arc<Connection>>>,
    phase: Mutex<Phase>,
    /// Tells of the connections, and queues calls for which there is no room on them.
    bundle: Arc<Bundle>,
    /// A call wants a further connection.
    grow: AtomicBool,
    /// Reconnect now.
    wake: Notify,
    gone: CancellationToken,
    news: Arc<News>,
    paces: Arc<Paces>,
    /// For strategies that go by what nodes report.
    reports: Option<Arc<Reports>>,
    /// Of the calls that got as far as the node.
    latencies: Histogram,
}

/// A stream on a connection of a link, or why there is none.
pub(crate) enum Way {
    Open(Arc<Connection>, Slot),
    /// All connections are at their stream limit, or others queue for a stream.
    Full,
    Closed,
}

// === impl Link ===

impl Link {
    /// A link that is not connected until [`run`](Self::run) is polled. `None` if HTTP has no way to write the address.
    pub(super) fn new(
        id: NodeId,
        address: Address,
        scheme: Scheme,
        load: Load,
        news: Arc<News>,
        paces: Arc<Paces>,
        reports: Option<Arc<Reports>>,
    ) -> Option<Arc<Self>> {
        let authority = authority(&address)?;
        Some(Arc::new(Self {
            id,
            address,
            scheme,
            authority,
            load,
            open: ArcSwap::default(),
            phase: Mutex::new(Phase::new()),
            bundle: Arc::default(),
            grow: AtomicBool::new(false),
            wake: Notify::new(),
            gone: CancellationToken::new(),
            news,
            paces,
            reports,
            latencies: Histogram::default(),
        }))
    }

    /// A stream to the node, if there is one to be had at once.
    pub(crate) fn way(&self) -> Way {
        self.look(Connection::try_slot)
    }

    /// An open connection, if there is one.
    pub(super) fn connection(&self) -> Option<Arc<Connection>> {
        self.open.load().first().cloned()
    }

    /// A stream to the node as soon as one ends or a further connection is made, in the order of asking. `None` when there is
    /// no connection to wait for any more.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the turn passes to the next in the queue.
    pub(crate) async fn room(&self) -> Option<(Arc<Connection>, Slot)> {
        let turn = self.bundle.queue();
        if !turn.is_first() {
            turn.call().await;
        }
        loop {
            let called = turn.call();
            match self.look(|connection| connection.slot_for(&turn)) {
                Way::Open(connection, slot) => {
                    if self.open.load().iter().any(|connection| connection.has_room()) {
                        self.bundle.make_room();
                    }
                    return Some((connection, slot));
                }
                Way::Closed => {
                    self.bundle.make_room();
                    return None;
                }
                Way::Full => called.await,
            }
        }
    }

    fn look(&self, slot: impl Fn(&Connection) -> Option<Slot>) -> Way {
        let open = self.open.load();
        for connection in open.iter() {
            if let Some(slot) = slot(connection) {
                return Way::Open(connection.clone(), slot);
            }
        }
        if open.iter().any(|connection| connection.status() == Status::Open) {
            if !self.grow.swap(true, Ordering::Relaxed) {
                self.bundle.nudge();
            }
            return Way::Full;
        }
        // Picks avoid the node from now on; the task looks again and decides.
        self.load.set_ready(false);
        self.bundle.nudge();
        Way::Closed
    }

    /// The node is worth another try now.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// The node left. Calls in flight finish.
    pub(crate) fn leave(&self) {
        self.gone.cancel();
    }

    /// Why the node cannot be called, if the last attempt failed.
    pub(crate) fn error(&self) -> Option<callsign_net::Error> {
        self.phase().error
    }

    /// Why the node cannot be called: that it cannot be reached, or its own word.
    pub(crate) fn refusal(&self) -> Option<String> {
        self.phase().refusal()
    }

    pub(crate) fn state(&self) -> NodeState {
        self.phase().shown(Instant::now())
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.is_cancelled()
    }

    /// It is gone, and so is the last of its calls.
    pub(super) fn is_at_rest(&self) -> bool {
        self.is_gone() && self.open.load().is_empty() && self.load.inflight() == 0
    }

    pub(crate) fn status(&self, node: Arc<Node>, verdict: Verdict, now: Instant) -> NodeStatus {
        let state = match self.phase().shown(now) {
            NodeState::Ready if self.load.is_leaving() => NodeState::Leaving,
            state => state,
        };
        NodeStatus {
            node,
            state,
            verdict,
            inflight: self.load.inflight(),
            calls: self.load.calls(),
            failures: self.load.failures(),
            latency: self.load.latency(),
            latencies: self.latencies.counts(),
            connections: self.open.load().len(),
        }
    }

    /// Keeps the node connected until it leaves.
    pub(crate) async fn run(
        self: Arc<Self>,
        config: Arc<Config>,
        check: Option<Arc<HealthCheck>>,
        tasks: WeakTasks,
        mut rng: fastrand::Rng,
    ) {
        let mut backoff = reconnection();
        let mut resting = self.news.resting.subscribe();
        loop {
            if *resting.borrow_and_update() {
                self.enter(State::Idle);
                tokio::select! {
                    biased;
                    () = self.gone.cancelled() => break,
                    _ = resting.wait_for(|resting| !resting) => {}
                }
            }
            self.enter(State::Connecting);
            let host = host(&self.address);
            let made = tokio::select! {
                biased;
                () = self.gone.cancelled() => break,
                made = connect(&host, &config, &self.bundle) => made,
            };
            let error = match made {
                Ok((connection, driver)) => {
                    let since = Instant::now();
                    tasks.spawn("connection", async move {
                        driver.await;
                    });
                    // Whoever answers now may be another process.
                    self.load.set_leaving(false);
                    self.lock().word = if check.is_some() { Word::Awaited } else { Word::Serving };
                    self.adopt(connection);
                    let asking = Asking::new(&self, check.as_deref(), rng.fork());
                    match self.serve(&config, &tasks, &mut resting, asking).await {
                        Served::Gone => break,
                        Served::Resting => continue,
                        Served::Lost { answered, .. } if answered || since.elapsed() >= PROVEN_AFTER => {
                            backoff.reset();
                            continue;
                        }
                        Served::Lost { error, answered: _ } => error,
                    }
                }
                Err(error) => Some(error),
            };
            let until = Instant::now() + backoff.next(&mut rng);
            self.fail(error, until);
            tokio::select! {
                biased;
                () = self.gone.cancelled() => break,
                () = self.wake.notified() => backoff.reset(),
                () = sleep_until(until) => {}
            }
        }
        self.open.store(Arc::default());
        self.load.set_ready(false);
        self.enter(State::Gone);
        self.bundle.make_room();
    }

    /// Looks after open connections until there is none.
    async fn serve(
        &self,
        config: &Config,
        tasks: &WeakTasks,
        resting: &mut watch::Receiver<bool>,
        mut asking: Asking<'_>,
    ) -> Served {
        let host = host(&self.address);
        let mut further = pin!(None);
        let mut not_before = Instant::now();
        loop {
            if let Some(lost) = self.prune() {
                return lost;
            }
            asking.keep_to(&self.open.load());
            // What is being made goes on whatever else happens: calls at the stream limit come faster than connections.
            let wanted = further.is_none()
                && self.open.load().len() < CONNECTIONS_MAX
                && (self.grow.swap(false, Ordering::Relaxed) || self.bundle.has_queue());
            let later = wanted && Instant::now() < not_before;
            if wanted && !later {
                further.set(Some(connect(&host, config, &self.bundle)));
            }
            let made = async {
                match further.as_mut().as_pin_mut() {
                    Some(further) => further.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.gone.cancelled() => return Served::Gone,
                _ = resting.wait_for(|resting| *resting) => {
                    self.load.set_ready(false);
                    self.open.store(Arc::default());
                    self.bundle.make_room();
                    self.news.readiness.notify_one();
                    return Served::Resting;
                }
                made = made => {
                    further.set(None);
                    match made {
                        Ok((connection, driver)) => {
                            tasks.spawn("connection", async move {
                                driver.await;
                            });
                            self.adopt(connection);
                        }
                        Err(error) => {
                            not_before = Instant::now() + GROWTH_PAUSE;
                            tracing::debug!(node = %self.id, %error, "no further connection");
                        }
                    }
                }
                () = self.bundle.changed() => {}
                () = asking.proceed() => {}
                () = sleep_until(not_before), if later => {}
            }
        }
    }

    /// Lets go of connections that take no more calls. Tells of the last when none is left.
    fn prune(&self) -> Option<Served> {
        let open = self.open.load_full();
        let live: Vec<_> =
            open.iter().filter(|connection| connection.status() == Status::Open).cloned().collect();
        let connected = !live.is_empty();
        let ready = connected && self.lock().is_serving();
        let error = open.iter().rev().find_map(|connection| connection.error().cloned());
        let changed = live.len() < open.len() || self.load.is_ready() != ready;
        if live.len() < open.len() {
            self.open.store(Arc::new(live));
        }
        self.load.set_ready(ready);
        if changed {
            self.news.readiness.notify_one();
        }
        let answered = open.iter().any(|connection| connection.has_answered());
        (!connected).then_some(Served::Lost { error, answered })
    }

    fn adopt(&self, connection: Connection) {
        let mut open = Vec::clone(&self.open.load());
        open.push(Arc::new(connection));
        self.open.store(Arc::new(open));
        let mut phase = self.lock();
        let first = phase.state != State::Ready;
        (phase.state, phase.error) = (State::Ready, None);
        let serving = phase.is_serving();
        drop(phase);
        self.load.set_ready(serving);
        if first {
            if self.reports.is_some() {
                self.load.report_afresh();
            }
            tracing::debug!(node = %self.id, address = %self.address, "node is connected");
        }
        self.news.readiness.notify_one();
        self.bundle.make_room();
    }

    fn fail(&self, error: Option<callsign_net::Error>, until: Instant) {
        let mut phase = self.lock();
        let first = phase.error.is_none();
        phase.state = State::Backoff(until);
        if error.is_some() {
            phase.error = error;
        }
        let said = phase.error.as_ref().map(|error| describe(error));
        drop(phase);
        if first {
            let error = said.unwrap_or_default();
            tracing::info!(node = %self.id, address = %self.address, error, "node cannot be reached");
        }
        self.news.wording.notify_one();
    }

    fn enter(&self, state: State) {
        self.lock().state = state;
        self.news.wording.notify_one();
    }

    fn phase(&self) -> Phase {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("id", &self.id)
            .field("address", &self.address)
            .field("phase", &self.phase())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address.to_string();
        if self.id == address.as_str() { f.write_str(&address) } else { write!(f, "{} ({address})", self.id) }
    }
}

/// How a time of being connected ended.
enum Served {
    Lost {
        error: Option<callsign_net::Error>,
        /// It had answered calls, so there is reason to expect that of the next one.
        answered: bool,
    },
    Resting,
    Gone,
}

/// Quicker than what gRPC prescribes for names without a registry: a node that is registered and refuses is most likely
/// restarting, and the registry tells when it is gone for good.
fn reconnection() -> Backoff {
    Backoff::new(Duration::from_millis(100), Duration::from_secs(10), 1.6, Jitter::Around(0.2))
        .unwrap_or_else(|_| Backoff::connections())
}

/// An error with its causes, on one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}
