//! Spans to a collector, over OTLP.
//!
//! A thread of its own sends them, some at a time, with a deadline. What it cannot send in time is dropped and counted: its queue has a
//! bound, and no call waits for it. That spans are lost is said once, and once more, with their number, when no more are.
//!
//! It speaks OTLP over gRPC in plaintext: with whatever else a collector wants, one on the same machine or in the same pod can be told.

mod account;
mod env;
mod outcome;

use std::{fmt, sync::Arc, time::Duration};

use callsign_core::{Error, Result};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider},
};
use tracing::Subscriber;
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    registry::LookupSpan,
};

use self::{
    account::Account,
    outcome::{Counted, Watched},
};
use super::span::TARGET;

/// What is being done when it fails.
const OP: &str = "export traces";
/// The exporter's own calls, which would be exported in turn.
const ITS_OWN: [&str; 5] = ["h2", "hyper", "hyper_util", "tonic", "opentelemetry"];
/// How long the last spans may take, unless it is said.
const CLOSING: Duration = Duration::from_secs(5);

/// Sends spans to a collector by OTLP over gRPC.
///
/// Where to is an argument, or what OpenTelemetry's environment variables say. All else is as those say: `OTEL_TRACES_SAMPLER` (without it
/// a trace is recorded if its caller says so in `traceparent`, and one that begins here always is), `OTEL_BSP_*`,
/// `OTEL_EXPORTER_OTLP_HEADERS` and `_TIMEOUT`, `OTEL_RESOURCE_ATTRIBUTES`.
///
/// ```no_run
/// # async fn example() -> callsign::Result<()> {
/// use callsign::trace::OtlpExporter;
/// use tracing_subscriber::layer::SubscriberExt as _;
///
/// let exporter = OtlpExporter::new("billing", "http://127.0.0.1:4317")?;
/// let subscriber = tracing_subscriber::registry().with(exporter.layer());
/// tracing::subscriber::set_global_default(subscriber).expect("it is the first");
/// // Serve, call; and at the end:
/// exporter.close().await
/// # }
/// ```
#[must_use = "nothing is exported but by its layer"]
pub struct OtlpExporter {
    provider: SdkTracerProvider,
    account: Arc<Account>,
}

// === impl OtlpExporter ===

impl OtlpExporter {
    /// Sends to the collector at `endpoint`, such as `http://127.0.0.1:4317`, as the service of this name.
    ///
    /// That nobody answers there is no error: it is tried again with the next spans.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](callsign_core::ErrorKind::InvalidInput) for an endpoint that is no `http` URL.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn new(service: impl Into<String>, endpoint: &str) -> Result<Self> {
        Self::start(Resource::builder().with_service_name(service.into()).build(), endpoint)
    }

    /// Sends to the collector that the environment names, if it names one.
    ///
    /// | Variable | What of it |
    /// |---|---|
    /// | `OTEL_SDK_DISABLED` | `true`: there is no exporter |
    /// | `OTEL_TRACES_EXPORTER` | `none`: there is no exporter; `otlp`: there is one, to `http://localhost:4317` if nothing else is said |
    /// | `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, else `OTEL_EXPORTER_OTLP_ENDPOINT` | where to |
    /// | `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL`, else `OTEL_EXPORTER_OTLP_PROTOCOL` | `grpc`, and nothing else |
    /// | `OTEL_SERVICE_NAME`, else `service.name` of `OTEL_RESOURCE_ATTRIBUTES` | instead of `service` |
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and for another exporter or protocol than these.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn from_env(service: impl Into<String>) -> Result<Option<Self>> {
        let Some(endpoint) = env::endpoint(env::variable)? else { return Ok(None) };
        let resource = Resource::builder();
        let resource = match env::names_service(env::variable) {
            true => resource,
            false => resource.with_service_name(service.into()),
        };
        Self::start(resource.build(), &endpoint).map(Some)
    }

    fn start(resource: Resource, endpoint: &str) -> Result<Self> {
        let wrong = |what: String| {
            Error::invalid(OP, format!("{endpoint:?} {what}"))
                .with_hint("write it like http://127.0.0.1:4317; for TLS, let a local collector send them on")
        };
        let uri: http::Uri = endpoint.parse().map_err(|error| wrong(format!("is no URL: {error}")))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong("does not begin with http://".to_owned()));
        }
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build();
        let exporter = exporter.map_err(|error| wrong(format!("cannot be sent to: {error}")))?;
        let room = env::queue_size(env::variable);
        let account = Arc::new(Account::new(endpoint, room));
        let exporter = Watched::new(exporter, account.clone(), env::export_timeout(env::variable));
        // The rest it reads from the environment itself.
        let config = BatchConfigBuilder::default().with_max_queue_size(room).build();
        let queue = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_span_processor(Counted::new(queue, account.clone()))
            .build();
        Ok(Self { provider, account })
    }

    /// A layer for a subscriber: it takes the spans of calls, and what the program itself traces from `INFO` up.
    #[must_use = "a subscriber wants it"]
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let wanted = Targets::new()
            .with_default(LevelFilter::INFO)
            .with_target(TARGET, LevelFilter::DEBUG)
            .with_targets(ITS_OWN.map(|target| (target, LevelFilter::OFF)));
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("callsign"))
            // Where in its source a span is made says nothing of the call.
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(wanted)
    }

    /// Sends what has not been sent, for up to five seconds, and no more from then on.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](callsign_core::ErrorKind::Unavailable) if the collector did not take the last spans.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it goes on in the background.
    pub async fn close(self) -> Result<()> {
        self.close_within(CLOSING).await
    }

    /// As [`close`](Self::close), for as long as this at most.
    ///
    /// # Errors
    ///
    /// As `close`.
    ///
    /// # Cancel safety
    ///
    /// As `close`.
    pub async fn close_within(self, limit: Duration) -> Result<()> {
        let Self { provider, account } = self;
        // It blocks, and what it waits for may need this thread.
        let closed = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(limit)).await;
        let missing = account.missing();
        let why = match closed {
            // Of what was lost on the way it says nothing.
            Ok(Ok(())) if missing == 0 => return Ok(()),
            Ok(Ok(())) => account.why(),
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        let message =
            format!("the collector at {} did not take the last {missing} spans", account.endpoint());
        let error = Error::new(callsign_core::ErrorKind::Unavailable, OP, message)
            .with_hint("see whether a collector listens there, for OTLP over gRPC");
        Err(match why {
            Some(why) => error.with_source(why),
            None => error,
        })
    }
}

impl fmt::Debug for OtlpExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtlpExporter").field("account", &self.account).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_endpoint_that_cannot_be_one_is_refused() {
        for endpoint in ["", "collector:4317", "https://collector:4317", "http://"] {
            let error = OtlpExporter::new("billing", endpoint).unwrap_err();
            assert!(error.hint().is_some_and(|hint| hint.contains("http://")), "{endpoint:?}: {error}");
        }
    }
}
