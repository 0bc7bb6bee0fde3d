//! What a directory is told when it is made.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::Domain;

/// How a [`Directory`](super::Directory) behaves. The defaults are right for almost everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirectoryConfig {
    /// The namespace that is followed, or all.
    pub domain: Domain,
    /// Most names held at once, at least 1. A further name takes the place of the one asked for longest ago; if all of
    /// them are subscribed to, it is answered with [`ResourceExhausted`](crate::ErrorKind::ResourceExhausted).
    pub capacity: usize,
    /// A name that nobody asked for or subscribed to for this long is let go, up to a quarter of it later.
    pub evict_after: Duration,
    /// Changes of one name that come within this long of its last publication are published together. A deregistration
    /// or a drain never waits.
    pub merge: Duration,
    /// When, counted from the moment of doubt, the registry is read again about nodes that it suddenly shows no more; or
    /// up to a fifth later, so that not all clients ask at once.
    pub rereads: [Duration; 2],
    /// How long a node in doubt is kept when the registry gives no clear word about it.
    pub grace: Duration,
    /// Losing more than half of a name's nodes within this long is sudden.
    pub sudden: Duration,
    /// How long one answer of the registry is waited for: a safety net, since registries give up by themselves.
    pub read_timeout: Duration,
}

// === impl DirectoryConfig ===

impl Default for DirectoryConfig {
    fn default() -> Self {
        Self {
            domain: Domain::default(),
            capacity: 1024,
            evict_after: Duration::from_secs(300),
            merge: Duration::from_millis(100),
            rereads: [Duration::from_secs(1), Duration::from_secs(5)],
            grace: Duration::from_secs(300),
            sudden: Duration::from_secs(15),
            read_timeout: Duration::from_secs(15),
        }
    }
}

impl DirectoryConfig {
    /// Follows `domain`.
    #[must_use]
    pub fn in_domain(domain: Domain) -> Self {
        Self { domain, ..Self::default() }
    }

    /// Sets the most names held at once; 0 is taken as 1.
    #[must_use]
    pub fn with_capacity(self, capacity: usize) -> Self {
        Self { capacity: capacity.max(1), ..self }
    }

    /// Sets how long a name that nobody asks for is held.
    #[must_use]
    pub fn with_evict_after(self, evict_after: Duration) -> Self {
        Self { evict_after, ..self }
    }

    /// Sets how long a node in doubt is kept.
    #[must_use]
    pub fn with_grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }
}

/// `wait` after `from`; `None` when that is further than the clock goes, which is never.
pub(super) fn after(from: Instant, wait: Duration) -> Option<Instant> {
    from.checked_add(wait)
}
