//! One call on the server: counted from its arrival to the end of its reply, and ended by its deadline, by its caller's going
//! away, by the server's leaving, or by a panic of its handler, each with a status that the caller can read.
//!
//! A call passes two points. It is *received* by its connection's task, which is when its deadline begins to count and when it is
//! refused if there are too many. It *begins* in a task of its own, when a thread is free for it: on a busy server that may be a
//! while later, so its deadline is looked at again before its handler runs. It holds its place among those that the server works
//! on from its receipt to the head of its reply.

mod body;
mod end;
mod refusal;
mod request;
mod span;

use std::{
    fmt,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use callsign_core::select::{Probe, hash_key};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, Request, Response, Version, request::Parts};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body};
use tracing::{Instrument as _, Span};

pub(crate) use self::body::CallBody;
use self::{
    end::{End, Time, Why},
    refusal::{overloaded, panicked, refusal},
    request::RequestBody,
};
use super::{
    connection::ConnectionInfo,
    limit::{Gate, Left, Place, Priority, Refused},
    meter::CallMeter,
    mount::{Mounts, is_grpc},
    operators::{Business, Desk},
    recent::Recent,
};
use crate::{
    BoxError, PreviousAttempts,
    draining::DRAINING,
    operator, probe,
    trace::{TraceContext, span::CallSpan},
};

/// How much a call matters, by its request.
pub(crate) type Prioritise = Box<dyn Fn(&Parts) -> Priority + Send + Sync>;

/// What all calls of a server share.
pub(crate) struct Calls {
    mounts: Mounts,
    meter: CallMeter,
    /// None when there is no limit.
    gate: Option<Arc<Gate>>,
    /// None to believe what the caller says.
    prioritise: Option<Prioritise>,
    /// None when no operator has a say.
    desk: Option<Desk>,
    /// What the gate's time counts from.
    epoch: Instant,
    inflight: AtomicUsize,
    recent: Recent,
    idle: Notify,
    /// Ends health watches and reflection streams, which would otherwise last as long as their client likes.
    chatter_ends: CancellationToken,
    /// Ends every call.
    all_ends: CancellationToken,
    /// Ends replies that have begun and wait for more to say.
    streams_end: CancellationToken,
}

/// A call's place in the count, until its reply has been sent or is dropped.
struct Underway {
    /// None for health checks, reflection and probes, which are not counted.
    calls: Option<Arc<Calls>>,
    /// None when there is no limit.
    place: Option<Arc<Place>>,
    /// What became of it is known.
    settled: bool,
    /// When it was let in. None for what tells nothing of how long calls take: a refusal is quick.
    since: Option<Instant>,
    /// How many others were in flight when it came.
    among: usize,
    /// Of the call, if somebody wants to see it.
    span: Option<Box<CallSpan>>,
}

/// A call that was received and may begin.
struct Received {
    end: End,
    grpc: bool,
    underway: Underway,
    request: Request<Body>,
}

// === impl Calls ===

impl Calls {
    pub(crate) fn new(
        mounts: Mounts,
        gate: Option<Arc<Gate>>,
        prioritise: Option<Prioritise>,
        desk: Option<Desk>,
    ) -> Arc<Self> {
        let all_ends = CancellationToken::new();
        Arc::new(Self {
            mounts,
            meter: CallMeter::new(gate.clone()),
            gate,
            prioritise,
            desk,
            epoch: Instant::now(),
            inflight: AtomicUsize::new(0),
            recent: Recent::default(),
            idle: Notify::new(),
            chatter_ends: CancellationToken::new(),
            streams_end: all_ends.child_token(),
            all_ends,
        })
    }

    pub(crate) fn meter(&self) -> &CallMeter {
        &self.meter
    }

    /// How many calls of the application have come so far.
    pub(crate) fn started(&self) -> u64 {
        self.meter.started()
    }

    /// How many calls of the application are in flight.
    pub(crate) fn inflight(&self) -> usize {
        self.inflight.load(Ordering::Acquire)
    }

    /// Waits until no call of the application is in flight.
    pub(crate) async fn idle(&self) {
        loop {
            let notified = self.idle.notified();
            if self.inflight() == 0 {
                return;
            }
            notified.await;
        }
    }

    /// Ends health watches and reflection streams.
    pub(crate) fn end_chatter(&self) {
        self.chatter_ends.cancel();
    }

    /// Ends streams of replies that have begun, with UNAVAILABLE.
    pub(crate) fn end_streams(&self) {
        self.streams_end.cancel();
    }

    /// Ends all calls, with UNAVAILABLE.
    pub(crate) fn end_all(&self) {
        self.chatter_ends.cancel();
        self.all_ends.cancel();
    }

    /// Receives a request; the future answers it, whatever happens to its handler.
    pub(crate) fn receive<B>(
        self: &Arc<Self>,
        connection: ConnectionInfo,
        request: Request<B>,
    ) -> impl Future<Output = Response<CallBody>> + Send + use<B>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let now = Instant::now();
        let chatter = is_chatter(request.uri().path());
        let grpc = is_grpc(&request);
        let draining = connection.clone();
        let received = self.admit(connection, request, chatter, grpc, now);
        let calls = self.clone();
        async move {
            let mut response = match received {
                Ok(received) => calls.answer(received).await,
                Err(refused) => {
                    let (refused, underway) = *refused;
                    refused.map(|inner| calls.whole(inner, grpc, underway))
                }
            };
            if draining.is_draining() {
                response.headers_mut().insert(&DRAINING, HeaderValue::from_static("1"));
            }
            response
        }
    }

    /// Takes a request in, or says why not.
    fn admit<B>(
        self: &Arc<Self>,
        connection: ConnectionInfo,
        request: Request<B>,
        chatter: bool,
        grpc: bool,
        now: Instant,
    ) -> Result<Received, Box<(Response<Body>, Underway)>>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let time = if grpc { Time::of(&request, now) } else { Ok(None) };
        let time = time.map_err(|status| Box::new((refusal(status, grpc), Underway::uncounted())))?;
        let (parts, body) = request.into_parts();
        let mut trace = TraceContext::from_headers(&parts.headers);
        let (underway, cut, body) = if chatter {
            (Underway::uncounted(), &self.chatter_ends, Body::new(body))
        } else {
            let mut underway = Underway::new(self);
            underway.place = match self.enter(&parts, now) {
                Ok(place) => place,
                Err(refused) => return Err(Box::new((overloaded(refused, grpc), underway))),
            };
            underway.since = Some(now);
            underway.span = span::of_call(&parts, grpc, connection.peer());
            if let Some(span) = &underway.span {
                trace = span::place(span, trace);
            }
            let body = match &underway.place {
                Some(place) => Body::new(RequestBody::new(body, place.clone(), self.epoch)),
                None => Body::new(body),
            };
            (underway, &self.all_ends, body)
        };
        let mut request = Request::from_parts(parts, body);
        request.extensions_mut().insert(connection);
        if let Some(time) = time {
            request.extensions_mut().insert(time.deadline);
        }
        if let Some(attempts) = PreviousAttempts::of(request.headers()) {
            request.extensions_mut().insert(attempts);
        }
        if let Some(trace) = trace {
            request.extensions_mut().insert(trace);
        }
        Ok(Received { end: End::new(time, cut.clone()), grpc, underway, request })
    }

    /// A place among the calls that are worked on, if there is to be such a thing.
    fn enter(&self, parts: &Parts, now: Instant) -> Result<Option<Arc<Place>>, Refused> {
        let Some(gate) = &self.gate else { return Ok(None) };
        let priority = match &self.prioritise {
            Some(prioritise) => prioritise(parts),
            None => Priority::of(&parts.headers),
        };
        // Which class a method falls into is of no matter, if it is always the same.
        let class = hash_key(parts.uri.path().as_bytes()) as usize;
        gate.enter(priority, class, now - self.epoch).map(|place| Some(Arc::new(place)))
    }

    async fn answer(&self, received: Received) -> Response<CallBody> {
        let Received { end, grpc, mut underway, request } = received;
        let response = match end.reached() {
            // Nobody waits for it.
            Some(why @ Why::Expired(given)) => {
                underway.end(why);
                if underway.calls.is_some() {
                    self.meter.count_unbegun();
                }
                let text = format!("the {given:?} it was given had passed before the call could begin");
                refusal(Status::deadline_exceeded(text), grpc)
            }
            // At once, and not behind what the application does.
            _ if request.uri().path() == probe::PATH => self.tell_load(),
            _ => {
                let span = underway.span.as_ref().map_or_else(Span::none, |seen| seen.span().clone());
                let handler = AssertUnwindSafe(self.handle(request)).catch_unwind().instrument(span);
                tokio::select! {
                    // The handler first: an answer that is there is given.
                    biased;
                    answered = handler => answered.unwrap_or_else(|_| panicked(grpc)),
                    why = end.clone().wait() => {
                        underway.end(why);
                        refusal(why.status(), grpc)
                    }
                }
            }
        };
        underway.leave(Left::Answered);
        if let Some(span) = &underway.span {
            span.hear(response.headers());
        }
        let end = if underway.calls.is_some() { end.cut_by(self.streams_end.clone()) } else { end };
        response.map(|inner| CallBody::new(inner, end, grpc, underway))
    }

    /// By whom it is meant for.
    async fn handle(&self, request: Request<Body>) -> Response<Body> {
        // Over HTTP/2 only: a page in a browser can send what it likes to this machine over HTTP/1.
        let proper = is_grpc(&request) && request.version() >= Version::HTTP_2;
        match &self.desk {
            Some(desk) if proper && request.uri().path().starts_with(operator::SERVICE) => {
                desk.answer(request, || Business { inflight: self.inflight(), started: self.started() }).await
            }
            _ => self.mounts.call(request).await,
        }
    }

    /// An answer that is there as a whole.
    fn whole(&self, inner: Body, grpc: bool, underway: Underway) -> CallBody {
        CallBody::new(inner, End::new(None, self.all_ends.clone()), grpc, underway)
    }

    /// How busy the server is, for clients that choose by that.
    fn tell_load(&self) -> Response<Body> {
        let inflight = self.inflight();
        let latency = self.recent.median(inflight);
        let inflight = u32::try_from(inflight).unwrap_or(u32::MAX);
        probe::response(Probe { inflight, latency })
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls")
            .field("mounts", &self.mounts)
            .field("meter", &self.meter)
            .field("inflight", &self.inflight)
            .finish_non_exhaustive()
    }
}

// === impl Underway ===

impl Underway {
    fn new(calls: &Arc<Calls>) -> Self {
        calls.meter.count_started();
        let among = calls.inflight.fetch_add(1, Ordering::AcqRel);
        Self { calls: Some(calls.clone()), place: None, settled: false, since: None, among, span: None }
    }

    fn uncounted() -> Self {
        Self { calls: None, place: None, settled: false, since: None, among: 0, span: None }
    }

    /// The server has done what there was to do for it.
    fn leave(&self, how: Left) {
        if let (Some(calls), Some(place)) = (&self.calls, &self.place) {
            place.leave(how, calls.epoch.elapsed());
        }
    }

    /// Its reply is complete.
    fn finish(&mut self) {
        if let (Some(calls), Some(since), false) = (&self.calls, self.since, self.settled) {
            calls.recent.record(self.among, since.elapsed());
        }
        self.settled = true;
    }

    /// Tells its span how it went, if it has one.
    fn tell(&self, trailers: Option<&HeaderMap>, grpc: bool) {
        if let Some(span) = &self.span {
            if let Some(trailers) = trailers {
                span.hear(trailers);
            }
            span.end_silently(grpc);
        }
    }

    /// It was ended before its handler was done.
    fn end(&mut self, why: Why) {
        self.settled = true;
        if let Some(span) = &self.span {
            span.end(why.code());
        }
        if matches!(why, Why::Expired(_)) {
            self.leave(Left::GivenUp);
            if let Some(calls) = &self.calls {
                calls.meter.count_expired();
            }
        }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        let Some(calls) = &self.calls else { return };
        if !self.settled {
            self.leave(Left::GivenUp);
            calls.meter.count_abandoned();
        }
        if calls.inflight.fetch_sub(1, Ordering::AcqRel) == 1 {
            calls.idle.notify_waiters();
        }
    }
}

fn is_chatter(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(is_ours)
}

/// Whether a service is one that every server of ours has.
pub(crate) fn is_ours(service: &str) -> bool {
    service.starts_with("grpc.health.")
        || service.starts_with("grpc.reflection.")
        || service.starts_with("callsign.probe.")
        || service.starts_with("callsign.operator.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_health_reflection_and_probes_are_chatter() {
        assert!(is_chatter(probe::PATH));
        assert!(is_chatter("/grpc.health.v1.Health/Watch"));
        assert!(is_chatter("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"));
        assert!(!is_chatter("/greeter.Greeter/Hello"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_passes_before_the_call_can_begin_is_seen() {
        let calls = Calls::new(Mounts::new("greeter"), None, None, None);
        let receive = || {
            let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
            let connection = ConnectionInfo::new(peer, CancellationToken::new());
            let request = Request::post("/greeter.Greeter/Hello")
                .version(http::Version::HTTP_2)
                .header("content-type", "application/grpc")
                .header("grpc-timeout", "100m");
            calls.receive(connection, request.body(Body::empty()).unwrap())
        };
        let code = |response: Response<CallBody>| Status::from_header_map(response.headers()).unwrap().code();
        assert_eq!(code(receive().await), tonic::Code::Unimplemented);
        let waiting = receive();
        tokio::time::advance(std::time::Duration::from_millis(200)).await;
        assert_eq!(code(waiting.await), tonic::Code::DeadlineExceeded);
        assert_eq!((calls.meter().expired(), calls.meter().expired_unbegun()), (1, 1));
        assert_eq!(calls.inflight(), 0);
    }

    #[test]
    fn a_call_counts_until_it_is_dropped() {
        let calls = Calls::new(Mounts::new("greeter"), None, None, None);
        let (mut one, two) = (Underway::new(&calls), Underway::new(&calls));
        assert_eq!((calls.started(), calls.inflight()), (2, 2));
        assert!(calls.idle().now_or_never().is_none());
        one.finish();
        drop((one, two));
        assert_eq!((calls.started(), calls.inflight()), (2, 0));
        assert!(calls.idle().now_or_never().is_some());
        assert_eq!(calls.meter().abandoned(), 1, "the one that was not finished");
    }
}
