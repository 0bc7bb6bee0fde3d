//! A collector: OTLP's own service, on a socket.

use std::sync::{
    Arc, Mutex,
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
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// A span, and the service that sent it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) service: String,
    pub(crate) span: Span,
}

#[derive(Clone)]
pub(crate) struct Collector {
    pub(crate) endpoint: String,
    spans: Arc<Mutex<Vec<Seen>>>,
    refuses: Arc<AtomicBool>,
}

// === impl Collector ===

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let collector = Self { endpoint, spans: Arc::default(), refuses: Arc::default() };
        let server =
            tonic::transport::Server::builder().add_service(TraceServiceServer::new(collector.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        collector
    }

    pub(crate) fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::Relaxed);
    }

    /// What it has received.
    pub(crate) fn spans(&self) -> Vec<Seen> {
        self.spans.lock().unwrap().clone()
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        if self.refuses.load(Ordering::Relaxed) {
            return Err(Status::permission_denied("not today"));
        }
        for sent in request.into_inner().resource_spans {
            let resource = sent.resource.unwrap();
            let service = text(&resource.attributes, "service.name").to_owned();
            let spans = sent.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.spans.lock().unwrap().extend(spans.map(|span| Seen { service: service.clone(), span }));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

// === impl Seen ===

impl Seen {
    #[track_caller]
    pub(crate) fn text(&self, key: &str) -> &str {
        text(&self.span.attributes, key)
    }

    #[track_caller]
    pub(crate) fn number(&self, key: &str) -> i64 {
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
