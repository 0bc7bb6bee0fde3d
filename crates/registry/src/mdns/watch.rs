//! A watch: a snapshot, then what changes, as far as it concerns this one.

use std::{collections::VecDeque, sync::Arc};

use callsign_core::{
    WatchEvent,
    registry::{Revision, Watch, WatchOptions},
};
use tokio::sync::{
    broadcast::{self, error::RecvError},
    mpsc, oneshot,
};

use super::machine::{Batch, Look, Request};

struct Following {
    options: WatchOptions,
    requests: mpsc::Sender<Request>,
    changes: broadcast::Receiver<Arc<Batch>>,
    /// Says that somebody is interested, for as long as it lives.
    interest: Arc<()>,
    state: State,
    /// What is to be handed out before anything else.
    queue: VecDeque<WatchEvent>,
}

enum State {
    /// A snapshot has to be asked for.
    Behind,
    /// It was asked for.
    Asked(oneshot::Receiver<callsign_core::Result<callsign_core::registry::Listing>>),
    /// None could be had; one is asked for again when the link can be used again.
    Waiting,
    /// The snapshot showed this, and later changes follow on it.
    Following(Revision),
}

/// The stream of a watch.
pub(super) fn follow(
    options: WatchOptions,
    requests: mpsc::Sender<Request>,
    changes: broadcast::Receiver<Arc<Batch>>,
) -> Watch {
    let (interest, queue) = (Arc::new(()), VecDeque::new());
    let start = Following { options, requests, changes, interest, state: State::Behind, queue };
    Watch::new(futures_util::stream::unfold(start, |mut watch| async move {
        let event = watch.next().await?;
        Some((event, watch))
    }))
}

// === impl Following ===

impl Following {
    async fn next(&mut self) -> Option<WatchEvent> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some(event);
            }
            match &mut self.state {
                State::Behind => self.ask().await?,
                State::Asked(answer) => {
                    let answer = answer.await.ok()?;
                    self.start(answer);
                }
                State::Waiting | State::Following(_) => match self.changed().await {
                    Ok(batch) => self.take(&batch),
                    Err(RecvError::Lagged(_)) => self.state = State::Behind,
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }

    /// Asks for a snapshot. Changes are kept from here on.
    async fn ask(&mut self) -> Option<()> {
        let (reply, answer) = oneshot::channel();
        let WatchOptions { domain, service, .. } = self.options.clone();
        let watch = Some(Arc::downgrade(&self.interest));
        self.changes = self.changes.resubscribe();
        let look = Look { domain, service, hasty: false, watch, reply };
        self.requests.send(Request::Look(look)).await.ok()?;
        self.state = State::Asked(answer);
        Some(())
    }

    fn start(&mut self, answer: callsign_core::Result<callsign_core::registry::Listing>) {
        self.state = match answer {
            Ok(listing) => {
                self.queue.push_back(WatchEvent::SnapshotStart);
                self.queue.extend(listing.nodes.into_iter().map(WatchEvent::Node));
                self.queue.push_back(WatchEvent::SnapshotDone(listing.revision));
                State::Following(listing.revision)
            }
            Err(error) => {
                self.queue.push_back(WatchEvent::Error(error));
                State::Waiting
            }
        };
    }

    /// The next changes, or the end of the handle.
    async fn changed(&mut self) -> Result<Arc<Batch>, RecvError> {
        tokio::select! {
            // What happened before the end is told before it.
            biased;
            batch = self.changes.recv() => batch,
            () = self.requests.closed() => Err(RecvError::Closed),
        }
    }

    fn take(&mut self, batch: &Batch) {
        let (options, state) = (&self.options, &self.state);
        self.queue.extend(batch.events.iter().filter(|event| concerns(options, state, event)).cloned());
        if batch.recovered {
            self.state = State::Behind;
        }
    }
}

fn concerns(options: &WatchOptions, state: &State, event: &WatchEvent) -> bool {
    let is_new = |revision: &Revision| match state {
        State::Following(shown) => revision > shown,
        State::Behind | State::Asked(_) | State::Waiting => false,
    };
    let wanted = |domain, service| {
        options.domain.covers(domain) && options.service.as_ref().is_none_or(|wanted| wanted == service)
    };
    match event {
        WatchEvent::Upsert(node, revision) => is_new(revision) && wanted(node.domain(), node.service()),
        WatchEvent::Remove(key, _, revision) => is_new(revision) && wanted(&key.domain, &key.service),
        // One failure is told once: by the answer if there was one.
        WatchEvent::Error(_) => matches!(state, State::Following(_)),
        WatchEvent::Node(_) | WatchEvent::SnapshotStart | WatchEvent::SnapshotDone(_) => false,
    }
}
