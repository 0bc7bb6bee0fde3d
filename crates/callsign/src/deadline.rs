//! When the caller of a request gives up, as its handler sees it.
//!
//! The time goes over the wire as what is left of it, since the clocks of two machines do not agree; within a process it is a
//! point on one clock. So a deadline is carried on by asking for what [`remains`](Deadline::remaining) and setting that for the
//! next call.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// When the caller of a request gives up: an extension of the request, if its caller has set a time.
///
/// A handler is dropped at its deadline, and so ends at its next `.await`. What it has handed to another task or thread is not:
/// give this along.
///
/// ```
/// use callsign::Deadline;
///
/// async fn hello<T>(request: tonic::Request<T>) -> Result<(), tonic::Status> {
///     if let Some(deadline) = request.extensions().get::<Deadline>().copied() {
///         // Not worth beginning what cannot be ready in time.
///         if deadline.remaining() < std::time::Duration::from_millis(50) {
///             return Err(tonic::Status::deadline_exceeded("the report takes longer than what is left"));
///         }
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline(Instant);

// === impl Deadline ===

impl Deadline {
    /// A deadline at this point in time.
    #[must_use]
    pub fn new(at: Instant) -> Self {
        Self(at)
    }

    /// The point in time.
    #[must_use]
    pub fn at(self) -> Instant {
        self.0
    }

    /// What is left until then; zero once it has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.remaining_at(Instant::now())
    }

    /// What is left at `now`; zero once it has passed.
    #[must_use]
    pub fn remaining_at(self, now: Instant) -> Duration {
        self.0.saturating_duration_since(now)
    }

    /// Whether it has passed.
    #[must_use]
    pub fn has_passed(self) -> bool {
        self.remaining().is_zero()
    }

    /// Waits until it has passed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn passed(self) {
        sleep_until(self.0).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_left_shrinks_to_nothing_and_not_below() {
        let deadline = Deadline::new(Instant::now() + Duration::from_secs(2));
        assert_eq!(deadline.remaining(), Duration::from_secs(2));
        assert!(!deadline.has_passed());
        deadline.passed().await;
        assert!(deadline.has_passed());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(deadline.remaining(), Duration::ZERO);
    }
}
