//! Telling clients how busy this server is, at the end of each call, so that they can give it its share (gRFC A51 and A58).

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use callsign_core::select::LoadReport;
use http::{HeaderMap, Response};
use http_body::{Frame, SizeHint};
use tokio::time::Instant;
use tonic::{Status, body::Body};

use crate::orca;

/// Seconds over which calls are averaged.
const SPAN: f64 = 5.0;

/// The application's word on how busy it is, for [`Builder::load_reports`](super::Builder::load_reports). Cheap to clone.
///
/// How many calls are answered, and how many of them fail, is counted by the server. Until the application has said how much of
/// what it can do it does, nothing is reported.
///
/// ```
/// use callsign::server::LoadReporter;
///
/// let load = LoadReporter::new();
/// // let server = Server::builder("greeter").load_reports(&load) ...
/// load.set_application(0.35);
/// load.set("gpu", 0.8);
/// assert_eq!(load.report().application, 0.35);
/// ```
#[derive(Debug, Clone)]
pub struct LoadReporter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    /// Nobody has been told yet of a number that is none.
    trusting: AtomicBool,
}

#[derive(Debug)]
struct State {
    said: LoadReport,
    /// When the rates, which are averages, were brought up to.
    at: Instant,
}

/// A reply that is counted when it ends, and ends with a report.
struct Reporting {
    inner: Body,
    reporter: LoadReporter,
}

// === impl LoadReporter ===

impl LoadReporter {
    /// Nothing is known of the load yet.
    #[must_use]
    pub fn new() -> Self {
        let state = State { said: LoadReport::default(), at: Instant::now() };
        Self(Arc::new(Inner { state: Mutex::new(state), trusting: AtomicBool::new(true) }))
    }

    /// Which part of what it can do the application does: zero is idle, one is all. Above one says that it does too much.
    ///
    /// What is below zero or no number is not taken, which is logged once.
    pub fn set_application(&self, used: f64) {
        self.set_to("application", used, |said| &mut said.application);
    }

    /// Which part of its processors the application uses, from zero to one. Clients go by it where there is no
    /// [`set_application`](Self::set_application).
    pub fn set_cpu(&self, used: f64) {
        self.set_to("cpu", used, |said| &mut said.cpu);
    }

    /// Anything else by name, from zero to one, for clients that ask for it.
    pub fn set(&self, name: &str, used: f64) {
        self.set_to(name, used, |said| said.named.entry(name.to_owned()).or_default());
    }

    /// What is reported now.
    #[must_use]
    pub fn report(&self) -> LoadReport {
        let mut state = self.lock();
        state.settle(Instant::now());
        state.said.clone()
    }

    fn set_to(&self, name: &str, used: f64, place: impl FnOnce(&mut LoadReport) -> &mut f64) {
        if used.is_finite() && used >= 0.0 {
            *place(&mut self.lock().said) = used;
        } else if self.0.trusting.swap(false, Ordering::Relaxed) {
            tracing::warn!(name, used, "a load that is no part of anything is not reported");
        }
    }

    /// Makes a reply end with a report.
    pub(super) fn attach(&self, response: Response<Body>) -> Response<Body> {
        let (mut head, body) = response.into_parts();
        if head.headers.contains_key("grpc-status") {
            // All of it is in the head.
            self.end(&mut head.headers);
            return Response::from_parts(head, body);
        }
        let reporting = Reporting { inner: body, reporter: self.clone() };
        Response::from_parts(head, Body::new(reporting))
    }

    fn end(&self, trailers: &mut HeaderMap) {
        let failed = Status::from_header_map(trailers).is_some_and(|status| is_failure(status.code()));
        let report = {
            let mut state = self.lock();
            state.count(failed, Instant::now());
            let LoadReport { cpu, application, named, .. } = &state.said;
            if *cpu == 0.0 && *application == 0.0 && named.is_empty() {
                return;
            }
            state.said.clone()
        };
        if let Some(value) = orca::encode(&report) {
            trailers.insert(&orca::TRAILER, value);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for LoadReporter {
    fn default() -> Self {
        Self::new()
    }
}

/// What a node is to blame for, as clients have it.
fn is_failure(code: tonic::Code) -> bool {
    use tonic::Code::{DataLoss, Internal, ResourceExhausted, Unavailable, Unknown};
    matches!(code, Unknown | Internal | Unavailable | DataLoss | ResourceExhausted)
}

// === impl State ===

impl State {
    fn count(&mut self, failed: bool, now: Instant) {
        self.settle(now);
        self.said.calls_per_second += 1.0 / SPAN;
        if failed {
            self.said.failures_per_second += 1.0 / SPAN;
        }
    }

    fn settle(&mut self, now: Instant) {
        let kept = (-now.saturating_duration_since(self.at).as_secs_f64() / SPAN).exp();
        self.at = now;
        self.said.calls_per_second *= kept;
        self.said.failures_per_second *= kept;
    }
}

// === impl Reporting ===

impl http_body::Body for Reporting {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let mut frame = std::task::ready!(Pin::new(&mut this.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            this.reporter.end(trailers);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ended(reporter: &LoadReporter, code: &'static str) -> Option<LoadReport> {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static(code));
        reporter.end(&mut trailers);
        trailers.get(&orca::TRAILER).map(|value| orca::decode(value).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_has_what_was_said_and_what_was_counted() {
        let reporter = LoadReporter::new();
        assert_eq!(ended(&reporter, "0"), None, "nothing has been said");
        reporter.set_application(0.5);
        reporter.set("gpu", 0.25);
        for bad in [f64::NAN, -1.0, f64::INFINITY] {
            reporter.set_application(bad);
            reporter.set_cpu(bad);
            reporter.set("gpu", bad);
        }
        let mut last = None;
        // Ten calls a second, one of which fails, and one is refused for what its caller got wrong.
        for n in 0..600 {
            last = ended(&reporter, ["0", "14", "3", "0", "0", "0", "0", "0", "0", "0"][n % 10]);
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        let report = last.unwrap();
        assert_eq!((report.application, report.cpu, report.named["gpu"]), (0.5, 0.0, 0.25));
        assert!((9.5..10.5).contains(&report.calls_per_second), "{report:?}");
        assert!((0.8..1.2).contains(&report.failures_per_second), "{report:?}");
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(reporter.report().calls_per_second < 0.01);
    }
}
