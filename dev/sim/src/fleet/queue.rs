//! A node with a few workers and a line before them.

use std::collections::VecDeque;

use super::Job;

#[derive(Debug)]
pub(super) struct Queue {
    workers: usize,
    busy: usize,
    waiting: VecDeque<(Job, f64)>,
}

// === impl Queue ===

impl Queue {
    pub(super) fn new(workers: usize) -> Self {
        Self { workers, busy: 0, waiting: VecDeque::new() }
    }

    pub(super) fn workers(&self) -> usize {
        self.workers
    }

    pub(super) fn busy(&self) -> usize {
        self.busy
    }

    /// The work to begin with at once, if a worker is free.
    pub(super) fn take(&mut self, job: Job, work: f64) -> Option<f64> {
        if self.busy < self.workers {
            self.busy += 1;
            return Some(work);
        }
        self.waiting.push_back((job, work));
        None
    }

    /// A worker is done, and begins with the next that has not been given up.
    pub(super) fn next(&mut self, generations: &[u32]) -> Option<(Job, f64)> {
        while let Some((job, work)) = self.waiting.pop_front() {
            if generations[job.call as usize] == job.generation {
                return Some((job, work));
            }
        }
        self.busy -= 1;
        None
    }
}
