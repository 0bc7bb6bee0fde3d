//! Attempts that run beside each other: the next begins when those before are slow, or have failed, and the first good answer ends the
//! race for all. It knows neither calls nor nodes, so that its arithmetic can be tested on virtual time.

use std::{future::Future, pin::pin, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::{Instant, sleep};

/// What an attempt is, and what its end means.
pub(crate) trait Course {
    /// An attempt. Dropping it cancels it.
    type Runner: Future;
    type Won;

    /// Another attempt, if there may be one.
    fn start(&mut self, why: Due) -> Option<Self::Runner>;

    /// An attempt has ended.
    fn arrive(&mut self, end: <Self::Runner as Future>::Output) -> Arrival<Self::Won>;
}

/// Why another attempt is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// There was no answer for the delay.
    Slow,
    /// One has failed, not for good.
    Failed,
}

/// What the end of an attempt means.
pub(crate) enum Arrival<Won> {
    Won(Won),
    Failed,
}

/// Runs `first`, and up to `attempts` with it, the next one whenever `delay` has passed without an answer. `None` when none of them won.
///
/// # Cancel safety
///
/// Dropped, it drops all attempts.
pub(crate) async fn race<C: Course>(
    course: &mut C,
    first: C::Runner,
    delay: Duration,
    attempts: u32,
) -> Option<C::Won> {
    let mut runners = FuturesUnordered::new();
    runners.push(first);
    let mut started = 1;
    let mut slow = pin!(sleep(delay));
    let mut waits = started < attempts;
    loop {
        let due = tokio::select! {
            // An answer that is there makes another attempt needless.
            biased;
            Some(end) = runners.next() => match course.arrive(end) {
                Arrival::Won(won) => return Some(won),
                Arrival::Failed => Due::Failed,
            },
            () = slow.as_mut(), if waits => Due::Slow,
        };
        let next = if started < attempts { course.start(due) } else { None };
        match next {
            Some(runner) => {
                runners.push(runner);
                started += 1;
                waits = started < attempts;
                slow.as_mut().reset(Instant::now() + delay);
            }
            // Who was refused for being slow does not ask again.
            None if due == Due::Slow => waits = false,
            None => {}
        }
        if runners.is_empty() {
            return None;
        }
    }
}

#[cfg(test)]
mod tests;
