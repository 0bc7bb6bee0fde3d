//! One call: a request, or a stream of them, and the messages that come back.

use std::{
    collections::VecDeque,
    future::poll_fn,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use callsign_net::{Incoming, Outgoing, Slot, Status as ConnectionStatus, Stream};
use http::{Request, Response, header};
use http_body::{Body, Frame};
use tokio::time::Instant;

use super::{
    fault::Fault,
    grpc::{Frames, Status, code, frame},
    link::Live,
};

/// A call under way. Dropping it resets its stream.
pub(crate) struct Call<R> {
    live: Arc<Live>,
    opened: Instant,
    outgoing: Outgoing,
    requests: Requests,
    answer: Answer,
    frames: Frames,
    messages: PhantomData<fn() -> R>,
}

/// How far the answer has come.
enum Answer {
    Awaited(Stream),
    Body(Incoming),
    Ended,
}

/// What is still to be sent.
struct Requests {
    queue: VecDeque<Bytes>,
    ended: bool,
}

/// Makes one request and reads its one response.
///
/// # Cancel safety
///
/// Dropping the future resets the stream; what was asked for may happen all the same.
pub(super) async fn unary<Q, R>(
    live: &Arc<Live>,
    path: &'static str,
    request: &Q,
    deadline: Instant,
    message_bytes_max: usize,
) -> Result<R, Fault>
where
    Q: prost::Message,
    R: prost::Message + Default,
{
    let mut call = Call::open(live, path, Some(deadline), message_bytes_max).await?;
    call.send(request);
    call.requests.ended = true;
    let Some(response) = call.next().await? else {
        return Err(Fault::Ended { endpoint: live.endpoint().to_owned() });
    };
    // The status follows the message, and may still say that it is not to be believed.
    match call.next().await? {
        None => Ok(response),
        Some(_) => Err(Fault::NotEtcd(format!("{path} was answered twice"))),
    }
}

// === impl Call ===

impl<R: prost::Message + Default> Call<R> {
    /// Opens a stream, waiting for room on the connection.
    pub(super) async fn open(
        live: &Arc<Live>,
        path: &'static str,
        deadline: Option<Instant>,
        message_bytes_max: usize,
    ) -> Result<Self, Fault> {
        let slot = slot(live).await?;
        let head = head(live, path, deadline)?;
        let (stream, outgoing) =
            slot.open(live.connection(), head, false).map_err(|cause| live.broken(cause))?;
        Ok(Self {
            live: live.clone(),
            opened: Instant::now(),
            outgoing,
            requests: Requests { queue: VecDeque::new(), ended: false },
            answer: Answer::Awaited(stream),
            frames: Frames::new(message_bytes_max),
            messages: PhantomData,
        })
    }

    /// Puts a request in line; it goes out while [`next`](Self::next) is waited for.
    pub(crate) fn send(&mut self, request: &impl prost::Message) {
        self.requests.queue.push_back(frame(request));
    }

    /// The connection it is on.
    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Since when it is under way.
    pub(super) fn opened(&self) -> Instant {
        self.opened
    }

    /// The next message; `None` when the call has ended well.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is lost.
    pub(crate) async fn next(&mut self) -> Result<Option<R>, Fault> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<R>, Fault>> {
        // Sending goes on beside receiving; a peer that takes nothing more says so in its answer.
        if let Poll::Ready(Err(cause)) = self.outgoing.poll_send(cx, Pin::new(&mut self.requests)) {
            return Poll::Ready(Err(self.live.broken(cause)));
        }
        loop {
            if let Some(message) = self.frames.next()? {
                return Poll::Ready(
                    R::decode(message)
                        .map(Some)
                        .map_err(|error| Fault::NotEtcd(format!("a message cannot be read: {error}"))),
                );
            }
            match &mut self.answer {
                Answer::Awaited(stream) => {
                    let answer = ready!(stream.poll_response(cx)).map_err(|cause| self.live.broken(cause))?;
                    self.begin(answer)?;
                }
                Answer::Body(body) => match ready!(Pin::new(body).poll_frame(cx)) {
                    Some(Ok(part)) => self.take(part)?,
                    Some(Err(cause)) => return Poll::Ready(Err(self.live.broken(cause))),
                    None => {
                        self.answer = Answer::Ended;
                        return Poll::Ready(Err(Fault::Ended { endpoint: self.live.endpoint().to_owned() }));
                    }
                },
                Answer::Ended => return Poll::Ready(Ok(None)),
            }
        }
    }

    fn begin(&mut self, answer: Response<Incoming>) -> Result<(), Fault> {
        let (head, body) = answer.into_parts();
        let kind = head.headers.get(header::CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
        if !kind.starts_with(b"application/grpc") {
            let kind = String::from_utf8_lossy(kind);
            return Err(Fault::NotEtcd(format!(
                "{} answered with HTTP status {} and content type {kind:?}",
                self.live.endpoint(),
                head.status.as_u16()
            )));
        }
        self.answer = Answer::Body(body);
        Status::of(&head.headers).map_or(Ok(()), |status| self.end(status))
    }

    fn take(&mut self, part: Frame<Bytes>) -> Result<(), Fault> {
        match part.into_data() {
            Ok(data) => {
                self.frames.push(&data);
                Ok(())
            }
            Err(part) => {
                let trailers = part.into_trailers().unwrap_or_default();
                let status = Status::of(&trailers);
                self.end(status.unwrap_or(Status { code: code::UNKNOWN, message: "no status".into() }))
            }
        }
    }

    fn end(&mut self, status: Status) -> Result<(), Fault> {
        self.answer = Answer::Ended;
        if status.code != code::OK {
            return Err(Fault::refused(self.live.endpoint(), status));
        }
        if self.frames.is_partial() {
            return Err(Fault::NotEtcd("its answer ended in the middle of a message".into()));
        }
        Ok(())
    }
}

impl<R> std::fmt::Debug for Call<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("endpoint", &self.live.endpoint()).finish_non_exhaustive()
    }
}

// === impl Requests ===

impl Body for Requests {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    /// Nobody is woken when a request is put in line: whoever does that polls next.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.queue.pop_front() {
            Some(request) => Poll::Ready(Some(Ok(Frame::data(request)))),
            None if self.ended => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

/// The right to open a stream on the connection, waited for where something in between allows only few.
async fn slot(live: &Live) -> Result<Slot, Fault> {
    let (connection, bundle) = (live.connection(), live.bundle());
    if let Some(slot) = connection.try_slot() {
        return Ok(slot);
    }
    let turn = bundle.queue();
    let found = loop {
        let called = turn.call();
        if let Some(slot) = connection.slot_for(&turn) {
            break Ok(slot);
        }
        if connection.status() != ConnectionStatus::Open {
            break Err(live.gone());
        }
        called.await;
    };
    // There may be room for the next in line, or nothing to wait for.
    bundle.make_room();
    found
}

fn head(live: &Live, path: &'static str, deadline: Option<Instant>) -> Result<Request<()>, Fault> {
    let mut head = Request::post(format!("{}://{}{path}", live.scheme(), live.endpoint()))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, concat!("callsign/", env!("CARGO_PKG_VERSION")))
        // A member that has lost its leader says so instead of waiting for one.
        .header("hasleader", "true");
    if let Some(deadline) = deadline {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis().clamp(1, 99_999_999);
        head = head.header("grpc-timeout", format!("{left}m"));
    }
    if let Some(token) = live.token() {
        head = head.header("token", token.clone());
    }
    head.body(()).map_err(|error| Fault::NotEtcd(format!("{} cannot be asked: {error}", live.endpoint())))
}
