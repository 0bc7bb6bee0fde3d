//! A ceiling on the calls in flight of one node, after Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded
//! Loads".
//!
//! A node may have its share of all calls in flight times a factor, rounded up, and in any case [`CAP_MIN`]: a quiet fleet has no
//! hot nodes, and every second call of a key would go astray. Both counts are this client's own.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{super::Counter, Candidate, Hash, Witness};

/// Calls in flight that every node may have.
const CAP_MIN: f64 = 4.0;
/// All calls in flight are counted once in as many picks as there are nodes, divided by this: the count is then off by a small
/// part of a call for each node, and a pick looks at about this many nodes on average.
const COUNTED_PER_PICK: usize = 16;

#[derive(Debug)]
pub(super) struct Bound {
    factor: f64,
    weight: f64,
    period: u64,
    picks: Counter,
    inflight: AtomicU64,
}

/// What the bound is for one pick: calls in flight for each unit of weight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now(f64);

// === impl Bound ===

impl Bound {
    pub(super) fn new(factor: f64, nodes: &[Hash]) -> Self {
        Self {
            factor,
            weight: nodes.iter().map(|node| node.weight).sum(),
            period: (nodes.len() / COUNTED_PER_PICK).max(1) as u64,
            picks: Counter(AtomicU64::new(0)),
            inflight: AtomicU64::new(0),
        }
    }

    #[inline]
    pub(super) fn now<W: Witness>(&self, candidates: &[Candidate], witness: &mut W) -> Now {
        let with_this_one = witness.see(|| self.counted(candidates)) as f64 + 1.0;
        Now(self.factor * with_this_one / self.weight)
    }

    /// All calls in flight, as they were last counted.
    #[inline]
    fn counted(&self, candidates: &[Candidate]) -> u64 {
        if self.picks.0.fetch_add(1, Relaxed).is_multiple_of(self.period) {
            let inflight =
                candidates.iter().map(|candidate| u64::from(candidate.load.about_inflight())).sum();
            self.inflight.store(inflight, Relaxed);
        }
        self.inflight.load(Relaxed)
    }
}

// === impl Now ===

impl Now {
    /// Whether a node of this weight may have one more call.
    #[inline]
    pub(super) fn has_room(self, inflight: u32, weight: f64) -> bool {
        f64::from(inflight) + 1.0 <= (self.0 * weight).ceil().max(CAP_MIN)
    }
}
