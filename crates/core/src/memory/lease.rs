//! An owner's hold on an entry of the memory registry.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{sync::Notify, time::Instant};

use super::store::{Registered, Store};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{Node, NodeKey},
    registry::{Lease, RegisterOptions, Removal},
};

/// How soon a renewal is tried again that found the registry away.
const RENEW_AGAIN: Duration = Duration::from_millis(500);

pub(super) struct MemoryLease {
    store: Arc<Store>,
    key: NodeKey,
    number: u64,
    lost: Arc<Notify>,
    ttl: Duration,
    interval: Duration,
    /// When the registry last heard from us.
    renewed: Instant,
}

// === impl MemoryLease ===

impl MemoryLease {
    pub(super) fn new(
        store: Arc<Store>,
        key: NodeKey,
        registered: Registered,
        options: &RegisterOptions,
    ) -> Self {
        let Registered { lease, lost } = registered;
        let RegisterOptions { ttl, interval } = *options;
        // Renewing less often than entries expire would lose each of them. One without a time to live is only looked at.
        let interval = match (ttl.is_zero(), interval.is_zero()) {
            (true, true) => RegisterOptions::TTL_DEFAULT,
            (false, _) if interval.is_zero() || interval >= ttl => ttl / 3,
            _ => interval,
        };
        Self { store, key, number: lease, lost, ttl, interval, renewed: Instant::now() }
    }

    /// Renews the entry, and says when to do so again. A registry that is away is an error only once the entry must have
    /// expired.
    fn renew(&mut self, now: Instant) -> Result<Instant> {
        match self.store.change(|state| state.renew(&self.key, self.number, self.ttl, now)) {
            Ok(()) => {
                self.renewed = now;
                Ok(now + self.interval)
            }
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                let outlived = !self.ttl.is_zero() && now >= self.renewed + self.ttl;
                if outlived { Err(error) } else { Ok(now + RENEW_AGAIN.min(self.interval)) }
            }
            Err(error) => Err(error),
        }
    }

    fn remove(&self, operation: &'static str) -> Result<()> {
        self.store.change(|state| {
            match state.check(&self.key, self.number, operation, Instant::now()) {
                Ok(()) => state.remove(&self.key, Removal::Deregistered),
                // Gone already, or somebody else's by now: nothing of ours is left to remove.
                Err(error) if error.kind() != ErrorKind::Unavailable => {}
                Err(error) => return Err(error),
            }
            Ok(())
        })
    }
}

#[async_trait]
impl Lease for MemoryLease {
    async fn hold(&mut self) -> Error {
        let lost = self.lost.clone();
        let mut next = self.renewed + self.interval;
        loop {
            tokio::select! {
                biased;
                () = lost.notified() => {}
                () = tokio::time::sleep_until(next) => {}
            }
            match self.renew(Instant::now()) {
                Ok(at) => next = at,
                Err(error) => return error,
            }
        }
    }

    async fn update(&mut self, node: &Arc<Node>) -> Result<()> {
        if node.key() != self.key {
            return Err(Error::invalid(
                "update registration",
                format!("the entry is {}, and cannot become {}", self.key, node.key()),
            ));
        }
        self.store.change(|state| state.update(self.number, node, Instant::now()))
    }

    async fn release(self: Box<Self>) -> Result<()> {
        self.remove("deregister node")
    }
}

impl Drop for MemoryLease {
    fn drop(&mut self) {
        // Nobody is there to be told; what cannot be removed now expires.
        let _ = self.remove("deregister node");
    }
}

impl fmt::Debug for MemoryLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLease").field("key", &self.key).finish_non_exhaustive()
    }
}
