//! Load reports in the trailers of calls, for the strategy that weighs nodes by them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use callsign_core::select::{ReportConfig, Strategy};
use http::HeaderMap;
use tokio::time::Instant;

use super::link::Link;
use crate::orca;

/// What a channel makes of reports.
#[derive(Debug)]
pub(super) struct Reports {
    config: ReportConfig,
    /// Nobody has been told yet of a report that makes no sense.
    believing: AtomicBool,
}

// === impl Reports ===

impl Reports {
    /// `None` for strategies that go by something else.
    pub(super) fn of(strategy: &Strategy) -> Option<Arc<Self>> {
        match strategy {
            Strategy::LoadReports(config) => {
                Some(Arc::new(Self { config: config.clone(), believing: AtomicBool::new(true) }))
            }
            _ => None,
        }
    }

    /// Takes note of what a node says at the end of a call, if it says anything.
    pub(super) fn note(&self, link: &Link, trailers: &HeaderMap, now: Instant) {
        let Some(value) = trailers.get(&orca::TRAILER) else { return };
        let weight = orca::decode(value)
            .and_then(|report| self.config.weight(&report).map_err(|error| error.to_string()));
        match weight {
            Ok(Some(weight)) => link.load.report(weight, now),
            Ok(None) => {}
            Err(why) => {
                if self.believing.swap(false, Ordering::Relaxed) {
                    tracing::warn!(node = %link.id, why, "a load report makes no sense and is passed over, as will be others");
                }
            }
        }
    }
}
