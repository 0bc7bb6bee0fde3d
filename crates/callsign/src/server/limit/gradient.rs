//! How many calls may be in flight: a machine that is told, about once a second, how long calls took.
//!
//! While calls queue nowhere, each takes as long as it usually does, however many there are. Once they queue for something (a
//! processor, a pool of connections, a lock), each takes longer the more there are, and no more of them are answered. So the
//! limit follows the ratio of the two, as Gradient2 does, of Netflix's concurrency-limits:
//!
//! ```text
//! gradient = clamp(1.5 × usual / recent, 0.5, 1)
//! limit    = 0.8 × limit + 0.2 × (limit × gradient + 4)
//! ```
//!
//! and keeps still while less than half of it is in use. In the rest it is not theirs, since it is on by default:
//!
//! - *It starts at its most.* Theirs starts at 20 and grows by less than 1 a second: until it has grown, a healthy server would
//!   refuse calls that it could answer. Ours comes down once calls take longer, and is back up by a quarter each second in which
//!   calls are refused although they take no longer than usual.
//! - *Usual is by class of method.* Each class is compared with itself, so that a different mix of quick and slow methods is no
//!   sign of anything.
//! - *Usual is not learnt from a full server.* What is measured there holds the wait for one another. Theirs learns it all the
//!   same, and lets more and more in for as long as an overload lasts.
//! - *It tries half.* Under stress, which is when calls are refused or a tenth of them are given up by their callers, the limit
//!   is halved for two windows. If as many calls are answered as before, it stays so: the rest only queued. If not, it is put
//!   back, and tried again later, at random times so that the nodes of a fleet do not do so together; and what calls took at half
//!   is what they usually take. So a server that was never seen at ease comes to a limit too, and one whose callers give up before
//!   it is full. If they do so while calls take longer than usual, it is tried at once: what is let in may be worked on for nobody.

use std::{ops::RangeInclusive, time::Duration};

/// How many classes methods are sorted into. Two that share one are taken for one.
pub(crate) const CLASSES: usize = 16;

/// How much longer than usual calls may take before that counts as queueing (Netflix's default).
const TOLERANCE: f64 = 1.5;
/// The weight of a new limit against the one before (Netflix's default).
const SMOOTHING: f64 = 0.2;
/// Calls that may queue for a moment and keep the server busy (Netflix's default).
const ROOM: f64 = 4.0;
/// Growth in a window that was full although nothing queued.
const GROWTH: f64 = 1.25;
/// Windows over which usual is a mean (Netflix's default).
const USUAL_WINDOWS: f64 = 600.0;
/// The weight of usual against a window that took less than half of it (Netflix's default).
const RECOVERY: f64 = 0.95;
/// The share of calls given up by their callers that means stress.
const GIVEN_UP_SHARE: f64 = 0.1;
/// The share of the calls answered before that is as many.
const AS_MANY: f64 = 0.95;
/// The weight of a window in the rate of answers.
const RATE_WEIGHT: f64 = 0.3;
/// Windows without stress after which it is over: a try that did not help leaves a calm window behind.
const CALM: u32 = 5;
/// How long stress lasts until half is tried, times 0.5 to 1.5: at first and as long as that helps; and after each time that it
/// did not, twice as long, up to the most.
const TRY_AFTER: RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(64);

/// The limit, and what it is based on.
#[derive(Debug)]
pub(crate) struct Gradient {
    least: f64,
    most: f64,
    limit: f64,
    /// Seconds that calls of a class take while nothing queues.
    usual: [Option<f64>; CLASSES],
    stage: Stage,
    /// Answers a second, under stress.
    rate: Option<f64>,
    /// When half is tried, under stress.
    try_at: Option<Duration>,
    try_after: Duration,
    /// Windows without stress since the last one with it.
    calm: u32,
    closed_at: Duration,
    rng: fastrand::Rng,
}

/// What happened in a while.
#[derive(Debug, Clone, Default)]
pub(crate) struct Window {
    /// Most calls in flight.
    pub(crate) peak: u32,
    /// Calls that the limit kept out.
    pub(crate) refused: u32,
    pub(crate) classes: [Times; CLASSES],
}

/// How long calls of a class took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Times {
    /// Those that were answered.
    pub(crate) answered: Sum,
    /// Those whose callers gave up first.
    pub(crate) given_up: Sum,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sum {
    pub(crate) calls: u32,
    pub(crate) total: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Steady,
    /// A lower limit is tried; calls from before still finish.
    Settling {
        half: f64,
    },
    /// What is measured now is without most of the queue.
    Measuring {
        half: f64,
    },
}

// === impl Gradient ===

impl Gradient {
    pub(crate) fn new(bounds: &RangeInclusive<u32>, seed: u64) -> Self {
        let most = f64::from(*bounds.end());
        Self {
            least: f64::from(*bounds.start()).min(most),
            most,
            limit: most,
            usual: [None; CLASSES],
            stage: Stage::Steady,
            rate: None,
            try_at: None,
            try_after: *TRY_AFTER.start(),
            calm: 0,
            closed_at: Duration::ZERO,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// How many calls may be in flight from now on; at least 1.
    pub(crate) fn limit(&self) -> u32 {
        let limit = match self.stage {
            Stage::Steady => self.limit,
            Stage::Settling { half } | Stage::Measuring { half } => half,
        };
        limit.max(1.0) as u32
    }

    /// Learns from a window that ended at `now`, since the server's start.
    pub(crate) fn close(&mut self, window: &Window, now: Duration) {
        let length = now.saturating_sub(std::mem::replace(&mut self.closed_at, now));
        let rate = f64::from(window.answered()) / length.as_secs_f64().max(f64::MIN_POSITIVE);
        match self.stage {
            Stage::Settling { half } => self.stage = Stage::Measuring { half },
            Stage::Measuring { half } => self.conclude(half, window, rate, now),
            Stage::Steady => self.follow(window, rate, now),
        }
    }

    /// An ordinary window.
    fn follow(&mut self, window: &Window, rate: f64, now: Duration) {
        let full = window.refused > 0;
        let given_up = self.given_up_share(window) >= GIVEN_UP_SHARE;
        let peak = f64::from(window.peak);
        let busy = full || peak >= self.limit / 2.0;
        self.learn(window, busy || given_up);
        let gradient = (TOLERANCE / self.strain(window)).clamp(0.5, 1.0);
        // Calls take longer than usual, and longer than their callers wait: what is in flight already is too much.
        let late = given_up && gradient < 1.0;
        if late {
            self.limit = self.limit.min(peak);
        }
        if full && gradient == 1.0 {
            self.limit *= GROWTH;
        } else if busy || late {
            self.limit = self.limit * (1.0 - SMOOTHING) + (self.limit * gradient + ROOM) * SMOOTHING;
        }
        self.limit = self.limit.clamp(self.least, self.most);

        if !full && !given_up {
            self.calm += 1;
            if self.calm >= CALM {
                self.rate = None;
                self.try_at = None;
                self.try_after = *TRY_AFTER.start();
            }
            return;
        }
        self.calm = 0;
        let before = self.rate.unwrap_or(rate);
        self.rate = Some(before + (rate - before) * RATE_WEIGHT);
        // Each second of being late is lost, so nothing is waited for, unless half was not enough the last time.
        let hurried = late && self.try_after == *TRY_AFTER.start();
        match self.try_at {
            None if !hurried => self.try_later(now),
            Some(at) if now < at && !hurried => {}
            // What is not in use is no part of what is halved.
            _ => self.stage = Stage::Settling { half: self.limit.min(peak) / 2.0 },
        }
    }

    /// Half was tried.
    fn conclude(&mut self, half: f64, window: &Window, rate: f64, now: Duration) {
        self.stage = Stage::Steady;
        let as_many = self.rate.is_some_and(|before| rate >= before * AS_MANY);
        for (usual, times) in self.usual.iter_mut().zip(&window.classes) {
            let Some(recent) = times.answered.mean() else { continue };
            // As many as before: some of them may have queued still.
            *usual = Some(usual.filter(|known| as_many && *known < recent).unwrap_or(recent));
        }
        if as_many && half > self.least {
            self.limit = half;
            self.try_after = *TRY_AFTER.start();
        } else {
            self.try_after = (self.try_after * 2).min(*TRY_AFTER.end());
        }
        self.try_later(now);
    }

    fn try_later(&mut self, now: Duration) {
        self.try_at = Some(now + self.try_after.mul_f64(0.5 + self.rng.f64()));
    }

    /// Takes up what calls usually take.
    fn learn(&mut self, window: &Window, busy: bool) {
        for (usual, times) in self.usual.iter_mut().zip(&window.classes) {
            let Some(recent) = times.answered.mean() else { continue };
            let known = *usual.get_or_insert(recent);
            let mean = known + (recent - known) * 2.0 / (USUAL_WINDOWS + 1.0);
            *usual = Some(match known / recent {
                ratio if ratio > 2.0 => mean * RECOVERY,
                ratio if ratio >= 1.0 || !busy => mean,
                _ => known,
            });
        }
    }

    /// How many times longer than usual calls took.
    fn strain(&self, window: &Window) -> f64 {
        let (mut calls, mut ratios) = (0.0, 0.0);
        for (usual, times) in self.usual.iter().zip(&window.classes) {
            let (Some(usual), Some(mean)) = (usual, times.answered.mean()) else { continue };
            calls += f64::from(times.answered.calls);
            ratios += f64::from(times.answered.calls) * mean / usual;
        }
        if calls == 0.0 { 1.0 } else { ratios / calls }
    }

    /// The share of calls whose callers gave up. Those who wait for less than is usual say nothing about the server.
    fn given_up_share(&self, window: &Window) -> f64 {
        let patient = |(usual, times): (&Option<f64>, &Times)| match (usual, times.given_up.mean()) {
            (Some(usual), Some(mean)) if mean < *usual => 0,
            _ => times.given_up.calls,
        };
        let given_up: u32 = self.usual.iter().zip(&window.classes).map(patient).sum();
        f64::from(given_up) / f64::from((given_up + window.answered()).max(1))
    }
}

// === impl Window ===

impl Window {
    fn answered(&self) -> u32 {
        self.classes.iter().map(|times| times.answered.calls).sum()
    }
}

// === impl Sum ===

impl Sum {
    fn mean(self) -> Option<f64> {
        (self.calls > 0).then(|| self.total.as_secs_f64() / f64::from(self.calls))
    }
}
