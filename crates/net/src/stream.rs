//! One request and its response, driven by the caller.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use h2::{Reason, SendStream, client::ResponseFuture};
use http::{HeaderMap, Request, Response};
use http_body::Body;

use crate::{
    connection::{Connection, Slot},
    error::{Disposition, Error, ErrorKind},
    incoming::Incoming,
};

/// A stream whose response has not begun.
pub struct Stream {
    response: ResponseFuture,
    /// Moves on to the response body.
    slot: Option<Slot>,
    /// Bytes that had left the connection when the stream was opened.
    bytes_written: u64,
}

/// The sending half of a stream: takes a body, frame by frame, as the peer makes room.
pub struct Outgoing {
    /// `None` once everything was handed over, or nobody wants it any more.
    stream: Option<SendStream<Bytes>>,
    /// The frame that waits for room.
    current: Option<Bytes>,
    /// What follows it: read ahead, so that the last frame can carry the end of the stream.
    ahead: Ahead,
    /// Whether a frame was sent; the first small one goes without asking for room, as most calls have no other.
    begun: bool,
}

enum Ahead {
    Unknown,
    Data(Bytes),
    /// Apart, since hardly any request has them and they would make its future larger.
    Trailers(Box<HeaderMap>),
    End,
}

/// A first frame up to this size is handed over without waiting for the peer's window: HTTP/2's smallest frame limit.
const EAGER_BYTES_MAX: usize = 16 << 10;

// === impl Slot ===

impl Slot {
    /// Opens a stream with the head of a request; `end` says that there is no body.
    ///
    /// # Errors
    ///
    /// With [`Disposition::Unsent`], always: the request was not taken. [`ErrorKind::Request`] if no connection would take it.
    pub fn open(
        self,
        connection: &Connection,
        head: Request<()>,
        end: bool,
    ) -> Result<(Stream, Outgoing), Error> {
        let bytes_written = self.shared.activity.bytes_written();
        let mut sender = connection.sender.clone();
        let (response, stream) = sender.send_request(head, end).map_err(|error| {
            // A connection that would take another request objects to this one.
            let usable = connection.sender.clone().poll_ready(&mut Context::from_waker(Waker::noop()));
            let (kind, message) = match usable {
                Poll::Ready(Ok(())) => (ErrorKind::Request, "HTTP/2 has no words for the request"),
                _ => (ErrorKind::GoAway, "the connection takes no more requests"),
            };
            Error::new(kind, Disposition::Unsent, message).with_source(error)
        })?;
        let outgoing =
            Outgoing { stream: (!end).then_some(stream), current: None, ahead: Ahead::Unknown, begun: false };
        Ok((Stream { response, slot: Some(self), bytes_written }, outgoing))
    }
}

// === impl Stream ===

impl Stream {
    /// The response's head, with its body behind it.
    ///
    /// # Errors
    ///
    /// Why there is none, with what is known of the request's fate.
    pub fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<Incoming>, Error>> {
        let answer = ready!(Pin::new(&mut self.response).poll(cx));
        let Some(slot) = self.slot.take() else {
            return Poll::Ready(Err(Error::new(
                ErrorKind::Request,
                Disposition::Unknown,
                "the response was taken already",
            )));
        };
        Poll::Ready(match answer {
            Ok(response) => {
                slot.shared.answered();
                Ok(response.map(|body| Incoming::new(body, slot)))
            }
            Err(error) => {
                let shared = &slot.shared;
                let error = shared.explain(Error::of_stream(error));
                // Nothing at all left the machine since the stream was opened, so neither did this request.
                let unsent = shared.activity.bytes_written() == self.bytes_written;
                Err(if unsent { error.disposed(Disposition::Unsent) } else { error })
            }
        })
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("slot", &self.slot).finish_non_exhaustive()
    }
}

// === impl Outgoing ===

impl Outgoing {
    /// Whether everything was handed over, or nobody wants it any more.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.stream.is_none()
    }

    /// Sends `body` as far as the peer makes room; ready when all is handed over.
    ///
    /// A peer that stops listening is no error here: its response, or the lack of it, tells the story.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Body`] when the body itself fails; the stream is then reset.
    pub fn poll_send<B>(&mut self, cx: &mut Context<'_>, mut body: Pin<&mut B>) -> Poll<Result<(), Error>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        while self.stream.is_some() {
            if let Err(error) = self.look_ahead(cx, body.as_mut()) {
                self.abandon(Reason::CANCEL);
                return Poll::Ready(Err(error));
            }
            if self.current.is_some() {
                ready!(self.poll_send_current(cx));
                continue;
            }
            match std::mem::replace(&mut self.ahead, Ahead::Unknown) {
                Ahead::Data(data) => self.current = Some(data),
                Ahead::Trailers(trailers) => self.finish(|stream| stream.send_trailers(*trailers)),
                Ahead::End => self.finish(|stream| stream.send_data(Bytes::new(), true)),
                Ahead::Unknown => {
                    // Nothing to send now; learn meanwhile of a peer that has lost interest.
                    ready!(self.poll_reset(cx));
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Gives the stream up, telling the peer why.
    pub fn abandon(&mut self, reason: Reason) {
        if let Some(mut stream) = self.stream.take() {
            stream.send_reset(reason);
        }
    }

    fn look_ahead<B>(&mut self, cx: &mut Context<'_>, body: Pin<&mut B>) -> Result<(), Error>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if !matches!(self.ahead, Ahead::Unknown) {
            return Ok(());
        }
        self.ahead = match body.poll_frame(cx) {
            Poll::Pending => Ahead::Unknown,
            Poll::Ready(None) => Ahead::End,
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => Ahead::Data(data),
                Err(frame) => frame
                    .into_trailers()
                    .map_or(Ahead::Unknown, |trailers| Ahead::Trailers(Box::new(trailers))),
            },
            Poll::Ready(Some(Err(error))) => {
                return Err(Error::new(ErrorKind::Body, Disposition::Unknown, "the request's body failed")
                    .with_source(error));
            }
        };
        Ok(())
    }

    /// Sends the current frame, in pieces where the peer has little room; ready when it is gone.
    fn poll_send_current(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let last = matches!(self.ahead, Ahead::End);
        while let (Some(stream), Some(data)) = (&mut self.stream, &mut self.current) {
            let room = if !self.begun && data.len() <= EAGER_BYTES_MAX {
                data.len()
            } else if data.is_empty() {
                0
            } else {
                stream.reserve_capacity(data.len());
                match ready!(stream.poll_capacity(cx)) {
                    Some(Ok(room)) => room.min(data.len()),
                    Some(Err(_)) | None => {
                        self.stream = None;
                        return Poll::Ready(());
                    }
                }
            };
            self.begun = true;
            let piece = data.split_to(room);
            let whole = data.is_empty();
            let sent = stream.send_data(piece, last && whole);
            if whole {
                self.current = None;
            }
            if sent.is_err() || (last && whole) {
                self.stream = None;
            }
        }
        Poll::Ready(())
    }

    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(stream) = &mut self.stream {
            // Either answer means that nothing more is wanted.
            let _ = ready!(stream.poll_reset(cx));
            self.stream = None;
        }
        Poll::Ready(())
    }

    /// Says the last word. If the peer does not take it, its response says why.
    fn finish(&mut self, last: impl FnOnce(&mut SendStream<Bytes>) -> Result<(), h2::Error>) {
        if let Some(mut stream) = self.stream.take() {
            let _ = last(&mut stream);
        }
    }
}

impl Drop for Outgoing {
    /// A body that is given up half-way must not leave the peer waiting for the rest.
    fn drop(&mut self) {
        self.abandon(Reason::CANCEL);
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("done", &self.is_done()).finish_non_exhaustive()
    }
}
