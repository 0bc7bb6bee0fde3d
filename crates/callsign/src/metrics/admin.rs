//! An address for those who look after a process: its metrics, and what its channels would do next.
//!
//! It is off unless it is bound. On loopback it is open; where others can reach it, it wants a token, for it tells the names and
//! addresses of a fleet.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use callsign_core::{Tasks, WeakTasks};
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};

use super::Metrics;
use crate::{Error, ErrorKind, Result};

/// Connections at the same time: a scraper or two, and a person.
const CONNECTIONS_MAX: usize = 16;
/// How long a connection may last. A scraper makes a new one.
const CONNECTION_MAX: Duration = Duration::from_secs(30);
/// How long accepting pauses after a failure.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Answers `GET /metrics` with [`Metrics::text`], `GET /explain` with what each channel says of its next call, and
/// `GET /calls` with why its last calls went where they went, over HTTP/1.1.
/// Dropping it closes the address.
#[derive(Debug)]
#[must_use = "it answers for as long as it is held"]
pub struct Admin {
    address: SocketAddr,
    _tasks: Tasks,
}

/// What answers.
struct Desk {
    metrics: Metrics,
    /// What the `authorization` header must be.
    password: Option<String>,
}

// === impl Admin ===

impl Admin {
    /// Answers at `address`, to those who send `authorization: Bearer TOKEN` if there is a token.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) for an address that others can reach without a token, and for an empty token;
    /// [`Unavailable`](ErrorKind::Unavailable) if the address cannot be had.
    pub async fn bind(address: SocketAddr, token: Option<&str>, metrics: Metrics) -> Result<Self> {
        const OP: &str = "open the admin address";
        if token.is_some_and(|token| token.trim().is_empty()) {
            return Err(Error::invalid(OP, "the token is empty"));
        }
        if token.is_none() && !address.ip().is_loopback() {
            return Err(Error::invalid(OP, format!("others can reach {address}, and there is no token"))
                .with_hint("give it a token, or an address of 127.0.0.1"));
        }
        let cannot = |error| {
            Error::new(ErrorKind::Unavailable, OP, format!("cannot listen at {address}")).with_source(error)
        };
        let listener = TcpListener::bind(address).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let tasks = Tasks::new();
        let desk = Arc::new(Desk { metrics, password: token.map(|token| format!("Bearer {token}")) });
        tasks.spawn("admin", desk.serve(listener, tasks.downgrade()));
        Ok(Self { address, _tasks: tasks })
    }

    /// Where it answers, with the port that it got.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

// === impl Desk ===

impl Desk {
    async fn serve(self: Arc<Self>, listener: TcpListener, tasks: WeakTasks) {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = room.clone().acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "cannot accept at the admin address");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let desk = self.clone();
            tasks.spawn("admin connection", async move {
                let answer = service_fn(|request: Request<Incoming>| {
                    let response = desk.answer(&request);
                    async { Ok::<_, Infallible>(response) }
                });
                let mut http = http1::Builder::new();
                let http = http.timer(TokioTimer::new()).keep_alive(false);
                // What the peer makes of it is its own affair.
                let _ = timeout(CONNECTION_MAX, http.serve_connection(TokioIo::new(stream), answer)).await;
                drop(place);
            });
        }
    }

    fn answer<B>(&self, request: &Request<B>) -> Response<String> {
        let text = |status: StatusCode, text: String| {
            let mut response = Response::new(text);
            *response.status_mut() = status;
            response.headers_mut().insert(CONTENT_TYPE, TEXT);
            response
        };
        if !self.admits(request.headers().get(AUTHORIZATION)) {
            let mut response = text(StatusCode::UNAUTHORIZED, "the token is missing or wrong\n".to_owned());
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return response;
        }
        if request.method() != Method::GET {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "GET is all there is\n".to_owned());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            return response;
        }
        match request.uri().path() {
            "/metrics" => text(StatusCode::OK, self.metrics.text()),
            "/explain" => text(StatusCode::OK, self.metrics.explained()),
            "/calls" => text(StatusCode::OK, self.metrics.calls()),
            _ => text(StatusCode::NOT_FOUND, "there are /metrics, /explain and /calls\n".to_owned()),
        }
    }

    /// Compares all of it whatever the first difference, so that the time it takes tells nothing but the length.
    fn admits(&self, shown: Option<&HeaderValue>) -> bool {
        let Some(password) = &self.password else { return true };
        let (shown, wanted) = (shown.map_or(&b""[..], HeaderValue::as_bytes), password.as_bytes());
        let differences = shown.iter().zip(wanted).fold(0, |all, (a, b)| all | (a ^ b));
        shown.len() == wanted.len() && differences == 0
    }
}
