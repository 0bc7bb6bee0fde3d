//! What is going to happen, in the order of its time; what was planned first happens first.

use std::{cmp::Ordering, collections::BinaryHeap};

use crate::{balancer::Probe, clock::Nanos, fleet::Job};

/// Something that happens.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    Arrive {
        client: u32,
    },
    Reach(Job),
    /// A worker is done with an attempt.
    Served {
        node: u32,
        job: Job,
    },
    /// The first of the attempts that share a machine is done, if the plan of this version still holds.
    Finish {
        node: u32,
        version: u32,
    },
    /// An attempt that trouble has taken out of the machine's hands is answered.
    Held {
        job: Job,
        failed: bool,
    },
    Reply {
        job: Job,
        failed: bool,
    },
    /// A call goes on after a pause.
    Again(Job),
    Tick {
        client: u32,
    },
    Sample,
    Probe {
        client: u32,
        node: u32,
    },
    Probed {
        client: u32,
        probe: Probe,
    },
    Switch {
        node: u32,
    },
    Trouble {
        index: u32,
        on: bool,
    },
    Notice {
        client: u32,
        node: u32,
        ready: bool,
    },
    Change {
        index: u32,
    },
    Learn {
        client: u32,
    },
    /// A client hears of other nodes, by the directory.
    News {
        index: u32,
    },
    /// A node's caches are warm.
    Warm {
        node: u32,
        times: f64,
    },
}

#[derive(Debug, Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Entry>,
    pushed: u64,
}

/// Greater is sooner.
#[derive(Debug)]
struct Entry {
    at: Nanos,
    order: u64,
    event: Event,
}

// === impl Agenda ===

impl Agenda {
    pub(super) fn push(&mut self, at: Nanos, event: Event) {
        self.heap.push(Entry { at, order: self.pushed, event });
        self.pushed += 1;
    }

    pub(super) fn at(&self) -> Option<Nanos> {
        self.heap.peek().map(|entry| entry.at)
    }

    pub(super) fn pop(&mut self) -> Option<(Nanos, Event)> {
        self.heap.pop().map(|entry| (entry.at, entry.event))
    }

    /// How many events there have been.
    pub(super) fn handled(&self) -> u64 {
        self.pushed - self.heap.len() as u64
    }
}

// === impl Entry ===

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}
