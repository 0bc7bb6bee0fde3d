//! Long calls as a method of their own, with a channel of its own: two balancers that know nothing of each other.

use fastrand::Rng;

use super::{Ask, Balancer, Choice, Mark, Seat};
use crate::{clock::Nanos, fleet::Fleet};

pub(super) struct Apart {
    short: Box<dyn Balancer>,
    long: Box<dyn Balancer>,
}

// === impl Apart ===

impl Apart {
    pub(super) fn new(short: Box<dyn Balancer>, long: Box<dyn Balancer>) -> Self {
        Self { short, long }
    }

    fn of(&mut self, is_long: bool) -> &mut dyn Balancer {
        if is_long { &mut *self.long } else { &mut *self.short }
    }
}

impl Balancer for Apart {
    fn update(&mut self, seats: &[Seat], now: Nanos, rng: &mut Rng) {
        self.short.update(seats, now, rng);
        self.long.update(seats, now, rng);
    }

    fn pick(&mut self, ask: &Ask<'_>, rng: &mut Rng) -> Option<Choice> {
        self.of(ask.is_long).pick(ask, rng)
    }

    fn done(&mut self, mark: Mark<'_>) {
        self.of(mark.is_long).done(mark);
    }

    fn tick(&mut self, now: Nanos, fleet: &Fleet, rng: &mut Rng) {
        self.short.tick(now, fleet, rng);
        self.long.tick(now, fleet, rng);
    }
}
