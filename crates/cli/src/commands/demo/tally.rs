//! What the demo counts: calls, failures, latencies, and the last attempt at each node.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hdrhistogram::Histogram;
use tokio::time::Instant;

/// Counts, shared by all callers.
#[derive(Debug)]
pub(super) struct Tally {
    counts: Mutex<Counts>,
    started: Instant,
}

/// One call that has ended.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// The node that answered.
    pub(super) node: Option<&'a str>,
    pub(super) elapsed: Duration,
    pub(super) attempts: u32,
    /// Why it failed, if it did.
    pub(super) failure: Option<String>,
}

#[derive(Debug)]
struct Counts {
    nodes: BTreeMap<String, NodeCounts>,
    latency: Histogram<u64>,
    calls: u64,
    failed: u64,
    retried: u64,
    failures: VecDeque<String>,
    /// Calls ended in each slot of time, for the rate and its curve.
    slots: Vec<u32>,
}

#[derive(Debug)]
struct NodeCounts {
    calls: u64,
    latency: Histogram<u64>,
}

/// What is shown of one node, or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) calls: u64,
    pub(super) p50: Option<Duration>,
    pub(super) p99: Option<Duration>,
}

/// What is shown of all calls.
#[derive(Debug, Clone, Default)]
pub(super) struct Totals {
    pub(super) all: Line,
    pub(super) failed: u64,
    /// Calls that took more than one attempt.
    pub(super) retried: u64,
    /// The first failures, in words.
    pub(super) failures: Vec<String>,
    /// Calls per second in the last second.
    pub(super) rate: u64,
    /// Calls in each slot so far, the newest last.
    pub(super) curve: Vec<u32>,
}

/// The width of a slot of time.
const SLOT: Duration = Duration::from_millis(500);
const SLOTS_A_SECOND: usize = 2;

/// Failures kept in words.
const FAILURES_MAX: usize = 5;

/// Longest latency told apart, in microseconds.
const LATENCY_MICROS_MAX: u64 = 60_000_000;

// === impl Tally ===

impl Tally {
    /// Nothing counted yet.
    pub(super) fn new(started: Instant) -> Self {
        let counts = Counts {
            nodes: BTreeMap::new(),
            latency: histogram(),
            calls: 0,
            failed: 0,
            retried: 0,
            failures: VecDeque::new(),
            slots: Vec::new(),
        };
        Self { counts: Mutex::new(counts), started }
    }

    /// Counts a call that ended at `now`.
    pub(super) fn record(&self, call: Call<'_>, now: Instant) {
        let Call { node, elapsed, attempts, failure } = call;
        let slot = slot(now.duration_since(self.started));
        let mut counts = self.lock();
        if counts.slots.len() <= slot {
            counts.slots.resize(slot + 1, 0);
        }
        counts.slots[slot] += 1;
        counts.calls += 1;
        counts.retried += u64::from(attempts > 1);
        if let Some(failure) = failure {
            counts.failed += 1;
            if counts.failures.len() < FAILURES_MAX {
                counts.failures.push_back(failure);
            }
            return;
        }
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX).max(1);
        counts.latency.saturating_record(micros);
        if let Some(node) = node {
            let of_node = counts
                .nodes
                .entry(node.to_owned())
                .or_insert_with(|| NodeCounts { calls: 0, latency: histogram() });
            of_node.calls += 1;
            of_node.latency.saturating_record(micros);
        }
    }

    /// What a node has answered so far.
    pub(super) fn node(&self, id: &str) -> Line {
        let counts = self.lock();
        counts.nodes.get(id).map_or_else(Line::default, |node| line(node.calls, &node.latency))
    }

    /// What all have answered, as of `now`.
    pub(super) fn totals(&self, now: Instant) -> Totals {
        let counts = self.lock();
        // The slot of now is not over, so it says too little.
        let whole = slot(now.duration_since(self.started)).min(counts.slots.len());
        let last = &counts.slots[whole.saturating_sub(SLOTS_A_SECOND)..whole];
        let seconds = last.len() as f64 * SLOT.as_secs_f64();
        let rate = f64::from(last.iter().sum::<u32>()) / seconds.max(SLOT.as_secs_f64());
        Totals {
            all: line(counts.calls, &counts.latency),
            failed: counts.failed,
            retried: counts.retried,
            failures: counts.failures.iter().cloned().collect(),
            rate: rate.round() as u64,
            curve: counts.slots[..whole].to_vec(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn slot(elapsed: Duration) -> usize {
    usize::try_from(elapsed.as_millis() / SLOT.as_millis()).unwrap_or(0)
}

fn line(calls: u64, latency: &Histogram<u64>) -> Line {
    let quantile = |q| (!latency.is_empty()).then(|| Duration::from_micros(latency.value_at_quantile(q)));
    Line { calls, p50: quantile(0.5), p99: quantile(0.99) }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 2).expect("the bounds are constants that fit")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(node: &str, millis: u64) -> Call<'_> {
        Call { node: Some(node), elapsed: Duration::from_millis(millis), attempts: 1, failure: None }
    }

    #[tokio::test(start_paused = true)]
    async fn calls_are_counted_by_node_and_by_second() {
        let started = Instant::now();
        let tally = Tally::new(started);
        for step in 0..40_u64 {
            let now = started + Duration::from_millis(step * 50);
            tally.record(call(if step % 4 == 0 { "b" } else { "a" }, step + 1), now);
        }
        let failed = Call { node: None, elapsed: Duration::ZERO, attempts: 2, failure: Some("no".into()) };
        tally.record(failed, started + Duration::from_millis(1999));
        let totals = tally.totals(started + Duration::from_secs(2));
        assert_eq!((totals.all.calls, totals.failed, totals.retried, totals.rate), (41, 1, 1, 21));
        assert_eq!(totals.curve, [10, 10, 10, 11]);
        assert_eq!(totals.failures, ["no"]);
        assert_eq!((tally.node("a").calls, tally.node("b").calls, tally.node("c").calls), (30, 10, 0));
        let p50 = totals.all.p50.unwrap().as_secs_f64();
        assert!((0.019..0.022).contains(&p50), "{p50}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_slot_that_is_not_over_is_left_out_of_the_rate() {
        let started = Instant::now();
        let tally = Tally::new(started);
        assert_eq!(tally.totals(started).rate, 0);
        for step in 0..12_u64 {
            tally.record(call("a", 1), started + Duration::from_millis(step * 100));
        }
        assert_eq!(tally.totals(started + Duration::from_millis(1100)).rate, 10);
    }
}
