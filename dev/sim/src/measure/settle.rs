//! How soon new nodes have their share.

use super::Tally;

/// How near to the fair share counts.
const NEAR: f64 = 0.1;
/// Seconds that are taken together.
const WINDOW: usize = 3;

// === impl Tally ===

impl Tally {
    /// Seconds from the first change until the watched nodes' share stays within a tenth of the fair one; infinite if it
    /// never does, NaN without a change.
    pub(super) fn settled(&self) -> f64 {
        let Some(change) = self.change else { return f64::NAN };
        let first = change as usize;
        // Calls may still be repeated after the last has come.
        let seconds: Vec<_> = self.seconds.iter().take_while(|second| second.calls > 0).collect();
        let is_near = |from: usize| {
            let window = &seconds[from..(from + WINDOW).min(seconds.len())];
            let watched: u64 = window.iter().map(|second| second.watched).sum();
            let attempts: u64 = window.iter().map(|second| second.attempts).sum();
            (watched as f64 / attempts as f64 / window[0].fair - 1.0).abs() <= NEAR
        };
        let last = seconds.len().saturating_sub(WINDOW);
        match (first..last).rev().find(|second| !is_near(*second)) {
            None => 0.0,
            Some(second) if second + 1 >= last => f64::INFINITY,
            Some(second) => (second + 1 - first) as f64,
        }
    }
}
