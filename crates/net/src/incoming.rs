//! The body of a response.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body, Frame, SizeHint};

use crate::{connection::Slot, error::Error};

/// A response's body: data as it comes, then the trailers. Dropping it early resets the stream.
pub struct Incoming {
    stream: RecvStream,
    /// Held until the end, so that the stream is counted for as long as it is open.
    slot: Option<Slot>,
    data_ended: bool,
}

// === impl Incoming ===

impl Incoming {
    pub(crate) fn new(stream: RecvStream, slot: Slot) -> Self {
        let ended = stream.is_end_stream();
        Self { stream, slot: (!ended).then_some(slot), data_ended: ended }
    }

    fn error(&mut self, error: h2::Error) -> Error {
        let error = Error::of_stream(error);
        match self.slot.take() {
            Some(slot) => slot.shared.explain(error),
            None => error,
        }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.slot.is_none() {
            return Poll::Ready(None);
        }
        if !self.data_ended {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // The window is opened as data is taken; it fails only on a stream that has ended, where it is moot.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(self.error(error)))),
                None => self.data_ended = true,
            }
        }
        let trailers = ready!(self.stream.poll_trailers(cx));
        Poll::Ready(match trailers {
            Ok(trailers) => {
                self.slot = None;
                trailers.map(|trailers| Ok(Frame::trailers(trailers)))
            }
            Err(error) => Some(Err(self.error(error))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.slot.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("ended", &self.slot.is_none()).finish_non_exhaustive()
    }
}
