//! What a node measures of itself.

use super::between;
use crate::clock::Nanos;

/// Seconds over which a node averages what it reports.
const SPAN: f64 = 5.0;

/// Answers remembered for each number of calls in flight, and the numbers told apart.
const ANSWERS: usize = 16;
const NUMBERS: usize = 256;

/// Use and rates: averages for reports, sums for the results.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meter {
    at: Nanos,
    used: f64,
    inflight: f64,
    average_used: f64,
    calls_per_second: f64,
    failures_per_second: f64,
    /// Seconds of cores used, and of calls in flight.
    pub(crate) core_seconds: f64,
    pub(crate) call_seconds: f64,
    pub(crate) calls: u64,
}

/// What weights are made of (gRFC A58).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Report {
    /// Of the cores it is meant to have; above one when it uses more.
    pub(crate) utilisation: f64,
    pub(crate) calls_per_second: f64,
    pub(crate) failures_per_second: f64,
}

/// How long the last answers took, by how many calls the node had when they came.
#[derive(Debug)]
pub(super) struct Recent(Vec<([Nanos; ANSWERS], usize)>);

// === impl Meter ===

impl Meter {
    pub(super) fn new(now: Nanos) -> Self {
        Self {
            at: now,
            used: 0.0,
            inflight: 0.0,
            average_used: 0.0,
            calls_per_second: 0.0,
            failures_per_second: 0.0,
            core_seconds: 0.0,
            call_seconds: 0.0,
            calls: 0,
        }
    }

    /// From now on so many cores are used by so many calls.
    pub(super) fn use_now(&mut self, used: f64, inflight: f64, now: Nanos) {
        self.settle(now);
        (self.used, self.inflight) = (used, inflight);
    }

    pub(super) fn count(&mut self, failed: bool, now: Nanos) {
        self.settle(now);
        self.calls += 1;
        self.calls_per_second += 1.0 / SPAN;
        if failed {
            self.failures_per_second += 1.0 / SPAN;
        }
    }

    pub(super) fn report(&self, cores: f64, now: Nanos) -> Report {
        let mut then = *self;
        then.settle(now);
        Report {
            utilisation: then.average_used / cores,
            calls_per_second: then.calls_per_second,
            failures_per_second: then.failures_per_second,
        }
    }

    /// Brings the sums up to now.
    pub(crate) fn settle(&mut self, now: Nanos) {
        let gap = between(self.at, now);
        if gap == 0.0 {
            return;
        }
        self.at = now;
        self.core_seconds += self.used * gap;
        self.call_seconds += self.inflight * gap;
        let kept = (-gap / SPAN).exp();
        self.average_used = self.used + (self.average_used - self.used) * kept;
        self.calls_per_second *= kept;
        self.failures_per_second *= kept;
    }
}

// === impl Recent ===

impl Recent {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn record(&mut self, among: u32, took: Nanos) {
        let place = (among as usize).min(NUMBERS - 1);
        if place >= self.0.len() {
            self.0.resize(place + 1, ([0; ANSWERS], 0));
        }
        let (answers, count) = &mut self.0[place];
        answers[*count % ANSWERS] = took;
        *count += 1;
    }

    /// The median at this number of calls, or at the nearest number at which there were answers.
    pub(super) fn median(&self, among: u32) -> Option<Nanos> {
        let place = (among as usize).min(NUMBERS - 1);
        let known = |place: &usize| self.0.get(*place).is_some_and(|(_, count)| *count > 0);
        let nearest = (0..NUMBERS).find_map(|far| {
            let below = place.checked_sub(far).filter(known);
            below.or_else(|| Some(place + far).filter(known))
        })?;
        let (mut answers, count) = self.0[nearest];
        let answers = &mut answers[..count.min(ANSWERS)];
        answers.sort_unstable();
        Some(answers[answers.len() / 2])
    }
}
