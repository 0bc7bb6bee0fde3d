//! What connections to one peer have in common: who looks after them, and who waits for room on any of them.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::{Notify, futures::Notified};

/// Connections to one peer. Made first; each connection is then made for it.
#[derive(Debug, Default)]
pub struct Bundle {
    changed: Notify,
    room: Notify,
    queued: AtomicUsize,
}

/// A place in the queue for a stream, given up when dropped.
///
/// As long as anybody queues, [`try_slot`](crate::Connection::try_slot) lets nobody past.
#[derive(Debug)]
#[must_use = "dropping it leaves the queue"]
pub struct Turn {
    bundle: Arc<Bundle>,
    first: bool,
}

// === impl Bundle ===

impl Bundle {
    /// Returns when the [`Status`](crate::Status) of a connection has moved on, or [`nudge`](Self::nudge) was called. For one
    /// task only: what happened while it did not wait is told when it does.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Has whoever waits in [`changed`](Self::changed) look again.
    pub fn nudge(&self) {
        self.changed.notify_one();
    }

    /// Joins the queue for a stream.
    pub fn queue(self: &Arc<Self>) -> Turn {
        let before = self.queued.fetch_add(1, Ordering::AcqRel);
        Turn { bundle: self.clone(), first: before == 0 }
    }

    /// There may be room: the first in the queue looks. It is told to one at a time, so whoever finds more than it needs, or
    /// that there is nothing to wait for, is to say so again.
    pub fn make_room(&self) {
        if self.has_queue() {
            self.room.notify_one();
        }
    }

    /// Whether anybody queues for a stream.
    ///
    /// Whoever joins the queue and then finds no room is seen here by whoever makes room after that: both the count of streams
    /// and that of the queue change by read-modify-write, and the former orders the latter.
    #[must_use]
    pub fn has_queue(&self) -> bool {
        self.queued.load(Ordering::Acquire) > 0
    }
}

// === impl Turn ===

impl Turn {
    /// Whether nobody was in the queue before: others wait for their call, or they would overtake.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.first
    }

    /// Becomes ready when it is worth looking for room. To be got before one looks, so that nothing is missed in between.
    #[must_use]
    pub fn call(&self) -> Pin<Box<Notified<'_>>> {
        let mut call = Box::pin(self.bundle.room.notified());
        call.as_mut().enable();
        call
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.bundle.queued.fetch_sub(1, Ordering::AcqRel);
    }
}
