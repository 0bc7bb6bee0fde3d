//! Connections: accepted within bounds, served over HTTP/2 and HTTP/1 alike, told to go when the server leaves.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use callsign_core::Tasks;
use hyper::{rt::Executor, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::Sleep,
};
use tokio_util::sync::CancellationToken;

use super::{call::Calls, config::Limits};

/// How long accepting pauses after a failure. What fails it (no file descriptor left) ends as connections are closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What every HTTP/2 connection begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

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
    draining: CancellationToken,
}

/// Accepts connections and serves them until told to go.
#[derive(Debug)]
pub(crate) struct Acceptor {
    pub(crate) listener: TcpListener,
    /// A place for each connection.
    pub(crate) room: Arc<Semaphore>,
    pub(crate) limits: Limits,
    pub(crate) calls: Arc<Calls>,
    pub(crate) tasks: Tasks,
    /// The server has begun to leave.
    pub(crate) draining: CancellationToken,
    /// Accept no more, and say GOAWAY on what there is.
    pub(crate) closing: CancellationToken,
}

/// Runs the calls of HTTP/2 connections as tasks of the server.
#[derive(Debug, Clone)]
struct OnTasks(Tasks);

/// A connection that must say within a time which protocol it speaks.
struct Prompt {
    stream: TcpStream,
    /// How much of the preface has come; `None` once it is whole or something else came.
    waiting: Option<(usize, Pin<Box<Sleep>>)>,
}

// === impl ConnectionInfo ===

impl ConnectionInfo {
    pub(crate) fn new(peer: SocketAddr, draining: CancellationToken) -> Self {
        Self { peer, draining }
    }

    /// Who called.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
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
                    let serving = self.serve(http.clone(), stream, peer);
                    self.tasks.spawn("connection", async move {
                        serving.await;
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

    fn serve(
        &self,
        http: Arc<auto::Builder<OnTasks>>,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> impl Future<Output = ()> + Send + use<> {
        let info = ConnectionInfo::new(peer, self.draining.clone());
        let (calls, closing) = (self.calls.clone(), self.closing.clone());
        let prompt = Prompt::new(stream, self.limits.header_timeout);
        async move {
            let service = service_fn(move |request| {
                let answer = calls.receive(info.clone(), request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let mut connection = pin!(http.serve_connection_with_upgrades(TokioIo::new(prompt), service));
            let served = tokio::select! {
                biased;
                served = connection.as_mut() => served,
                () = closing.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = served {
                tracing::debug!(%peer, error, "a connection ended with an error");
            }
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

// === impl Prompt ===

impl Prompt {
    fn new(stream: TcpStream, timeout: Duration) -> Self {
        Self { stream, waiting: Some((0, Box::pin(tokio::time::sleep(timeout)))) }
    }

    /// Looks at what came, and stops the clock when the protocol is known.
    fn saw(&mut self, bytes: &[u8]) {
        let Some((seen, _)) = &mut self.waiting else { return };
        let expected = &PREFACE[*seen..];
        let common = expected.iter().zip(bytes).take_while(|(a, b)| a == b).count();
        *seen += common;
        if common < bytes.len() || *seen == PREFACE.len() {
            self.waiting = None;
        }
    }
}

impl AsyncRead for Prompt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, buffer) {
            self.saw(&buffer.filled()[before..]);
            return Poll::Ready(read);
        }
        let Some((_, timer)) = &mut self.waiting else { return Poll::Pending };
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client did not say which protocol it speaks",
        )))
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
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
