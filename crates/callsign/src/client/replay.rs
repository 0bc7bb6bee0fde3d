//! A request's body that can be sent again.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};

/// Bytes of a request kept to send it again. A larger one can be repeated only as long as nothing of it was read.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// A body that keeps what was read of it until the call is committed to a node.
pub(crate) struct Replay<B> {
    body: B,
    /// The first frame has a place of its own: most calls have no second, and need no list.
    first: Option<Bytes>,
    rest: Vec<Bytes>,
    /// Apart, since hardly any request has them and they would make the call's future larger.
    trailers: Option<Box<HeaderMap>>,
    /// Frames to give out again before the body is read on.
    given: usize,
    kept_bytes: usize,
    keep: Keep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    All,
    /// Too much to keep, or a node has answered: it cannot be sent again.
    Nothing,
}

// === impl Replay ===

impl<B> Replay<B> {
    pub(crate) fn new(body: B) -> Self {
        Self { body, first: None, rest: Vec::new(), trailers: None, given: 0, kept_bytes: 0, keep: Keep::All }
    }

    /// Whether it can be started over.
    pub(crate) fn is_whole(&self) -> bool {
        self.keep == Keep::All
    }

    /// Starts over. Says whether that is possible.
    pub(crate) fn rewind(&mut self) -> bool {
        if self.is_whole() {
            self.given = 0;
        }
        self.is_whole()
    }

    /// It will not be sent again.
    pub(crate) fn commit(&mut self) {
        self.keep = Keep::Nothing;
        self.trailers = None;
        if self.given >= self.kept() {
            self.first = None;
            self.rest = Vec::new();
            self.given = 0;
        }
    }

    fn kept(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    fn keep(&mut self, data: &Bytes) {
        if self.keep == Keep::Nothing {
            return;
        }
        self.kept_bytes += data.len();
        if self.kept_bytes > KEPT_BYTES_MAX {
            self.keep = Keep::Nothing;
            self.first = None;
            self.rest = Vec::new();
            self.given = 0;
        } else {
            if self.first.is_none() {
                self.first = Some(data.clone());
            } else {
                self.rest.push(data.clone());
            }
            self.given += 1;
        }
    }
}

impl<B> Body for Replay<B>
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
        if this.given < this.kept() {
            let again = match this.given {
                0 => this.first.clone(),
                at => Some(this.rest[at - 1].clone()),
            };
            this.given += 1;
            return Poll::Ready(again.map(|data| Ok(Frame::data(data))));
        }
        if let Some(trailers) = &this.trailers {
            return Poll::Ready(Some(Ok(Frame::trailers(HeaderMap::clone(trailers)))));
        }
        let frame = std::task::ready!(Pin::new(&mut this.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            if let Some(data) = frame.data_ref() {
                this.keep(data);
            } else if this.keep == Keep::All {
                this.trailers = frame.trailers_ref().cloned().map(Box::new);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.given >= self.kept() && self.trailers.is_none() && self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, convert::Infallible};

    use proptest::prelude::*;

    use super::*;

    struct Frames(VecDeque<Bytes>);

    impl Body for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(|data| Ok(Frame::data(data))))
        }
    }

    fn read(body: &mut Replay<Frames>, frames: usize) -> Vec<Bytes> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        (0..frames)
            .map_while(|_| match Pin::new(&mut *body).poll_frame(&mut cx) {
                Poll::Ready(Some(Ok(frame))) => frame.into_data().ok(),
                _ => None,
            })
            .collect()
    }

    proptest! {
        #[test]
        fn every_attempt_sees_the_whole_body_from_the_start(
            sizes in prop::collection::vec(0_usize..9_000, 0..7),
            reads in prop::collection::vec(0_usize..8, 0..4),
        ) {
            let frames: Vec<_> = sizes.iter().map(|&size| Bytes::from(vec![1; size])).collect();
            let mut body = Replay::new(Frames(frames.clone().into()));
            for frames in reads {
                read(&mut body, frames);
                prop_assert!(body.rewind());
            }
            prop_assert_eq!(read(&mut body, usize::MAX), frames);
        }
    }

    #[test]
    fn a_body_over_the_bound_is_sent_whole_and_only_once() {
        let frames: Vec<_> = (0..9).map(|n| Bytes::from(vec![n; 8 << 10])).collect();
        let mut body = Replay::new(Frames(frames.clone().into()));
        assert_eq!(read(&mut body, 8).len(), 8);
        assert!(body.rewind());
        assert_eq!(read(&mut body, 9), frames);
        assert!(!body.rewind());
        assert!(read(&mut body, 1).is_empty());
    }

    #[test]
    fn a_committed_body_goes_on_where_it_was() {
        let frames: Vec<_> = (0..4).map(|n| Bytes::from(vec![n; 3])).collect();
        let mut body = Replay::new(Frames(frames.clone().into()));
        read(&mut body, 2);
        body.commit();
        assert!(!body.is_end_stream());
        assert_eq!(read(&mut body, 9), frames[2..]);
    }
}
