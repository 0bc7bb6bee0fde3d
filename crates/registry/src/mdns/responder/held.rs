//! Registrations as those have them who asked for them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callsign_core::{NodeKey, error::Error};
use tokio::sync::{Notify, watch};

/// A registration that holds. Dropping it lets go of it.
#[derive(Debug)]
pub(in crate::mdns) struct Registered {
    pub(in crate::mdns) key: NodeKey,
    /// Tells one registration of a node from the next.
    pub(in crate::mdns) serial: u64,
    /// Why it is no more, once it is so.
    pub(in crate::mdns) lost: watch::Receiver<Option<Error>>,
    dropped: Arc<Dropped>,
}

/// The registrations that nobody holds any more, still to be taken away.
#[derive(Debug, Default)]
pub(in crate::mdns) struct Dropped {
    keys: Mutex<Vec<(u64, NodeKey)>>,
    /// Rings when there is one.
    pub(in crate::mdns) bell: Notify,
}

// === impl Registered ===

impl Registered {
    pub(super) fn new(
        key: NodeKey,
        serial: u64,
        lost: watch::Receiver<Option<Error>>,
        dropped: Arc<Dropped>,
    ) -> Self {
        Self { key, serial, lost, dropped }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.dropped.lock().push((self.serial, self.key.clone()));
        self.dropped.bell.notify_one();
    }
}

// === impl Dropped ===

impl Dropped {
    pub(super) fn take(&self) -> Vec<(u64, NodeKey)> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u64, NodeKey)>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
