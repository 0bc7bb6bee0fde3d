//! What a channel's calls have led to, in numbers that only grow: for metrics.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Counts what is rare on a channel; what each call leaves is on its node ([`Channel::nodes`](super::Channel::nodes)). Clones show
/// the same.
#[derive(Debug, Clone, Default)]
pub struct ChannelMeter(Arc<Counts>);

/// How many attempts a channel's calls have made: see [`Channel::attempts`](super::Channel::attempts). Both only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttemptCounts {
    /// Those that ended, but for those that never left.
    pub ended: u64,
    /// Those of them that ended in a failure of the node, an overload or a missed deadline.
    pub failed: u64,
}

#[derive(Debug, Default)]
struct Counts {
    retries: AtomicU64,
    hedges: AtomicU64,
    hedges_won: AtomicU64,
    held_back: AtomicU64,
    ejections: AtomicU64,
}

// === impl ChannelMeter ===

impl ChannelMeter {
    /// Attempts that failed and led to another one.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.0.retries.load(Ordering::Relaxed)
    }

    /// Attempts that were begun beside others of the same call ([`HedgePolicy`](super::HedgePolicy)).
    #[must_use]
    pub fn hedges(&self) -> u64 {
        self.0.hedges.load(Ordering::Relaxed)
    }

    /// Those of them whose answer became the call's.
    #[must_use]
    pub fn hedges_won(&self) -> u64 {
        self.0.hedges_won.load(Ordering::Relaxed)
    }

    /// Calls that were not sent, since the service refuses most of them
    /// ([`ChannelBuilder::throttle`](super::ChannelBuilder::throttle)).
    #[must_use]
    pub fn held_back(&self) -> u64 {
        self.0.held_back.load(Ordering::Relaxed)
    }

    /// How often a node was left alone for a while, because its calls failed or since somebody said so.
    #[must_use]
    pub fn ejections(&self) -> u64 {
        self.0.ejections.load(Ordering::Relaxed)
    }

    pub(crate) fn count_retry(&self) {
        self.0.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_hedge(&self) {
        self.0.hedges.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_hedge_won(&self) {
        self.0.hedges_won.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_held_back(&self) {
        self.0.held_back.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_ejection(&self) {
        self.0.ejections.fetch_add(1, Ordering::Relaxed);
    }
}

// === impl AttemptCounts ===

impl AttemptCounts {
    /// The sum with what was counted of one node.
    #[must_use]
    pub(super) fn plus(self, calls: u64, failures: u32) -> Self {
        Self { ended: self.ended + calls, failed: self.failed + u64::from(failures) }
    }
}
