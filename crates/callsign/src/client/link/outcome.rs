//! What calls that have ended say of the node.

use std::time::Duration;

use callsign_core::select::{MethodId, Outcome, Ticket};
use http::HeaderMap;
use tokio::time::Instant;

use super::Link;

// === impl Link ===

impl Link {
    /// A call ended so, as far as its node is concerned.
    pub(crate) fn mark(
        &self,
        ticket: &Ticket,
        method: MethodId,
        outcome: Outcome,
        elapsed: Duration,
        now: Instant,
    ) {
        if outcome == Outcome::Success {
            self.paces.learn(method, elapsed, now);
        }
        ticket.mark_even(outcome, elapsed, self.paces.even(method, elapsed), now);
        self.note(ticket, outcome, elapsed);
    }

    /// The same, of a call that was not made through the channel.
    pub(crate) fn mark_foreign(&self, ticket: &Ticket, outcome: Outcome, elapsed: Duration, now: Instant) {
        ticket.mark(outcome, elapsed, now);
        self.note(ticket, outcome, elapsed);
    }

    fn note(&self, ticket: &Ticket, outcome: Outcome, elapsed: Duration) {
        if !matches!(outcome, Outcome::NotSent | Outcome::Cancelled) {
            self.latencies.record(elapsed);
        }
        if ticket.wants_review() {
            self.news.health.notify_one();
        }
    }

    /// A call ended with these trailers.
    pub(crate) fn read(&self, trailers: &HeaderMap, now: Instant) {
        if let Some(reports) = &self.reports {
            reports.note(self, trailers, now);
        }
    }
}
