//! The probe load: calls as any client makes them, by name, at a steady rate, none of which should fail.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use callsign::{
    CallOptions, Channel,
    core::{Tasks, WeakTasks},
};
use serde::Serialize;
use tokio::{
    sync::Semaphore,
    time::{Instant, MissedTickBehavior, interval},
};
use tonic::{Request, Status, client::Grpc, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;

/// What every gRPC server answers, and no application counts.
const CHECK: PathAndQuery = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
/// A probe that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Probes under way at the same time; when nobody answers, it is not for us to pile them up.
const UNDERWAY_MAX: usize = 256;
/// Failures that are kept with their words.
const WORDS_MAX: usize = 10;

/// Probes that are sent for as long as this is held.
#[derive(Debug)]
pub(super) struct Probes {
    tally: Arc<Mutex<Tally>>,
    _tasks: Tasks,
}

/// What became of them.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) failed: u64,
    /// The first of those that failed.
    pub(super) failures: Vec<Failure>,
}

/// One that failed.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Failure {
    /// Since the start.
    pub(super) at_ms: u64,
    pub(super) error: String,
}

/// The question of gRPC's health protocol, for the whole server.
#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Question {}

/// The answer. What it says is not asked: that it comes is.
#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Answer {}

// === impl Probes ===

impl Probes {
    /// Sends `rate` of them a second.
    pub(super) fn start(channel: Channel, rate: u32) -> Self {
        let tally = Arc::new(Mutex::new(Tally::default()));
        let tasks = Tasks::new();
        let sending = send(channel, Duration::from_secs(1) / rate, tally.clone(), tasks.downgrade());
        tasks.spawn("probes", sending);
        Self { tally, _tasks: tasks }
    }

    /// What became of them so far.
    pub(super) fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn send(channel: Channel, every: Duration, tally: Arc<Mutex<Tally>>, tasks: WeakTasks) {
    let began = Instant::now();
    let room = Arc::new(Semaphore::new(UNDERWAY_MAX));
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let (channel, tally) = (channel.clone(), tally.clone());
        let at = began.elapsed();
        tasks.spawn("probe", async move {
            let answer = ask(channel).await;
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.sent += 1;
            if let Err(status) = answer {
                tally.failed += 1;
                if tally.failures.len() < WORDS_MAX {
                    let at_ms = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
                    let error = format!("{:?}: {}", status.code(), status.message());
                    tally.failures.push(Failure { at_ms, error });
                }
            }
            drop(place);
        });
    }
}

async fn ask(channel: Channel) -> Result<(), Status> {
    let mut request = Request::new(Question {});
    // Not said to be safe to repeat: what is lost here would be lost to any caller.
    request.extensions_mut().insert(CallOptions::new().timeout(TIMEOUT));
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    grpc.unary(request, CHECK, ProstCodec::<Question, Answer>::default()).await.map(drop)
}
