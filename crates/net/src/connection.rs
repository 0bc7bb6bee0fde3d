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

use crate::{
    activity::Activity,
    bundle::{Bundle, Turn},
    error::{Error, ErrorKind},
};

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
    /// A [`Status`] as a number.
    status: AtomicU8,
    /// Who is told of what happens here.
    pub(crate) bundle: Arc<Bundle>,
    pub(crate) error: OnceLock<Error>,
    answered: AtomicBool,
}

// === impl Connection ===

impl Connection {
    pub(crate) fn new(
        sender: SendRequest<Bytes>,
        peer: SocketAddr,
        activity: Arc<Activity>,
        bundle: Arc<Bundle>,
    ) -> Self {
        let shared = Arc::new(Shared {
            activity,
            open: AtomicUsize::new(0),
            open_max: AtomicUsize::new(usize::MAX),
            probe: AtomicBool::new(false),
            release: AtomicBool::new(false),
            driver: AtomicWaker::new(),
            status: AtomicU8::new(Status::Open as u8),
            bundle,
            error: OnceLock::new(),
            answered: AtomicBool::new(false),
        });
        Self { sender, shared, peer }
    }

    /// The right to open a stream, unless the connection is full or going away, or others queue for one.
    #[must_use]
    pub fn try_slot(&self) -> Option<Slot> {
        if self.shared.bundle.has_queue() { None } else { self.take_slot() }
    }

    /// The same for one who queues.
    #[must_use]
    pub fn slot_for(&self, _: &Turn) -> Option<Slot> {
        self.take_slot()
    }

    fn take_slot(&self) -> Option<Slot> {
        if self.status() != Status::Open {
            return None;
        }
        let open_max = self.shared.open_max.load(Ordering::Relaxed);
        if self.shared.open.fetch_add(1, Ordering::AcqRel) >= open_max {
            self.shared.open.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(Slot { shared: self.shared.clone() })
    }

    /// Whether another stream could be opened now.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.status() == Status::Open && self.streams() < self.streams_max()
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

    /// Whether any request on it was answered.
    #[must_use]
    pub fn has_answered(&self) -> bool {
        self.shared.answered.load(Ordering::Relaxed)
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
            self.bundle.nudge();
            self.bundle.make_room();
        }
    }

    /// The peer has said how many streams it allows.
    pub(crate) fn allow(&self, open_max: usize) {
        if self.open_max.swap(open_max, Ordering::AcqRel) < open_max {
            self.bundle.make_room();
        }
    }

    pub(crate) fn answered(&self) {
        // Written once, so that readers on other cores keep their copy of the line.
        if !self.answered.load(Ordering::Relaxed) {
            self.answered.store(true, Ordering::Relaxed);
        }
    }

    /// What a stream is to say of its failure: if the connection ended, why that was.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match self.error.get() {
            Some(end) if error.kind() == ErrorKind::Closed => end.disposed(error.disposition()),
            _ => error,
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.status() == Status::Closed
    }
}

// === impl Slot ===

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(1, Ordering::AcqRel);
        self.shared.bundle.make_room();
    }
}
