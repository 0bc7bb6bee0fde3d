//! What moves a connection: bytes between socket and streams, pings, and the notice that the peer is going away.

use std::{
    fmt,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Ping, PingPong,
    client::{Connection as H2, SendRequest},
};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    Config,
    activity::{Activity, Recorded},
    bundle::Bundle,
    connection::{Connection, Shared, Status},
    error::{Disposition, Error, ErrorKind},
    socket::Socket,
};

/// Moves one connection until it ends. It must be polled for anything to happen: spawn it.
#[must_use = "a connection stands still until its driver is polled"]
pub struct Driver {
    h2: H2<Recorded<Socket>, Bytes>,
    /// Kept only to learn of a GOAWAY, and given back when the connection's handle is dropped.
    watcher: Option<SendRequest<Bytes>>,
    ping: Option<PingPong>,
    keep_alive: KeepAlive,
    shared: Arc<Shared>,
}

/// Whether the peer is alive, judged by silence. A connection without streams is left in peace.
struct KeepAlive {
    interval: Duration,
    timeout: Duration,
    probe_timeout: Duration,
    wake: Pin<Box<Sleep>>,
    /// Bytes read when the clock was last looked at.
    bytes_read: u64,
    /// A ping is out, and how long it was given.
    pinged: Option<Duration>,
}

// === impl Driver ===

impl Driver {
    pub(crate) fn new(
        sender: SendRequest<Bytes>,
        mut h2: H2<Recorded<Socket>, Bytes>,
        peer: SocketAddr,
        activity: Arc<Activity>,
        config: &Config,
        bundle: Arc<Bundle>,
    ) -> (Connection, Self) {
        let ping = h2.ping_pong();
        let connection = Connection::new(sender.clone(), peer, activity, bundle);
        let shared = connection.shared.clone();
        let driver = Self { h2, watcher: Some(sender), ping, keep_alive: KeepAlive::new(config), shared };
        (connection, driver)
    }

    /// The peer's SETTINGS are in.
    pub(crate) fn settled(&mut self) {
        self.shared.allow(self.h2.max_concurrent_send_streams());
    }

    /// Moves bytes; ready with the reason when the connection has ended.
    pub(crate) fn poll_io(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        match Pin::new(&mut self.h2).poll(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Error::new(
                ErrorKind::Closed,
                Disposition::Unknown,
                "the peer closed the connection",
            )),
            Poll::Ready(Err(error)) => Poll::Ready(Error::of_connection(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// A GOAWAY shows in that no further stream can be opened.
    fn notice_goaway(&mut self, cx: &mut Context<'_>) {
        if let Some(watcher) = &mut self.watcher
            && let Poll::Ready(Err(_)) = watcher.poll_ready(cx)
        {
            self.watcher = None;
            self.shared.advance(Status::Draining);
        }
    }

    fn poll_keep_alive(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let Some(ping) = &mut self.ping else { return Poll::Pending };
        if self.keep_alive.pinged.is_some() && ping.poll_pong(cx).is_ready() {
            self.keep_alive.answered(&self.shared);
        }
        if self.shared.probe.swap(false, Ordering::AcqRel) {
            self.keep_alive.probe(&self.shared, ping);
        }
        while self.keep_alive.wake.as_mut().poll(cx).is_ready() {
            if let Some(given) = self.keep_alive.look(&self.shared, ping) {
                return Poll::Ready(Error::new(
                    ErrorKind::KeepAlive,
                    Disposition::Unknown,
                    format!("the peer did not answer a ping within {} ms", given.as_millis()),
                ));
            }
            self.shared.allow(self.h2.max_concurrent_send_streams());
        }
        Poll::Pending
    }

    fn end(&mut self, error: Error) -> Error {
        tracing::debug!(%error, "connection ended");
        let error = self.shared.error.get_or_init(|| error).clone();
        self.shared.advance(Status::Closed);
        error
    }
}

impl Future for Driver {
    type Output = Error;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Error> {
        let this = &mut *self;
        this.shared.driver.register(cx.waker());
        if this.shared.release.load(Ordering::Acquire) {
            this.watcher = None;
        }
        if let Poll::Ready(error) = this.poll_io(cx) {
            return Poll::Ready(this.end(error));
        }
        this.notice_goaway(cx);
        if let Poll::Ready(error) = this.poll_keep_alive(cx) {
            return Poll::Ready(this.end(error));
        }
        Poll::Pending
    }
}

impl Drop for Driver {
    /// A driver that is dropped half-way closes the socket, and whoever follows the status must learn of it.
    fn drop(&mut self) {
        if !self.shared.is_closed() {
            let _ = self.end(Error::new(
                ErrorKind::Closed,
                Disposition::Unknown,
                "the connection was closed here",
            ));
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("shared", &self.shared).finish_non_exhaustive()
    }
}

// === impl KeepAlive ===

impl KeepAlive {
    fn new(config: &Config) -> Self {
        Self {
            interval: config.keep_alive_interval,
            timeout: config.keep_alive_timeout,
            probe_timeout: config.probe_timeout,
            wake: Box::pin(sleep_until(Instant::now() + config.keep_alive_interval)),
            bytes_read: 0,
            pinged: None,
        }
    }

    /// The timer rang: is a ping due, or was one not answered? Gives the time it had in the latter case.
    fn look(&mut self, shared: &Shared, ping: &mut PingPong) -> Option<Duration> {
        let bytes_read = shared.activity.bytes_read();
        let silent = bytes_read == self.bytes_read;
        self.bytes_read = bytes_read;
        if silent && let Some(given) = self.pinged {
            return Some(given);
        }
        if silent && shared.open.load(Ordering::Relaxed) > 0 {
            self.send(ping, self.timeout);
        } else {
            self.wake.as_mut().reset(Instant::now() + self.interval);
        }
        None
    }

    fn probe(&mut self, shared: &Shared, ping: &mut PingPong) {
        self.bytes_read = shared.activity.bytes_read();
        if self.pinged.is_none() {
            self.send(ping, self.probe_timeout);
        } else if Instant::now() + self.probe_timeout < self.wake.deadline() {
            self.pinged = Some(self.probe_timeout);
            self.wake.as_mut().reset(Instant::now() + self.probe_timeout);
        }
    }

    fn send(&mut self, ping: &mut PingPong, given: Duration) {
        // It fails only when a ping is out already or the connection is ending; both show soon enough.
        let _ = ping.send_ping(Ping::opaque());
        self.pinged = Some(given);
        self.wake.as_mut().reset(Instant::now() + given);
    }

    fn answered(&mut self, shared: &Shared) {
        self.pinged = None;
        self.bytes_read = shared.activity.bytes_read();
        self.wake.as_mut().reset(Instant::now() + self.interval);
    }
}
