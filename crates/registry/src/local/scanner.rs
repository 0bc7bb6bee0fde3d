//! The one task of a registry handle: it alone knows what is in the folder, and everybody asks it.
//!
//! A question is answered after the kernel's queue is emptied, so whatever was in the folder when it was asked is in the
//! answer. All work on files is done on the blocking pool.

use std::sync::Arc;

use callsign_core::{
    Domain, ServiceName, WatchEvent,
    error::{Error, ErrorKind, Result},
    registry::Listing,
};
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    time::Instant,
};

use super::{events::Ready, scan::Scan};

/// How many questions may wait; who asks more waits to ask.
pub(super) const REQUESTS_MAX: usize = 64;
/// How many looks with changes a watch may be behind before it gets a new snapshot instead.
pub(super) const BATCHES_MAX: usize = 256;

/// A question: what is there?
#[derive(Debug)]
pub(super) struct Request {
    pub(super) domain: Domain,
    pub(super) service: Option<ServiceName>,
    pub(super) reply: oneshot::Sender<Answer>,
}

/// What is there, and every change from then on.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) listing: Result<Listing>,
    pub(super) changes: broadcast::Receiver<Arc<Batch>>,
}

/// What one look brought to light.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) events: Vec<WatchEvent>,
    /// The folder can be read again: who has not got a snapshot may ask for one now.
    pub(super) recovered: bool,
}

/// Runs until nobody can ask any more.
pub(super) async fn run(mut scan: Scan, ready: Option<Ready>, mut requests: mpsc::Receiver<Request>) {
    let (batches, _) = broadcast::channel(BATCHES_MAX);
    loop {
        let mut asked = Vec::new();
        tokio::select! {
            // Those who wait for an answer first; it brings everything else up to date as well.
            biased;
            count = requests.recv_many(&mut asked, REQUESTS_MAX) => if count == 0 { return },
            () = wait(ready.as_ref()) => {}
            () = tokio::time::sleep_until(scan.next_look()) => {}
        }
        let now = Instant::now();
        let work = tokio::task::spawn_blocking(move || {
            if !asked.is_empty() {
                scan.start_reading();
            }
            let batch = scan.sync(now);
            let listings: Vec<_> = asked
                .into_iter()
                .map(|request| (scan.listing(&request.domain, request.service.as_ref()), request.reply))
                .collect();
            (scan, batch, listings)
        });
        let (back, batch, listings) = match work.await {
            Ok(done) => done,
            Err(error) => {
                // Only a defect of ours, or the end of the runtime. Everybody who asks is told that the handle is closed.
                tracing::error!(%error, "the local registry's scanner ended");
                return;
            }
        };
        scan = back;
        if !batch.events.is_empty() || batch.recovered {
            // No watch is no error.
            let _ = batches.send(Arc::new(batch));
        }
        for (listing, reply) in listings {
            let _ = reply.send(Answer { listing, changes: batches.subscribe() });
        }
    }
}

/// The error of everything that is asked of a closed handle.
pub(super) fn closed(op: &'static str) -> Error {
    Error::new(
        ErrorKind::Closed,
        op,
        "this handle of the local registry was closed, or its runtime has ended",
    )
}

async fn wait(ready: Option<&Ready>) {
    match ready {
        Some(ready) => ready.wait().await,
        None => std::future::pending().await,
    }
}
