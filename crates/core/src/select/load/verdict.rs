//! What the node's calls say of its health, and what was concluded from that.
//!
//! The counts are those of one node and one interval; whoever judges ([`health`](crate::health)) takes them away when the
//! interval is over. What is concluded is a flag that picks see at once.

use std::{
    sync::atomic::{
        AtomicU32, AtomicU64,
        Ordering::{AcqRel, Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{Hot, Load, Outcome, PROVEN, READY};
use crate::select::cost::Estimate;

/// The node is not to be picked.
const EJECTED: u8 = 4;
/// The node is to be picked while it has no call in flight.
const PROBING: u8 = 8;
/// The node is not to be picked as often as others yet.
const RAMPING: u8 = 16;
/// Something has happened that is worth a look.
const ALARMED: u8 = 32;

/// The node has said that it leaves.
const LEAVING: u8 = 64;

/// What may be held against a node: a mask over the flags.
pub(in crate::select) const ALL: u8 = FACTS | EJECTED | PROBING;
/// In panic only facts count.
pub(in crate::select) const FACTS: u8 = READY | LEAVING;

/// The least chance that a node has at the beginning of its ramp.
const RAMP_LEAST: f64 = 0.1;

/// How calls to a node have ended since the counts were last taken away.
#[derive(Debug, Default)]
pub(super) struct Tally {
    answered: AtomicU32,
    failed: AtomicU32,
    /// Failures since the last success.
    streak: AtomicU32,
    /// A streak that is worth to be looked at; zero if none is.
    streak_max: AtomicU32,
    /// What a call typically takes, as the bits of an `f32` in seconds. Not to be done sooner is no fault.
    typical: AtomicU32,
}

/// A node that gets more and more calls.
#[derive(Debug, Default)]
pub(super) struct Ramp {
    /// When it began, as bits, see [`Load::seconds`], and how long it is in seconds.
    began: AtomicU64,
    window: AtomicU64,
    /// The chance to be taken when picked, of 2^32.
    chance: AtomicU32,
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) answered: u32,
    pub(crate) failed: u32,
}

// === impl Load ===

impl Load {
    /// All that is said of the node in a word: see [`is_usable`] and the like.
    #[inline]
    pub(in crate::select) fn flags(&self) -> u8 {
        self.0.flags.load(Relaxed)
    }

    /// Whether the node may be picked now, as far as the `mask` of its flags goes.
    pub(in crate::select) fn is_usable(&self, mask: u8) -> bool {
        is_usable(self.flags(), mask, || self.about_inflight())
    }

    /// Whether the node belongs to those that picks are drawn from.
    pub(in crate::select) fn may_be_drawn(&self, mask: u8) -> bool {
        self.flags() & mask & !PROBING == READY
    }

    /// Says whether the node is about to leave, by its own word. It is picked then only where no other node can be: it is neither
    /// usable nor unhealthy, so no verdict on others depends on it. Picks see it at once; a slate made afterwards has it in its
    /// tables.
    pub fn set_leaving(&self, leaving: bool) {
        if leaving {
            self.0.flags.fetch_or(LEAVING, Relaxed);
        } else {
            self.0.flags.fetch_and(!LEAVING, Relaxed);
        }
    }

    /// Whether the node has said that it leaves.
    #[must_use]
    #[inline]
    pub fn is_leaving(&self) -> bool {
        is_leaving(self.flags())
    }

    /// Whether the node may not be picked although it is ready.
    #[inline]
    pub(crate) fn is_ejected(&self) -> bool {
        is_ejected(self.flags())
    }

    /// Picks avoid the node from now on.
    pub(crate) fn eject(&self) {
        let _ = self
            .0
            .flags
            .fetch_update(AcqRel, Relaxed, |flags| Some((flags | EJECTED) & !(PROBING | RAMPING)));
    }

    /// Picks give it one call at a time. What was counted and what it was thought to cost is forgotten.
    pub(crate) fn probe(&self) {
        self.take_counted();
        self.0.tally.streak.store(0, Relaxed);
        self.0.g.store(Estimate::UNKNOWN.g.to_bits(), Relaxed);
        let _ =
            self.0.flags.fetch_update(AcqRel, Relaxed, |flags| Some((flags | PROBING) & !(EJECTED | PROVEN)));
    }

    /// The node is like others again.
    pub(crate) fn acquit(&self) {
        self.take_counted();
        self.0.tally.streak.store(0, Relaxed);
        self.0.flags.fetch_and(!(EJECTED | PROBING), AcqRel);
    }

    /// What was counted since it was last taken away.
    pub(crate) fn take_counted(&self) -> Counted {
        let tally = &self.0.tally;
        Counted { answered: tally.answered.swap(0, Relaxed), failed: tally.failed.swap(0, Relaxed) }
    }

    /// The same, left where it is.
    pub(crate) fn counted(&self) -> Counted {
        let tally = &self.0.tally;
        Counted { answered: tally.answered.load(Relaxed), failed: tally.failed.load(Relaxed) }
    }

    /// Failures since the last success.
    pub(crate) fn streak(&self) -> u32 {
        self.0.tally.streak.load(Relaxed)
    }

    /// What wanted a look is being looked at.
    pub(crate) fn clear_alarm(&self) {
        if self.0.is_alarmed() {
            self.0.flags.fetch_and(!ALARMED, AcqRel);
        }
    }

    /// From how many failures in a row on the node is worth to be looked at, and how long a call typically takes.
    pub(crate) fn expect(&self, streak_max: u32, typical: Duration) {
        self.0.tally.streak_max.store(streak_max, Relaxed);
        self.0.tally.typical.store(typical.as_secs_f32().to_bits(), Relaxed);
    }

    /// For how long a new node gets less than its share where nothing else was asked for: long enough for a cold one to warm up,
    /// short enough for a fleet that grows because it must.
    pub const RAMP: Duration = Duration::from_secs(5);

    /// Lets the node get its full share of calls only after `window`, of which `gone` is over at `now`, and less before, down to
    /// a tenth. Strategies that send the same to the same node take no notice, and nor does anyone while more than half of a
    /// slate's nodes are new.
    ///
    /// The share grows with [`Slate::tick`](crate::select::Slate::tick).
    pub fn ramp_up(&self, window: Duration, gone: Duration, now: Instant) {
        let ramp = &self.0.ramp;
        ramp.began.store((self.seconds(now) - gone.as_secs_f64()).to_bits(), Relaxed);
        ramp.window.store(window.as_secs_f64().to_bits(), Relaxed);
        self.0.flags.fetch_or(RAMPING, AcqRel);
        self.climb(now);
    }

    /// Brings the ramp up to `now`.
    pub(in crate::select) fn climb(&self, now: Instant) {
        if !self.is_ramping() {
            return;
        }
        let ramp = &self.0.ramp;
        let gone = self.seconds(now) - f64::from_bits(ramp.began.load(Relaxed));
        let factor = (gone / f64::from_bits(ramp.window.load(Relaxed))).max(RAMP_LEAST);
        if factor < 1.0 {
            ramp.chance.store((factor * f64::from(u32::MAX)) as u32, Relaxed);
        } else {
            self.0.flags.fetch_and(!RAMPING, AcqRel);
        }
    }

    pub(in crate::select) fn is_ramping(&self) -> bool {
        is_ramping(self.flags())
    }

    /// The chance that a node has to be taken when picked, of 2^32, while it is ramping.
    #[inline]
    pub(in crate::select) fn ramp_chance(&self) -> u32 {
        self.0.ramp.chance.load(Relaxed)
    }
}

// === impl Hot ===

impl Hot {
    pub(super) fn raise_alarm(&self) {
        self.flags.fetch_or(ALARMED, AcqRel);
    }

    pub(super) fn is_alarmed(&self) -> bool {
        self.flags.load(Relaxed) & ALARMED != 0
    }

    /// Counts the end of a call. Whether the node is worth to be looked at now.
    pub(super) fn count(&self, outcome: Outcome, elapsed: f64) -> bool {
        let tally = &self.tally;
        match outcome {
            Outcome::Success => {
                tally.answered.fetch_add(1, Relaxed);
                // Written only when it is not so already: most calls go well.
                if tally.streak.load(Relaxed) != 0 {
                    tally.streak.store(0, Relaxed);
                }
                self.flags.load(Relaxed) & PROBING != 0
            }
            Outcome::Failure => self.count_failure(true),
            // It does what it can: that is a bad time, not a bad node.
            Outcome::Overloaded { .. } => self.count_failure(false),
            // A caller in a hurry says nothing of the node; one that waited for longer than calls take, and was not alone, does.
            Outcome::DeadlineExceeded if elapsed >= tally.typical() => {
                self.count_failure(tally.answered.load(Relaxed) == 0)
            }
            Outcome::DeadlineExceeded | Outcome::Cancelled | Outcome::NotSent => false,
        }
    }

    fn count_failure(&self, in_a_row: bool) -> bool {
        let tally = &self.tally;
        tally.failed.fetch_add(1, Relaxed);
        let limit = tally.streak_max.load(Relaxed);
        let reached = in_a_row && (tally.streak.fetch_add(1, Relaxed) + 1).checked_rem(limit) == Some(0);
        reached || self.flags.load(Relaxed) & PROBING != 0
    }
}

// === impl Tally ===

impl Tally {
    fn typical(&self) -> f64 {
        f64::from(f32::from_bits(self.typical.load(Relaxed)))
    }
}

/// Whether a node of these flags may be picked, as far as the `mask` goes.
#[inline]
pub(in crate::select) fn is_usable(flags: u8, mask: u8, inflight: impl FnOnce() -> u32) -> bool {
    let flags = flags & mask;
    flags == READY || (flags == READY | PROBING && inflight() == 0)
}

/// Whether it may be picked however many calls it has.
#[inline]
pub(in crate::select) fn is_plainly_usable(flags: u8, mask: u8) -> bool {
    flags & mask == READY
}

#[inline]
pub(in crate::select) fn is_ready(flags: u8) -> bool {
    flags & READY != 0
}

#[inline]
pub(in crate::select) fn is_leaving(flags: u8) -> bool {
    flags & LEAVING != 0
}

#[inline]
pub(in crate::select) fn is_ejected(flags: u8) -> bool {
    flags & EJECTED != 0
}

#[inline]
pub(in crate::select) fn is_ramping(flags: u8) -> bool {
    flags & RAMPING != 0
}
