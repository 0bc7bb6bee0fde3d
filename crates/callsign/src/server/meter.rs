//! What became of a server's calls, for metrics.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::limit::Gate;

/// Counts what becomes of a server's calls; health checks and reflection are not among them. Clones show the same.
#[derive(Debug, Clone, Default)]
pub struct CallMeter(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    gate: Option<Arc<Gate>>,
    started: AtomicU64,
    expired: AtomicU64,
    expired_unbegun: AtomicU64,
    abandoned: AtomicU64,
}

// === impl CallMeter ===

impl CallMeter {
    pub(crate) fn new(gate: Option<Arc<Gate>>) -> Self {
        Self(Arc::new(Counts { gate, ..Counts::default() }))
    }

    /// Calls that have come, those that were refused included.
    #[must_use]
    pub fn started(&self) -> u64 {
        self.0.started.load(Ordering::Relaxed)
    }

    /// Calls that were refused since there were too many; or would have been, by a
    /// [limit that only observes](super::ConcurrencyLimit::observe_only).
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.gate.as_ref().map_or(0, |gate| gate.refused())
    }

    /// How many calls the server works on at once, at this moment. None if there is no limit.
    #[must_use]
    pub fn limit(&self) -> Option<u32> {
        self.0.gate.as_ref().map(|gate| gate.limit())
    }

    /// Calls that were dropped since their caller's deadline had passed, those that had not begun included.
    #[must_use]
    pub fn expired(&self) -> u64 {
        self.0.expired.load(Ordering::Relaxed)
    }

    /// Those of them whose handler was never run: the deadline had passed when they came, or while they waited for a thread.
    /// Many of these say that the server has more to do than it can.
    #[must_use]
    pub fn expired_unbegun(&self) -> u64 {
        self.0.expired_unbegun.load(Ordering::Relaxed)
    }

    /// Calls that were dropped since their caller had cancelled them or was gone.
    #[must_use]
    pub fn abandoned(&self) -> u64 {
        self.0.abandoned.load(Ordering::Relaxed)
    }

    pub(crate) fn count_started(&self) {
        self.0.started.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_expired(&self) {
        self.0.expired.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_unbegun(&self) {
        self.0.expired_unbegun.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_abandoned(&self) {
        self.0.abandoned.fetch_add(1, Ordering::Relaxed);
    }
}
