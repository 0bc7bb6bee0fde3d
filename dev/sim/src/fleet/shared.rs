//! A node that works on all its calls at once: they share its cores evenly, and none has more than one.
//!
//! Since all advance alike, it is enough to add up what each has advanced since the beginning: a call is done when that has
//! grown by its work. So a call costs a place in a heap, however often the pace changes meanwhile.

use super::{Job, Line, between};
use crate::clock::{self, Nanos};

#[derive(Debug)]
pub(super) struct Shared {
    /// While the neighbour is quiet, and while it is busy.
    cores: [f64; 2],
    contended: bool,
    active: u32,
    /// Work done on each call since the beginning, in seconds of a machine of speed one.
    advanced: f64,
    at: Nanos,
    line: Line,
    /// What is planned: the next job and the pace.
    plan: Option<(Job, f64)>,
    version: u32,
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(free: f64, contended: f64, is_contended: bool, now: Nanos) -> Self {
        Self {
            cores: [free, contended],
            contended: is_contended,
            active: 0,
            advanced: 0.0,
            at: now,
            line: Line::default(),
            plan: None,
            version: 0,
        }
    }

    pub(super) fn is_contended(&self) -> bool {
        self.contended
    }

    pub(super) fn cores(&self) -> f64 {
        self.cores[usize::from(self.contended)]
    }

    /// Cores at work.
    pub(super) fn used(&self) -> f64 {
        f64::from(self.active).min(self.cores())
    }

    pub(super) fn take(&mut self, job: Job, work: f64, pace: f64, now: Nanos) {
        self.advance(pace, now);
        self.active += 1;
        self.line.push(self.advanced + work, job);
    }

    pub(super) fn drop_one(&mut self, pace: f64, now: Nanos) {
        self.advance(pace, now);
        self.active -= 1;
    }

    pub(super) fn switch(&mut self, pace: f64, now: Nanos) {
        self.advance(pace, now);
        self.contended = !self.contended;
    }

    /// Works until now.
    pub(super) fn advance(&mut self, pace: f64, now: Nanos) {
        self.advanced += self.rate(pace) * between(self.at, now);
        self.at = now;
    }

    /// When the next call is done and the version of that plan, unless it is the same as before.
    pub(super) fn next(&mut self, pace: f64, now: Nanos, generations: &[u32]) -> Option<(Nanos, u32)> {
        let rate = self.rate(pace);
        let Some((due, job)) = self.line.first(generations) else {
            self.plan = None;
            return None;
        };
        if self.plan == Some((job, rate)) {
            return None;
        }
        self.plan = Some((job, rate));
        self.version = self.version.wrapping_add(1);
        let left = (due - self.advanced).max(0.0);
        Some((now + clock::nanos(left / rate), self.version))
    }

    /// The call that is done now, by the plan of that version.
    pub(super) fn finish(&mut self, version: u32, pace: f64, now: Nanos, generations: &[u32]) -> Option<Job> {
        if version != self.version {
            return None;
        }
        let (planned, _) = self.plan?;
        let (_, job) = self.line.first(generations).filter(|(_, job)| *job == planned)?;
        self.advance(pace, now);
        self.line.pop();
        self.active -= 1;
        self.plan = None;
        Some(job)
    }

    fn rate(&self, pace: f64) -> f64 {
        pace * (self.cores() / f64::from(self.active.max(1))).min(1.0)
    }
}
