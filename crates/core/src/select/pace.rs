//! How long calls of one method take beside calls on the whole, so that a node that was given the long ones is not taken for slow.
//!
//! Many methods share the nodes of a service, and one call may be twenty times as long as another because more was asked for. To a
//! strategy that goes by latency, one such call looks like a node that has turned slow. So it is told what a call would have taken
//! were all methods alike: its time, times what calls take on the whole, by what those of its method take. Both are slow averages,
//! over about a minute, of the calls to all nodes, and a node that is slow stays so beside them.
//!
//! ```text
//! evened out = time taken · mean of all / mean of the method
//! ```
//!
//! Only a method makes the difference visible. Where calls of one method differ as much, nobody but the nodes can know.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        OnceLock,
        atomic::{
            AtomicU32, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::time::Instant;

/// Over how many seconds calls are averaged.
const SPAN: f64 = 60.0;
/// Calls that end sooner after the one before are left out of the averages, in microseconds: a thousand a second say enough, and
/// threads need not contend for more.
const SPACING: u64 = 1000;
/// Methods whose pace is kept apart. Those that come later share one: paths come from callers, who may make them up.
const METHODS_MAX: usize = 255;

/// The paces of a service's methods, as one client knows them.
///
/// ```
/// use std::time::Duration;
/// use callsign_core::select::Paces;
/// use tokio::time::Instant;
///
/// let (paces, now) = (Paces::new(), Instant::now());
/// let (quick, slow) = (paces.method("/shop.Cart/Get"), paces.method("/shop.Report/Make"));
/// let millis = Duration::from_millis;
/// for second in 0..60 {
///     let now = now + Duration::from_secs(second);
///     paces.learn(quick, millis(10), now);
///     paces.learn(slow, millis(990), now);
/// }
/// // Twice as long as usual is the same for the one as for the other.
/// let (quick, slow) = (paces.even(quick, millis(20)), paces.even(slow, millis(1980)));
/// assert!(quick.abs_diff(slow) < millis(1));
/// ```
pub struct Paces {
    /// The first time that was passed in; times are counted from it.
    origin: OnceLock<Instant>,
    all: Pace,
    known: ArcSwap<HashMap<Box<str>, MethodId>>,
    /// By number; the first is shared by methods that are not followed apart.
    paces: Box<[Pace]>,
}

/// A method that a [`Paces`] knows; by default, one of those that share a pace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MethodId(u8);

/// A slow average of what calls take.
#[derive(Default)]
struct Pace {
    /// In seconds, as bits.
    mean: AtomicU64,
    /// When the last call was taken in, in microseconds since the origin, and one; zero before the first.
    at: AtomicU64,
    /// How many were taken in, up to a number from which on it makes no difference.
    count: AtomicU32,
}

// === impl Paces ===

impl Paces {
    /// Nothing is known yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            origin: OnceLock::new(),
            all: Pace::default(),
            known: ArcSwap::default(),
            paces: (0..=METHODS_MAX).map(|_| Pace::default()).collect(),
        }
    }

    /// The method of that path. Costs a look-up, and an allocation the first time.
    #[must_use]
    pub fn method(&self, path: &str) -> MethodId {
        if let Some(method) = self.known.load().get(path) {
            return *method;
        }
        self.known.rcu(|known| {
            let mut known = HashMap::clone(known);
            if known.len() < METHODS_MAX {
                let next = MethodId(known.len() as u8 + 1);
                known.entry(path.into()).or_insert(next);
            }
            known
        });
        self.known.load().get(path).copied().unwrap_or_default()
    }

    /// Takes in how long a call took that was answered.
    pub fn learn(&self, method: MethodId, elapsed: Duration, now: Instant) {
        let origin = *self.origin.get_or_init(|| now);
        let at = now.saturating_duration_since(origin).as_micros() as u64 + 1;
        for pace in [self.of(method), &self.all] {
            pace.take_in(elapsed.as_secs_f64(), at);
        }
    }

    /// What a call that took so long would have taken were all methods alike; so long, where nothing is known.
    #[must_use]
    pub fn even(&self, method: MethodId, elapsed: Duration) -> Duration {
        match self.all.mean().zip(self.of(method).mean()) {
            Some((all, own)) => {
                Duration::try_from_secs_f64(elapsed.as_secs_f64() * (all / own)).unwrap_or(elapsed)
            }
            None => elapsed,
        }
    }

    fn of(&self, method: MethodId) -> &Pace {
        &self.paces[usize::from(method.0)]
    }
}

impl Default for Paces {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Paces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.known.load();
        let means = known.iter().map(|(path, method)| (path, self.of(*method).mean()));
        f.debug_map().entries(means).finish()
    }
}

// === impl Pace ===

impl Pace {
    fn take_in(&self, seconds: f64, at: u64) {
        let before = self.at.load(Acquire);
        let since = at.saturating_sub(before);
        if before != 0 && since < SPACING {
            return;
        }
        // Whoever gets to move the time is the one that writes. A call that is lost to another is no loss.
        if self.at.compare_exchange(before, at.max(before), Acquire, Relaxed).is_err() {
            return;
        }
        // The first calls weigh alike, or the very first would stand for a minute.
        let count = self.count.load(Relaxed);
        let least = 1.0 / (f64::from(count) + 1.0);
        let weight = (1.0 - (-(since as f64) / (SPAN * 1e6)).exp()).max(least);
        let mean = f64::from_bits(self.mean.load(Relaxed));
        // Zero would read as "no call yet".
        let mean = (mean + (seconds - mean) * weight).max(1e-9);
        self.count.store((count + 1).min(1 << 20), Relaxed);
        self.mean.store(mean.to_bits(), Release);
    }

    fn mean(&self) -> Option<f64> {
        let mean = f64::from_bits(self.mean.load(Relaxed));
        (mean > 0.0).then_some(mean)
    }
}

#[cfg(test)]
mod tests;
