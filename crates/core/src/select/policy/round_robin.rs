//! Each in turn.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Counter, Witness};

/// Counts picks. The candidates stand in an order that is random to each client, so clients that start together do not walk
/// over the nodes in step.
#[derive(Debug)]
pub(in crate::select) struct RoundRobin(Counter);

// === impl RoundRobin ===

impl RoundRobin {
    pub(super) fn new(start: u64) -> Self {
        Self(Counter(AtomicU64::new(start)))
    }

    #[inline]
    pub(super) fn next<W: Witness>(&self, count: usize, witness: &mut W) -> usize {
        (witness.see(|| self.0.0.fetch_add(1, Relaxed)) % count as u64) as usize
    }

    pub(super) fn counted(&self) -> u64 {
        self.0.0.load(Relaxed)
    }
}
