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
//! Calls read the connections without a lock and never wait for this task while one is open.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use callsign_core::{
    Node, NodeId, WeakTasks,
    model::Address,
    retry::{Backoff, Jitter},
    select::Load,
};
use callsign_net::{Config, Connection, Host, Slot, Status, connect};
use http::uri::Authority;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// Most connections to one node, opened when the stream limit of the others is reached (as in gRFC A105).
const CONNECTIONS_MAX: usize = 10;
/// A connection that ended sooner than this was no success, and the next one waits as after a failure.
const PROVEN_AFTER: Duration = Duration::from_secs(1);

/// The way to one node at one address.
pub(crate) struct Link {
    pub(crate) id: NodeId,
    pub(crate) address: Address,
    pub(crate) authority: Authority,
    pub(crate) load: Load,
    open: ArcSwap<Vec<Arc<Connection>>>,
    phase: Mutex<Phase>,
    /// Something about the connections changed, or a call wants a further one.
    event: Arc<Notify>,
    grow: AtomicBool,
    /// Reconnect now.
    wake: Notify,
    idle: Notify,
    gone: CancellationToken,
    /// Told whenever a new snapshot is due.
    dirty: Arc<Notify>,
}

/// Where a link is, and why it is not ready if it is not.
#[derive(Debug, Clone)]
struct Phase {
    state: State,
    /// The last failure, until a connection works.
    error: Option<callsign_net::Error>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Connecting,
    Ready,
    Backoff(Instant),
    Gone,
}

/// A node as a channel sees it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NodeStatus {
    /// The node as registered.
    pub node: Arc<Node>,
    /// Its connectivity.
    pub state: NodeState,
    /// Calls in flight from this channel.
    pub inflight: u32,
    /// Calls that this channel has sent to it.
    pub calls: u64,
    /// Calls that it failed.
    pub failures: u32,
    /// Recent mean latency of its answers.
    pub latency: Option<Duration>,
    /// Open connections.
    pub connections: usize,
}

/// Whether a node can be called.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeState {
    /// Not connected, since nobody calls.
    Idle,
    /// Being connected.
    Connecting,
    /// Can be called.
    Ready,
    /// The last attempt to connect failed; the next one comes after this time.
    Backoff {
        /// What failed.
        error: String,
        /// How long until the next attempt.
        retry_in: Duration,
    },
    /// It has left.
    Gone,
}

/// A stream on a connection of a link, or why there is none.
pub(crate) enum Way {
    Open(Arc<Connection>, Slot),
    /// All connections are at their stream limit; this one has the fewest.
    Full(Arc<Connection>),
    Closed,
}

// === impl Link ===

impl Link {
    /// A link that is not connected until [`run`](Self::run) is polled.
    pub(crate) fn new(id: NodeId, address: Address, load: Load, dirty: Arc<Notify>) -> Option<Arc<Self>> {
        let authority = Authority::try_from(address.to_string()).ok()?;
        Some(Arc::new(Self {
            id,
            address,
            authority,
            load,
            open: ArcSwap::default(),
            phase: Mutex::new(Phase { state: State::Connecting, error: None }),
            event: Arc::default(),
            grow: AtomicBool::new(false),
            wake: Notify::new(),
            idle: Notify::new(),
            gone: CancellationToken::new(),
            dirty,
        }))
    }

    /// A stream to the node.
    pub(crate) fn way(&self) -> Way {
        let open = self.open.load();
        for connection in open.iter() {
            if let Some(slot) = connection.try_slot() {
                return Way::Open(connection.clone(), slot);
            }
        }
        let live = open.iter().filter(|connection| connection.status() == Status::Open);
        match live.min_by_key(|connection| connection.streams()) {
            Some(connection) => {
                self.grow.store(true, Ordering::Relaxed);
                self.event.notify_one();
                Way::Full(connection.clone())
            }
            None => {
                // Picks avoid the node from now on; the task looks again and decides.
                self.load.set_ready(false);
                self.event.notify_one();
                Way::Closed
            }
        }
    }

    /// The node is worth another try now.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Nobody has called for long.
    pub(crate) fn rest(&self) {
        self.idle.notify_one();
    }

    /// The node left. Calls in flight finish.
    pub(crate) fn leave(&self) {
        self.gone.cancel();
    }

    /// Why the node cannot be called, if the last attempt failed.
    pub(crate) fn error(&self) -> Option<callsign_net::Error> {
        self.phase().error
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.is_cancelled()
    }

    pub(crate) fn status(&self, node: Arc<Node>, now: Instant) -> NodeStatus {
        let Phase { state, error } = self.phase();
        let state = match state {
            State::Idle => NodeState::Idle,
            State::Connecting => NodeState::Connecting,
            State::Ready => NodeState::Ready,
            State::Gone => NodeState::Gone,
            State::Backoff(until) => NodeState::Backoff {
                error: error.map(|error| describe(&error)).unwrap_or_default(),
                retry_in: until.saturating_duration_since(now),
            },
        };
        NodeStatus {
            node,
            state,
            inflight: self.load.inflight(),
            calls: self.load.calls(),
            failures: self.load.failures(),
            latency: self.load.latency(),
            connections: self.open.load().len(),
        }
    }

    /// Keeps the node connected until it leaves.
    pub(crate) async fn run(self: Arc<Self>, config: Arc<Config>, tasks: WeakTasks, mut rng: fastrand::Rng) {
        let mut backoff = reconnection();
        loop {
            self.enter(State::Connecting);
            let host = host(&self.address);
            let made = tokio::select! {
                biased;
                () = self.gone.cancelled() => break,
                made = connect(&host, &config, &self.event) => made,
            };
            let error = match made {
                Ok((connection, driver)) => {
                    let since = Instant::now();
                    tasks.spawn("connection", async move {
                        driver.await;
                    });
                    self.adopt(connection);
                    match self.serve(&config, &tasks).await {
                        Served::Gone => break,
                        Served::Idle => {
                            self.enter(State::Idle);
                            tokio::select! {
                                biased;
                                () = self.gone.cancelled() => break,
                                () = self.wake.notified() => {}
                            }
                            continue;
                        }
                        Served::Lost(_) if since.elapsed() >= PROVEN_AFTER => {
                            backoff.reset();
                            continue;
                        }
                        Served::Lost(error) => error,
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
    }

    /// Looks after open connections until there is none.
    async fn serve(&self, config: &Config, tasks: &WeakTasks) -> Served {
        let host = host(&self.address);
        loop {
            if let Some(ended) = self.prune() {
                return Served::Lost(ended);
            }
            let want_more =
                self.grow.swap(false, Ordering::Relaxed) && self.open.load().len() < CONNECTIONS_MAX;
            let more = async {
                match want_more {
                    true => connect(&host, config, &self.event).await,
                    false => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.gone.cancelled() => return Served::Gone,
                () = self.idle.notified() => {
                    self.load.set_ready(false);
                    self.open.store(Arc::default());
                    return Served::Idle;
                }
                made = more => match made {
                    Ok((connection, driver)) => {
                        tasks.spawn("connection", async move {
                            driver.await;
                        });
                        self.adopt(connection);
                    }
                    Err(error) => tracing::debug!(node = %self.id, %error, "no further connection"),
                },
                () = self.event.notified() => {}
            }
        }
    }

    /// Lets go of connections that take no more calls. Gives the reason of the last when none is left.
    fn prune(&self) -> Option<Option<callsign_net::Error>> {
        let open = self.open.load_full();
        let live: Vec<_> =
            open.iter().filter(|connection| connection.status() == Status::Open).cloned().collect();
        let ready = !live.is_empty();
        let error = open.iter().rev().find_map(|connection| connection.error().cloned());
        if live.len() < open.len() {
            self.open.store(Arc::new(live));
        }
        self.load.set_ready(ready);
        self.dirty.notify_one();
        (!ready).then_some(error)
    }

    fn adopt(&self, connection: Connection) {
        let mut open = Vec::clone(&self.open.load());
        open.push(Arc::new(connection));
        self.open.store(Arc::new(open));
        self.load.set_ready(true);
        let mut phase = self.lock();
        let first = phase.state != State::Ready;
        *phase = Phase { state: State::Ready, error: None };
        drop(phase);
        if first {
            tracing::debug!(node = %self.id, address = %self.address, "node is ready");
        }
        self.dirty.notify_one();
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
        self.dirty.notify_one();
    }

    fn enter(&self, state: State) {
        self.lock().state = state;
        self.dirty.notify_one();
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
    Lost(Option<callsign_net::Error>),
    Idle,
    Gone,
}

/// Quicker than what gRPC prescribes for names without a registry: a node that is registered and refuses is most likely
/// restarting, and the registry tells when it is gone for good.
fn reconnection() -> Backoff {
    Backoff::new(Duration::from_millis(100), Duration::from_secs(10), 1.6, Jitter::Around(0.2))
        .unwrap_or_else(|_| Backoff::connections())
}

fn host(address: &Address) -> Host {
    match address.socket_addr() {
        Some(address) => Host::Ip(address),
        None => Host::Name(address.host().into(), address.port()),
    }
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
