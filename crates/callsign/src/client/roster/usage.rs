//! Whether anybody still calls: connections of a channel that nobody uses are let go.

use std::sync::{PoisonError, atomic::Ordering};

use callsign_core::select::Load;
use tokio::time::Instant;

use super::{Roster, Seat};

/// How much a channel is used.
pub(super) struct Usage {
    pub(super) calls: u64,
    pub(super) since: Instant,
    /// Whether the links were told to rest, and nobody had woken them when last looked at.
    pub(super) asleep: bool,
}

// === impl Roster ===

impl Roster {
    /// Whether there has been no call for so long that connections are to be let go.
    pub(super) fn is_idle(&self, usage: &mut Usage, seats: &[Seat], now: Instant) -> bool {
        let pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        let loads = || seats.iter().map(|(_, link)| link).chain(&*pinned).map(|link| &link.load);
        let calls = loads().map(Load::calls).sum();
        let asleep = self.asleep.load(Ordering::Relaxed);
        // Who woke the links may still be waiting for one.
        let woken = usage.asleep && !asleep;
        if woken || calls != usage.calls || loads().any(|load| load.inflight() > 0) {
            *usage = Usage { calls, since: now, asleep };
        }
        now.saturating_duration_since(usage.since) >= self.idle_after
    }
}
