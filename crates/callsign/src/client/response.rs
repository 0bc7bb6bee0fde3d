//! A response's body, which keeps the call's place on its node until it has ended.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use callsign_core::{
    Error,
    select::{MethodId, Outcome, Ticket},
};
use callsign_net::{Connection, Incoming};
use http::{HeaderMap, HeaderName, Response, StatusCode, header::RETRY_AFTER};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::DropGuard;

use super::{
    Code,
    channel::Channel,
    decisions::{CallId, Fate, Said},
    failure::Failure,
    link::{Link, describe},
    names,
    repeat::message,
    timeout::Readable,
};
use crate::trace::span::CallSpan;

/// The body of a response. The call counts as in flight on its node until the body has ended or is dropped.
pub struct ResponseBody {
    stream: Option<Incoming>,
    grpc: bool,
    call: Option<Call>,
    /// Of the call, if somebody wants to see it.
    span: Option<Box<CallSpan>>,
}

/// What is to be settled when the body ends.
pub(crate) struct Call {
    pub(crate) link: Arc<Link>,
    pub(crate) connection: Option<Arc<Connection>>,
    pub(crate) ticket: Ticket,
    pub(crate) method: MethodId,
    /// From the sending of the request to the head of the response, and when that was.
    pub(crate) latency: Duration,
    pub(crate) at: Instant,
    /// When the caller's own time is over, and the timer for it once it is needed.
    pub(crate) deadline: Option<Instant>,
    pub(crate) timeout: Duration,
    pub(crate) timer: Option<Pin<Box<Sleep>>>,
    /// What the head of the response says of the outcome, if it does.
    pub(crate) outcome: Option<Outcome>,
    /// Of the attempt, if somebody wants to see it.
    pub(crate) span: Option<Box<CallSpan>>,
    /// Ends the sending of the request.
    pub(crate) _sending: Option<DropGuard>,
    pub(crate) trace: Trace,
    /// Its tasks move the stream.
    pub(crate) channel: Channel,
}

/// Where it is remembered what came of the call.
pub(crate) struct Trace {
    pub(crate) id: Option<CallId>,
    pub(crate) choice: u32,
    /// What the head of the response says.
    pub(crate) said: Option<Said>,
}

// === impl ResponseBody ===

impl ResponseBody {
    pub(crate) fn empty() -> Self {
        Self { stream: None, grpc: false, call: None, span: None }
    }

    pub(crate) fn new(stream: Incoming, grpc: bool, call: Call) -> Self {
        let mut body = Self { stream: Some(stream), grpc, call: Some(call), span: None };
        if body.stream.as_ref().is_some_and(Body::is_end_stream) {
            body.end(None);
        }
        body
    }

    /// The same, in a call that is seen.
    pub(crate) fn seen(mut self, span: Box<CallSpan>) -> Self {
        if self.stream.is_some() {
            self.span = Some(span);
        } else {
            span.end_silently(self.grpc);
        }
        self
    }

    /// Tells the spans how the call went.
    fn tell(&self, trailers: Option<&HeaderMap>) {
        let attempt = self.call.as_ref().and_then(|call| call.span.as_deref());
        for span in [attempt, self.span.as_deref()].into_iter().flatten() {
            if let Some(trailers) = trailers {
                span.hear(trailers);
            }
            span.end_silently(self.grpc);
        }
    }

    /// The stream has ended; `trailers` tell how the call went, unless the head did.
    fn end(&mut self, trailers: Option<&HeaderMap>) {
        self.stream = None;
        self.tell(trailers);
        let Some(mut call) = self.call.take() else { return };
        let now = Instant::now();
        if let Some(trailers) = trailers {
            call.link.read(trailers, now);
        }
        let told = trailers.and_then(outcome_of_trailers);
        let outcome = match told.or(call.outcome) {
            Some(outcome) => outcome,
            // gRPC owes a status; anything else has said all in its head.
            None if self.grpc => Outcome::Failure,
            None => Outcome::Success,
        };
        call.mark(outcome);
        call.conclude(outcome, trailers.and_then(said_in), now);
    }

    /// The stream broke, or its time is over: the caller gets a status where it expects one, else an error.
    fn fail(&mut self, outcome: Outcome, failure: Failure) -> Result<Frame<Bytes>, Error> {
        self.stream = None;
        let attempt = self.call.as_ref().and_then(|call| call.span.as_deref());
        for span in [attempt, self.span.as_deref()].into_iter().flatten() {
            span.end(failure.code);
        }
        if let Some(mut call) = self.call.take() {
            let now = Instant::now();
            call.conclude(outcome, Some((failure.code, failure.message.clone())), now);
            call.link.mark(&call.ticket, call.method, outcome, call.latency + (now - call.at), now);
            if outcome == Outcome::DeadlineExceeded
                && let Some(connection) = &call.connection
            {
                connection.probe();
            }
        }
        if self.grpc { Ok(Frame::trailers(failure.into_trailers())) } else { Err(failure.into_error()) }
    }

    /// Whether the caller's time is over; arms the timer for it.
    fn is_expired(&mut self, cx: &mut Context<'_>) -> Option<Failure> {
        let call = self.call.as_mut()?;
        let deadline = call.deadline?;
        let timer = call.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        timer.as_mut().poll(cx).is_ready().then(|| call.overdue())
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let Some(stream) = &mut this.stream else { return Poll::Ready(None) };
        match Pin::new(stream).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                // A stream that always has more must end too; the trailers are its end.
                if frame.is_data()
                    && let Some(call) = this.call.as_ref().filter(|call| call.is_overdue())
                {
                    let failure = call.overdue();
                    return Poll::Ready(Some(this.fail(Outcome::DeadlineExceeded, failure)));
                }
                if let Some(trailers) = frame.trailers_ref() {
                    this.end(Some(trailers));
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                let at = this.call.as_ref().map(|call| call.link.to_string()).unwrap_or_default();
                let failure =
                    Failure::unavailable(format!("the reply of {at} broke off: {}", describe(&error)));
                Poll::Ready(Some(this.fail(Outcome::Failure, failure)))
            }
            Poll::Ready(None) => {
                this.end(None);
                Poll::Ready(None)
            }
            Poll::Pending => match this.is_expired(cx) {
                Some(failure) => Poll::Ready(Some(this.fail(Outcome::DeadlineExceeded, failure))),
                None => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if let Some(mut call) = self.call.take() {
            call.mark(Outcome::Cancelled);
            call.conclude(Outcome::Cancelled, None, Instant::now());
        }
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").field("ended", &self.stream.is_none()).finish_non_exhaustive()
    }
}

// === impl Call ===

impl Call {
    fn mark(&self, outcome: Outcome) {
        self.link.mark(&self.ticket, self.method, outcome, self.latency, self.at);
    }

    /// Writes down what came of the call.
    fn conclude(&mut self, outcome: Outcome, said: Option<Said>, now: Instant) {
        let said = said.or_else(|| self.trace.said.take());
        let Trace { id, choice, .. } = self.trace;
        let Some(mut record) = id.and_then(|id| self.channel.roster().decisions.place_of(id)) else { return };
        if record.id == id {
            record.settle(choice, Fate::Answered);
            record.end(outcome, said, now);
        }
    }

    fn is_overdue(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn overdue(&self) -> Failure {
        let Self { link, timeout, latency, .. } = self;
        let message = format!(
            "the reply of {link} did not end within {}: it began after {}",
            Readable(*timeout),
            Readable(*latency)
        );
        Failure::new(Code::DeadlineExceeded, message)
    }
}

/// The same for a whole response.
pub(crate) fn outcome_of<B>(response: &Response<B>) -> Option<Outcome> {
    outcome_of_head(response.status(), response.headers())
}

/// What the head of a response says of the outcome. `None` when the trailers will tell.
pub(crate) fn outcome_of_head(status: StatusCode, headers: &HeaderMap) -> Option<Outcome> {
    outcome_of_trailers(headers).or(match status {
        StatusCode::TOO_MANY_REQUESTS => Some(Outcome::Overloaded { retry_after: retry_after(headers) }),
        StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => Some(Outcome::Success),
        status if status.is_server_error() => Some(Outcome::Failure),
        _ => None,
    })
}

/// The status in a response's head or trailers, with its message.
pub(crate) fn said_in(headers: &HeaderMap) -> Option<Said> {
    let code = Code::of(headers)?;
    let message = if code == Code::Ok { String::new() } else { message(headers) };
    Some((code, message))
}

/// The outcome that a gRPC status amounts to: what the node is to blame for, and what its caller.
fn outcome_of_trailers(trailers: &HeaderMap) -> Option<Outcome> {
    let code: u16 = trailers.get(&names::STATUS)?.to_str().ok()?.parse().ok()?;
    Some(match code {
        // UNKNOWN, INTERNAL, UNAVAILABLE, DATA_LOSS
        2 | 13 | 14 | 15 => Outcome::Failure,
        8 => Outcome::Overloaded { retry_after: retry_after(trailers) },
        4 => Outcome::DeadlineExceeded,
        1 => Outcome::Cancelled,
        _ => Outcome::Success,
    })
}

/// gRPC's pushback in milliseconds, or HTTP's in seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &HeaderName| headers.get(name)?.to_str().ok()?.parse().ok();
    number(&names::PUSHBACK)
        .map(Duration::from_millis)
        .or_else(|| number(&RETRY_AFTER).map(Duration::from_secs))
}
