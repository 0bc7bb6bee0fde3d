//! The stream that a watch of the memory registry is.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;
use tokio::time::{Instant, Sleep};

use super::store::{Next, Store};
use crate::registry::{Listing, WatchEvent, WatchOptions};

pub(super) struct MemoryWatch {
    store: Arc<Store>,
    number: u64,
    /// What is left of the snapshot being given out.
    snapshot: VecDeque<WatchEvent>,
    /// Rings when the first entry may expire.
    alarm: Option<Pin<Box<Sleep>>>,
}

// === impl MemoryWatch ===

impl MemoryWatch {
    pub(super) fn new(store: Arc<Store>, options: &WatchOptions) -> Self {
        let number = store.change(|state| state.subscribe(options));
        Self { store, number, snapshot: VecDeque::new(), alarm: None }
    }

    /// Sets the alarm; ready when it has rung already.
    fn poll_alarm(&mut self, at: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = at else {
            self.alarm = None;
            return Poll::Pending;
        };
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if alarm.deadline() != at {
            alarm.as_mut().reset(at);
        }
        alarm.as_mut().poll(cx)
    }
}

impl Stream for MemoryWatch {
    type Item = WatchEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        let this = self.get_mut();
        loop {
            if let Some(event) = this.snapshot.pop_front() {
                return Poll::Ready(Some(event));
            }
            let now = Instant::now();
            match this.store.change(|state| state.next(this.number, now, cx.waker())) {
                Next::Event(event) => return Poll::Ready(Some(event)),
                Next::Snapshot(Listing { nodes, revision, poisoned: _ }) => {
                    this.snapshot.push_back(WatchEvent::SnapshotStart);
                    this.snapshot.extend(nodes.into_iter().map(WatchEvent::Node));
                    this.snapshot.push_back(WatchEvent::SnapshotDone(revision));
                }
                Next::Wait(at) => std::task::ready!(this.poll_alarm(at, cx)),
            }
        }
    }
}

impl Drop for MemoryWatch {
    fn drop(&mut self) {
        self.store.change(|state| state.unsubscribe(self.number));
    }
}
