//! A request's body that can be sent again.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};

use super::{
    frames::Frames,
    pool::{Pool, Reserved},
};

/// Bytes of a request kept to send it again. A larger one can be repeated only as long as nothing of it was read.
const KEPT_BYTES_MAX: u32 = 64 << 10;
/// Bytes that a call may keep without asking what others keep: counting each small one would cost more than it is worth.
const FREE_BYTES_MAX: u32 = 1 << 10;

/// A body that keeps what was read of it until the call is committed to a node.
pub(crate) struct Replay<B> {
    body: B,
    /// The first frame has a place of its own: most calls have no second, and need no list.
    first: Option<Bytes>,
    rest: Vec<Bytes>,
    /// Frames to give out again before the body is read on.
    given: u32,
    kept_bytes: u32,
    keep: Keep,
    /// Apart, since hardly any request has it and it would make the call's future larger.
    rare: Option<Box<Rare>>,
}

#[derive(Default)]
struct Rare {
    trailers: Option<HeaderMap>,
    /// For what is kept beyond a little.
    reserved: Option<Reserved>,
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
        Self { body, first: None, rest: Vec::new(), given: 0, kept_bytes: 0, keep: Keep::All, rare: None }
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

    /// Reads it to its end, as far as it is there at once. `None` if it is not, if it is too much to keep, or has trailers; it can be
    /// read as before then.
    pub(crate) fn gather(&mut self, cx: &mut Context<'_>) -> Result<Option<Frames>, B::Error>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        while !self.body.is_end_stream() {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Ok(None),
                Poll::Ready(None) => break,
                Poll::Ready(Some(frame)) => frame?,
            };
            match frame.into_data() {
                Ok(data) => self.store(data),
                Err(frame) => {
                    self.rare.get_or_insert_default().trailers = frame.into_trailers().ok();
                    return Ok(None);
                }
            }
            if self.kept_bytes > KEPT_BYTES_MAX {
                self.keep = Keep::Nothing;
                return Ok(None);
            }
        }
        Ok(Some(Frames::new(self.first.iter().chain(&self.rest).cloned().collect())))
    }

    fn store(&mut self, data: Bytes) {
        self.kept_bytes = self.kept_bytes.saturating_add(size(&data));
        if self.first.is_none() {
            self.first = Some(data);
        } else {
            self.rest.push(data);
        }
    }

    /// Counts what is kept, if it is more than a little, against what all calls may keep; without room for it, it is kept no longer.
    pub(crate) fn account(&mut self, pool: &Arc<Pool>) {
        if self.kept_bytes > FREE_BYTES_MAX && self.keep == Keep::All {
            let rare = self.rare.get_or_insert_default();
            let reserved = rare.reserved.get_or_insert_with(|| pool.reserve());
            if !reserved.grow_to(self.kept_bytes as usize) && self.given >= self.kept() {
                self.forget();
            }
        }
    }

    /// Frames that were given out since the start.
    pub(crate) fn given(&self) -> u32 {
        self.given
    }

    /// Goes on after this many frames, which a copy has given out.
    pub(crate) fn resume(&mut self, given: u32) {
        self.given = given.min(self.kept());
    }

    /// It will not be sent again.
    pub(crate) fn commit(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.trailers = None;
        }
        if self.given >= self.kept() {
            self.forget();
        }
        self.keep = Keep::Nothing;
    }

    fn trailers(&self) -> Option<&HeaderMap> {
        self.rare.as_ref()?.trailers.as_ref()
    }

    fn forget(&mut self) {
        self.keep = Keep::Nothing;
        self.first = None;
        self.rest = Vec::new();
        self.given = 0;
        if let Some(rare) = &mut self.rare {
            rare.reserved = None;
        }
    }

    fn kept(&self) -> u32 {
        u32::from(self.first.is_some()) + self.rest.len() as u32
    }

    fn keep(&mut self, data: &Bytes) {
        if self.keep == Keep::Nothing {
            return;
        }
        if self.kept_bytes.saturating_add(size(data)) > KEPT_BYTES_MAX {
            self.forget();
        } else {
            self.store(data.clone());
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
                at => Some(this.rest[at as usize - 1].clone()),
            };
            this.given += 1;
            return Poll::Ready(again.map(|data| Ok(Frame::data(data))));
        }
        if let Some(trailers) = this.trailers() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers.clone()))));
        }
        let frame = std::task::ready!(Pin::new(&mut this.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            if let Some(data) = frame.data_ref() {
                this.keep(data);
            } else if this.keep == Keep::All {
                this.rare.get_or_insert_default().trailers = frame.trailers_ref().cloned();
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.given >= self.kept() && self.trailers().is_none() && self.body.is_end_stream()
    }
}

fn size(data: &Bytes) -> u32 {
    u32::try_from(data.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, convert::Infallible};

    use proptest::prelude::*;

    use super::*;

    struct Parts(VecDeque<Bytes>);

    impl Body for Parts {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(|data| Ok(Frame::data(data))))
        }
    }

    fn read(body: &mut Replay<Parts>, frames: usize) -> Vec<Bytes> {
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
            let mut body = Replay::new(Parts(frames.clone().into()));
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
        let mut body = Replay::new(Parts(frames.clone().into()));
        assert_eq!(read(&mut body, 8).len(), 8);
        assert!(body.rewind());
        assert_eq!(read(&mut body, 9), frames);
        assert!(!body.rewind());
        assert!(read(&mut body, 1).is_empty());
    }

    #[test]
    fn a_committed_body_goes_on_where_it_was() {
        let frames: Vec<_> = (0..4).map(|n| Bytes::from(vec![n; 3])).collect();
        let mut body = Replay::new(Parts(frames.clone().into()));
        read(&mut body, 2);
        body.commit();
        assert!(!body.is_end_stream());
        assert_eq!(read(&mut body, 9), frames[2..]);
    }

    #[test]
    fn what_there_is_no_room_for_is_sent_and_not_kept() {
        let frames = || Parts(VecDeque::from([Bytes::from(vec![1; 600]), Bytes::from(vec![2; 600])]));
        let pool = Pool::with_max(2000);
        let (mut one, mut other) = (Replay::new(frames()), Replay::new(frames()));
        for body in [&mut one, &mut other] {
            assert_eq!(read(body, 2).len(), 2);
            body.account(&pool);
        }
        assert!(one.rewind() && !other.rewind());
        assert_eq!((read(&mut one, 2).len(), read(&mut other, 2).len()), (2, 0));
        one.commit();
        let mut third = Replay::new(frames());
        read(&mut third, 2);
        third.account(&pool);
        assert!(third.rewind(), "what was kept has been let go");
    }

    #[test]
    fn a_body_that_is_there_is_gathered_and_goes_on_where_its_copy_was() {
        let parts = [Bytes::from_static(b"a"), Bytes::from_static(b"b")];
        let mut body = Replay::new(Parts(VecDeque::from(parts.clone())));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let copy = body.gather(&mut cx).unwrap().unwrap();
        let mut copied = Replay::new(copy);
        for part in &parts {
            let frame = Pin::new(&mut copied)
                .poll_frame(&mut cx)
                .map(|frame| frame.unwrap().unwrap().into_data().unwrap());
            assert_eq!(frame, Poll::Ready(part.clone()));
        }
        assert!(copied.is_end_stream());
        assert!(body.is_whole());
        body.resume(1);
        body.commit();
        assert_eq!(read(&mut body, 2), parts[1..]);
    }

    #[test]
    fn a_body_too_large_to_gather_is_still_sent_whole() {
        let parts =
            [Bytes::from(vec![1; 60 << 10]), Bytes::from(vec![2; 60 << 10]), Bytes::from_static(b"end")];
        let mut body = Replay::new(Parts(VecDeque::from(parts.clone())));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(body.gather(&mut cx).unwrap().is_none());
        assert!(!body.is_whole());
        assert_eq!(read(&mut body, 3), parts);
    }
}
