//! Calls at a pace that does not depend on their answers, and what became of them.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tonic::{Code, Status};

use super::curve::Curve;

/// Most calls under way at a time: beyond it the pace is given up, not the memory.
const INFLIGHT_MAX: usize = 20_000;

/// Counts what becomes of calls.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Counts>);

#[derive(Debug, Clone)]
pub(super) struct Counts {
    pub(super) answered: u64,
    pub(super) failed: BTreeMap<i32, u64>,
    /// Microseconds from when a call was due to its end, failed ones among them.
    latencies: Histogram<u64>,
}

/// Begins calls at random moments, `per_second` on average, until `end`; then waits for those under way.
///
/// A call is given its number, and the moment at which it was due.
pub(super) async fn pace<C>(
    per_second: u32,
    end: impl Future<Output = ()>,
    mut call: impl FnMut(u64, Instant) -> C,
) where
    C: Future<Output = ()> + Send + 'static,
{
    let mut rng = fastrand::Rng::with_seed(7);
    let mut calls = JoinSet::new();
    let mut due = Instant::now();
    let mut end = std::pin::pin!(end);
    for number in 0.. {
        // The gaps of calls that know nothing of each other.
        due += Duration::from_secs_f64(-(1.0 - rng.f64()).ln() / f64::from(per_second));
        tokio::select! {
            biased;
            () = &mut end => break,
            () = sleep_until(due) => {}
        }
        calls.spawn(call(number, due));
        while calls.try_join_next().is_some()
            || calls.len() >= INFLIGHT_MAX && calls.join_next().await.is_some()
        {}
    }
    while calls.join_next().await.is_some() {}
}

// === impl Tally ===

impl Tally {
    /// A call that was due then has ended now.
    pub(super) fn count<T>(&self, due: Instant, result: &Result<T, Status>) {
        let mut counts = self.counts();
        match result {
            Ok(_) => counts.answered += 1,
            Err(status) => *counts.failed.entry(status.code() as i32).or_default() += 1,
        }
        counts.latencies.saturating_record(u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX));
    }

    /// Counts anew; gives what there was.
    pub(super) fn take(&self) -> Counts {
        std::mem::take(&mut self.counts())
    }

    /// How many were answered and how many failed so far.
    pub(super) fn so_far(&self) -> (u64, u64) {
        let counts = self.counts();
        (counts.answered, counts.failed())
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Counts ===

impl Counts {
    pub(super) fn failed(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Failed calls in percent of all.
    pub(super) fn failed_percent(&self) -> f64 {
        100.0 * self.failed() as f64 / (self.answered + self.failed()) as f64
    }

    /// How many failed with another status than this.
    pub(super) fn failed_otherwise(&self, code: Code) -> u64 {
        self.failed() - self.failed.get(&(code as i32)).copied().unwrap_or_default()
    }

    /// Milliseconds.
    pub(super) fn latency_at(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1e3
    }

    fn curve(&self) -> Curve {
        let counts = self.latencies.iter_recorded();
        Curve::new(counts.map(|step| (step.value_iterated_to(), step.count_at_value())))
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "answered": self.answered,
            "failed": self.failed(),
            "failed %": self.failed_percent(),
            "p50 ms": self.latency_at(0.5),
            "p99 ms": self.latency_at(0.99),
            "curve": self.curve(),
        })
    }
}

impl Default for Counts {
    fn default() -> Self {
        let latencies = Histogram::new_with_max(120_000_000, 3).expect("a histogram");
        Self { answered: 0, failed: BTreeMap::new(), latencies }
    }
}
