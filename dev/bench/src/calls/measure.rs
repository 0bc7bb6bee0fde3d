//! What a client process has used.

use std::time::Duration;

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};
use stats_alloc::Stats;

/// CPU time and allocations since the start of the process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    cpu: Duration,
    allocations: usize,
}

impl Used {
    pub(crate) fn now() -> Self {
        let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the kernel tells a process what it used");
        let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        let Stats { allocations, reallocations, .. } = crate::ALLOCATOR.stats();
        Self { cpu: Duration::from_micros(micros.unsigned_abs()), allocations: allocations + reallocations }
    }

    /// CPU time and allocations between two moments.
    pub(crate) fn since(self, since: Self) -> (Duration, usize) {
        (self.cpu - since.cpu, self.allocations - since.allocations)
    }

    /// Microseconds of CPU and allocations, each per call, between two moments.
    pub(crate) fn per_call(self, since: Self, calls: u64) -> [f64; 2] {
        let ((cpu, allocations), calls) = (self.since(since), calls as f64);
        [cpu.as_secs_f64() * 1e6 / calls, allocations as f64 / calls]
    }
}
