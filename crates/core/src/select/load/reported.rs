//! What the node has said of its own load, as a weight, and since when.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

use super::Load;
use crate::select::report::ReportConfig;

/// Numbers as bits; times as [`Load::seconds`].
#[derive(Debug)]
pub(super) struct Reported {
    /// The last weight; zero before the first.
    weight: AtomicU64,
    at: AtomicU64,
    /// Since when there have been reports without a gap; infinite while there are none.
    since: AtomicU64,
    /// The weight that is believed, as of the last second; zero if none is.
    believed: AtomicU64,
}

// === impl Load ===

impl Load {
    /// The node has reported a load that makes it this weight ([`ReportConfig::weight`]). Strategies other than
    /// [`LoadReports`](crate::select::Strategy::LoadReports) take no notice.
    ///
    /// A weight that is not above zero and finite is passed over.
    pub fn report(&self, weight: f64, now: Instant) {
        if !(weight > 0.0 && weight.is_finite()) {
            return;
        }
        let (reported, now) = (&self.0.reported, self.seconds(now).to_bits());
        reported.weight.store(weight.to_bits(), Relaxed);
        reported.at.store(now, Relaxed);
        let _ = reported.since.compare_exchange(NEVER, now, Relaxed, Relaxed);
    }

    /// What the node reports from now on is not believed at once: it has been connected anew, and may be another process.
    pub fn report_afresh(&self) {
        self.0.reported.since.store(NEVER, Relaxed);
    }

    /// Decides anew whether the last report is believed. Whether that changes anything.
    pub(in crate::select) fn weigh_report(&self, config: &ReportConfig, now: Instant) -> bool {
        let (reported, now) = (&self.0.reported, self.seconds(now));
        let for_longer =
            |bits: &AtomicU64, time: Duration| now - f64::from_bits(bits.load(Relaxed)) >= time.as_secs_f64();
        if for_longer(&reported.at, config.expiry) {
            self.report_afresh();
        }
        let believed = match for_longer(&reported.since, config.blackout) {
            true => reported.weight.load(Relaxed),
            false => 0,
        };
        reported.believed.swap(believed, Relaxed) != believed
    }

    /// The weight that the node is believed to have.
    pub(in crate::select) fn reported(&self) -> Option<f64> {
        let weight = f64::from_bits(self.0.reported.believed.load(Relaxed));
        (weight > 0.0).then_some(weight)
    }
}

// === impl Reported ===

const NEVER: u64 = f64::INFINITY.to_bits();

impl Default for Reported {
    fn default() -> Self {
        Self {
            weight: AtomicU64::new(0),
            at: AtomicU64::new(NEVER),
            since: AtomicU64::new(NEVER),
            believed: AtomicU64::new(0),
        }
    }
}
