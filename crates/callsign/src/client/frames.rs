//! A whole request body: small, and cheap to copy for each of several attempts.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    vec,
};

use bytes::Bytes;
use http_body::{Body, Frame};

/// The frames of a body, all of which are there.
#[derive(Debug, Clone)]
pub(crate) struct Frames(vec::IntoIter<Bytes>);

// === impl Frames ===

impl Frames {
    pub(crate) fn new(frames: Vec<Bytes>) -> Self {
        Self(frames.into_iter())
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.next().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_slice().is_empty()
    }
}
