//! The client's side of the demo: callers that know a name and nothing else.

use std::{sync::Arc, time::Duration};

use callsign::{CallOptions, Channel, core::Tasks};
use tokio::time::{Instant, MissedTickBehavior};
use tonic::Request;

use super::{
    attempts::Attempts,
    node::proto::{HelloRequest, greeter_client::GreeterClient},
    stage::Stage,
    tally::Call,
};
use crate::commands::call::Recorder;

/// How many callers there are, and how often each calls: a load that leaves a small machine usable.
pub(super) const CALLERS: u64 = 12;
const EVERY: Duration = Duration::from_millis(8);

/// No call may take longer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Starts the callers. They call until `tasks` is closed.
pub(super) fn start(tasks: &Tasks, channel: &Channel, group: &str, stage: &Stage, attempts: &Arc<Attempts>) {
    let options = CallOptions::new().group(group).timeout(TIMEOUT).idempotent(true).report(true);
    for number in 0..CALLERS {
        let caller = Caller {
            channel: channel.clone(),
            options: options.clone(),
            stage: stage.clone(),
            attempts: attempts.clone(),
        };
        tasks.spawn_orderly(
            "caller",
            caller.run(EVERY * u32::try_from(number).unwrap_or(0) / 12, tasks.stopped()),
        );
    }
}

struct Caller {
    channel: Channel,
    options: CallOptions,
    stage: Stage,
    attempts: Arc<Attempts>,
}

// === impl Caller ===

impl Caller {
    /// Calls on every tick, the first after `offset`, so that the callers do not march in step. A call that has begun is
    /// finished: the demo counts all of them.
    async fn run(self, offset: Duration, stop: tokio_util::sync::CancellationToken) {
        let mut ticks = tokio::time::interval_at(Instant::now() + offset, EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.call().await;
        }
    }

    async fn call(&self) {
        let recorder = Recorder::new(self.channel.clone());
        let mut request = Request::new(HelloRequest { name: "World".to_owned(), language: 0 });
        request.extensions_mut().insert(self.options.clone());
        let begun = Instant::now();
        let reply = GreeterClient::new(recorder.clone()).hello(request).await;
        let now = Instant::now();
        let report = recorder.take();
        if let Some(report) = &report {
            self.attempts.record(begun, report);
        }
        let failure = reply.as_ref().err().map(|status| format!("{:?}: {}", status.code(), status.message()));
        let call = Call {
            // The node says itself who it is: what the client believes is not taken for granted.
            node: reply.as_ref().ok().map(|reply| reply.get_ref().node.as_str()),
            elapsed: now - begun,
            attempts: report.map_or(1, |report| report.attempts),
            failure,
        };
        self.stage.tally().record(call, now);
    }
}
