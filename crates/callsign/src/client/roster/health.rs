//! What the channel makes of its nodes' health: events are told, counted, and picked up by the next snapshot.

use std::{
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use callsign_core::{
    NodeId, NodeKey,
    health::{Health, HealthEvent, Verdict},
};
use tokio::time::Instant;

use super::Roster;

// === impl Roster ===

impl Roster {
    /// Looks at the nodes' health. Whether a new snapshot is due.
    pub(super) fn review(&self, now: Instant) -> bool {
        let events = self.health().review(now);
        events.iter().for_each(|event| self.tell(event));
        !events.is_empty()
    }

    fn tell(&self, event: &HealthEvent) {
        let HealthEvent { node, verdict, .. } = event;
        if let Verdict::Ejected { .. } = verdict {
            self.meter.count_ejection();
        }
        match verdict {
            Verdict::Probing => tracing::debug!(service = %self.service, node = %node.id, "node is probed"),
            verdict => tracing::info!(service = %self.service, node = %node.id, %verdict, "node's health"),
        }
    }

    pub(crate) fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a node alone for as long as said. Whether there is one of that id.
    pub(crate) fn blacklist(&self, id: &NodeId, period: Duration) -> bool {
        let keys = self.keys_of(id);
        let ban = |key| self.health().blacklist(key, period, Instant::now());
        let events: Vec<_> = keys.iter().filter_map(ban).collect();
        events.iter().for_each(|event| self.tell(event));
        self.news.readiness.notify_one();
        !events.is_empty()
    }

    /// Forgets all verdicts.
    pub(crate) fn reset(&self) {
        let events = self.health().reset();
        events.iter().for_each(|event| self.tell(event));
        self.news.readiness.notify_one();
    }

    fn keys_of(&self, id: &NodeId) -> Vec<NodeKey> {
        let state = self.state();
        let known = state.slate.members().iter().filter(|member| member.node.id() == id);
        known.map(|member| member.node.key()).collect()
    }
}
