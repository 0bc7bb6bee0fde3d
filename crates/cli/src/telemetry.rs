//! What goes on inside, for whoever asks: a log on stderr, and spans to a collector.
//!
//! Where spans go is for OpenTelemetry's own variables to say, as with any other program. None of this decides how a command ends: a
//! collector that is away, or takes its time, costs it [`FAREWELL_MAX`] at most, and a word on stderr.

use std::{io::IsTerminal as _, time::Duration};

use callsign::trace::OtlpExporter;
use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::{
    config::Settings,
    output::{Out, printable},
};

/// How long a command that is done waits for the collector to take its spans.
const FAREWELL_MAX: Duration = Duration::from_secs(2);

/// What is to be closed when a command is done.
#[must_use = "the last spans are sent when it is closed"]
#[derive(Debug)]
pub(crate) struct Telemetry {
    exporter: Option<OtlpExporter>,
}

// === impl Telemetry ===

impl Telemetry {
    /// Starts the log; and the export of spans, as this service, if the command has any and the environment says where to.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub(crate) fn start(service: Option<&str>, settings: &Settings, out: Out) -> Self {
        let exporter = service.and_then(|service| {
            OtlpExporter::from_env(service).unwrap_or_else(|error| {
                say(out, "no spans are exported", &error);
                None
            })
        });
        let log = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal() && !settings.colorless)
            // What cannot be written there is nowhere else to be said.
            .log_internal_errors(false)
            .with_filter(EnvFilter::builder().parse_lossy(&settings.log));
        tracing_subscriber::registry().with(log).with(exporter.as_ref().map(OtlpExporter::layer)).init();
        Self { exporter }
    }

    /// Sends the last spans, unless somebody does not care to wait for it.
    pub(crate) async fn close(self, out: Out) {
        let Some(exporter) = self.exporter else { return };
        let closed = tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => return,
            closed = exporter.close_within(FAREWELL_MAX) => closed,
        };
        if let Err(error) = closed {
            say(out, "not all spans were exported", &error);
        }
    }
}

fn say(out: Out, what: &str, error: &callsign::Error) {
    let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
    out.note(&printable(&format!("{what}: {}{hint}", error.chain()), false));
}
