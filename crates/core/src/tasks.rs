//! Background tasks with an owner.
//!
//! Every task of Callsign belongs to a [`Tasks`]: it is counted, it is told to stop through a token, and its owner can wait
//! for it. Dropping the last clone of a `Tasks` tells its tasks to stop; it does not wait for them.

use std::{
    future::Future,
    sync::{Arc, Weak},
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

/// A set of background tasks that end together.
///
/// ```
/// use callsign_core::Tasks;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let tasks = Tasks::new();
/// tasks.spawn("ticker", std::future::pending());
/// assert_eq!(tasks.len(), 1);
/// tasks.close().await;
/// assert!(tasks.is_empty());
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Tasks(Arc<Inner>);

/// Access to a [`Tasks`] that does not keep it open: for tasks that start further tasks of the same owner.
#[derive(Debug, Clone)]
pub struct WeakTasks(Weak<Inner>);

#[derive(Debug, Default)]
struct Inner {
    tracker: TaskTracker,
    stop: CancellationToken,
}

// === impl Tasks ===

impl Tasks {
    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `task` until it ends or the set is closed; `name` is its tracing span.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = self.0.stop.clone();
        let span = tracing::debug_span!("task", name);
        let task = async move { stop.run_until_cancelled_owned(task).await };
        self.0.tracker.spawn(async move {
            task.instrument(span).await;
        });
    }

    /// Runs `task` until it ends; it is not dropped when the set is closed but must watch [`stopped`](Self::stopped) itself.
    ///
    /// For work that has an orderly end: a registration that still has to deregister.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn spawn_orderly<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.0.tracker.spawn(task.instrument(tracing::debug_span!("task", name)));
    }

    /// A token that is cancelled when the set is closed or dropped.
    #[must_use]
    pub fn stopped(&self) -> CancellationToken {
        self.0.stop.clone()
    }

    /// Access for a task of this set.
    #[must_use]
    pub fn downgrade(&self) -> WeakTasks {
        WeakTasks(Arc::downgrade(&self.0))
    }

    /// How many tasks are running.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.tracker.len()
    }

    /// Whether no task is running.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.tracker.is_empty()
    }

    /// Tells every task to stop, and waits until each has.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: the tasks have been told, and a second call waits again.
    pub async fn close(&self) {
        self.0.stop.cancel();
        self.0.tracker.close();
        self.0.tracker.wait().await;
    }
}

// === impl WeakTasks ===

impl WeakTasks {
    /// Runs `task` as [`Tasks::spawn`] does, unless the set is gone; then `task` is dropped.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if let Some(inner) = self.0.upgrade() {
            Tasks(inner).spawn(name, task);
        }
    }
}

// === impl Inner ===

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn closing_stops_and_waits_for_every_task() {
        let tasks = Tasks::new();
        tasks.spawn("for ever", std::future::pending());
        let (stop, done) = (tasks.stopped(), Arc::new(std::sync::atomic::AtomicBool::new(false)));
        let seen = done.clone();
        tasks.spawn_orderly("orderly", async move {
            stop.cancelled().await;
            seen.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        assert_eq!(tasks.len(), 2);
        tasks.close().await;
        assert!(tasks.is_empty());
        assert!(done.load(std::sync::atomic::Ordering::Relaxed));
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_the_last_clone_tells_the_tasks_to_stop() {
        let tasks = Tasks::new();
        let stop = tasks.stopped();
        tasks.spawn("for ever", std::future::pending());
        drop(tasks);
        stop.cancelled().await;
    }
}
