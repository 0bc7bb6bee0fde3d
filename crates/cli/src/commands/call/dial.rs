//! The channel of a command, and the choices that go with each call on it.

use std::time::Duration;

use callsign::{CallOptions, Channel, core::ServiceName};
use tokio::time::Instant;
use tonic::{Request, metadata::MetadataMap};

use super::{Args, headers};
use crate::{context::Context, error::Result};

/// The whole of a command may take this long when nothing else is said.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// A channel, with what is to be said on every call.
#[derive(Debug)]
pub(crate) struct Dial {
    channel: Channel,
    options: CallOptions,
    headers: MetadataMap,
    target: String,
    /// For the reflection and the call together.
    deadline: Instant,
}

// === impl Dial ===

impl Dial {
    /// Any node of a service.
    ///
    /// # Errors
    ///
    /// What opening the registry says.
    pub(crate) fn service(name: &ServiceName, context: &Context) -> Result<Self> {
        let builder = Channel::builder(name.as_str())
            .registry(context.registry()?)
            .domain(context.settings.domain.clone());
        let channel = context.settings.tls.apply(builder)?.build()?;
        Ok(Self {
            channel,
            options: CallOptions::new().report(true),
            headers: MetadataMap::new(),
            target: name.to_string(),
            deadline: Instant::now() + TIMEOUT_DEFAULT,
        })
    }

    /// What the command line says.
    ///
    /// # Errors
    ///
    /// A header, a strategy or a target that makes no sense; a service that is not there.
    pub(crate) async fn call(args: &Args, context: &Context) -> Result<Self> {
        let headers = headers::parse(&args.header)?;
        let timeout = args.timeout.or(context.settings.timeout).unwrap_or(TIMEOUT_DEFAULT);
        let deadline = Instant::now() + timeout;
        let channel = args.aim.channel(&args.name, !args.wait, context).await?;
        // What is not said here, a service config may say.
        let mut options = CallOptions::new().report(true);
        if args.idempotent {
            options = options.idempotent(true);
        }
        if args.wait {
            options = options.wait_for_ready(true);
        }
        let options = args.aim.narrow(options)?;
        Ok(Self { channel, options, headers, target: args.name.clone(), deadline })
    }

    /// The channel.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// What is called, as it was written.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    /// When all of it must be over.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Adds options, headers and what is left of the time to a call.
    pub(crate) fn prepare<T>(&self, request: &mut Request<T>) {
        let left = self.deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        request.extensions_mut().insert(self.options.clone().timeout(left));
        *request.metadata_mut() = self.headers.clone();
    }

    /// Says goodbye to the nodes.
    pub(crate) async fn close(self) {
        self.channel.close().await;
    }
}
