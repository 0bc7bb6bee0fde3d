//! The watch that never ends: opened, and opened again when it could not be or when it ended.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use fastrand::Rng;
use futures_core::Stream;
use tokio::time::{Sleep, sleep, timeout};

use crate::{
    error::{Error, ErrorKind, Result},
    registry::{Registry, Watch, WatchEvent, WatchOptions},
    retry::Backoff,
};

/// Most events taken at once before anything else gets its turn.
const BATCH_MAX: usize = 1024;

/// The events of one registry, without end.
pub(super) struct Source {
    registry: Arc<dyn Registry>,
    options: WatchOptions,
    patience: Duration,
    backoff: Backoff,
    rng: Rng,
    state: State,
}

enum State {
    Opening(Pin<Box<dyn Future<Output = Result<Watch>> + Send>>),
    Open(Watch),
    Resting(Pin<Box<Sleep>>),
}

// === impl Source ===

impl Source {
    /// `patience`: how long the registry may take to open the watch.
    pub(super) fn new(
        registry: Arc<dyn Registry>,
        options: WatchOptions,
        patience: Duration,
        rng: Rng,
    ) -> Self {
        let state = State::open(registry.clone(), options.clone(), patience);
        Self { registry, options, patience, backoff: Backoff::connections(), rng, state }
    }

    /// Drops the watch, and opens another after `wait`.
    pub(super) fn reopen(&mut self, wait: Duration) {
        self.state = State::Resting(Box::pin(sleep(wait)));
    }

    /// The next events: at least one, and as many as are there already.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no event is lost.
    pub(super) async fn next(&mut self) -> Vec<WatchEvent> {
        poll_fn(|cx| {
            let mut events = Vec::new();
            while events.len() < BATCH_MAX {
                match self.poll_event(cx) {
                    Poll::Ready(event) => events.push(event),
                    Poll::Pending => break,
                }
            }
            if events.is_empty() { Poll::Pending } else { Poll::Ready(events) }
        })
        .await
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<WatchEvent> {
        loop {
            match &mut self.state {
                State::Resting(rest) => {
                    ready!(rest.as_mut().poll(cx));
                    self.state = State::open(self.registry.clone(), self.options.clone(), self.patience);
                }
                State::Opening(opening) => match ready!(opening.as_mut().poll(cx)) {
                    Ok(watch) => self.state = State::Open(watch),
                    Err(error) => return Poll::Ready(self.fail(error)),
                },
                State::Open(watch) => {
                    return match ready!(Pin::new(watch).poll_next(cx)) {
                        Some(event) => {
                            if matches!(event, WatchEvent::SnapshotDone(_)) {
                                self.backoff.reset();
                            }
                            Poll::Ready(event)
                        }
                        None => Poll::Ready(self.fail(self.ended())),
                    };
                }
            }
        }
    }

    fn fail(&mut self, error: Error) -> WatchEvent {
        let wait = self.backoff.next(&mut self.rng);
        self.reopen(wait);
        WatchEvent::Error(error)
    }

    fn ended(&self) -> Error {
        Error::new(ErrorKind::Closed, "watch registry", format!("the watch of {} ended", self.registry))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Opening(_) => "opening",
            State::Open(_) => "open",
            State::Resting(_) => "resting",
        };
        f.debug_struct("Source")
            .field("registry", &self.registry)
            .field("state", &state)
            .finish_non_exhaustive()
    }
}

// === impl State ===

impl State {
    fn open(registry: Arc<dyn Registry>, options: WatchOptions, patience: Duration) -> Self {
        Self::Opening(Box::pin(async move {
            match timeout(patience, registry.watch(&options)).await {
                Ok(result) => result,
                Err(_) => Err(slow(&*registry, "watch registry", patience)),
            }
        }))
    }
}

/// What is said of a registry that did not keep its promise to give up in time by itself.
pub(super) fn slow(registry: &dyn Registry, op: &'static str, patience: Duration) -> Error {
    Error::new(ErrorKind::DeadlineExceeded, op, format!("no answer from {registry} within {patience:?}"))
}
