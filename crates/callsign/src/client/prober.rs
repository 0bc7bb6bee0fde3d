//! The probes of a channel that chooses by them: sent for calls, by a task of their own, and never waited for by a call.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use callsign_core::select::{PrequalConfig, Probe, Strategy};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use super::{
    link::Link,
    roster::Roster,
    side_call::{End, SideCall},
};
use crate::probe::{Answer, PATH, Question};

/// Later than this an answer tells too little.
const ANSWER_WITHIN: Duration = Duration::from_millis(250);
/// Probes on their way at the same time. Calls beyond what they allow go by the answers there are.
const UNDERWAY_MAX: usize = 64;
/// Calls that ask for probes and are remembered while probes are on their way.
const CALLS_MAX: u32 = 64;

/// What calls say to the task.
#[derive(Debug)]
pub(super) struct Prober {
    config: PrequalConfig,
    /// Calls since probes were last sent.
    calls: AtomicU32,
    wake: Notify,
    /// Nobody has been told yet of a node that knows no probes.
    hopeful: AtomicBool,
}

/// What became of one probe.
struct Answered {
    link: Arc<Link>,
    answer: Result<Probe, End>,
}

// === impl Prober ===

impl Prober {
    /// `None` for strategies that go by something else.
    pub(super) fn of(strategy: &Strategy) -> Option<Arc<Self>> {
        match strategy {
            Strategy::Prequal(config) => {
                let (calls, wake) = (AtomicU32::new(0), Notify::new());
                Some(Arc::new(Self { config: *config, calls, wake, hopeful: AtomicBool::new(true) }))
            }
            _ => None,
        }
    }

    /// A call is made.
    pub(super) fn note_call(&self) {
        self.calls.fetch_add(1, Relaxed);
        self.wake.notify_one();
    }

    /// Sends probes for as long as the channel lasts.
    pub(super) async fn run(self: Arc<Self>, roster: Arc<Roster>) {
        let mut rng = roster.rng();
        let mut underway = FuturesUnordered::new();
        loop {
            tokio::select! {
                // Answers first: they make room for further probes.
                biased;
                Some(Answered { link, answer }) = underway.next() => match answer {
                    Ok(probe) => roster.state().slate.probed(&link.load, probe, Instant::now(), &mut rng),
                    Err(end) => self.note_failure(&link, &end),
                },
                () = self.wake.notified(), if underway.len() < UNDERWAY_MAX => {
                    let calls = self.calls.swap(0, Relaxed).min(CALLS_MAX);
                    for _ in 0..calls {
                        for link in self.targets(&roster, UNDERWAY_MAX - underway.len(), &mut rng) {
                            underway.push(ask(link));
                        }
                    }
                }
            }
        }
    }

    /// A node that does not answer gets no calls by its answers, which is right. One that cannot is worth a word, once.
    fn note_failure(&self, link: &Link, end: &End) {
        if *end == End::UNIMPLEMENTED && self.hopeful.swap(false, Relaxed) {
            tracing::warn!(
                node = %link.id,
                "a node knows no probes: such nodes get calls only while others do not answer; choose adaptive"
            );
        }
        tracing::trace!(node = %link.id, ?end, "no answer to a probe");
    }

    /// The nodes to probe for one call: any that can be called, none twice.
    fn targets(&self, roster: &Roster, room: usize, rng: &mut fastrand::Rng) -> Vec<Arc<Link>> {
        let state = roster.state();
        let members = state.slate.members();
        let wanted = self.config.draw(rng).min(room);
        let asked = members.iter().filter(|member| {
            member.load.is_ready() && member.node.weight() != Some(0) && roster.filters.pass(&member.node)
        });
        rng.choose_multiple(asked, wanted).into_iter().map(|member| member.handle.clone()).collect()
    }
}

async fn ask(link: Arc<Link>) -> Answered {
    let asked = async {
        let connection = link.connection().ok_or(End::NoRoom)?;
        SideCall::open(&connection, &link, PATH, &Question {})?.message::<Answer>().await
    };
    let late = || Err(End::Broken("no answer in time".to_owned()));
    let answer = timeout(ANSWER_WITHIN, asked).await.unwrap_or_else(|_| late());
    Answered { link, answer: answer.map(Probe::from) }
}
