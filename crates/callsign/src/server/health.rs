//! Whether the server can be called: what it says over the gRPC health protocol, and what it registers by.

use std::sync::Arc;

use tokio::sync::watch;
use tonic_health::{
    ServingStatus,
    server::{HealthReporter, HealthService},
};

/// The application's word on whether it is well. Cheap to clone.
///
/// A server is registered only while it is healthy. It starts out healthy unless
/// [`Builder::unhealthy_at_start`](super::Builder::unhealthy_at_start) says otherwise; set to unhealthy, it deregisters, answers `NOT_SERVING`
/// to health checks, and goes on serving the calls that come.
#[derive(Debug, Clone)]
pub struct Health(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    healthy: watch::Sender<bool>,
    reporter: HealthReporter,
    /// The names that clients may ask about; the empty one stands for the whole server.
    services: Vec<String>,
}

// === impl Health ===

impl Health {
    pub(crate) fn new(healthy: bool, services: impl Iterator<Item = String>) -> Self {
        let services = std::iter::once(String::new()).chain(services).collect();
        Self(Arc::new(Inner {
            healthy: watch::Sender::new(healthy),
            reporter: HealthReporter::new(),
            services,
        }))
    }

    /// Says whether the application is well.
    pub fn set_healthy(&self, healthy: bool) {
        self.0.healthy.send_if_modified(|current| std::mem::replace(current, healthy) != healthy);
    }

    /// What the application said last.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        *self.0.healthy.borrow()
    }

    /// Waits until the application's word is `healthy`.
    pub(crate) async fn until(&self, healthy: bool) {
        // The sender lives in `self`, so the channel is never closed.
        let _ = self.0.healthy.subscribe().wait_for(|&current| current == healthy).await;
    }

    /// The service that answers health checks.
    pub(crate) fn service(&self) -> tonic_health::pb::health_server::HealthServer<HealthService> {
        tonic_health::pb::health_server::HealthServer::new(HealthService::from_health_reporter(
            self.0.reporter.clone(),
        ))
    }

    /// Tells those who check or watch.
    pub(crate) async fn publish(&self, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in &self.0.services {
            self.0.reporter.set_service_status(service, status).await;
        }
    }
}
