//! How much a client knows about its nodes: calls per second to each, and in how many nodes that is best invested.
//!
//! With a steady flow of calls to every node, comparing eight beats comparing two. With one call a minute to each, estimates are
//! stale, and the more of them are compared, the more the stalest good one is trusted.
//!
//! So a client in front of many nodes keeps to some of them, its *aperture*: enough for redundancy, enough to know each well,
//! and enough that with all other clients' apertures every node is covered. How many clients there are it may have been told; else
//! it takes its own calls in flight, by which each node has about as many clients as it has calls (Finagle's aperture). The
//! aperture grows at once and shrinks slowly, so that connections and estimates are not thrown away for a moment's quiet.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed},
};

use tokio::time::Instant;

use super::strategy::{AdaptiveConfig, Aperture};

/// From this many calls per second and node on, eight are compared, or four.
const DENSE: f64 = 0.25;
const SPARSE: f64 = 0.1;

/// Seconds over which rate and calls in flight are averaged.
const SPAN: f64 = 15.0;

/// Up to this many nodes are never too many.
const FEW: usize = 20;
/// The least aperture, for redundancy; and up to [`FEW`] for as many calls per second and node as this.
const APERTURE_MIN: usize = 12;
const WELL_KNOWN: f64 = 1.5;
/// Clients that every node should have.
const CLIENTS_PER_NODE: usize = 6;
/// An aperture that is too large by more than this shrinks by one node in as many seconds.
const SHRINK_BELOW: f64 = 0.8;
const SHRINK_EVERY: f64 = 10.0;

/// The number of choices and the aperture that fit the flow of calls, measured from time to time.
#[derive(Debug)]
pub(super) struct Density {
    choices: AtomicU8,
    aperture: AtomicUsize,
    meter: Mutex<Meter>,
}

/// What the loads of a slate add up to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    pub(super) nodes: usize,
    /// What the nodes' call counters add up to.
    pub(super) calls: u64,
    pub(super) inflight: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Meter {
    last: Option<Instant>,
    /// Calls since then that were counted by earlier slates.
    carried: u64,
    /// What the nodes' call counters added up to when this slate or this interval began.
    baseline: u64,
    /// Calls per second.
    rate: Option<f64>,
    /// Calls in flight.
    inflight: f64,
    /// When the aperture has shrunk.
    shrunk: Option<Instant>,
}

// === impl Density ===

impl Density {
    /// `calls` is what the counters of the slate's nodes add up to; `previous` the slate before, with the same of its nodes.
    pub(super) fn new(calls: u64, previous: Option<(&Self, u64)>) -> Self {
        let (choices, aperture, meter) = match previous {
            None => (8, FEW, Meter { baseline: calls, ..Meter::default() }),
            Some((previous, calls_before)) => {
                let mut meter = *previous.meter.lock().unwrap_or_else(PoisonError::into_inner);
                meter.carried += calls_before.saturating_sub(meter.baseline);
                meter.baseline = calls;
                (previous.choices(), previous.aperture.load(Relaxed), meter)
            }
        };
        Self {
            choices: AtomicU8::new(choices),
            aperture: AtomicUsize::new(aperture),
            meter: Mutex::new(meter),
        }
    }

    #[inline]
    pub(super) fn choices(&self) -> u8 {
        self.choices.load(Relaxed)
    }

    /// How many of `nodes` nodes picks are drawn from.
    pub(super) fn aperture(&self, config: &AdaptiveConfig, nodes: usize) -> usize {
        match config.aperture {
            Aperture::All => nodes,
            Aperture::Fixed(count) => nodes.min(count.max(2) as usize),
            Aperture::ByFlow if nodes <= FEW => nodes,
            Aperture::ByFlow => {
                let told = config.clients.map_or(0, |clients| (CLIENTS_PER_NODE * nodes).div_ceil(clients));
                nodes.min(self.aperture.load(Relaxed).max(told))
            }
        }
    }

    /// Takes note of the sums at `now`. Whether the aperture has changed.
    pub(super) fn tick(&self, sums: Sums, now: Instant, config: &AdaptiveConfig) -> bool {
        let mut meter = self.meter.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = meter.last else {
            *meter = Meter {
                last: Some(now),
                baseline: sums.calls,
                inflight: sums.inflight as f64,
                ..Meter::default()
            };
            return false;
        };
        let seconds = now.saturating_duration_since(last).as_secs_f64();
        if seconds < 0.5 || sums.nodes == 0 {
            return false;
        }
        let pace = 1.0 - (-seconds / SPAN).exp();
        let current = (meter.carried + sums.calls.saturating_sub(meter.baseline)) as f64 / seconds;
        let before = meter.rate.unwrap_or(current);
        let rate = before + (current - before) * pace;
        let inflight = meter.inflight + (sums.inflight as f64 - meter.inflight) * pace;
        *meter = Meter {
            last: Some(now),
            baseline: sums.calls,
            carried: 0,
            rate: Some(rate),
            inflight,
            shrunk: meter.shrunk,
        };
        let before = self.aperture(config, sums.nodes);
        self.adjust(&mut meter, now);
        let aperture = self.aperture(config, sums.nodes);
        let choices = match rate / aperture as f64 {
            rate if rate >= DENSE => 8,
            rate if rate >= SPARSE => 4,
            _ => 2,
        };
        self.choices.store(choices, Relaxed);
        aperture != before
    }

    fn adjust(&self, meter: &mut Meter, now: Instant) {
        let aperture = self.aperture.load(Relaxed);
        let known = (meter.rate.unwrap_or_default() / WELL_KNOWN).ceil() as usize;
        let wanted = known.clamp(APERTURE_MIN, FEW).max(meter.inflight.ceil() as usize);
        if wanted >= aperture {
            self.aperture.store(wanted, Relaxed);
            meter.shrunk = Some(now);
        } else if (wanted as f64) < SHRINK_BELOW * aperture as f64 {
            let since = now.saturating_duration_since(*meter.shrunk.get_or_insert(now));
            if since.as_secs_f64() >= SHRINK_EVERY {
                self.aperture.store(aperture - 1, Relaxed);
                meter.shrunk = Some(now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sums(nodes: usize, calls: u64, inflight: u64) -> Sums {
        Sums { nodes, calls, inflight }
    }

    /// Ticks once a second for a while with a steady flow.
    fn flow(
        density: &Density,
        nodes: usize,
        from: u64,
        until: u64,
        per_second: u64,
        inflight: u64,
        start: Instant,
    ) {
        for second in from..until {
            let now = start + Duration::from_secs(second);
            density.tick(sums(nodes, second * per_second, inflight), now, &AdaptiveConfig::default());
        }
    }

    fn after_a_minute(nodes: usize, per_second: u64, inflight: u64) -> Density {
        let density = Density::new(0, None);
        flow(&density, nodes, 0, 60, per_second, inflight, Instant::now());
        density
    }

    #[test]
    fn choices_follow_the_calls_per_node() {
        for (per_second, choices) in [(100, 8), (3, 8), (2, 4), (0, 2)] {
            assert_eq!(after_a_minute(10, per_second, 0).choices(), choices, "{per_second} a second");
        }
        assert_eq!(after_a_minute(1000, 6, 0).choices(), 8, "the nodes of the aperture count, not all");
    }

    #[test]
    fn before_anything_was_measured_eight_are_compared_among_twenty() {
        let density = Density::new(0, None);
        density.tick(sums(100, 0, 0), Instant::now(), &AdaptiveConfig::default());
        assert_eq!((density.choices(), density.aperture(&AdaptiveConfig::default(), 100)), (8, 20));
    }

    #[test]
    fn the_aperture_is_everybody_while_these_are_few_and_as_wide_as_the_calls_in_flight_ask_for() {
        let config = AdaptiveConfig::default();
        for (nodes, per_second, inflight, expected) in [
            (20, 0, 0, 20),
            (5, 9999, 500, 5),
            (100, 1000, 0, 20),
            (100, 1000, 64, 64),
            (100, 1000, 5000, 100),
        ] {
            let aperture = after_a_minute(nodes, per_second, inflight).aperture(&config, nodes);
            assert_eq!(aperture, expected, "{nodes} nodes, {per_second} a second, {inflight} in flight");
        }
        let idle = after_a_minute(100, 0, 0);
        assert_eq!(idle.aperture(&config.clients(20), 100), 30, "six clients to a node");
        assert_eq!(idle.aperture(&config.clients(5), 100), 100);
        assert_eq!(idle.aperture(&config.aperture(Aperture::All), 100), 100);
        assert_eq!(idle.aperture(&config.aperture(Aperture::Fixed(7)), 100), 7);
    }

    #[test]
    fn it_grows_at_once_and_shrinks_by_one_in_ten_seconds_to_the_least() {
        let (density, start, config) = (Density::new(0, None), Instant::now(), AdaptiveConfig::default());
        flow(&density, 200, 0, 60, 0, 60, start);
        let wide = density.aperture(&config, 200);
        assert!((59..=60).contains(&wide), "{wide}");
        flow(&density, 200, 60, 160, 0, 0, start);
        let narrower = density.aperture(&config, 200);
        assert!((wide - 10..wide - 6).contains(&narrower), "{narrower}");
        flow(&density, 200, 160, 1600, 0, 0, start);
        // Within a fifth of what is wanted it is not worth the change.
        assert_eq!(density.aperture(&config, 200), 15);
        let busy = density.tick(sums(200, 0, 100_000), start + Duration::from_secs(1601), &config);
        assert!(busy && density.aperture(&config, 200) == 200, "a change asks for a new slate");
    }

    #[test]
    fn calls_counted_under_an_earlier_slate_are_not_lost() {
        let (start, config) = (Instant::now(), AdaptiveConfig::default());
        let first = Density::new(0, None);
        first.tick(sums(10, 0, 0), start, &config);
        // Thirty calls, then the slate is made anew with other nodes whose counters stand elsewhere.
        let second = Density::new(1000, Some((&first, 30)));
        second.tick(sums(10, 1000, 0), start + Duration::from_secs(10), &config);
        assert_eq!(second.choices(), 8);
        let idle = Density::new(1000, Some((&first, 0)));
        idle.tick(sums(10, 1000, 0), start + Duration::from_secs(10), &config);
        assert_eq!(idle.choices(), 2);
    }
}
