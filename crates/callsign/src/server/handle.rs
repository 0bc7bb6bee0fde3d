//! A server seen from outside: what it is doing, and the word to leave.

use std::{net::SocketAddr, sync::Arc};

use callsign_core::{
    Node,
    registration::{RegistrationMeter, RegistrationState},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    call::Calls,
    health::Health,
    meter::CallMeter,
    orders::{Order, Orders},
};
use crate::{Error, ErrorKind, Result};

/// What a server is doing. It goes through them in this order, back and forth between `NotReady`, `Drained` and `Serving` as
/// its health and its orders change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// It holds its port, and accepts nothing yet.
    Bound,
    /// It answers, but is not well (yet), and so is not registered.
    NotReady,
    /// It answers and is well, and is to get no calls, by [`Handle::drain`] or an operator's word.
    Drained,
    /// It answers and is well: registered, or trying to be.
    Serving,
    /// It was told to leave: it says so to those who are connected, deregisters, and waits until clients have seen it.
    /// Everything is still accepted.
    Draining,
    /// It accepts nothing new, and finishes what is in flight.
    Finishing,
    /// It is over.
    Stopped,
}

/// A way to watch and to end a [`Server`](super::Server) that runs elsewhere. Cheap to clone; keeps nothing alive.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    local_addr: SocketAddr,
    node: Arc<Node>,
    health: Health,
    calls: Arc<Calls>,
    meter: Option<RegistrationMeter>,
    orders: Orders,
    phase: watch::Sender<Phase>,
    registration: watch::Sender<Option<watch::Receiver<RegistrationState>>>,
    shutdown: CancellationToken,
    stop_now: CancellationToken,
}

// === impl Handle ===

impl Handle {
    pub(crate) fn new(
        local_addr: SocketAddr,
        node: Arc<Node>,
        health: Health,
        calls: Arc<Calls>,
        meter: Option<RegistrationMeter>,
        orders: Orders,
    ) -> Self {
        Self(Arc::new(Inner {
            local_addr,
            node,
            health,
            calls,
            meter,
            orders,
            phase: watch::Sender::new(Phase::Bound),
            registration: watch::Sender::new(None),
            shutdown: CancellationToken::new(),
            stop_now: CancellationToken::new(),
        }))
    }

    /// The address it listens on, with the port that it got.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local_addr
    }

    /// The node it registers as.
    #[must_use]
    pub fn node(&self) -> &Arc<Node> {
        &self.0.node
    }

    /// Its health, to be told.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.0.health
    }

    /// What it is doing.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.0.phase.borrow()
    }

    /// What it is doing, as it changes.
    #[must_use]
    pub fn phases(&self) -> watch::Receiver<Phase> {
        self.0.phase.subscribe()
    }

    /// How its registration stands; `None` while it does not try to be registered.
    #[must_use]
    pub fn registration(&self) -> Option<RegistrationState> {
        self.0.registration.borrow().as_ref().map(|states| states.borrow().clone())
    }

    /// Counts how often it was registered, lost its entry, and failed to register; `None` for a server that registers nowhere.
    #[must_use]
    pub fn registration_meter(&self) -> Option<&RegistrationMeter> {
        self.0.meter.as_ref()
    }

    /// Waits until it is registered.
    ///
    /// # Errors
    ///
    /// [`Closed`](ErrorKind::Closed) when it leaves instead; [`Unsupported`](ErrorKind::Unsupported) when it registers nowhere.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn registered(&self) -> Result<()> {
        let operation = "wait for the registration";
        if self.0.meter.is_none() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                operation,
                "the server was built to register nowhere",
            ));
        }
        let left = || Error::new(ErrorKind::Closed, operation, "the server left first");
        let mut registrations = self.0.registration.subscribe();
        let mut phases = self.phases();
        let registered = async {
            loop {
                let states = registrations.borrow_and_update().clone();
                let reached = async {
                    let Some(mut states) = states else { return std::future::pending().await };
                    if states
                        .wait_for(|state| matches!(state, RegistrationState::Registered { .. }))
                        .await
                        .is_err()
                    {
                        std::future::pending().await
                    }
                };
                tokio::select! {
                    biased;
                    () = reached => return Ok(()),
                    changed = registrations.changed() => changed.map_err(|_| left())?,
                }
            }
        };
        tokio::select! {
            biased;
            registered = registered => registered,
            _ = phases.wait_for(|phase| *phase >= Phase::Draining) => Err(left()),
        }
    }

    /// How many calls are in flight; health checks and reflection do not count.
    #[must_use]
    pub fn calls_in_flight(&self) -> usize {
        self.0.calls.inflight()
    }

    /// Counts what becomes of its calls: how many came, and how many were dropped since nobody waited for them any more.
    #[must_use]
    pub fn call_meter(&self) -> &CallMeter {
        self.0.calls.meter()
    }

    /// Has it get no more calls, and go on: its entry says so by a weight of zero, and so do its health and its replies. Calls that
    /// come all the same are served. Returns at once.
    ///
    /// Clients of go-micro do not go by weights; for them, use [`drain_unlisted`](Self::drain_unlisted).
    pub fn drain(&self) {
        self.0.orders.give(Order::Drain);
    }

    /// The same, and its entry leaves the registry.
    pub fn drain_unlisted(&self) {
        self.0.orders.give(Order::Unlist);
    }

    /// Has it take calls again. Clients give it its share little by little.
    pub fn undrain(&self) {
        self.0.orders.give(Order::Serve);
    }

    /// Whether it is to get no calls.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.0.orders.current() != Order::Serve
    }

    /// Tells it to leave in order, as SIGTERM does. Returns at once; the future that runs it ends when it is done.
    pub fn shutdown(&self) {
        self.0.shutdown.cancel();
    }

    /// Tells it to end at once, as a second signal does: calls in flight are lost.
    pub fn stop_now(&self) {
        self.0.stop_now.cancel();
    }

    pub(crate) fn shutdown_token(&self) -> CancellationToken {
        self.0.shutdown.clone()
    }

    pub(crate) fn stop_now_token(&self) -> CancellationToken {
        self.0.stop_now.clone()
    }

    pub(crate) fn orders(&self) -> &Orders {
        &self.0.orders
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.0.phase.send_replace(phase);
    }

    pub(crate) fn set_registration(&self, states: Option<watch::Receiver<RegistrationState>>) {
        self.0.registration.send_replace(states);
    }
}
