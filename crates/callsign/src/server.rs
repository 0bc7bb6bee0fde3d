//! Servers that register themselves under a name, and leave without losing a call.
//!
//! ```no_run
//! # mod greeter { pub const FILE_DESCRIPTOR_SET: &[u8] = &[]; }
//! # async fn serve<S>(greeter_server: S) -> callsign::Result<()>
//! # where
//! #     S: tower_service::Service<http::Request<tonic::body::Body>, Response = http::Response<tonic::body::Body>,
//! #             Error = std::convert::Infallible> + tonic::server::NamedService + Clone + Send + Sync + 'static,
//! #     S::Future: Send + 'static,
//! # {
//! callsign::Server::builder("greeter")
//!     .version("1.2.0")
//!     .add_service(greeter_server)
//!     .descriptors(greeter::FILE_DESCRIPTOR_SET)
//!     .build()
//!     .await?
//!     .run()
//!     .await
//! # }
//! ```
//!
//! A server adds gRPC health and reflection by itself, publishes its methods in the registry, and serves HTTP routes on the
//! same port. It is registered while it is [healthy](Health), and only then; a registry that is away is tried again for
//! ever. On SIGTERM or SIGINT it [leaves in order](Phase), under one [deadline](DrainConfig); a second signal ends it at
//! once.
//!
//! The accept loop is our own, on hyper: what tonic brings for it would bring its client along.

mod advertise;
mod assemble;
mod bind;
mod builder;
mod call;
mod config;
mod connection;
mod endpoints;
mod handle;
mod health;
mod identity;
mod lifecycle;
mod limit;
mod load_reports;
mod meter;
mod mount;
mod notice;
mod operators;
mod orders;
mod prompt;
mod recent;
mod signals;
mod stay;
mod strays;
mod tls;

use std::{future::Future, net::SocketAddr, pin::pin, sync::Arc};

use callsign_core::Node;
use tokio_util::sync::CancellationToken;

pub use self::{
    builder::Builder,
    config::{DrainConfig, Limits, OnRegisterFailure},
    connection::ConnectionInfo,
    handle::{Handle, Phase},
    health::Health,
    limit::{ConcurrencyLimit, Priority},
    load_reports::LoadReporter,
    meter::CallMeter,
    operators::Operators,
};
use self::{lifecycle::Lifecycle, signals::Signals};
use crate::Result;

/// A server that holds its port and waits to be run.
#[derive(Debug)]
#[must_use = "a server serves nothing until it runs"]
pub struct Server {
    lifecycle: Lifecycle,
}

// === impl Server ===

impl Server {
    /// Starts the description of a server of the service `name`.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name.into())
    }

    /// The address it listens on, with the port that it got.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.lifecycle.handle.local_addr()
    }

    /// The node it registers as.
    #[must_use]
    pub fn node(&self) -> &Arc<Node> {
        self.lifecycle.handle.node()
    }

    /// A way to watch and to end it from elsewhere.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.lifecycle.handle.clone()
    }

    /// Serves until SIGTERM or SIGINT, then leaves in order. A second signal ends it at once.
    ///
    /// # Errors
    ///
    /// Why the first registration failed, if that was to be an error; the failure of the readiness hook; and
    /// [`DeadlineExceeded`](crate::ErrorKind::DeadlineExceeded) or [`Closed`](crate::ErrorKind::Closed) when calls were lost at
    /// the end, to the drain's deadline or to a second signal.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the server at once, as a second signal does; its entry is removed in the background.
    pub async fn run(self) -> Result<()> {
        let mut signals = Signals::listen()?;
        let handle = self.handle();
        let leave = CancellationToken::new();
        let mut served = pin!(self.serve_until(leave.clone().cancelled_owned()));
        let told = async {
            let signal = signals.next().await;
            tracing::info!(signal, "leaving; a second signal ends this at once");
            leave.cancel();
            let signal = signals.next().await;
            tracing::warn!(signal, "ending at once");
            handle.stop_now();
            std::future::pending::<std::convert::Infallible>().await
        };
        tokio::select! {
            biased;
            served = served.as_mut() => served,
            never = told => match never {},
        }
    }

    /// Serves until `shutdown` resolves or the [handle](Handle::shutdown) says so, then leaves in order.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    ///
    /// # Cancel safety
    ///
    /// As [`run`](Self::run).
    pub async fn serve_until(self, shutdown: impl Future<Output = ()>) -> Result<()> {
        self.lifecycle.run(shutdown).await
    }
}
