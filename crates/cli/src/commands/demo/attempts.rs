//! Which attempts still went to the node that was killed, read off the channel's own report of each call.

use std::sync::{Mutex, PoisonError};

use callsign::CallReport;
use tokio::time::Instant;

/// Attempts at one node from one moment on.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<Option<Mark>>);

#[derive(Debug)]
struct Mark {
    id: String,
    at: Instant,
    count: u64,
    last: Option<Instant>,
}

// === impl Attempts ===

impl Attempts {
    /// Counts attempts at `id` that begin after `at`, from now on.
    pub(super) fn watch(&self, id: &str, at: Instant) {
        let mark = Mark { id: id.to_owned(), at, count: 0, last: None };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(mark);
    }

    /// Takes in the attempts of a call that was begun at `begun`.
    pub(super) fn record(&self, begun: Instant, report: &CallReport) {
        let mut mark = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mark) = mark.as_mut() else { return };
        // Each attempt begins where the one before was given up.
        let mut start = begun;
        for tried in &report.tried {
            mark.count(tried.node.as_str(), start);
            start = begun + tried.after;
        }
        mark.count(report.node.id().as_str(), start);
    }

    /// How many attempts there were, and when the last of them began.
    pub(super) fn found(&self) -> (u64, Option<Instant>) {
        let mark = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        mark.as_ref().map_or((0, None), |mark| (mark.count, mark.last))
    }
}

// === impl Mark ===

impl Mark {
    fn count(&mut self, node: &str, start: Instant) {
        if node == self.id && start > self.at {
            self.count += 1;
            self.last = self.last.max(Some(start));
        }
    }
}
