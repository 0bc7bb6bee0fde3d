//! Keeps the channel's report of a call, which tonic drops with the response when the status is not OK.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use callsign::{CallReport, Channel};
use tonic::{body::Body, codegen::Service, codegen::http};

/// A channel that remembers the report of its last call. Each clone made with [`new`](Self::new) has its own memory.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    channel: Channel,
    last: Arc<Mutex<Option<CallReport>>>,
}

// === impl Recorder ===

impl Recorder {
    /// Wraps a channel.
    pub(crate) fn new(channel: Channel) -> Self {
        Self { channel, last: Arc::default() }
    }

    /// The report of the last call, taken out.
    pub(crate) fn take(&self) -> Option<CallReport> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Service<http::Request<Body>> for Recorder {
    type Response = <Channel as Service<http::Request<Body>>>::Response;
    type Error = <Channel as Service<http::Request<Body>>>::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::<http::Request<Body>>::poll_ready(&mut self.channel, cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let call = self.channel.call(request);
        let last = self.last.clone();
        Box::pin(async move {
            let response = call.await?;
            let report = response.extensions().get::<CallReport>().cloned();
            *last.lock().unwrap_or_else(PoisonError::into_inner) = report;
            Ok(response)
        })
    }
}
