//! How much load retries may add: a share of the calls of the last seconds, but not so little that thin traffic cannot retry at
//! all.
//!
//! Time is cut into slots of one second. A slot is one atomic word holding which second it counts, the calls and the retries
//! of that second; a second that comes round to an old slot takes it over. Nothing locks, and a call pays one addition.
//!
//! To hold the bound in *every* window of ten seconds, not only in those that begin with a slot, calls are summed over the ten
//! newest slots (nine to ten seconds) and retries over the eleven newest (ten to eleven seconds).

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use tokio::time::Instant;

use crate::error::{Error, Result};

/// Seconds over which calls and retries are weighed against each other.
const SPAN: u64 = 10;
/// Slots in the ring: at least the window and one more; a power of two.
const SLOTS: usize = 16;

/// Bits of a slot: calls, then retries, then which turn of the ring it belongs to.
const CALL_BITS: u32 = 24;
const RETRY_BITS: u32 = 16;
const CALLS_MAX: u64 = (1 << CALL_BITS) - 1;
const RETRIES_MAX: u64 = (1 << RETRY_BITS) - 1;
const RETRY_UNIT: u64 = 1 << CALL_BITS;
const TURN_SHIFT: u32 = CALL_BITS + RETRY_BITS;
const TURN_MASK: u64 = (1 << (64 - TURN_SHIFT)) - 1;

#[derive(Debug)]
pub(super) struct Window {
    /// Retries per call.
    ratio: f64,
    /// Retries allowed in a window without any call.
    floor: u64,
    /// The first time that was passed in; seconds are counted from it.
    origin: OnceLock<Instant>,
    slots: [AtomicU64; SLOTS],
}

/// One second's counts, unpacked.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    calls: u64,
    retries: u64,
}

// === impl Window ===

impl Window {
    pub(super) fn new(ratio: f64, per_second: u32) -> Result<Self> {
        let wrong = |what: String| Err(Error::invalid("set up a retry budget", what));
        if !(0.0..=10.0).contains(&ratio) {
            return wrong(format!("the ratio of retries to calls must be from 0 to 10: {ratio}"));
        }
        if per_second > 1000 {
            return wrong(format!("the floor must be at most 1000 retries a second: {per_second}"));
        }
        Ok(Self::unchecked(ratio, per_second))
    }

    pub(super) fn deposit(&self, now: Instant) {
        let (index, turn) = self.place(now);
        let slot = &self.slots[index];
        loop {
            let word = slot.load(Ordering::Relaxed);
            if word >> TURN_SHIFT == turn {
                // Far below the limit the addition cannot carry into the next field, however many threads race here.
                if word & CALLS_MAX < CALLS_MAX / 2 {
                    slot.fetch_add(1, Ordering::Relaxed);
                }
                return;
            }
            let fresh = (turn << TURN_SHIFT) | 1;
            if slot.compare_exchange_weak(word, fresh, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return;
            }
        }
    }

    pub(super) fn withdraw(&self, now: Instant) -> bool {
        let (index, turn) = self.place(now);
        let slot = &self.slots[index];
        loop {
            let word = slot.load(Ordering::Relaxed);
            let ours = word >> TURN_SHIFT == turn;
            let retries = (word >> CALL_BITS) & RETRIES_MAX;
            if self.balance(now) == 0 || (ours && retries == RETRIES_MAX) {
                return false;
            }
            let next = if ours { word + RETRY_UNIT } else { (turn << TURN_SHIFT) | RETRY_UNIT };
            if slot.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return true;
            }
        }
    }

    pub(super) fn balance(&self, now: Instant) -> u64 {
        let second = self.second(now);
        let (mut calls, mut retries) = (0, 0);
        for age in 0..=SPAN.min(second) {
            let slot = self.read(second - age);
            retries += slot.retries;
            if age < SPAN {
                calls += slot.calls;
            }
        }
        // A hair above, so that 0.2 of ten calls is two retries in binary fractions too.
        let share = (self.ratio * calls as f64 + 1e-9) as u64;
        let allowed = share.max(self.floor);
        allowed.saturating_sub(retries)
    }

    fn unchecked(ratio: f64, per_second: u32) -> Self {
        Self {
            ratio,
            floor: u64::from(per_second) * SPAN,
            origin: OnceLock::new(),
            slots: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Seconds since the first use, from one on: a ring of zeros then belongs to no second that is asked for.
    fn second(&self, now: Instant) -> u64 {
        let origin = *self.origin.get_or_init(|| now);
        now.saturating_duration_since(origin).as_secs() + SLOTS as u64
    }

    fn place(&self, now: Instant) -> (usize, u64) {
        place(self.second(now))
    }

    fn read(&self, second: u64) -> Slot {
        let (index, turn) = place(second);
        let word = self.slots[index].load(Ordering::Relaxed);
        if word >> TURN_SHIFT == turn {
            Slot { calls: word & CALLS_MAX, retries: (word >> CALL_BITS) & RETRIES_MAX }
        } else {
            Slot::default()
        }
    }
}

impl Default for Window {
    /// A fifth of the calls, and ten a second.
    fn default() -> Self {
        Self::unchecked(0.2, 10)
    }
}

/// Where a second is counted, and on which turn of the ring.
fn place(second: u64) -> (usize, u64) {
    let slots = SLOTS as u64;
    ((second % slots) as usize, (second / slots) & TURN_MASK)
}
