//! Between the queue and the collector: neither may take more than it is given.

use std::{sync::Arc, time::Duration};

use opentelemetry::Context;
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{Span, SpanData, SpanExporter, SpanProcessor},
};
use tokio::{runtime::Handle, task::JoinSet};

use super::account::Account;

/// A queue that counts what there is no room for in it.
#[derive(Debug)]
pub(super) struct Counted<P> {
    inner: P,
    account: Arc<Account>,
}

/// An exporter with a deadline for each batch, kept account of.
#[derive(Debug)]
pub(super) struct Watched<E> {
    inner: Arc<E>,
    account: Arc<Account>,
    limit: Duration,
    /// Where it waits. In a thread of another kind a runtime that ends would have it panic.
    runtime: Handle,
}

// === impl Counted ===

impl<P> Counted<P> {
    pub(super) fn new(inner: P, account: Arc<Account>) -> Self {
        Self { inner, account }
    }
}

impl<P: SpanProcessor> SpanProcessor for Counted<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.account.admit() {
            self.inner.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

// === impl Watched ===

impl<E> Watched<E> {
    /// Within a runtime.
    pub(super) fn new(inner: E, account: Arc<Account>, limit: Duration) -> Self {
        Self { inner: Arc::new(inner), account, limit, runtime: Handle::current() }
    }
}

impl<E: SpanExporter + 'static> SpanExporter for Watched<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let (inner, limit) = (self.inner.clone(), self.limit);
        let mut sending = JoinSet::new();
        // The exporter has a deadline for an answer, and none for a connection.
        let sent = async move { tokio::time::timeout(limit, inner.export(batch)).await };
        sending.spawn_on(sent, &self.runtime);
        let result = match sending.join_next().await {
            Some(Ok(Ok(result))) => result,
            Some(Ok(Err(_))) => Err(OTelSdkError::Timeout(limit)),
            Some(Err(_)) | None => Err(OTelSdkError::InternalFailure("the runtime has ended".to_owned())),
        };
        self.account.settle(spans, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        // It is set at the start, when nothing is being sent.
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.set_resource(resource);
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{Tracer as _, TracerProvider as _};
    use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};

    use super::*;

    /// Takes spans, and never says that it has.
    #[derive(Debug)]
    struct Silent;

    impl SpanExporter for Silent {
        async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
            std::future::pending().await
        }
    }

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_nobody_answers_for_is_given_up() {
        let account = Arc::new(Account::new("http://silent", 8));
        let watched = Watched::new(Silent, account.clone(), LIMIT);
        let began = tokio::time::Instant::now();
        let error = watched.export(Vec::new()).await.unwrap_err();
        assert!(matches!(error, OTelSdkError::Timeout(limit) if limit == LIMIT), "{error}");
        assert_eq!(began.elapsed(), LIMIT);
        assert!(account.why().is_some());
    }

    #[tokio::test]
    async fn spans_beyond_the_queue_are_counted_and_nobody_waits_for_room() {
        const ROOM: usize = 8;
        let account = Arc::new(Account::new("http://silent", ROOM));
        let exporter = Watched::new(Silent, account.clone(), LIMIT);
        let config =
            BatchConfigBuilder::default().with_max_queue_size(ROOM).with_max_export_batch_size(2).build();
        let queue = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
        let provider =
            SdkTracerProvider::builder().with_span_processor(Counted::new(queue, account.clone())).build();
        let tracer = provider.tracer("test");
        for _ in 0..100 {
            drop(tracer.start("call"));
        }
        assert_eq!(account.missing(), 100, "none was taken, and none is forgotten");
        // Its thread still waits for the collector.
        assert!(provider.shutdown_with_timeout(Duration::ZERO).is_err());
    }
}
