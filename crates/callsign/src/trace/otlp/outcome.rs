//! Whether a collector takes what it is sent, said when that changes and not with every batch.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};

/// An exporter that keeps account of another.
pub(super) struct Watched<E> {
    inner: E,
    endpoint: String,
    account: Arc<Account>,
}

/// What has become of the spans of an exporter.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Since the collector last took any.
    refused: AtomicU64,
}

// === impl Watched ===

impl<E> Watched<E> {
    pub(super) fn new(inner: E, endpoint: &str, account: Arc<Account>) -> Self {
        Self { inner, endpoint: endpoint.to_owned(), account }
    }

    fn settle(&self, spans: u64, result: &OTelSdkResult) {
        let endpoint = &*self.endpoint;
        match result {
            Ok(()) => match self.account.refused.swap(0, Ordering::Relaxed) {
                0 => {}
                lost => tracing::info!(endpoint, lost, "the collector takes spans again"),
            },
            Err(error) => {
                if self.account.refused.fetch_add(spans, Ordering::Relaxed) == 0 {
                    tracing::warn!(
                        endpoint,
                        %error,
                        "the collector takes no spans; they are lost until it does, which will be said, and calls go on"
                    );
                }
            }
        }
    }
}

impl<E: SpanExporter> SpanExporter for Watched<E> {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        let spans = batch.len() as u64;
        let export = self.inner.export(batch);
        async move {
            let result = export.await;
            self.settle(spans, &result);
            result
        }
    }

    fn shutdown_with_timeout(&self, timeout: std::time::Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E> fmt::Debug for Watched<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("endpoint", &self.endpoint).field("account", &self.account).finish()
    }
}

// === impl Account ===

impl Account {
    /// How many spans were lost since the collector last took any.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}
