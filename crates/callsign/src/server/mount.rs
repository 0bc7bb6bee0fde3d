//! Which service a request is for, and what is answered when there is none.
//!
//! A path names its service in full, `/greeter.Greeter/Hello`. Go-micro's clients do not know protobuf packages and write the
//! name that the service is registered by in their place, `/go.micro.srv.greeter.Greeter/Hello`; so a service that is not
//! there is looked for by what follows the last dot, and taken if just one has that name.

use std::{collections::BTreeMap, convert::Infallible, future::poll_fn, pin::Pin};

use axum::Router;
use bytes::Bytes;
use http::{Request, Response, StatusCode, Version, header};
use tonic::{Status, body::Body, server::NamedService};
use tower_service::Service;

use super::{call::is_ours, load_reports::LoadReporter};

/// The gRPC services of a server, and the HTTP routes beside them.
pub(crate) struct Mounts {
    service: String,
    services: BTreeMap<&'static str, Box<dyn Mounted>>,
    routes: Option<Router>,
    reporter: Option<LoadReporter>,
}

/// A gRPC service whose type is forgotten.
pub(crate) trait Mounted: Send + Sync {
    fn call(&self, request: Request<Body>) -> Answering;
}

type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Takes the type of a service away.
struct Mount<S>(S);

// === impl Mounts ===

impl Mounts {
    pub(crate) fn new(service: impl Into<String>) -> Self {
        Self { service: service.into(), services: BTreeMap::new(), routes: None, reporter: None }
    }

    /// Adds a service; says whether its name was free.
    pub(crate) fn add<S, B>(&mut self, service: S) -> bool
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.services.insert(S::NAME, Box::new(Mount(service))).is_none()
    }

    /// Adds HTTP routes; what was added before is kept beside them.
    pub(crate) fn add_routes(&mut self, routes: Router) {
        self.routes = Some(match self.routes.take() {
            Some(others) => others.merge(routes),
            None => routes,
        });
    }

    /// From now on calls end with a report of the load.
    pub(crate) fn report_by(&mut self, reporter: LoadReporter) {
        self.reporter = Some(reporter);
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.services.keys().copied()
    }

    pub(crate) fn has_routes(&self) -> bool {
        self.routes.is_some()
    }

    /// Answers one request.
    pub(crate) async fn call(&self, request: Request<Body>) -> Response<Body> {
        let grpc = is_grpc(&request);
        if grpc && request.version() < Version::HTTP_2 && !is_grpc_web(&request) {
            return plain(
                StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                "gRPC needs HTTP/2: this request came over HTTP/1\n".to_owned(),
            );
        }
        let name = request.uri().path().trim_start_matches('/').split('/').next().unwrap_or_default();
        if grpc {
            if let Some(mounted) = self.services.get(name) {
                let reporter = self.reporter.as_ref().filter(|_| !is_ours(name));
                return reported(reporter, mounted.call(request).await);
            }
            if let Some((name, mounted)) = self.by_last_part(name) {
                return reported(self.reporter.as_ref(), mounted.call(readdress(request, name)).await);
            }
        }
        let missing = self.missing(&request, name, grpc);
        let Some(routes) = &self.routes else { return missing };
        let Ok(response) = routes.clone().call(request).await;
        // A router of axum answers 404 for a path that it does not know, which a gRPC client cannot read.
        if grpc && response.status() == StatusCode::NOT_FOUND { missing } else { response.map(Body::new) }
    }

    /// The one service of the application whose name ends like this one's.
    fn by_last_part(&self, name: &str) -> Option<(&'static str, &dyn Mounted)> {
        let last = last_part(name);
        let mut alike = self.services.iter().filter(|(known, _)| last_part(known) == last && !is_ours(known));
        let (known, mounted) = alike.next()?;
        alike.next().is_none().then_some((*known, &**mounted))
    }

    fn missing(&self, request: &Request<Body>, name: &str, grpc: bool) -> Response<Body> {
        if grpc {
            return Status::unimplemented(self.unknown(name)).into_http();
        }
        if self.services.contains_key(name) {
            return plain(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!("{name} is called by gRPC, with the content type application/grpc\n"),
            );
        }
        plain(
            StatusCode::NOT_FOUND,
            format!(
                "the service {} has no HTTP route {}; it speaks gRPC\n",
                self.service,
                request.uri().path()
            ),
        )
    }

    fn unknown(&self, name: &str) -> String {
        let closest = self
            .names()
            .map(|known| (strsim::damerau_levenshtein(name, known), known))
            .min()
            .filter(|(distance, known)| *distance <= 2.max(known.len() / 4));
        match closest {
            Some((_, known)) => format!("unknown service {name}: did you mean {known}?"),
            None => format!("unknown service {name}: this is a node of {}", self.service),
        }
    }
}

impl std::fmt::Debug for Mounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { service, services, routes, reporter: _ } = self;
        f.debug_struct("Mounts")
            .field("service", service)
            .field("services", &services.keys())
            .field("routes", &routes.is_some())
            .finish()
    }
}

// === impl Mount ===

impl<S, B> Mounted for Mount<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn call(&self, request: Request<Body>) -> Answering {
        let mut service = self.0.clone();
        Box::pin(async move {
            let Ok(()) = poll_fn(|cx| service.poll_ready(cx)).await;
            let Ok(response) = service.call(request).await;
            response.map(Body::new)
        })
    }
}

fn last_part(service: &str) -> &str {
    service.rsplit('.').next().unwrap_or_default()
}

fn reported(reporter: Option<&LoadReporter>, response: Response<Body>) -> Response<Body> {
    match reporter {
        Some(reporter) => reporter.attach(response),
        None => response,
    }
}

/// The same method of `service`.
fn readdress(mut request: Request<Body>, service: &str) -> Request<Body> {
    let method = request.uri().path().rsplit('/').next().unwrap_or_default();
    // Parts of a valid path make a valid path; if not, the request goes on as it is and is answered with UNIMPLEMENTED.
    if let Ok(uri) = format!("/{service}/{method}").parse() {
        *request.uri_mut() = uri;
    }
    request
}

/// Whether the request says that it is gRPC, in whichever encoding of its messages.
pub(crate) fn is_grpc<B>(request: &Request<B>) -> bool {
    content_type(request).is_some_and(|kind| kind.starts_with(b"application/grpc"))
}

fn is_grpc_web<B>(request: &Request<B>) -> bool {
    content_type(request).is_some_and(|kind| kind.starts_with(b"application/grpc-web"))
}

fn content_type<B>(request: &Request<B>) -> Option<&[u8]> {
    request.headers().get(header::CONTENT_TYPE).map(http::HeaderValue::as_bytes)
}

/// An answer in words, for people with a browser or curl.
pub(crate) fn plain(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::new(http_body_util::Full::new(Bytes::from(text))));
    *response.status_mut() = status;
    let kind = http::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
