//! The registry that is always there: a table in this process.
//!
//! It keeps to the whole contract of [`Registry`] (entries die with their time to live, watches miss nothing, a second
//! owner of a key is refused), so what works with it works with the others; and it can be made to fail on purpose, which
//! the tests of everything built on registries need.
//!
//! It has no background task. Time is looked at whenever somebody asks, and each watch wakes itself at the next moment at
//! which an entry may expire. A watch buffers at most [`WATCH_BUFFER_MAX`] events: one that falls further behind is given a
//! fresh snapshot instead.

mod lease;
mod store;
#[cfg(test)]
mod tests;
mod watch;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use tokio::time::Instant;

pub use self::store::WATCH_BUFFER_MAX;
use self::{lease::MemoryLease, store::Store, watch::MemoryWatch};
use crate::{
    error::Result,
    model::{Node, NodeKey, ServiceName},
    registry::{GetOptions, Lease, ListOptions, Listing, RegisterOptions, Registry, Watch, WatchOptions},
};

/// A registry in the memory of this process.
///
/// Clones are the same handle. [`peer`](Self::peer) gives what another process would have: a handle on the same entries,
/// whose registrations have an owner of their own.
///
/// ```
/// use std::sync::Arc;
/// use callsign_core::{Node, Registry, memory::MemoryRegistry, registry::RegistryExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> callsign_core::Result<()> {
/// let registry = MemoryRegistry::new();
/// let node = Arc::new(Node::builder("greeter", "greeter-1", "127.0.0.1:4000").build()?);
/// let lease = registry.register(&node, &Default::default()).await?;
/// assert_eq!(registry.service("greeter").await?.nodes(), [node]);
///
/// lease.release().await?;
/// assert!(registry.service("greeter").await.unwrap_err().is_not_found());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryRegistry {
    store: Arc<Store>,
    owner: u64,
}

// === impl MemoryRegistry ===

impl MemoryRegistry {
    /// A registry without entries.
    #[must_use]
    pub fn new() -> Self {
        Self { store: Arc::default(), owner: 0 }
    }

    /// Another owner's handle on the same entries.
    #[must_use]
    pub fn peer(&self) -> Self {
        Self { owner: self.store.change(store::State::number), store: self.store.clone() }
    }

    /// Makes the registry unreachable, or reachable again: for tests of what is built on it.
    ///
    /// While it is away every call fails with [`Unavailable`](crate::ErrorKind::Unavailable), watches have said so once and
    /// are silent, and entries, which nobody can renew, expire. A watch goes on with a new snapshot.
    pub fn set_away(&self, away: bool) {
        self.store.change(|state| state.set_away(away));
    }

    /// Forgets every entry, as a registry does that was restarted empty: for tests of what is built on it.
    ///
    /// Owners find their leases lost, and watches start again with an empty snapshot.
    pub fn wipe(&self) {
        self.store.change(store::State::wipe);
    }
}

impl Default for MemoryRegistry {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Registry for MemoryRegistry {
    async fn register(&self, node: &Arc<Node>, options: &RegisterOptions) -> Result<Box<dyn Lease>> {
        let registered =
            self.store.change(|state| state.insert(node, self.owner, options.ttl, Instant::now()))?;
        Ok(Box::new(MemoryLease::new(self.store.clone(), node.key(), registered, options)))
    }

    async fn deregister(&self, key: &NodeKey) -> Result<()> {
        self.store.change(|state| {
            state.reach("deregister node")?;
            state.remove(key, crate::registry::Removal::Deregistered);
            Ok(())
        })
    }

    async fn get(&self, service: &ServiceName, options: &GetOptions) -> Result<Listing> {
        self.store.change(|state| {
            state.reach("get service")?;
            Ok(state.listing(&options.domain, Some(service), Instant::now()))
        })
    }

    async fn list(&self, options: &ListOptions) -> Result<Listing> {
        self.store.change(|state| {
            state.reach("list services")?;
            Ok(state.listing(&options.domain, None, Instant::now()))
        })
    }

    async fn watch(&self, options: &WatchOptions) -> Result<Watch> {
        Ok(Watch::new(MemoryWatch::new(self.store.clone(), options)))
    }
}

impl fmt::Display for MemoryRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory")
    }
}

impl fmt::Debug for MemoryRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRegistry").field("owner", &self.owner).finish_non_exhaustive()
    }
}
