//! The life of one registration: register, hold, and again when lost; at the end, remove.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{Claim, Claims, RegistrationMeter, RegistrationState};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{Node, NodeKey},
    registry::{Lease, RegisterOptions, Registry},
    retry::Backoff,
};

/// The longest that one attempt may take: backends give up sooner by themselves, and one that does not is given up on.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);

/// The longest that removing the entry may take at the end, including an attempt still under way.
const RELEASE_MAX: Duration = Duration::from_secs(5);

/// An entry lost sooner than this after it was put in place was not worth much: the next attempt waits like after a failure.
const HELD_MIN: Duration = Duration::from_secs(2);

/// What a guard asks of its supervisor.
pub(super) enum Command {
    Update { node: Arc<Node>, reply: oneshot::Sender<Result<()>> },
}

/// Everything that one registration needs to go on for ever.
pub(super) struct Supervisor {
    pub(super) registry: Arc<dyn Registry>,
    pub(super) options: RegisterOptions,
    pub(super) key: NodeKey,
    pub(super) node: Arc<ArcSwap<Node>>,
    pub(super) claims: Claims,
    pub(super) meter: RegistrationMeter,
    pub(super) state: watch::Sender<RegistrationState>,
    pub(super) inbox: mpsc::Receiver<Command>,
    /// Cancelled when the guard is gone or the registrar closed.
    pub(super) end: CancellationToken,
    pub(super) backoff: Backoff,
    /// Whether the next attempt need not wait: the very first, and the first after the entry was held for a while.
    pub(super) at_once: bool,
    /// An attempt that was cut short, and what it may have done.
    pub(super) left_behind: Option<Error>,
    pub(super) rng: fastrand::Rng,
}

/// An entry in place.
struct Held {
    lease: Box<dyn Lease>,
    /// What the entry says.
    node: Arc<Node>,
    since: Instant,
    /// Freed only after the entry was removed, so that a later registration of this process does not have its entry
    /// removed by this one.
    _claim: Claim,
}

/// Why a part of the life ended.
enum Turn<T> {
    /// It came to its own end.
    On(T),
    /// The guard is gone.
    End,
}

// === impl Supervisor ===

impl Supervisor {
    /// Lives until the end is called, and says whether the entry was removed.
    pub(super) async fn run(mut self) -> Result<()> {
        let result = loop {
            let Turn::On(mut held) = self.acquire().await else {
                break self.left_behind.take().map_or(Ok(()), Err);
            };
            match self.hold(&mut held).await {
                Turn::On(error) => self.lost(&held, error),
                Turn::End => break self.release(held).await,
            }
        };
        self.gone(&result);
        result
    }

    /// Tries until the entry is in place.
    async fn acquire(&mut self) -> Turn<Held> {
        let mut last_error = None;
        for attempt in 1.. {
            if !std::mem::take(&mut self.at_once) {
                let rest = tokio::time::sleep(self.backoff.next(&mut self.rng));
                if let Turn::End = during(rest, &self.end, &mut self.inbox, &self.node).await {
                    return Turn::End;
                }
            }
            self.state
                .send_replace(RegistrationState::Registering { attempt, last_error: last_error.clone() });
            match self.attempt().await {
                Turn::On(Ok(held)) => {
                    self.meter.count_registered();
                    tracing::info!(node = %self.key, registry = %self.registry, attempt, "registered");
                    self.state.send_replace(RegistrationState::Registered { since: held.since });
                    return Turn::On(held);
                }
                Turn::On(Err(error)) => {
                    self.meter.count_failed();
                    self.log_failure(attempt, last_error.as_ref(), &error);
                    last_error = Some(error);
                }
                Turn::End => return Turn::End,
            }
        }
        Turn::End
    }

    /// Tries once. An attempt cut short might leave an entry behind, so one under way at the end is given the time to
    /// succeed, and its entry then removed like any other.
    async fn attempt(&mut self) -> Turn<Result<Held>> {
        let Self { registry, options, key, node, claims, inbox, end, .. } = self;
        if end.is_cancelled() {
            return Turn::End;
        }
        let wanted = node.load_full();
        let mut work = pin!(async {
            let claim = claims.claim(key)?;
            let lease = within(ATTEMPT_MAX, "register node", registry.register(&wanted, options)).await?;
            Ok(Held { lease, node: wanted.clone(), since: Instant::now(), _claim: claim })
        });
        if let Turn::On(result) = during(work.as_mut(), end, inbox, node).await {
            return Turn::On(result);
        }
        match tokio::time::timeout(RELEASE_MAX, work).await {
            Ok(Ok(held)) => Turn::On(Ok(held)),
            Ok(Err(_)) => Turn::End,
            Err(_) => {
                self.left_behind = Some(Error::new(
                    ErrorKind::DeadlineExceeded,
                    "deregister node",
                    "an attempt to register it was under way and did not end: it may have left an entry",
                ));
                Turn::End
            }
        }
    }

    /// Keeps the entry alive and up to date until it is lost.
    async fn hold(&mut self, held: &mut Held) -> Turn<Error> {
        loop {
            // A description may have come in before the entry was in place, too.
            match self.bring_up_to_date(held).await {
                Turn::On(Ok(())) => {}
                Turn::On(Err(error)) => return Turn::On(error),
                Turn::End => return Turn::End,
            }
            tokio::select! {
                // The end first: whoever closes should not wait for anything else. An update next: it must not starve.
                biased;
                () = self.end.cancelled() => return Turn::End,
                Some(Command::Update { node, reply }) = self.inbox.recv() => {
                    self.node.store(node);
                    let Turn::On(result) = self.bring_up_to_date(held).await else { return Turn::End };
                    let _ = reply.send(result.clone());
                    if let Err(error) = result {
                        return Turn::On(error);
                    }
                }
                error = held.lease.hold() => return Turn::On(error),
            }
        }
    }

    fn lost(&mut self, held: &Held, error: Error) {
        self.meter.count_lost();
        tracing::warn!(node = %self.key, registry = %self.registry, error = %error.chain(), "registration lost");
        if held.since.elapsed() >= HELD_MIN {
            self.backoff.reset();
            self.at_once = true;
        }
        self.state.send_replace(RegistrationState::Lost { error });
    }

    /// Has the entry say what the node says now. At the end it does not matter any more.
    async fn bring_up_to_date(&self, held: &mut Held) -> Turn<Result<()>> {
        let wanted = self.node.load_full();
        if *wanted == *held.node {
            return Turn::On(Ok(()));
        }
        let result = tokio::select! {
            // The end first: whoever closes should not wait for anything else.
            biased;
            () = self.end.cancelled() => return Turn::End,
            result = within(ATTEMPT_MAX, "update registration", held.lease.update(&wanted)) => result,
        };
        if result.is_ok() {
            tracing::info!(node = %self.key, registry = %self.registry, "registration updated");
            held.node = wanted;
        }
        Turn::On(result)
    }

    async fn release(&self, held: Held) -> Result<()> {
        self.state.send_replace(RegistrationState::Draining);
        let Held { lease, node: _, since: _, _claim } = held;
        within(RELEASE_MAX, "deregister node", lease.release()).await
    }

    /// The first failure and every other kind of failure is news; the same again is not.
    fn log_failure(&self, attempt: u32, last: Option<&Error>, error: &Error) {
        let (node, registry, chain) = (&self.key, &self.registry, error.chain());
        if last.is_some_and(|last| last.kind() == error.kind()) {
            tracing::debug!(%node, %registry, attempt, error = %chain, "registration failed again");
        } else {
            tracing::warn!(%node, %registry, attempt, error = %chain, "registration failed; trying on");
        }
    }

    fn gone(&self, result: &Result<()>) {
        let (node, registry) = (&self.key, &self.registry);
        match result {
            Ok(()) => tracing::info!(%node, %registry, "deregistered"),
            Err(error) => {
                tracing::warn!(%node, %registry, error = %error.chain(), "not deregistered; the entry will expire");
            }
        }
        self.state.send_replace(RegistrationState::Gone);
    }
}

async fn within<T>(
    limit: Duration,
    operation: &'static str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        Err(Error::new(
            ErrorKind::DeadlineExceeded,
            operation,
            format!("the registry took more than {limit:?}"),
        ))
    })
}

/// Waits for `work` until `end`, taking in new descriptions meanwhile.
async fn during<W: Future>(
    work: W,
    end: &CancellationToken,
    inbox: &mut mpsc::Receiver<Command>,
    wanted: &ArcSwap<Node>,
) -> Turn<W::Output> {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            // The end first: whoever closes should not wait for anything else.
            biased;
            () = end.cancelled() => return Turn::End,
            output = work.as_mut() => return Turn::On(output),
            Some(Command::Update { node, reply }) = inbox.recv() => {
                wanted.store(node);
                let _ = reply.send(Ok(()));
            }
        }
    }
}
