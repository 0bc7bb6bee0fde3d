//! A server's life, from the first connection to the last: serve, be registered while healthy, leave in order.
//!
//! The order of leaving makes each step safe by the one before it:
//!
//! 1. health says `NOT_SERVING`: clients that are connected know within a round trip;
//! 2. the entry leaves the registry: the others know as soon as it tells them;
//! 3. a wait until that has reached them, in which everything is still accepted;
//! 4. GOAWAY on every connection, and the port is closed: a call that was on its way was not processed and is safe to
//!    repeat elsewhere;
//! 5. what is in flight finishes, or is cut with UNAVAILABLE when the deadline for all of this has come.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use callsign_core::{
    Tasks,
    registration::{Registrar, Registration},
    registry::RegisterOptions,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    call::Calls,
    config::{DrainConfig, OnRegisterFailure},
    connection::Acceptor,
    handle::{Handle, Phase},
    notice::Notice,
    stay::{Stay, deregister},
};
use crate::{Error, ErrorKind, Result};

/// After the last call, how long peers that do not take note of GOAWAY may keep us.
const GOODBYE: Duration = Duration::from_secs(1);

/// How long the status of calls that were cut may take to reach their callers, and tasks to end.
const CUT_GRACE: Duration = Duration::from_millis(500);

/// Resolves when the application can take calls, or says why it never will.
pub(crate) type Ready =
    Pin<Box<dyn Future<Output = Result<(), Box<dyn std::error::Error + Send + Sync>>> + Send>>;

/// Everything that a server needs to live and to leave.
pub(crate) struct Lifecycle {
    pub(crate) handle: Handle,
    pub(crate) registering: Option<Registering>,
    pub(crate) ready: Option<Ready>,
    pub(crate) drain: DrainConfig,
    pub(crate) calls: Arc<Calls>,
    pub(crate) acceptor: Acceptor,
    pub(crate) tasks: Tasks,
}

/// How a server is registered.
#[derive(Debug)]
pub(crate) struct Registering {
    pub(crate) registrar: Registrar,
    pub(crate) options: RegisterOptions,
    pub(crate) timeout: Duration,
    pub(crate) on_failure: OnRegisterFailure,
}

/// Says that the server is over, however it came to that.
struct Ended(Handle);

/// What is left of a server that was told to leave.
struct Leaving {
    handle: Handle,
    config: DrainConfig,
    calls: Arc<Calls>,
    notice: Notice,
    closing: CancellationToken,
    room: Arc<Semaphore>,
    connections_max: u32,
}

// === impl Lifecycle ===

impl Lifecycle {
    /// Lives until `shutdown`, the handle, or a failure ends it, and leaves.
    pub(crate) async fn run(self, shutdown: impl Future<Output = ()>) -> Result<()> {
        let Self { handle, registering, ready, drain, calls, acceptor, tasks } = self;
        // Whoever drops this future has ended the server, connections and all.
        let ended = Ended(handle.clone());
        let stop = tasks.stopped().drop_guard();
        let leaving = Leaving {
            handle: handle.clone(),
            config: drain,
            calls: calls.clone(),
            notice: acceptor.notice.clone(),
            closing: acceptor.closing.clone(),
            room: acceptor.room.clone(),
            connections_max: acceptor.limits.connections,
        };
        tasks.spawn("accept", acceptor.run());

        let mut registration = None;
        let stay = Stay {
            handle: handle.clone(),
            registering,
            deregister: leaving.config.deregister(),
            notice: leaving.notice.clone(),
        };
        let (told, stopped) = (handle.shutdown_token(), handle.stop_now_token());
        let lived = tokio::select! {
            biased;
            () = stopped.cancelled() => Ok(()),
            () = told.cancelled() => Ok(()),
            () = shutdown => Ok(()),
            error = stay.run(ready, &mut registration) => Err(error),
        };
        handle.orders().end();
        let cut = tokio::select! {
            biased;
            () = stopped.cancelled() => calls.inflight(),
            // Clients can only have heard of a server that did not fail to start.
            cut = leaving.run(registration, lived.is_ok()) => cut,
        };
        drop(stop);
        if timeout(CUT_GRACE, tasks.close()).await.is_err() {
            tracing::warn!(tasks = tasks.len(), "handlers are still running that do not yield");
        }
        drop(ended);
        tracing::info!(cut, "stopped");
        lived?;
        if cut == 0 { Ok(()) } else { Err(lost(cut, stopped.is_cancelled())) }
    }
}

impl std::fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { handle, registering, ready, drain, calls, acceptor, tasks: _ } = self;
        f.debug_struct("Lifecycle")
            .field("handle", handle)
            .field("registering", registering)
            .field("ready", &ready.is_some())
            .field("drain", drain)
            .field("calls", calls)
            .field("acceptor", acceptor)
            .finish_non_exhaustive()
    }
}

// === impl Registering ===

impl Registering {
    /// Waits for the first success; past the time, says so or gives up.
    pub(super) async fn first(&self, registration: &Registration) -> Result<()> {
        let Ok(registered) = timeout(self.timeout, registration.registered()).await else {
            let error = Error::new(
                ErrorKind::Unavailable,
                "register",
                format!("{} is not registered after {:?}", registration.node().key(), self.timeout),
            )
            .with_hint("see whether the registry runs and whether its address is right");
            let cause = registration.state().error().cloned();
            return match self.on_failure {
                OnRegisterFailure::Fail => Err(match cause {
                    Some(cause) => error.with_source(cause),
                    None => error,
                }),
                OnRegisterFailure::KeepTrying => {
                    let cause = cause.map(|cause| cause.chain());
                    tracing::warn!(cause, "serving without being registered, and trying on: {error}");
                    Ok(())
                }
            };
        };
        registered
    }
}

// === impl Ended ===

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.enter(Phase::Stopped);
    }
}

// === impl Leaving ===

impl Leaving {
    /// Leaves in order; says how many calls were cut.
    async fn run(self, registration: Option<Registration>, known: bool) -> usize {
        let deadline = Instant::now() + self.config.deadline();
        tracing::info!(calls = self.calls.inflight(), deadline = ?self.config.deadline(), "draining");
        self.handle.enter(Phase::Draining);
        self.notice.give();
        self.handle.health().publish(false).await;
        if let Some(registration) = registration {
            deregister(registration, self.config.deregister()).await;
            if known {
                self.propagated().await;
            }
        }

        tracing::info!(calls = self.calls.inflight(), "accepting no more, finishing what is in flight");
        self.handle.enter(Phase::Finishing);
        self.closing.cancel();
        self.calls.end_chatter();
        let streams_end =
            self.config.streams().map_or(deadline, |streams| deadline.min(Instant::now() + streams));
        if timeout_at(streams_end, self.finished()).await.is_ok() {
            return 0;
        }
        if streams_end < deadline {
            tracing::info!(calls = self.calls.inflight(), "ending streams of replies");
            self.calls.end_streams();
            if timeout_at(deadline, self.finished()).await.is_ok() {
                return 0;
            }
        }
        let cut = self.calls.inflight();
        if cut > 0 {
            tracing::warn!(calls = cut, "the deadline has come: cutting what is in flight");
        }
        self.calls.end_all();
        let _ = timeout(CUT_GRACE, self.all_closed()).await;
        cut
    }

    /// Waits until no call has come for a while, or for as long as the news may take.
    async fn propagated(&self) {
        let quiet = async {
            loop {
                let before = self.calls.started();
                sleep(self.config.quiet()).await;
                if self.calls.started() == before {
                    return;
                }
            }
        };
        let _ = timeout(self.config.propagation(), quiet).await;
    }

    /// Waits until every connection is closed, or has had no call for a while after it was told to go.
    async fn finished(&self) {
        let quiet = async {
            loop {
                self.calls.idle().await;
                let before = self.calls.started();
                sleep(GOODBYE).await;
                if self.calls.started() == before && self.calls.inflight() == 0 {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            () = self.all_closed() => {}
            () = quiet => {}
        }
    }

    /// Each connection holds a place: who has all of the places knows that there is none.
    async fn all_closed(&self) {
        let _ = self.room.acquire_many(self.connections_max).await;
    }
}

fn lost(calls: usize, at_once: bool) -> Error {
    let calls =
        if calls == 1 { "1 call in flight was".to_owned() } else { format!("{calls} calls in flight were") };
    if at_once {
        Error::new(
            ErrorKind::Closed,
            "drain the server",
            format!("{calls} lost: it was told to stop at once"),
        )
    } else {
        Error::new(ErrorKind::DeadlineExceeded, "drain the server", format!("{calls} cut at the deadline"))
            .with_hint(
                "raise the drain's deadline, or end long calls when `ConnectionInfo::draining` says so",
            )
    }
}
