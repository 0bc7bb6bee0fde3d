//! A watch: a snapshot, then what the scanner tells everybody, as far as it concerns this one.

use std::{collections::VecDeque, sync::Arc};

use callsign_core::{
    WatchEvent,
    registry::{Watch, WatchOptions},
};
use tokio::sync::{
    broadcast::{self, error::RecvError},
    mpsc, oneshot,
};

use super::scanner::{Answer, Batch, Request};

struct Following {
    options: WatchOptions,
    scanner: mpsc::Sender<Request>,
    changes: State,
    /// What is to be handed out before anything else.
    queue: VecDeque<WatchEvent>,
}

enum State {
    /// A snapshot has to be asked for.
    Behind,
    /// None could be had; one is asked for again when the folder can be read again.
    Waiting(broadcast::Receiver<Arc<Batch>>),
    /// The snapshot was given, and the changes follow on it.
    Following(broadcast::Receiver<Arc<Batch>>),
}

/// The stream of a watch.
pub(super) fn follow(options: WatchOptions, scanner: mpsc::Sender<Request>) -> Watch {
    let start = Following { options, scanner, changes: State::Behind, queue: VecDeque::new() };
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
            match &mut self.changes {
                State::Behind => self.start().await?,
                State::Waiting(changes) => match changes.recv().await {
                    Ok(batch) if batch.recovered => self.changes = State::Behind,
                    Ok(batch) => {
                        let errors =
                            batch.events.iter().filter(|event| matches!(event, WatchEvent::Error(_)));
                        self.queue.extend(errors.cloned());
                    }
                    Err(RecvError::Lagged(_)) => self.changes = State::Behind,
                    Err(RecvError::Closed) => return None,
                },
                State::Following(changes) => match changes.recv().await {
                    Ok(batch) => {
                        let options = &self.options;
                        self.queue
                            .extend(batch.events.iter().filter(|event| concerns(options, event)).cloned());
                    }
                    Err(RecvError::Lagged(_)) => self.changes = State::Behind,
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }

    /// Asks for a snapshot and the changes from there on; `None` when nobody answers any more.
    async fn start(&mut self) -> Option<()> {
        let (reply, answer) = oneshot::channel();
        let WatchOptions { domain, service, .. } = self.options.clone();
        self.scanner.send(Request { domain, service, reply }).await.ok()?;
        let Answer { listing, changes } = answer.await.ok()?;
        self.changes = match listing {
            Ok(listing) => {
                self.queue.push_back(WatchEvent::SnapshotStart);
                self.queue.extend(listing.nodes.into_iter().map(WatchEvent::Node));
                self.queue.push_back(WatchEvent::SnapshotDone(listing.revision));
                State::Following(changes)
            }
            Err(error) => {
                self.queue.push_back(WatchEvent::Error(error));
                State::Waiting(changes)
            }
        };
        Some(())
    }
}

fn concerns(options: &WatchOptions, event: &WatchEvent) -> bool {
    let wanted = |domain, service| {
        options.domain.covers(domain) && options.service.as_ref().is_none_or(|wanted| wanted == service)
    };
    match event {
        WatchEvent::Upsert(node, _) | WatchEvent::Node(node) => wanted(node.domain(), node.service()),
        WatchEvent::Remove(key, ..) => wanted(&key.domain, &key.service),
        WatchEvent::Error(_) | WatchEvent::SnapshotStart | WatchEvent::SnapshotDone(_) => true,
    }
}
