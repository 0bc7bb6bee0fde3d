//! Callers that do not stop calling, and a clock that knows how late this machine is.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use callsign::Channel;
use callsign_examples::greeter::{HelloRequest, greeter_client::GreeterClient};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

/// Calls that never stop: steady, so that several tests fit on a machine.
pub(crate) struct Load {
    counts: Arc<Counts>,
    _callers: JoinSet<()>,
}

#[derive(Default)]
struct Counts {
    made: AtomicUsize,
    failed: Mutex<Vec<String>>,
}

/// By how much sleeps end too late, all together. What is to happen within some time has that much more of it on a machine that
/// is too busy to let anybody run.
pub(crate) struct Lateness {
    micros: Arc<AtomicU64>,
    _watching: JoinSet<()>,
}

// === impl Load ===

impl Load {
    pub(crate) fn start(channel: &Channel) -> Self {
        let counts = Arc::<Counts>::default();
        let mut callers = JoinSet::new();
        for _ in 0..4 {
            let (mut client, counts) = (GreeterClient::new(channel.clone()), counts.clone());
            callers.spawn(async move {
                loop {
                    let called = client.hello(HelloRequest { name: "World".to_owned() }).await;
                    if let Err(status) = called {
                        counts.failed.lock().unwrap().push(status.to_string());
                    }
                    counts.made.fetch_add(1, Ordering::Relaxed);
                    sleep(Duration::from_millis(5)).await;
                }
            });
        }
        Self { counts, _callers: callers }
    }

    /// Nobody calls yet.
    pub(crate) fn idle() -> Self {
        Self { counts: Arc::default(), _callers: JoinSet::new() }
    }

    pub(crate) fn made(&self) -> usize {
        self.counts.made.load(Ordering::Relaxed)
    }

    /// Calls that failed so far.
    pub(crate) fn failed(&self) -> Vec<String> {
        self.counts.failed.lock().unwrap().clone()
    }
}

// === impl Lateness ===

impl Lateness {
    const STEP: Duration = Duration::from_millis(20);

    pub(crate) fn watch() -> Self {
        let micros = Arc::<AtomicU64>::default();
        let mut watching = JoinSet::new();
        let sum = micros.clone();
        watching.spawn(async move {
            loop {
                let begun = Instant::now();
                sleep(Self::STEP).await;
                let late = begun.elapsed().saturating_sub(Self::STEP + Duration::from_millis(2));
                sum.fetch_add(u64::try_from(late.as_micros()).unwrap(), Ordering::Relaxed);
            }
        });
        Self { micros, _watching: watching }
    }

    pub(crate) fn so_far(&self) -> Duration {
        Duration::from_micros(self.micros.load(Ordering::Relaxed))
    }
}
