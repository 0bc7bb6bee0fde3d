//! The handle of a connection: who may open a stream on it, and in which state it is.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use h2::client::SendRequest;
use tokio::sync::Notify;

use crate::{activity::Activity, error::Error};

/// Streams are opened on it. Dropping it closes the connection once the open streams have ended.
pub struct Connection {
    pub(crate) sender: SendRequest<Bytes>,
    pub(crate) shared: Arc<Shared>,
    peer: SocketAddr,
}

/// Where a connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Streams can be opened.
    Open,
    /// The peer said GOAWAY: no more streams, the open ones go on.
    Draining,
    /// Ended; [`Connection::error`] says why.
    Closed,
}

/// The right to open one stream, counted until the stream has ended.
#[derive(Debug)]
pub struct Slot {
    pub(crate) shared: Arc<Shared>,
}

/// What a connection's handle, driver and streams have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) activity: Arc<Activity>,
    /// Streams open now, and how many the peer allows.
    pub(crate) open: AtomicUsize,
    pub(crate) open_max: AtomicUsize,
    /// Orders to the driver, which is woken for them.
    pub(crate) probe: AtomicBool,
    pub(crate) release: AtomicBool,
    pub(crate) driver: AtomicWaker,
    /// A [`Status`] as a number, and who is told when it changes.
    status: AtomicU8,
    changed: Arc<Notify>,
    pub(crate) error: OnceLock<Error>,
}

// === impl Connection ===

impl Connection {
    pub(crate) fn new(
        sender: SendRequest<Bytes>,
        peer: SocketAddr,
        activity: Arc<Activity>,
        changed: Arc<Notify>,
    ) -> Self {
        let shared = Arc::new(Shared {
            activity,
            open: AtomicUsize::new(0),
            open_max: AtomicUsize::new(usize::MAX),
            probe: AtomicBool::new(false),
            release: AtomicBool::new(false),
            driver: AtomicWaker::new(),
            status: AtomicU8::new(Status::Open as u8),
            changed,
            error: OnceLock::new(),
        });
        Self { sender, shared, peer }
    }

    /// The right to open a stream, unless the connection is full or going away.
    #[must_use]
    pub fn try_slot(&self) -> Option<Slot> {
        if self.status() != Status::Open {
            return None;
        }
        let open_max = self.shared.open_max.load(Ordering::Relaxed);
        if self.shared.open.fetch_add(1, Ordering::Relaxed) >= open_max {
            self.shared.open.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Slot { shared: self.shared.clone() })
    }

    /// The right to open a stream even if the connection is full: it then waits for the peer's leave, in order.
    #[must_use]
    pub fn queue_slot(&self) -> Slot {
        self.shared.open.fetch_add(1, Ordering::Relaxed);
        Slot { shared: self.shared.clone() }
    }

    /// Streams open now.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Most streams that the peer allows at once.
    #[must_use]
    pub fn streams_max(&self) -> usize {
        self.shared.open_max.load(Ordering::Relaxed)
    }

    /// The other end.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Where the connection is in its life.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Why the connection ended.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        self.shared.error.get()
    }

    /// Asks for a sign of life now, since there is a reason to doubt: the connection is closed if none comes within
    /// [`Config::probe_timeout`](crate::Config::probe_timeout).
    pub fn probe(&self) {
        self.shared.probe.store(true, Ordering::Release);
        self.shared.driver.wake();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.release.store(true, Ordering::Release);
        self.shared.driver.wake();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .field("status", &self.status())
            .field("streams", &self.streams())
            .finish_non_exhaustive()
    }
}

// === impl Shared ===

impl Shared {
    fn status(&self) -> Status {
        match self.status.load(Ordering::Acquire) {
            0 => Status::Open,
            1 => Status::Draining,
            _ => Status::Closed,
        }
    }

    /// Moves the status forward, never back.
    pub(crate) fn advance(&self, to: Status) {
        if self.status.fetch_max(to as u8, Ordering::AcqRel) < to as u8 {
            self.changed.notify_one();
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.status() == Status::Closed
    }
}

// === impl Slot ===

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
    }
}
