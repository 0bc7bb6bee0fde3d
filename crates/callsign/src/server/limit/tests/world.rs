//! A server in virtual time, to try the gate on: calls come at any rate, take their turn at a bounded number of workers, and are
//! given up by their callers at a deadline.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::super::{ConcurrencyLimit, Gate, Left, Place, Priority};

/// What is simulated.
pub(super) struct World {
    /// Calls that are worked on at once; further ones queue. Work that was begun is finished, also for nobody, as that of a
    /// processor is.
    pub(super) workers: usize,
    /// Calls a second, by the time.
    pub(super) rate: fn(Duration) -> f64,
    /// A call's class and how long the work on it takes, by the time.
    pub(super) work: fn(&mut fastrand::Rng, Duration) -> (usize, Duration),
    /// How long callers wait.
    pub(super) patience: Duration,
    pub(super) limit: ConcurrencyLimit,
}

/// What became of the calls.
pub(super) struct Outcome {
    /// When a call was answered, and how long that took.
    answered: Vec<(Duration, Duration)>,
    refused: Vec<Duration>,
    /// The limit at each second.
    pub(super) limits: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive,
    Finish(u64),
    GiveUp(u64),
}

struct Call {
    came: Duration,
    work: Duration,
    place: Option<Place>,
}

struct Run<'a> {
    world: &'a World,
    rng: fastrand::Rng,
    gate: Option<Arc<Gate>>,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    calls: HashMap<u64, Call>,
    queue: VecDeque<u64>,
    working: usize,
    next: u64,
    outcome: Outcome,
}

// === impl World ===

impl World {
    pub(super) fn run(&self, length: Duration, seed: u64) -> Outcome {
        let outcome = Outcome { answered: Vec::new(), refused: Vec::new(), limits: Vec::new() };
        let mut run = Run {
            world: self,
            rng: fastrand::Rng::with_seed(seed),
            gate: Gate::new(&self.limit, seed),
            events: BinaryHeap::new(),
            calls: HashMap::new(),
            queue: VecDeque::new(),
            working: 0,
            next: 0,
            outcome,
        };
        run.at(Duration::ZERO, Event::Arrive);
        while let Some(Reverse((now, _, event))) = run.events.pop() {
            if now > length {
                break;
            }
            run.happen(event, now);
        }
        run.outcome
    }
}

// === impl Run ===

impl Run<'_> {
    fn at(&mut self, when: Duration, event: Event) {
        self.next += 1;
        self.events.push(Reverse((when, self.next, event)));
    }

    fn happen(&mut self, event: Event, now: Duration) {
        while self.outcome.limits.len() as u64 <= now.as_secs() {
            self.outcome.limits.push(self.gate.as_ref().map_or(0, |gate| gate.limit()));
        }
        match event {
            Event::Arrive => {
                let gap = -(1.0 - self.rng.f64()).ln() / (self.world.rate)(now);
                self.at(now + Duration::from_secs_f64(gap.min(1.0)), Event::Arrive);
                self.arrive(now);
            }
            Event::Finish(id) => {
                // Done for nobody, if its caller has given up.
                self.working -= 1;
                if let Some(call) = self.calls.remove(&id) {
                    if let Some(place) = call.place {
                        place.leave(Left::Answered, now);
                    }
                    self.outcome.answered.push((now, now - call.came));
                }
            }
            Event::GiveUp(id) => {
                if let Some(place) = self.calls.remove(&id).and_then(|call| call.place) {
                    place.leave(Left::GivenUp, now);
                }
            }
        }
        self.work(now);
    }

    fn arrive(&mut self, now: Duration) {
        let (class, work) = (self.world.work)(&mut self.rng, now);
        let entered = self.gate.as_ref().map(|gate| gate.enter(Priority::Default, class, now));
        let Ok(place) = entered.transpose() else {
            self.outcome.refused.push(now);
            return;
        };
        let id = self.next;
        self.calls.insert(id, Call { came: now, work, place });
        self.queue.push_back(id);
        self.at(now + self.world.patience, Event::GiveUp(id));
    }

    fn work(&mut self, now: Duration) {
        while self.working < self.world.workers
            && let Some(id) = self.queue.pop_front()
        {
            let Some(call) = self.calls.get(&id) else { continue };
            let done = now + call.work;
            self.working += 1;
            self.at(done, Event::Finish(id));
        }
    }
}

// === impl Outcome ===

impl Outcome {
    /// Calls answered a second, between two seconds.
    pub(super) fn goodput(&self, from: u64, to: u64) -> f64 {
        self.took(from, to).count() as f64 / (to - from) as f64
    }

    /// How long the slowest hundredth of the calls answered took, at least.
    pub(super) fn p99(&self, from: u64, to: u64) -> Duration {
        let mut took: Vec<_> = self.took(from, to).collect();
        took.sort_unstable();
        took[took.len() * 99 / 100]
    }

    pub(super) fn refused(&self, from: u64, to: u64) -> usize {
        self.refused.iter().filter(|at| (from..to).contains(&at.as_secs())).count()
    }

    fn took(&self, from: u64, to: u64) -> impl Iterator<Item = Duration> + '_ {
        let within = move |at: &Duration| (from..to).contains(&at.as_secs());
        self.answered.iter().filter(move |(at, _)| within(at)).map(|(_, took)| *took)
    }
}
