//! A request's body, which tells whose turn it is: the server's, or its caller's.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::super::limit::Place;

/// Gives the call's place to others while the call waits for its caller to send more.
pub(super) struct RequestBody<B> {
    inner: B,
    place: Arc<Place>,
    /// What the place's time counts from.
    epoch: Instant,
    waiting: bool,
}

// === impl RequestBody ===

impl<B> RequestBody<B> {
    pub(super) fn new(inner: B, place: Arc<Place>, epoch: Instant) -> Self {
        Self { inner, place, epoch, waiting: false }
    }

    fn resume(&mut self) {
        if std::mem::take(&mut self.waiting) {
            self.place.resume(self.epoch.elapsed());
        }
    }
}

impl<B> Body for RequestBody<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        if polled.is_ready() {
            this.resume();
        } else if !std::mem::replace(&mut this.waiting, true) {
            this.place.wait();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> Drop for RequestBody<B> {
    /// Whoever reads no further waits no longer.
    fn drop(&mut self) {
        self.resume();
    }
}
