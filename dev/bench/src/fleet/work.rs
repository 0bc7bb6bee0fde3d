//! What a handler does for a call, which is to take time: as long as it is told, or as chance has it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use callsign_core::Tasks;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Semaphore, oneshot},
    time::sleep,
};

/// How the times of calls differ.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) enum Spread {
    #[default]
    None,
    /// From half to one and a half of what they are on average.
    Even,
    /// Exponentially.
    Exponential,
    /// This share of them takes this long.
    Rarely { share: f64, latency: Duration },
}

/// How calls are worked on.
#[derive(Debug)]
pub(super) struct Work {
    micros: AtomicU64,
    spread: Spread,
    pool: Option<Pool>,
}

/// Works on so many calls at a time, as the connections of a pool to a database do: work that was begun is finished, also when its
/// caller has gone.
#[derive(Debug)]
struct Pool {
    workers: Arc<Semaphore>,
    tasks: Tasks,
}

// === impl Spread ===

impl Spread {
    /// How long a call takes, of those that take `latency` on average; or, if some rarely take longer, of the others.
    fn draw(self, latency: Duration) -> Duration {
        match self {
            Self::None => latency,
            Self::Even => latency.mul_f64(0.5 + fastrand::f64()),
            Self::Exponential => latency.mul_f64(-(1.0 - fastrand::f64()).ln()),
            Self::Rarely { share, latency: long } if fastrand::f64() < share => long,
            Self::Rarely { .. } => latency,
        }
    }
}

// === impl Work ===

impl Work {
    /// A call takes about so long; with `workers`, no more than that many are worked on at a time.
    pub(super) fn new(latency: Duration, spread: Spread, workers: Option<usize>) -> Self {
        let pool =
            workers.map(|workers| Pool { workers: Arc::new(Semaphore::new(workers)), tasks: Tasks::new() });
        Self { micros: AtomicU64::new(micros(latency)), spread, pool }
    }

    /// From now on a call takes about so long.
    pub(super) fn set_latency(&self, latency: Duration) {
        self.micros.store(micros(latency), Ordering::Relaxed);
    }

    /// Works on a call.
    pub(super) async fn run(&self) {
        let time = self.spread.draw(Duration::from_micros(self.micros.load(Ordering::Relaxed)));
        match &self.pool {
            Some(pool) => pool.run(time).await,
            None => sleep(time).await,
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

// === impl Pool ===

impl Pool {
    async fn run(&self, time: Duration) {
        let worker = self.workers.clone().acquire_owned().await.expect("a pool that stays open");
        let (done, work_is_done) = oneshot::channel();
        self.tasks.spawn("work", async move {
            sleep(time).await;
            drop(worker);
            // Whoever asked for it may have gone.
            let _ = done.send(());
        });
        work_is_done.await.expect("work that was begun is finished");
    }
}
