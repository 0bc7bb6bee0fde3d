//! A reply whose end is watched: a stream of replies ends in time, whether it waits or always has more.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tonic::{Status, body::Body};

use super::{
    Underway,
    end::{End, Why},
};

/// A reply on its way. Dropped before its end, its caller has gone away.
pub(crate) struct CallBody {
    inner: Body,
    end: End,
    grpc: bool,
    /// Something of it has been sent: a reply that is there as a whole is given as a whole.
    begun: bool,
    /// Made only when the reply makes us wait: most do not.
    stop: Option<Pin<Box<dyn Future<Output = Why> + Send>>>,
    underway: Underway,
}

// === impl CallBody ===

impl CallBody {
    pub(super) fn new(inner: Body, end: End, grpc: bool, mut underway: Underway) -> Self {
        if http_body::Body::is_end_stream(&inner) {
            underway.finish();
            underway.tell(None, grpc);
        }
        Self { inner, end, grpc, begun: false, stop: None, underway }
    }

    /// What the caller gets in place of the rest. The handler's stream goes first, and its resources with it.
    fn cut(&mut self, why: Why) -> Result<Frame<Bytes>, Status> {
        self.inner = Body::empty();
        self.stop = None;
        self.underway.end(why);
        if !self.grpc {
            return Err(why.status());
        }
        let mut trailers = HeaderMap::new();
        why.status().add_header(&mut trailers).map(|()| Frame::trailers(trailers))
    }
}

impl http_body::Body for CallBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let mut poll = || Pin::new(&mut this.inner).poll_frame(cx);
        let polled = match &this.underway.span {
            Some(seen) => seen.span().in_scope(poll),
            None => poll(),
        };
        let Poll::Ready(frame) = polled else {
            let end = &this.end;
            let stop = this.stop.get_or_insert_with(|| Box::pin(end.clone().wait()));
            return stop.as_mut().poll(cx).map(|why| Some(this.cut(why)));
        };
        match &frame {
            // One that always has more would never be asked to end otherwise.
            Some(Ok(data)) if data.is_data() && !this.inner.is_end_stream() => {
                if std::mem::replace(&mut this.begun, true)
                    && let Some(why) = this.end.reached()
                {
                    return Poll::Ready(Some(this.cut(why)));
                }
            }
            _ => {
                this.underway.finish();
                let trailers = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.trailers_ref());
                this.underway.tell(trailers, this.grpc);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
