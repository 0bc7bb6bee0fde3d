//! The gate that calls pass: counts those in flight, and keeps out those that are too many.
//!
//! Calls touch a few counters and take no lock, but for the one in about a second that finds the window over and has the
//! machine make a new limit of it. Time is passed in, as what has gone by since the server's start.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{
    ConcurrencyLimit, Priority,
    gradient::{CLASSES, Gradient, Sum, Times, Window},
};

/// The least time that a window takes (Netflix's default).
const WINDOW: Duration = Duration::from_secs(1);
/// The fewest calls that say anything (Netflix's default).
const CALLS_MIN: u32 = 10;
/// Calls that take less say more of the scheduler than of the work (Netflix's default).
const TIME_MIN: Duration = Duration::from_micros(100);
/// How soon a call that was refused may come again: as long as a call takes, within these.
const PUSHBACK: std::ops::RangeInclusive<u64> = 5..=1000;

/// Lets calls in up to the limit.
#[derive(Debug)]
pub(crate) struct Gate {
    limit: AtomicU32,
    in_flight: AtomicU32,
    observe_only: bool,
    refused: AtomicU64,
    /// When the window may be closed, in nanoseconds.
    closes: AtomicU64,
    window: Open,
    machine: Mutex<Gradient>,
    /// Milliseconds.
    pushback: AtomicU64,
}

/// A window that is still being filled.
#[derive(Debug, Default)]
struct Open {
    peak: AtomicU32,
    refused: AtomicU32,
    calls: AtomicU32,
    classes: [OpenTimes; CLASSES],
}

#[derive(Debug, Default)]
struct OpenTimes {
    answered: OpenSum,
    given_up: OpenSum,
}

#[derive(Debug, Default)]
struct OpenSum {
    calls: AtomicU32,
    nanos: AtomicU64,
}

/// A call's place among those in flight. It is held while the server works on the call, and not while the call waits for its
/// caller to send more of the request.
#[derive(Debug)]
pub(crate) struct Place {
    gate: Arc<Gate>,
    class: usize,
    /// Since when the server works on it, in nanoseconds.
    since: AtomicU64,
    state: AtomicU8,
}

/// How a call left its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// Its reply has begun.
    Answered,
    /// Its caller waits no longer.
    GivenUp,
}

/// Too many calls are in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The limit for all calls.
    pub(crate) limit: u32,
    /// When to try again.
    pub(crate) pushback: Duration,
}

// What a place is at.
const HELD: u8 = 0;
const WAITING: u8 = 1;
const LEFT: u8 = 2;

// === impl Gate ===

impl Gate {
    /// A gate, unless there is to be no limit.
    pub(crate) fn new(config: &ConcurrencyLimit, seed: u64) -> Option<Arc<Self>> {
        let machine = Gradient::new(config.bounds.as_ref()?, seed);
        Some(Arc::new(Self {
            limit: machine.limit().into(),
            in_flight: 0.into(),
            observe_only: config.observe_only,
            refused: 0.into(),
            closes: nanos(WINDOW).into(),
            window: Open::default(),
            machine: Mutex::new(machine),
            pushback: (*PUSHBACK.start()).into(),
        }))
    }

    /// How many calls may be in flight.
    pub(crate) fn limit(&self) -> u32 {
        self.limit.load(Relaxed)
    }

    /// How many calls were refused, or would have been.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Lets a call in, if there is room for one like it.
    pub(crate) fn enter(
        self: &Arc<Self>,
        priority: Priority,
        class: usize,
        now: Duration,
    ) -> Result<Place, Refused> {
        let limit = self.limit();
        let before = self.in_flight.fetch_add(1, Relaxed);
        if before >= priority.share_of(limit) {
            let refusals = self.refused.fetch_add(1, Relaxed);
            self.window.refused.fetch_add(1, Relaxed);
            if !self.observe_only {
                self.in_flight.fetch_sub(1, Relaxed);
                return Err(Refused { limit, pushback: self.pushback(refusals) });
            }
        }
        self.window.peak.fetch_max(before + 1, Relaxed);
        Ok(Place { gate: self.clone(), class: class % CLASSES, since: nanos(now).into(), state: HELD.into() })
    }

    /// About as long as a call takes; spread, so that what is refused at once does not come back at once.
    fn pushback(&self, refusals: u64) -> Duration {
        let mean = self.pushback.load(Relaxed);
        // The golden ratio spreads consecutive numbers evenly.
        let spread = (refusals as f64 * 0.618_033_988_749_895).fract();
        Duration::from_millis(mean).mul_f64(0.5 + spread)
    }

    fn left(&self, class: usize, took: Duration, how: Left, now: Duration) {
        if how == Left::GivenUp || took >= TIME_MIN {
            let times = &self.window.classes[class];
            let sum = if how == Left::Answered { &times.answered } else { &times.given_up };
            sum.calls.fetch_add(1, Relaxed);
            sum.nanos.fetch_add(nanos(took), Relaxed);
            self.window.calls.fetch_add(1, Relaxed);
        }
        let closes = self.closes.load(Relaxed);
        let over = nanos(now) >= closes && self.window.calls.load(Relaxed) >= CALLS_MIN;
        // One of those who see it is enough.
        if over && self.closes.compare_exchange(closes, nanos(now + WINDOW), Relaxed, Relaxed).is_ok() {
            self.close(now);
        }
    }

    fn close(&self, now: Duration) {
        let window = self.window.take(self.in_flight.load(Relaxed));
        let answered = window.classes.iter().map(|times| times.answered);
        let (calls, total) =
            answered.fold((0, Duration::ZERO), |(calls, total), sum| (calls + sum.calls, total + sum.total));
        if calls > 0 {
            let mean = u64::try_from((total / calls).as_millis()).unwrap_or(u64::MAX);
            self.pushback.store(mean.clamp(*PUSHBACK.start(), *PUSHBACK.end()), Relaxed);
        }
        let mut machine = self.machine();
        machine.close(&window, now);
        let limit = machine.limit();
        drop(machine);
        if self.limit.swap(limit, Relaxed) != limit {
            tracing::debug!(limit, peak = window.peak, refused = window.refused, "limit of calls in flight");
        }
    }

    fn machine(&self) -> MutexGuard<'_, Gradient> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Open ===

impl Open {
    /// What is in it; the next one begins with as many calls as are in flight.
    fn take(&self, in_flight: u32) -> Window {
        self.calls.store(0, Relaxed);
        Window {
            peak: self.peak.swap(in_flight, Relaxed),
            refused: self.refused.swap(0, Relaxed),
            classes: std::array::from_fn(|class| {
                let OpenTimes { answered, given_up } = &self.classes[class];
                Times { answered: answered.take(), given_up: given_up.take() }
            }),
        }
    }
}

// === impl OpenSum ===

impl OpenSum {
    fn take(&self) -> Sum {
        Sum { calls: self.calls.swap(0, Relaxed), total: Duration::from_nanos(self.nanos.swap(0, Relaxed)) }
    }
}

// === impl Place ===

impl Place {
    /// The server waits for its caller.
    pub(crate) fn wait(&self) {
        if self.state.compare_exchange(HELD, WAITING, Relaxed, Relaxed).is_ok() {
            self.gate.in_flight.fetch_sub(1, Relaxed);
        }
    }

    /// It is the server's turn again: without asking, since it has been let in.
    pub(crate) fn resume(&self, now: Duration) {
        if self.state.compare_exchange(WAITING, HELD, Relaxed, Relaxed).is_ok() {
            self.gate.in_flight.fetch_add(1, Relaxed);
            self.since.store(nanos(now), Relaxed);
        }
    }

    /// The server is done with it.
    pub(crate) fn leave(&self, how: Left, now: Duration) {
        if self.vacate() == HELD {
            let took = now.saturating_sub(Duration::from_nanos(self.since.load(Relaxed)));
            self.gate.left(self.class, took, how, now);
        }
    }

    /// Gives the place up; says what it was at.
    fn vacate(&self) -> u8 {
        let state = self.state.swap(LEFT, Relaxed);
        if state == HELD {
            self.gate.in_flight.fetch_sub(1, Relaxed);
        }
        state
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.vacate();
    }
}

/// Centuries fit.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
