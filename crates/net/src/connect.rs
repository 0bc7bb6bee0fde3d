//! From a host and a port to a connection that is known to work.

use std::{fmt, io, net::SocketAddr, sync::Arc, task::Poll, time::Duration};

use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use crate::{
    Bundle, Config, Connection, Driver,
    activity::{Activity, Language, Recorded},
    error::{Disposition, Error, ErrorKind},
    socket::Socket,
};

/// What to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address that needs no look-up.
    Ip(SocketAddr),
    /// A name, looked up at each attempt; its addresses are tried in the resolver's order.
    Name(Box<str>, u16),
}

/// Connects, shakes hands, and waits for the peer's SETTINGS.
///
/// Nothing moves on the connection until the [`Driver`] is polled; spawn it. `bundle` is told whenever the connection's
/// [`Status`](crate::Status) moves on, and when a stream on it ends while others queue for one.
///
/// # Errors
///
/// `Resolve`, `Connect`, `HungUp`, `ConnectTimeout` or `NotHttp2`, each saying which host and what it did; with TLS also
/// `NotTls`, `Untrusted` and `TlsRefused`.
///
/// # Cancel safety
///
/// Dropping the future closes the socket.
pub async fn connect(
    host: &Host,
    config: &Config,
    bundle: &Arc<Bundle>,
) -> Result<(Connection, Driver), Error> {
    let deadline = Instant::now() + config.connect_timeout;
    let socket = timeout_at(deadline, dial(host)).await.map_err(|_| {
        failure(
            ErrorKind::ConnectTimeout,
            format!("{host} did not accept a connection within {}", Seconds(config.connect_timeout)),
        )
    })??;
    let peer = socket.peer_addr().map_err(|error| unreachable_host(host, error))?;
    socket.set_nodelay(true).map_err(|error| unreachable_host(host, error))?;
    let socket =
        timeout_at(deadline, seal(host, config, socket)).await.map_err(|_| silent(host, config))??;
    let (io, activity) = Recorded::new(socket);
    let shaken = timeout_at(deadline, shake(io, peer, &activity, config, bundle)).await;
    match (shaken, activity.language()) {
        (Ok(Ok(made)), _) => Ok(made),
        (_, Some(Language::Http1)) => Err(failure(
            ErrorKind::NotHttp2,
            format!("{host} speaks HTTP/1, and gRPC needs HTTP/2: is this the port of another service?"),
        )),
        (_, Some(Language::Tls)) => Err(failure(
            ErrorKind::NotHttp2,
            format!("{host} answered plaintext with a TLS record: it wants TLS"),
        )),
        (_, Some(Language::Other)) => Err(failure(
            ErrorKind::NotHttp2,
            format!(
                "{host} answered with something that is not HTTP/2: is this the port of another service?"
            ),
        )),
        (Ok(Err(error)), _) => Err(broken(host, config, &activity, error)),
        (Err(_), _) => Err(silent(host, config)),
    }
}

/// Puts TLS around the socket, where it is wanted.
async fn seal(host: &Host, config: &Config, socket: TcpStream) -> Result<Socket, Error> {
    #[cfg(feature = "tls")]
    if let Some(tls) = &config.tls {
        return tls.seal(host, socket).await.map(|sealed| Socket::Tls(Box::new(sealed)));
    }
    let _ = (host, config);
    Ok(Socket::Plain(socket))
}

/// HTTP/2's handshake, until the peer's SETTINGS are in.
async fn shake(
    io: Recorded<Socket>,
    peer: SocketAddr,
    activity: &Arc<Activity>,
    config: &Config,
    bundle: &Arc<Bundle>,
) -> Result<(Connection, Driver), Error> {
    let (sender, h2) = h2::client::Builder::new()
        .enable_push(false)
        .initial_window_size(config.stream_window)
        .initial_connection_window_size(config.connection_window)
        .data_frame_budget(config.small_frames_budget_bytes)
        .max_header_list_size(config.header_list_bytes_max)
        .max_send_buffer_size(config.send_buffer_bytes)
        .handshake(io)
        .await
        .map_err(Error::of_connection)?;
    let (connection, mut driver) = Driver::new(sender, h2, peer, activity.clone(), config, bundle.clone());
    // SETTINGS must be the peer's first frame (RFC 9113, 3.4). It is waited for whole: it says how many streams there may be.
    let settled = std::future::poll_fn(|cx| {
        let ended = driver.poll_io(cx);
        match (activity.is_settled(), ended) {
            (true, Poll::Pending) => Poll::Ready(Ok(())),
            (_, Poll::Ready(error)) => Poll::Ready(Err(error)),
            _ => Poll::Pending,
        }
    });
    settled.await?;
    driver.settled();
    Ok((connection, driver))
}

async fn dial(host: &Host) -> Result<TcpStream, Error> {
    let connected = match host {
        Host::Ip(address) => TcpStream::connect(address).await,
        Host::Name(name, port) => {
            let addresses: Vec<_> = tokio::net::lookup_host((&**name, *port))
                .await
                .map_err(|error| {
                    failure(ErrorKind::Resolve, format!("the name {name} has no address")).with_source(error)
                })?
                .collect();
            TcpStream::connect(&*addresses).await
        }
    };
    connected.map_err(|error| unreachable_host(host, error))
}

fn unreachable_host(host: &Host, error: io::Error) -> Error {
    let message = match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("{host} refused the connection: nothing listens there"),
        _ => format!("no connection to {host}"),
    };
    failure(ErrorKind::Connect, message).with_source(error)
}

/// The connection ended during the handshake.
fn broken(host: &Host, config: &Config, activity: &Activity, error: Error) -> Error {
    #[cfg(feature = "tls")]
    if let Some(tls) = &config.tls {
        return crate::tls::explain_broken(host, tls, activity.fault(), error);
    }
    let _ = (config, activity);
    failure(ErrorKind::HungUp, format!("{host} accepted the connection and closed it before it answered, as a port that wants TLS does, or a process that is ending"))
        .with_source(error)
}

fn silent(host: &Host, config: &Config) -> Error {
    failure(
        ErrorKind::ConnectTimeout,
        format!(
            "{host} accepted the connection and said nothing within {}: is its process stopped or overloaded?",
            Seconds(config.connect_timeout)
        ),
    )
}

fn failure(kind: ErrorKind, message: String) -> Error {
    Error::new(kind, Disposition::Unsent, message)
}

// === impl Host ===

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

/// A duration as a person writes it: `3 s`, `250 ms`.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            millis if millis.is_multiple_of(1000) => write!(f, "{} s", millis / 1000),
            millis => write!(f, "{millis} ms"),
        }
    }
}
