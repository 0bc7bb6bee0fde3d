//! A collector of OpenTelemetry's: OTLP's own service, on a socket. What it receives it keeps, and does nothing else with it.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span,
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// A span, and the service that sent it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its name, by `service.name`.
    pub service: String,
    /// The span.
    pub span: Span,
}

/// A collector, for as long as this is held.
#[derive(Debug)]
pub struct Collector {
    /// Where it is, as in `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub endpoint: String,
    book: Book,
    _serving: JoinSet<()>,
}

/// What it keeps.
#[derive(Debug, Clone, Default)]
struct Book {
    spans: Arc<Mutex<Vec<Seen>>>,
    refuses: Arc<AtomicBool>,
}

// === impl Collector ===

impl Collector {
    /// Starts one on a port of its own.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("its address"));
        let book = Book::default();
        let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(book.clone()));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            server.serve_with_incoming(TcpListenerStream::new(listener)).await.expect("a server");
        });
        Self { endpoint, book, _serving: serving }
    }

    /// Has it take no spans from now on, or take them again.
    pub fn refuse(&self, refuses: bool) {
        self.book.refuses.store(refuses, Ordering::Relaxed);
    }

    /// What it has received.
    #[must_use]
    pub fn spans(&self) -> Vec<Seen> {
        self.book.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

// === impl Book ===

#[tonic::async_trait]
impl TraceService for Book {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        if self.refuses.load(Ordering::Relaxed) {
            return Err(Status::permission_denied("not today"));
        }
        for sent in request.into_inner().resource_spans {
            let resource = sent.resource.expect("spans are of something");
            let service = text(&resource.attributes, "service.name").to_owned();
            let spans = sent.scope_spans.into_iter().flat_map(|scope| scope.spans);
            let spans = spans.map(|span| Seen { service: service.clone(), span });
            self.spans.lock().unwrap_or_else(PoisonError::into_inner).extend(spans);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

// === impl Seen ===

impl Seen {
    /// An attribute that is text.
    ///
    /// # Panics
    ///
    /// If it is not there, or is not text.
    #[must_use]
    #[track_caller]
    pub fn text(&self, key: &str) -> &str {
        text(&self.span.attributes, key)
    }

    /// An attribute that is a number.
    ///
    /// # Panics
    ///
    /// If it is not there, or is not a number.
    #[must_use]
    #[track_caller]
    pub fn number(&self, key: &str) -> i64 {
        match value(&self.span.attributes, key) {
            Value::IntValue(number) => *number,
            other => panic!("{key} is {other:?}"),
        }
    }
}

#[track_caller]
fn text<'a>(attributes: &'a [KeyValue], key: &str) -> &'a str {
    match value(attributes, key) {
        Value::StringValue(text) => text,
        other => panic!("{key} is {other:?}"),
    }
}

#[track_caller]
fn value<'a>(attributes: &'a [KeyValue], key: &str) -> &'a Value {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()).unwrap_or_else(|| panic!("no {key}"))
}
