//! Calls under way, in slots that are used again.

use callsign_core::{retry::Backoff, select::Ticket};
use fastrand::Rng;

use crate::{
    clock::Nanos,
    fleet::Job,
    random::{exponential, normal},
    scenario::{Law, Work},
};

#[derive(Debug)]
pub(super) struct Call {
    pub(super) client: u32,
    /// Of all calls there have been.
    pub(super) serial: u64,
    pub(super) began: Nanos,
    /// Seconds on a machine of speed one.
    pub(super) work: f64,
    pub(super) is_long: bool,
    /// What decides whether a trouble that befalls some calls befalls this one.
    pub(super) luck: f64,
    /// One way to any node.
    pub(super) wire: Nanos,
    pub(super) tried: Vec<usize>,
    pub(super) attempts: u8,
    pub(super) pause: Option<Backoff>,
    // Of the attempt under way.
    pub(super) stage: Stage,
    pub(super) node: usize,
    pub(super) ticket: Option<Ticket>,
    pub(super) sent: Nanos,
    pub(super) reached: Nanos,
    /// How many calls the node had when it came.
    pub(super) among: u32,
}

/// Where an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// On its way, there or back.
    Away,
    AtWork,
    /// At a node in trouble.
    Held,
    /// There is none.
    Pausing,
}

#[derive(Debug, Default)]
pub(super) struct Calls {
    slots: Vec<Option<Call>>,
    generations: Vec<u32>,
    free: Vec<u32>,
    begun: u64,
}

// === impl Call ===

impl Call {
    pub(super) fn new(client: u32, now: Nanos, (work, is_long): (f64, bool), luck: f64, wire: Nanos) -> Self {
        Self {
            client,
            serial: 0,
            began: now,
            work,
            is_long,
            luck,
            wire,
            tried: Vec::new(),
            attempts: 0,
            pause: None,
            stage: Stage::Pausing,
            node: 0,
            ticket: None,
            sent: now,
            reached: now,
            among: 0,
        }
    }
}

// === impl Calls ===

impl Calls {
    pub(super) fn begin(&mut self, call: Call) -> u32 {
        let call = Call { serial: self.begun, ..call };
        self.begun += 1;
        match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(call);
                slot
            }
            None => {
                self.slots.push(Some(call));
                self.generations.push(0);
                self.slots.len() as u32 - 1
            }
        }
    }

    pub(super) fn get(&self, slot: u32) -> &Call {
        self.slots[slot as usize].as_ref().expect("a slot in use has a call")
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> &mut Call {
        self.slots[slot as usize].as_mut().expect("a slot in use has a call")
    }

    /// What is under way for this attempt from now on.
    pub(super) fn job(&self, slot: u32) -> Job {
        Job { call: slot, generation: self.generations[slot as usize] }
    }

    pub(super) fn is_live(&self, job: Job) -> bool {
        self.generations[job.call as usize] == job.generation
    }

    /// Whether the slot still has the call that it had.
    pub(super) fn is_same(&self, slot: u32, serial: u64) -> bool {
        self.slots[slot as usize].as_ref().is_some_and(|call| call.serial == serial)
    }

    pub(super) fn next_generation(&mut self, slot: u32) {
        let generation = &mut self.generations[slot as usize];
        *generation = generation.wrapping_add(1);
    }

    pub(super) fn generations(&self) -> &[u32] {
        &self.generations
    }

    /// Calls under way, with their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Call)> {
        self.slots.iter().enumerate().filter_map(|(slot, call)| Some((slot as u32, call.as_ref()?)))
    }

    pub(super) fn end(&mut self, slot: u32) -> Call {
        self.next_generation(slot);
        self.free.push(slot);
        self.slots[slot as usize].take().expect("a slot in use has a call")
    }
}

/// Draws a call's work, in seconds, and whether it is one of the long ones.
pub(super) fn draw_work(work: &Work, rng: &mut Rng) -> (f64, bool) {
    let mut mean = work.mean.seconds();
    let (mut times, mut is_long) = (1.0, false);
    if let Some(long) = work.long {
        // The mean over both kinds is the one asked for.
        mean /= 1.0 + long.share * (long.times - 1.0);
        if rng.f64() < long.share {
            (times, is_long) = (long.times, true);
        }
    }
    let drawn = match (work.law, work.deviation) {
        (Law::Constant, _) => mean,
        (Law::Exponential, _) => exponential(mean, rng),
        (Law::Normal, Some(deviation)) => cut_normal(mean, deviation.seconds(), rng),
        (Law::Normal, None) => {
            let before_cut = mean / CUT;
            cut_normal(before_cut, before_cut, rng)
        }
    };
    (times * drawn, is_long)
}

/// By how much the mean of a normal distribution that is as wide as its mean grows when it is cut at zero.
const CUT: f64 = 1.287_599_97;

fn cut_normal(mean: f64, deviation: f64, rng: &mut Rng) -> f64 {
    loop {
        let drawn = mean + deviation * normal(rng);
        if drawn > 0.0 {
            return drawn;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Long, Span};

    #[test]
    fn work_has_the_mean_that_was_asked_for_whatever_its_law() {
        let mut rng = Rng::with_seed(1);
        let mean = Span::from_seconds(0.08);
        for law in [Law::Constant, Law::Exponential, Law::Normal] {
            for long in [None, Some(Long { share: 0.02, times: 20.0 })] {
                let work = Work { law, mean, deviation: None, long };
                let total: f64 = (0..400_000).map(|_| draw_work(&work, &mut rng).0).sum();
                let ratio = total / 400_000.0 / 0.08;
                assert!((ratio - 1.0).abs() < 0.02, "{law:?} {long:?}: {ratio}");
            }
        }
    }
}
