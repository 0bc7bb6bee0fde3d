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
    /// One has failed, not for good; and the pause is over that its node has asked for, if it has.
    Failed,
}

/// What the end of an attempt means.
#[derive(Debug)]
pub(crate) enum Arrival<Won> {
    Won(Won),
    /// The next attempt is due.
    Failed,
    /// The next attempt is due after exactly this long: not before, however slow or bad the others are.
    Paused(Duration),
    /// There is to be no other attempt. Those under way go on.
    Last,
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
    let mut left = attempts.saturating_sub(1);
    // What the timer is for, while it is for anything.
    let (mut timer, mut later) = (pin!(sleep(delay)), Some(Due::Slow));
    loop {
        let due = tokio::select! {
            // An answer that is there makes another attempt needless.
            biased;
            Some(end) = runners.next() => match course.arrive(end) {
                Arrival::Won(won) => return Some(won),
                // Until the pause is over that another has asked for.
                Arrival::Failed if later == Some(Due::Failed) => None,
                Arrival::Failed => Some(Due::Failed),
                Arrival::Paused(pause) => {
                    timer.as_mut().reset(Instant::now() + pause);
                    later = Some(Due::Failed);
                    None
                }
                Arrival::Last => {
                    left = 0;
                    None
                }
            },
            () = timer.as_mut(), if left > 0 && later.is_some() => later.take(),
        };
        if let Some(due) = due
            && left > 0
            && let Some(runner) = course.start(due)
        {
            runners.push(runner);
            left -= 1;
            timer.as_mut().reset(Instant::now() + delay);
            later = Some(Due::Slow);
        }
        let paused = left > 0 && later == Some(Due::Failed);
        if runners.is_empty() && !paused {
            return None;
        }
    }
}

#[cfg(test)]
mod tests;
