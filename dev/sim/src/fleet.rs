//! The nodes: how they work, how many calls they have, and what they could say of themselves.

mod meter;
mod queue;
mod shared;

use std::{cmp::Reverse, collections::BinaryHeap};

use fastrand::Rng;

pub(crate) use self::meter::Report;
use self::{
    meter::{Meter, Recent},
    queue::Queue,
    shared::Shared,
};
use crate::{
    clock::{Nanos, seconds},
    scenario::{Scenario, Server, Span, Trouble},
};

/// An attempt of a call, as a node knows it. Generations tell the attempts of one slot apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Job {
    pub(crate) call: u32,
    pub(crate) generation: u32,
}

/// All nodes there have ever been, by number.
#[derive(Debug)]
pub(crate) struct Fleet(Vec<Machine>);

/// One node.
#[derive(Debug)]
pub(crate) struct Machine {
    model: Model,
    /// Of the machine itself.
    speed: f64,
    /// By how much trouble and cold caches slow it down now.
    slowed: f64,
    pub(crate) trouble: Option<(Trouble, f64)>,
    /// The cores it is meant to have.
    cores: f64,
    inflight: u32,
    pub(crate) meter: Meter,
    recent: Recent,
}

#[derive(Debug)]
enum Model {
    Delay,
    Queue(Queue),
    Shared(Shared),
}

// === impl Fleet ===

impl Fleet {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn push(&mut self, machine: Machine) {
        self.0.push(machine);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Machine> {
        self.0.iter()
    }

    pub(crate) fn get(&self, node: usize) -> &Machine {
        &self.0[node]
    }

    pub(crate) fn get_mut(&mut self, node: usize) -> &mut Machine {
        &mut self.0[node]
    }
}

// === impl Machine ===

impl Machine {
    /// The `node`th of the scenario, as it is at the time given.
    pub(crate) fn new(scenario: &Scenario, node: usize, now: Nanos, rng: &mut Rng) -> Self {
        let (model, cores) = match scenario.fleet.server {
            Server::Delay => (Model::Delay, 1.0),
            Server::Queue { workers } => (Model::Queue(Queue::new(workers)), workers as f64),
            Server::Shared { cores, free, contended, contended_share, dwell: _ } => {
                let busy = rng.f64() < contended_share;
                let shared = Shared::new(cores * free, cores * contended, busy, now);
                (Model::Shared(shared), cores)
            }
        };
        Self {
            model,
            speed: scenario.fleet.speed(node),
            slowed: 1.0,
            trouble: None,
            cores,
            inflight: 0,
            meter: Meter::new(now),
            recent: Recent::new(),
        }
    }

    /// Calls it has: those that wait and those it works on.
    pub(crate) fn inflight(&self) -> u32 {
        self.inflight
    }

    /// A call has come. When it is done, if that is certain already.
    pub(crate) fn take(&mut self, job: Job, work: f64, now: Nanos) -> Option<Nanos> {
        self.inflight += 1;
        let pace = self.pace();
        let done = match &mut self.model {
            Model::Delay => Some(now + crate::clock::nanos(work / pace)),
            Model::Queue(queue) => queue.take(job, work).map(|work| now + crate::clock::nanos(work / pace)),
            Model::Shared(shared) => {
                shared.take(job, work, pace, now);
                None
            }
        };
        self.account(now);
        done
    }

    /// A call that was certain to be done now has been worked on; the next one in the queue, and when that is done.
    pub(crate) fn next_in_queue(&mut self, now: Nanos, generations: &[u32]) -> Option<(Job, Nanos)> {
        let pace = self.pace();
        let Model::Queue(queue) = &mut self.model else { return None };
        let next = queue.next(generations).map(|(job, work)| (job, now + crate::clock::nanos(work / pace)));
        self.account(now);
        next
    }

    /// When the next of the calls that share the machine is done, if that has changed; with a version to know it by.
    pub(crate) fn next_of_shared(&mut self, now: Nanos, generations: &[u32]) -> Option<(Nanos, u32)> {
        let pace = self.pace();
        let Model::Shared(shared) = &mut self.model else { return None };
        shared.next(pace, now, generations)
    }

    /// The call that is done now, unless the plans have changed since `version`.
    pub(crate) fn finish_shared(&mut self, version: u32, now: Nanos, generations: &[u32]) -> Option<Job> {
        let pace = self.pace();
        let Model::Shared(shared) = &mut self.model else { return None };
        shared.finish(version, pace, now, generations)
    }

    /// A call has been answered: it took so long, and came when the node had so many others.
    pub(crate) fn answered(&mut self, took: Nanos, among: u32, failed: bool, now: Nanos) {
        self.inflight -= 1;
        self.recent.record(among, took);
        self.meter.count(failed, now);
        self.account(now);
    }

    /// A call has come that trouble keeps from being worked on.
    pub(crate) fn hold(&mut self, now: Nanos) {
        self.inflight += 1;
        self.account(now);
    }

    /// Such a call has been given up.
    pub(crate) fn release(&mut self, now: Nanos) {
        self.inflight -= 1;
        self.account(now);
    }

    /// A call has been given up by its caller; nobody works on it any more.
    pub(crate) fn drop_job(&mut self, now: Nanos) {
        let pace = self.pace();
        self.inflight -= 1;
        if let Model::Shared(shared) = &mut self.model {
            shared.drop_one(pace, now);
        }
        self.account(now);
    }

    /// The neighbour changes its mind. How long it stays that way, as a mean.
    pub(crate) fn switch(&mut self, server: Server, now: Nanos) -> Option<f64> {
        let pace = self.pace();
        let Model::Shared(shared) = &mut self.model else { return None };
        shared.switch(pace, now);
        let dwell = Self::dwell(server, shared.is_contended());
        self.account(now);
        dwell
    }

    /// How long the neighbour stays as it is at the start, as a mean.
    pub(crate) fn first_dwell(&self, server: Server) -> Option<f64> {
        let Model::Shared(shared) = &self.model else { return None };
        Self::dwell(server, shared.is_contended())
    }

    /// Everything takes `times` as long from now on.
    pub(crate) fn slow(&mut self, times: f64, now: Nanos) {
        let pace = self.pace();
        if let Model::Shared(shared) = &mut self.model {
            shared.advance(pace, now);
        }
        self.slowed *= times;
    }

    /// What it reports to clients that weigh by it.
    pub(crate) fn report(&self, now: Nanos) -> Report {
        self.meter.report(self.cores, now)
    }

    /// What it would answer to a probe: its calls, and how long calls took lately that came among about as many.
    pub(crate) fn probe(&self) -> (u32, Option<Nanos>) {
        (self.inflight, self.recent.median(self.inflight))
    }

    /// How full it would be with one more call, as calls per core.
    pub(crate) fn fullness(&self) -> f64 {
        let cores = match &self.model {
            Model::Delay => 1.0,
            Model::Queue(queue) => queue.workers() as f64,
            Model::Shared(shared) => shared.cores(),
        };
        f64::from(self.inflight + 1) / cores
    }

    /// Seconds until one more call with this much work would be done, if nothing else came.
    pub(crate) fn expected(&self, work: f64) -> f64 {
        let pace = self.pace();
        let others = f64::from(self.inflight);
        let alone = match &self.model {
            Model::Delay => work / pace,
            Model::Queue(queue) => (work + others * work / queue.workers() as f64) / pace,
            Model::Shared(shared) => work / (pace * (shared.cores() / (others + 1.0)).min(1.0)),
        };
        match self.trouble {
            Some((Trouble::Delay(span), share)) => span.seconds() * share + alone * (1.0 - share),
            Some((Trouble::Fail(_) | Trouble::Hang | Trouble::Gone(_), share)) => alone + share * 1e6,
            Some((Trouble::Slow(_), _)) | None => alone,
        }
    }

    fn pace(&self) -> f64 {
        self.speed / self.slowed
    }

    fn account(&mut self, now: Nanos) {
        let used = match &self.model {
            Model::Delay => f64::from(self.inflight),
            Model::Queue(queue) => queue.busy() as f64,
            Model::Shared(shared) => shared.used(),
        };
        self.meter.use_now(used, f64::from(self.inflight), now);
    }

    /// Of the two states' mean times, whose share and mean are given.
    fn dwell(server: Server, contended: bool) -> Option<f64> {
        let Server::Shared { contended_share, dwell, .. } = server else { return None };
        let share = if contended { contended_share } else { 1.0 - contended_share };
        (contended_share > 0.0).then(|| 2.0 * share * Span::seconds(dwell))
    }
}

/// Jobs in the order in which they are done.
#[derive(Debug, Default)]
struct Line(BinaryHeap<Reverse<(u64, Job)>>);

// === impl Line ===

impl Line {
    /// Amounts of work are never negative, and such numbers are in the order of their bits.
    fn push(&mut self, at: f64, job: Job) {
        self.0.push(Reverse((at.to_bits(), job)));
    }

    /// The first that has not been given up.
    fn first(&mut self, generations: &[u32]) -> Option<(f64, Job)> {
        while let Some(Reverse((at, job))) = self.0.peek() {
            if generations[job.call as usize] == job.generation {
                return Some((f64::from_bits(*at), *job));
            }
            self.0.pop();
        }
        None
    }

    fn pop(&mut self) {
        self.0.pop();
    }
}

/// Seconds between two moments.
fn between(from: Nanos, to: Nanos) -> f64 {
    seconds(to.saturating_sub(from))
}

#[cfg(test)]
mod tests;
