//! What is known of one node: calls in flight, whether it can be called, what calls cost.
//!
//! A [`Ticket`] is a counted reference to the node's state, and the number of calls in flight is the number of such references:
//! all that there are, less those that are [`Load`] handles, which count themselves. So a ticket costs one atomic addition and
//! one subtraction, the subtraction happens exactly once however the call ends, and no counter can drift.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{
            AtomicU8, AtomicU32, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
            fence,
        },
    },
    time::Duration,
};

use tokio::time::Instant;

use super::cost::{self, Estimate, Model, Sample};

mod reported;
mod verdict;

use self::reported::Reported;
pub(in crate::select) use self::verdict::{
    ALL, FACTS, is_ejected, is_leaving, is_plainly_usable, is_ramping, is_ready, is_usable,
};
use self::verdict::{Ramp, Tally};

const READY: u8 = 1;
/// A call has been answered well: the next answers are taken at their word.
const PROVEN: u8 = 2;

/// The handles' count is the lower half of its word; the upper half counts its changes, so that a reader notices them.
const HANDLE: u64 = 1;
const CHANGE: u64 = 1 << 32;

/// Successful calls over which the shown latency is averaged.
const LATENCY_SPAN: f64 = 16.0;

/// What is known of one node. A handle: clones are the same load.
///
/// It belongs to a node's identity, and is to be kept while the node is, and for some time after it went, in case it comes
/// back. A new load is not ready: its node is not picked before [`set_ready`](Self::set_ready) was called.
pub struct Load(Arc<Hot>);

/// One call's place in a node's in-flight count. It ends when the ticket is dropped: at the end of the response stream.
#[must_use = "dropping the ticket ends the call"]
pub struct Ticket(Arc<Hot>);

/// How a call ended, as far as its node is to blame or to praise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// An answer, also one that says no: not found, invalid argument, permission denied.
    Success,
    /// The node failed: unavailable, internal, data loss, unknown.
    Failure,
    /// The node said that it has too much to do.
    Overloaded {
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The call's time ran out before the node answered.
    DeadlineExceeded,
    /// The caller lost interest.
    Cancelled,
    /// The request never left, or was refused unread: it says nothing of the node's speed.
    NotSent,
}

/// The count of references stands right before this, in the same cache line as what picks read and calls write. The padding
/// keeps the next node's line apart.
#[repr(C)]
struct Hot {
    /// How many references are handles, and how often that has changed.
    handles: AtomicU64,
    /// [`Estimate::g`] and [`Estimate::at`], as bits. A pair torn by two calls ending at once is slightly wrong once.
    g: AtomicU64,
    flags: AtomicU8,
    failures: AtomicU32,
    at: AtomicU64,
    calls: AtomicU64,
    /// Mean latency of the last successful calls in seconds, as bits; zero before the first.
    latency: AtomicU64,
    /// Where the node stands in the order of its slate: random, and the same for as long as the load lives.
    rank: AtomicU64,
    model: Model,
    /// Since when time is counted, if not since the process asked first. The same in all loads that are compared.
    origin: Option<Instant>,
    tally: Tally,
    ramp: Ramp,
    reported: Reported,
    _padding: [u64; 7],
}

// === impl Load ===

impl Load {
    /// The load of a node nothing is known of, with the default settings of the adaptive strategy.
    #[must_use]
    pub fn new() -> Self {
        Self::with_model(Model::DEFAULT, None)
    }

    /// With other settings, and time counted from `origin`, if it is given.
    pub(super) fn with_model(model: Model, origin: Option<Instant>) -> Self {
        let Estimate { g, at } = Estimate::UNKNOWN;
        let hot = Hot {
            handles: AtomicU64::new(HANDLE),
            g: AtomicU64::new(g.to_bits()),
            flags: AtomicU8::new(0),
            failures: AtomicU32::new(0),
            at: AtomicU64::new(at.to_bits()),
            calls: AtomicU64::new(0),
            latency: AtomicU64::new(0),
            rank: AtomicU64::new(0),
            model,
            origin,
            tally: Tally::default(),
            ramp: Ramp::default(),
            reported: Reported::default(),
            _padding: [0; 7],
        };
        Self(Arc::new(hot))
    }

    /// Calls in flight: tickets that have not been dropped.
    #[must_use]
    pub fn inflight(&self) -> u32 {
        loop {
            let handles = self.0.handles.load(Acquire);
            let references = Arc::strong_count(&self.0);
            // Whoever gave up a handle has changed their count first: if we saw the reference gone, we see that too.
            fence(Acquire);
            if self.0.handles.load(Relaxed) == handles {
                return tickets(references, handles);
            }
        }
    }

    /// [`inflight`](Self::inflight), but for an error of one while another thread makes or drops a handle.
    #[inline]
    pub(super) fn about_inflight(&self) -> u32 {
        tickets(Arc::strong_count(&self.0), self.0.handles.load(Relaxed))
    }

    /// Says whether the node can be called. Picks see it at once; a slate made afterwards has it in its tables.
    pub fn set_ready(&self, ready: bool) {
        if ready {
            self.0.flags.fetch_or(READY, Relaxed);
        } else {
            self.0.flags.fetch_and(!READY, Relaxed);
        }
    }

    /// Whether the node can be called.
    #[must_use]
    #[inline]
    pub fn is_ready(&self) -> bool {
        self.0.flags.load(Relaxed) & READY != 0
    }

    /// Calls that ended, but for those that never left.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.0.calls.load(Relaxed)
    }

    /// Calls that ended in a failure, an overload or a missed deadline.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.0.failures.load(Relaxed)
    }

    /// Mean latency of the last successful calls, about sixteen of them. For people to read; strategies use
    /// [`cost`](Self::cost).
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        let seconds = f64::from_bits(self.0.latency.load(Relaxed));
        (seconds > 0.0).then(|| Duration::from_secs_f64(seconds))
    }

    /// What the adaptive strategy takes a call to cost at `now`, with nothing else in flight: the latency estimate, with
    /// failures charged, decayed since the last sample.
    #[must_use]
    pub fn cost(&self, now: Instant) -> Option<Duration> {
        self.cost_of(self.g(), now)
    }

    /// What an estimate of this load, [`Estimate::g`], comes to at `now`.
    pub(super) fn cost_of(&self, g: f64, now: Instant) -> Option<Duration> {
        let cost = self.0.model.project(g, self.seconds(now));
        (g > f64::NEG_INFINITY).then(|| Duration::try_from_secs_f64(cost).unwrap_or(Duration::MAX))
    }

    /// The estimate's logarithm, [`Estimate::g`].
    #[inline]
    pub(super) fn g(&self) -> f64 {
        f64::from_bits(self.0.g.load(Relaxed))
    }

    /// The same, once there is an estimate.
    pub(super) fn known_g(&self) -> Option<f64> {
        Some(self.g()).filter(|g| *g > f64::NEG_INFINITY)
    }

    /// When the last sample was taken, in units of the decay; zero if there is no estimate.
    pub(super) fn last_sample(&self) -> f64 {
        let Estimate { g, at } = self.0.estimate();
        if g > f64::NEG_INFINITY { at / self.0.model.decay } else { 0.0 }
    }

    /// Assumes a cost where nothing is known yet.
    pub(super) fn assume_g(&self, g: f64) {
        let unknown = Estimate::UNKNOWN.g.to_bits();
        // When it fails a call has just ended, which tells more than an assumption.
        let _ = self.0.g.compare_exchange(unknown, g.to_bits(), Relaxed, Relaxed);
    }

    /// Whether there is an estimate and it says little any more: it has decayed to a third or less.
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        let Estimate { g, at } = self.0.estimate();
        g > f64::NEG_INFINITY && self.seconds(now) - at > self.0.model.decay
    }

    /// `now` as this load counts time.
    pub(super) fn seconds(&self, now: Instant) -> f64 {
        cost::seconds(self.0.origin, now)
    }

    /// Raises an estimate to `least`, which makes an assumption of it: the next answer is the first again.
    pub(super) fn hold_g(&self, least: f64) {
        let before = self.0.g.load(Relaxed);
        // When it is not exchanged a call has just ended, which tells more.
        if f64::from_bits(before) < least
            && self.0.g.compare_exchange(before, least.to_bits(), Relaxed, Relaxed).is_ok()
        {
            self.0.flags.fetch_and(!PROVEN, Relaxed);
        }
    }

    /// Its place in the order of nodes, drawn when it is first asked for.
    pub(super) fn rank(&self, rng: &mut fastrand::Rng) -> u64 {
        if self.known_rank() != 0 {
            return self.known_rank();
        }
        let drawn = rng.u64(1..);
        match self.0.rank.compare_exchange(0, drawn, Relaxed, Relaxed) {
            Ok(_) => drawn,
            Err(rank) => rank,
        }
    }

    /// Its place in the order of nodes, zero if it was never asked for.
    pub(super) fn known_rank(&self) -> u64 {
        self.0.rank.load(Relaxed)
    }

    /// Whether both are handles of one load.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// A place in the in-flight count, for a call that goes to this node without a pick.
    #[inline]
    pub fn ticket(&self) -> Ticket {
        Ticket(Arc::clone(&self.0))
    }
}

impl Clone for Load {
    fn clone(&self) -> Self {
        // In this order a reader in between takes the handle for a call, never a call for a handle.
        let handle = Self(Arc::clone(&self.0));
        self.0.handles.fetch_add(CHANGE + HANDLE, Release);
        handle
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.handles.fetch_add(CHANGE - HANDLE, Release);
    }
}

impl Default for Load {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Load")
            .field("ready", &self.is_ready())
            .field("inflight", &self.inflight())
            .field("calls", &self.calls())
            .field("failures", &self.failures())
            .field("latency", &self.latency())
            .finish_non_exhaustive()
    }
}

// === impl Ticket ===

impl Ticket {
    /// Tells how the call went, and how long its first answer took. To be called once a call; for a stream of responses when
    /// the first has come, or the stream's length would be taken for the node's slowness.
    pub fn mark(&self, outcome: Outcome, elapsed: Duration, now: Instant) {
        self.mark_even(outcome, elapsed, elapsed, now);
    }

    /// As [`mark`](Self::mark), of a call that took `elapsed` and is to count as if it had taken `even`, since it is a long call or a
    /// short one by its nature: see [`Paces`](super::Paces).
    pub fn mark_even(&self, outcome: Outcome, elapsed: Duration, even: Duration, now: Instant) {
        let hot = &*self.0;
        let even = even.as_secs_f64();
        let sample = match outcome {
            Outcome::NotSent => return,
            Outcome::Success => {
                hot.show_latency(elapsed.as_secs_f64());
                Sample::Answered(even)
            }
            Outcome::Failure => Sample::Failed(even.max(hot.model.error_charge)),
            Outcome::Overloaded { retry_after } => {
                let asked = retry_after.unwrap_or_default().as_secs_f64();
                Sample::Failed(even.max(hot.model.error_charge).max(asked))
            }
            Outcome::DeadlineExceeded => Sample::Unanswered(even),
            Outcome::Cancelled => Sample::Abandoned(even),
        };
        hot.calls.fetch_add(1, Relaxed);
        if !matches!(outcome, Outcome::Success | Outcome::Cancelled) {
            hot.failures.fetch_add(1, Relaxed);
        }
        hot.learn(outcome, sample, cost::seconds(hot.origin, now));
        if hot.count(outcome, even) {
            hot.raise_alarm();
        }
    }

    /// Whether the node's health is worth a look at once, without waiting for the next second:
    /// [`Health::review`](crate::health::Health::review).
    #[must_use]
    pub fn wants_review(&self) -> bool {
        self.0.is_alarmed()
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").finish_non_exhaustive()
    }
}

// === impl Hot ===

impl Hot {
    fn estimate(&self) -> Estimate {
        Estimate { g: f64::from_bits(self.g.load(Relaxed)), at: f64::from_bits(self.at.load(Relaxed)) }
    }

    fn learn(&self, outcome: Outcome, sample: Sample, now: f64) {
        let first = outcome == Outcome::Success
            && self.flags.load(Relaxed) & PROVEN == 0
            && self.flags.fetch_or(PROVEN, Relaxed) & PROVEN == 0;
        let mut before = self.estimate();
        loop {
            let after = match sample {
                Sample::Answered(seconds) if first => self.model.after_first(before, seconds, now),
                _ => self.model.after(before, sample, now),
            };
            if after == before {
                return;
            }
            // A lost peak would leave a bad node looking good, so it is tried again. Of two lower samples either will do.
            let swapped =
                self.g.compare_exchange(before.g.to_bits(), after.g.to_bits(), Relaxed, Relaxed).is_ok();
            if swapped {
                self.at.store(after.at.to_bits(), Relaxed);
                return;
            }
            let current = self.estimate();
            if after.g <= current.g {
                return;
            }
            before = current;
        }
    }

    fn show_latency(&self, elapsed: f64) {
        let before = f64::from_bits(self.latency.load(Relaxed));
        let after = if before > 0.0 { before + (elapsed - before) / LATENCY_SPAN } else { elapsed };
        // Zero would read as "no call yet".
        self.latency.store(after.max(1e-9).to_bits(), Relaxed);
    }
}

/// References that are not handles.
#[inline]
fn tickets(references: usize, handles: u64) -> u32 {
    (references as u32).saturating_sub(handles as u32)
}

#[cfg(test)]
mod tests;
