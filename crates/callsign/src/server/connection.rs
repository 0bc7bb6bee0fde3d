//! Connections: accepted within bounds, served over HTTP/2 and HTTP/1 alike, told to go when the server leaves.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use callsign_core::Tasks;
use hyper::{rt::Executor, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use tokio_util::sync::CancellationToken;

use super::{
    call::Calls,
    config::Limits,
    notice::Notice,
    prompt::Prompt,
    strays::{Said, Strays},
    tls::{Identity, ServerTls},
};

/// How long accepting pauses after a failure. What fails it (no file descriptor left) ends as connections are closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The connection that a call came over: an extension of its request.
///
/// ```
/// use callsign::server::ConnectionInfo;
///
/// async fn hello<T>(request: tonic::Request<T>) {
///     if let Some(connection) = request.extensions().get::<ConnectionInfo>() {
///         let _caller = connection.peer();
///         // A stream without an end of its own: stop when the server begins to leave.
///         connection.draining().await;
///     }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    peer: SocketAddr,
    identity: Option<Arc<Identity>>,
    draining: CancellationToken,
}

/// Accepts connections and serves them until told to go.
#[derive(Debug)]
pub(crate) struct Acceptor {
    pub(crate) listener: TcpListener,
    /// A place for each connection.
    pub(crate) room: Arc<Semaphore>,
    pub(crate) limits: Limits,
    /// Spoken to all clients, if at all.
    pub(crate) tls: Option<ServerTls>,
    pub(crate) strays: Said,
    pub(crate) calls: Arc<Calls>,
    pub(crate) tasks: Tasks,
    /// The server has begun to leave, or is to get no calls.
    pub(crate) notice: Notice,
    /// Accept no more, and say GOAWAY on what there is.
    pub(crate) closing: CancellationToken,
}

/// One connection, before anything was said on it.
struct Visit {
    http: Arc<auto::Builder<OnTasks>>,
    header_timeout: Duration,
    tls: Option<ServerTls>,
    strays: Strays,
    calls: Arc<Calls>,
    info: ConnectionInfo,
    /// What was said of leaving is taken back.
    taken_back: watch::Receiver<CancellationToken>,
    closing: CancellationToken,
}

/// Runs the calls of HTTP/2 connections as tasks of the server.
#[derive(Debug, Clone)]
struct OnTasks(Tasks);

// === impl ConnectionInfo ===

impl ConnectionInfo {
    pub(crate) fn new(peer: SocketAddr, draining: CancellationToken) -> Self {
        Self { peer, identity: None, draining }
    }

    /// Who called.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whether it is encrypted by TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.identity.is_some()
    }

    /// The DNS names and URIs in the certificate that the caller has shown, which was checked against the authorities that the
    /// server trusts its clients by. None if it has shown none.
    #[must_use]
    pub fn peer_names(&self) -> &[String] {
        self.identity.as_ref().map(|identity| &*identity.names).unwrap_or_default()
    }

    /// That certificate, and what the caller has sent of its chain, in DER.
    #[must_use]
    pub fn peer_certificates(&self) -> &[Vec<u8>] {
        self.identity.as_ref().map(|identity| &*identity.certificates).unwrap_or_default()
    }

    /// Whether the server has begun to leave.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Waits until the server begins to leave.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }
}

// === impl Acceptor ===

impl Acceptor {
    /// Accepts until `closing`; then the port is free again, while the connections finish in their own tasks.
    pub(crate) async fn run(self) {
        let http = Arc::new(http(&self.limits, &self.tasks));
        let mut failing = false;
        loop {
            let accepted = tokio::select! {
                // Told to go first: a busy listener must not keep the server from leaving.
                biased;
                () = self.closing.cancelled() => return,
                accepted = accept(&self.listener, &self.room) => accepted,
            };
            match accepted {
                Ok((stream, peer, place)) => {
                    if std::mem::take(&mut failing) {
                        tracing::info!("connections are accepted again");
                    }
                    let visit = self.visit(&http, peer);
                    self.tasks.spawn("connection", async move {
                        visit.receive(stream).await;
                        drop(place);
                    });
                }
                Err(error) if is_theirs(&error) => {
                    tracing::debug!(%error, "a connection was gone before it was accepted")
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "cannot accept connections; trying on");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn visit(&self, http: &Arc<auto::Builder<OnTasks>>, peer: SocketAddr) -> Visit {
        let (draining, taken_back) = self.notice.hear();
        Visit {
            http: http.clone(),
            header_timeout: self.limits.header_timeout,
            tls: self.tls.clone(),
            strays: Strays::new(peer, &self.strays),
            calls: self.calls.clone(),
            info: ConnectionInfo::new(peer, draining),
            taken_back,
            closing: self.closing.clone(),
        }
    }
}

// === impl Visit ===

impl Visit {
    /// Serves the connection to its end.
    async fn receive(mut self, stream: TcpStream) {
        let Some(tls) = self.tls.take() else { return self.serve(stream).await };
        let (closing, peer) = (self.closing.clone(), self.info.peer);
        // Who has not got through the handshake has sent no call yet, and loses none.
        match closing.run_until_cancelled(tls.accept(stream, peer)).await {
            Some(Ok(guest)) => {
                let (stream, identity) = super::tls::known(guest);
                self.info.identity = Some(Arc::new(identity));
                self.serve(stream).await;
            }
            Some(Err(error)) => self.strays.tell(error.kind(), error),
            None => {}
        }
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let Self { http, header_timeout, tls: _, strays, calls, info, mut taken_back, closing } = self;
        let peer = info.peer;
        let prompt = Prompt::new(stream, header_timeout, strays);
        let service = service_fn(move |request| {
            let answer = calls.receive(info.clone(), request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let mut connection = pin!(http.serve_connection_with_upgrades(TokioIo::new(prompt), service));
        let told = async {
            tokio::select! {
                biased;
                () = closing.cancelled() => {}
                // No more news is to come when the server has gone.
                _ = taken_back.changed() => {}
            }
        };
        let served = tokio::select! {
            biased;
            served = connection.as_mut() => served,
            () = told => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%peer, error, "a connection ended with an error");
        }
    }
}

// === impl OnTasks ===

impl<F> Executor<F> for OnTasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, call: F) {
        // It ends with its connection, which the set does stop.
        self.0.spawn_orderly("call", call);
    }
}

type Accepted = (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

/// The next connection, once there is room for it.
async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> io::Result<Accepted> {
    // Never closed, so the error cannot be.
    let place = room.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, peer, place))
}

/// Failures of the one connection, which say nothing about the next.
fn is_theirs(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput, NotConnected};

    // Setting an option on a socket whose peer has gone fails with one of the last two.
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | InvalidInput | NotConnected
    )
}

fn http(limits: &Limits, tasks: &Tasks) -> auto::Builder<OnTasks> {
    let header_bytes = usize::try_from(limits.header_bytes).unwrap_or(usize::MAX);
    let mut http = auto::Builder::new(OnTasks(tasks.clone()));
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(header_bytes);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(limits.header_bytes)
        .keep_alive_interval(limits.keep_alive_interval)
        .keep_alive_timeout(limits.keep_alive_timeout);
    http
}
