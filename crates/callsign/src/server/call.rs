//! One call on the server: counted from its arrival to the end of its reply, and ended by its deadline, by its caller's going
//! away, by the server's leaving, or by a panic of its handler, each with a status that the caller can read.
//!
//! A call passes two points. It is *received* by its connection's task, which is when its deadline begins to count. It *begins*
//! in a task of its own, when a thread is free for it: on a busy server that may be a while later, so its deadline is looked at
//! again before its handler runs.

mod body;
mod end;

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Request, Response, StatusCode};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body};

pub(crate) use self::body::CallBody;
use self::end::{End, Time, Why};
use super::{
    connection::ConnectionInfo,
    meter::CallMeter,
    mount::{Mounts, is_grpc, plain},
};
use crate::BoxError;

/// What all calls of a server share.
#[derive(Debug)]
pub(crate) struct Calls {
    mounts: Mounts,
    meter: CallMeter,
    inflight: AtomicUsize,
    idle: Notify,
    /// Ends health watches and reflection streams, which would otherwise last as long as their client likes.
    chatter_ends: CancellationToken,
    /// Ends every call.
    all_ends: CancellationToken,
}

/// A call's place in the count, until its reply has been sent or is dropped.
#[derive(Debug)]
struct Underway {
    /// None for health checks and reflection, which are not counted.
    calls: Option<Arc<Calls>>,
    /// What became of it is known.
    settled: bool,
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
    pub(crate) fn new(mounts: Mounts) -> Arc<Self> {
        Arc::new(Self {
            mounts,
            meter: CallMeter::default(),
            inflight: AtomicUsize::new(0),
            idle: Notify::new(),
            chatter_ends: CancellationToken::new(),
            all_ends: CancellationToken::new(),
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
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let now = Instant::now();
        let chatter = is_chatter(request.uri().path());
        let grpc = is_grpc(&request);
        let cut = if chatter { &self.chatter_ends } else { &self.all_ends };
        let time = if grpc { Time::of(&request, now) } else { Ok(None) };
        let received = time.map(|time| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(connection);
            if let Some(time) = time {
                request.extensions_mut().insert(time.deadline);
            }
            let underway = Underway::new((!chatter).then_some(self));
            Received { end: End::new(time, cut.clone()), grpc, underway, request }
        });
        let calls = self.clone();
        async move {
            match received {
                Ok(received) => calls.answer(received).await,
                Err(status) => calls.refuse(status, grpc),
            }
        }
    }

    async fn answer(&self, received: Received) -> Response<CallBody> {
        let Received { end, grpc, mut underway, request } = received;
        let response = match end.reached() {
            // Nobody waits for it.
            Some(why @ Why::Expired(given)) => {
                underway.end(why);
                if underway.is_counted() {
                    self.meter.count_unbegun();
                }
                let text = format!("the {given:?} it was given had passed before the call could begin");
                refusal(Status::deadline_exceeded(text), grpc)
            }
            _ => {
                let handler = AssertUnwindSafe(self.mounts.call(request)).catch_unwind();
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
        response.map(|inner| CallBody::new(inner, end, grpc, underway))
    }

    /// An answer to a request that is no call.
    fn refuse(&self, status: Status, grpc: bool) -> Response<CallBody> {
        let end = End::new(None, self.all_ends.clone());
        refusal(status, grpc).map(|inner| CallBody::new(inner, end, grpc, Underway::new(None)))
    }
}

// === impl Underway ===

impl Underway {
    fn new(calls: Option<&Arc<Calls>>) -> Self {
        if let Some(calls) = calls {
            calls.meter.count_started();
            calls.inflight.fetch_add(1, Ordering::AcqRel);
        }
        Self { calls: calls.cloned(), settled: false }
    }

    fn is_counted(&self) -> bool {
        self.calls.is_some()
    }

    /// Its reply is complete.
    fn finish(&mut self) {
        self.settled = true;
    }

    /// It was ended before its handler was done.
    fn end(&mut self, why: Why) {
        self.settled = true;
        if let Some(calls) = &self.calls
            && matches!(why, Why::Expired(_))
        {
            calls.meter.count_expired();
        }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        let Some(calls) = &self.calls else { return };
        if !self.settled {
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
    service.starts_with("grpc.health.") || service.starts_with("grpc.reflection.")
}

fn panicked(grpc: bool) -> Response<Body> {
    tracing::error!("a handler panicked; its caller gets INTERNAL");
    refusal(Status::internal("the handler panicked: see the server's standard error"), grpc)
}

fn refusal(status: Status, grpc: bool) -> Response<Body> {
    if grpc {
        return status.into_http();
    }
    let code = match status.code() {
        tonic::Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    plain(code, format!("{}\n", status.message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_health_and_reflection_are_chatter() {
        assert!(is_chatter("/grpc.health.v1.Health/Watch"));
        assert!(is_chatter("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"));
        assert!(!is_chatter("/greeter.Greeter/Hello"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_passes_before_the_call_can_begin_is_seen() {
        let calls = Calls::new(Mounts::new("greeter"));
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
        let calls = Calls::new(Mounts::new("greeter"));
        let (mut one, two) = (Underway::new(Some(&calls)), Underway::new(Some(&calls)));
        assert_eq!((calls.started(), calls.inflight()), (2, 2));
        assert!(calls.idle().now_or_never().is_none());
        one.finish();
        drop((one, two));
        assert_eq!((calls.started(), calls.inflight()), (2, 0));
        assert!(calls.idle().now_or_never().is_some());
        assert_eq!(calls.meter().abandoned(), 1, "the one that was not finished");
    }
}
