//! One call on the server: counted from its arrival to the end of its reply, and ended by its deadline, by the server's
//! leaving, or by a panic of its handler, each with a status that the caller can read.

use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body};

use super::{
    connection::ConnectionInfo,
    mount::{Mounts, is_grpc, plain},
};

/// What all calls of a server share.
#[derive(Debug)]
pub(crate) struct Calls {
    mounts: Mounts,
    /// Calls of the application since the start: health checks and reflection are not among them.
    started: AtomicU64,
    inflight: AtomicUsize,
    idle: Notify,
    /// Ends health watches and reflection streams, which would otherwise last as long as their client likes.
    chatter_ends: CancellationToken,
    /// Ends every call.
    all_ends: CancellationToken,
}

/// Holds a call's place in the count.
#[derive(Debug)]
struct InFlight(Option<Arc<Calls>>);

/// A reply whose end is watched.
pub(crate) struct CallBody {
    inner: Body,
    end: End,
    /// Made only when the reply makes us wait: most do not.
    stop: Option<Pin<Box<dyn Future<Output = Status> + Send>>>,
    /// Dropped with the reply, which is when the call is over.
    _inflight: InFlight,
}

/// What can end a call early.
#[derive(Debug, Clone)]
struct End {
    deadline: Option<(Instant, Duration)>,
    cut: CancellationToken,
    grpc: bool,
}

// === impl Calls ===

impl Calls {
    pub(crate) fn new(mounts: Mounts) -> Arc<Self> {
        Arc::new(Self {
            mounts,
            started: AtomicU64::new(0),
            inflight: AtomicUsize::new(0),
            idle: Notify::new(),
            chatter_ends: CancellationToken::new(),
            all_ends: CancellationToken::new(),
        })
    }

    /// How many calls of the application have come so far.
    pub(crate) fn started(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
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

    /// Answers one request, whatever happens to its handler.
    pub(crate) async fn serve(
        self: Arc<Self>,
        connection: ConnectionInfo,
        mut request: Request<hyper::body::Incoming>,
    ) -> Response<CallBody> {
        let chatter = is_chatter(request.uri().path());
        let grpc = is_grpc(&request);
        let timeout = if grpc { grpc_timeout(request.headers()) } else { None };
        let end = End {
            deadline: timeout.map(|timeout| (Instant::now() + timeout, timeout)),
            cut: if chatter { self.chatter_ends.clone() } else { self.all_ends.clone() },
            grpc,
        };
        let inflight = if chatter { InFlight(None) } else { InFlight::new(&self) };
        request.extensions_mut().insert(connection);
        let handler = AssertUnwindSafe(self.mounts.call(request.map(Body::new))).catch_unwind();
        let response = tokio::select! {
            // The handler first: an answer that is there is given.
            biased;
            answered = handler => answered.unwrap_or_else(|_| panicked(grpc)),
            status = end.clone().wait() => refusal(status, grpc),
        };
        response.map(|inner| CallBody { inner, end, stop: None, _inflight: inflight })
    }
}

// === impl InFlight ===

impl InFlight {
    fn new(calls: &Arc<Calls>) -> Self {
        calls.started.fetch_add(1, Ordering::Relaxed);
        calls.inflight.fetch_add(1, Ordering::AcqRel);
        Self(Some(calls.clone()))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(calls) = &self.0
            && calls.inflight.fetch_sub(1, Ordering::AcqRel) == 1
        {
            calls.idle.notify_waiters();
        }
    }
}

// === impl End ===

impl End {
    async fn wait(self) -> Status {
        let Self { deadline, cut, grpc: _ } = self;
        let expired = async {
            match deadline {
                Some((at, timeout)) => {
                    tokio::time::sleep_until(at).await;
                    timeout
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            timeout = expired => {
                Status::deadline_exceeded(format!("the handler did not end within the {timeout:?} it was given"))
            }
            () = cut.cancelled() => leaving(),
        }
    }
}

// === impl CallBody ===

impl http_body::Body for CallBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        let stop = this.stop.get_or_insert_with(|| Box::pin(this.end.clone().wait()));
        let Poll::Ready(status) = stop.as_mut().poll(cx) else { return Poll::Pending };
        // The handler's stream goes, and its resources with it, before the caller hears of it.
        this.inner = Body::empty();
        this.stop = None;
        if !this.end.grpc {
            return Poll::Ready(Some(Err(status)));
        }
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn is_chatter(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(is_ours)
}

/// Whether a service is one that every server of ours has.
pub(crate) fn is_ours(service: &str) -> bool {
    service.starts_with("grpc.health.") || service.starts_with("grpc.reflection.")
}

/// The status of calls that a leaving server cuts. The pushback of zero says: again at once, somewhere else.
fn leaving() -> Status {
    let mut status = Status::unavailable("the server is shutting down and its time to finish calls is over");
    status.metadata_mut().insert("grpc-retry-pushback-ms", tonic::metadata::MetadataValue::from_static("0"));
    status
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

/// The time that the caller gives, as the gRPC protocol writes it: at most eight digits and a unit.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeout(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", text.parse().unwrap());
        grpc_timeout(&headers)
    }

    #[test]
    fn a_timeout_is_read_in_each_unit() {
        assert_eq!(timeout("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(timeout("3M"), Some(Duration::from_secs(180)));
        assert_eq!(timeout("4S"), Some(Duration::from_secs(4)));
        assert_eq!(timeout("5m"), Some(Duration::from_millis(5)));
        assert_eq!(timeout("6u"), Some(Duration::from_micros(6)));
        assert_eq!(timeout("99999999n"), Some(Duration::from_nanos(99_999_999)));
    }

    #[test]
    fn a_timeout_that_breaks_the_rules_is_as_good_as_none() {
        for bad in ["", "1", "S", "123456789S", "-1S", "+1S", "1.5S", "1s", " 1S"] {
            assert_eq!(timeout(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn only_health_and_reflection_are_chatter() {
        assert!(is_chatter("/grpc.health.v1.Health/Watch"));
        assert!(is_chatter("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"));
        assert!(!is_chatter("/greeter.Greeter/Hello"));
    }

    #[test]
    fn a_call_counts_until_it_is_dropped() {
        let calls = Calls::new(Mounts::new("greeter"));
        let (one, two) = (InFlight::new(&calls), InFlight::new(&calls));
        assert_eq!((calls.started(), calls.inflight()), (2, 2));
        assert!(calls.idle().now_or_never().is_none());
        drop((one, two));
        assert_eq!((calls.started(), calls.inflight()), (2, 0));
        assert!(calls.idle().now_or_never().is_some());
    }
}
