//! The server's side of TLS: what it shows, whom it lets in, and what it says to those who do not speak it.
//!
//! A handshake costs a signature, which is more than most calls do; so there is a bound on how many are under way, and each
//! has a time. A client that speaks plaintext is told so in what it speaks: HTTP/1 gets a 400 that a person can read, all
//! others get the alert by which they know that TLS is wanted.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::CertificateDer, server::WebPkiClientVerifier},
    server::TlsStream,
};

use super::{
    fault::{explain_client, explain_turned_away},
    pem::{Material, Pem, Sources, read_certificates, read_key, read_roots, settings},
    rotating::Rotating,
};
use crate::error::{Disposition, Error, ErrorKind};

/// What TLS's first message begins with.
const HANDSHAKE: u8 = 0x16;
/// A fatal alert: unexpected message.
const ALERT: &[u8] = &[0x15, 3, 3, 0, 2, 2, 10];
const BAD_REQUEST: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n\
    This port speaks TLS: use https instead of http.\n";
/// How long a client that is shown the door may take to read why.
const GOODBYE: Duration = Duration::from_secs(1);

/// The server's side of TLS. Cheap to clone; clones share the bound on handshakes, and what was read anew.
///
/// ```
/// # use callsign_net::tls::{ClientCertificates, ServerTls};
/// # fn f() -> Result<(), callsign_net::Error> {
/// let tls = ServerTls::builder()
///     .identity_files("/etc/shop/cert.pem", "/etc/shop/key.pem")
///     .clients_file("/etc/shop/clients.pem", ClientCertificates::Required)
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ServerTls(Arc<Inner>);

/// Makes a [`ServerTls`].
#[derive(Clone)]
#[must_use = "nothing is made before `build`"]
pub struct ServerTlsBuilder {
    sources: Sources,
    clients: ClientCertificates,
    handshake_timeout: Duration,
    handshakes_max: usize,
}

/// What a server that trusts authorities of clients makes of a client without a certificate. One that was signed by nobody
/// whom it trusts is never let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    /// It is not let in.
    Required,
    /// It is let in, and its requests say that it is nobody in particular.
    Optional,
}

/// A client that was let in.
#[derive(Debug)]
pub struct TlsGuest {
    /// What it says and hears.
    pub stream: TlsStream<TcpStream>,
    /// Its certificate and what comes after it in the chain, in DER. Empty if it showed none.
    pub certificates: Vec<Vec<u8>>,
    /// The DNS names and URIs (SPIFFE's, for one) in its certificate.
    pub names: Vec<String>,
}

struct Inner {
    server: Rotating<Arc<ServerConfig>>,
    handshake_timeout: Duration,
    handshakes: Semaphore,
}

// === impl ServerTls ===

impl ServerTls {
    /// Begins without a certificate, which a server must be given, and lets all clients in.
    pub fn builder() -> ServerTlsBuilder {
        ServerTlsBuilder {
            sources: Sources::default(),
            clients: ClientCertificates::Required,
            handshake_timeout: Duration::from_secs(10),
            handshakes_max: 256,
        }
    }

    /// Shakes hands with a client.
    ///
    /// # Errors
    ///
    /// `NotTls`: the client speaks plaintext, and was told. `Untrusted`: its certificate was not accepted here, or it has
    /// none. `TlsRefused`: it did not accept ours. `HungUp`: it went away. `ConnectTimeout`: it took too long, or too many
    /// others were before it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the socket.
    pub async fn accept(&self, socket: TcpStream, peer: SocketAddr) -> Result<TlsGuest, Error> {
        let late = |what| {
            let message = format!("{peer} {what} within {:?}", self.0.handshake_timeout);
            Error::new(ErrorKind::ConnectTimeout, Disposition::Unsent, message)
        };
        let deadline = Instant::now() + self.0.handshake_timeout;
        let first = timeout_at(deadline, first_byte(&socket)).await;
        match first.map_err(|_| late("said nothing"))? {
            Ok(Some(HANDSHAKE)) => {}
            Ok(Some(_)) => return Err(turn_away(socket, peer).await),
            Ok(None) => {
                let message = format!("{peer} went away before it said anything");
                return Err(Error::new(ErrorKind::HungUp, Disposition::Unsent, message));
            }
            Err(error) => return Err(explain_client(peer, error)),
        }
        let shaken = timeout_at(deadline, self.shake(socket)).await;
        match shaken.map_err(|_| late("did not get through the TLS handshake"))? {
            Ok(stream) => Ok(TlsGuest::new(stream)),
            Err((error, socket)) => {
                // What was not read when the socket is closed would take the alert with it.
                linger(socket).await;
                Err(explain_client(peer, error))
            }
        }
    }

    async fn shake(&self, socket: TcpStream) -> Result<TlsStream<TcpStream>, (io::Error, TcpStream)> {
        // Never closed, so there is always a permit in the end.
        let _under_way = self.0.handshakes.acquire().await;
        let server = self.0.server.current().await;
        TlsAcceptor::from(server).accept(socket).into_fallible().await
    }
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls")
            .field("handshake_timeout", &self.0.handshake_timeout)
            .finish_non_exhaustive()
    }
}

// === impl ServerTlsBuilder ===

impl ServerTlsBuilder {
    /// Shows this certificate, its chain after it. Both are PEM.
    pub fn identity_pem(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.sources.identity = Some((Pem::Text(chain.into()), Pem::Text(key.into())));
        self
    }

    /// The same from PEM files. They are read again when they change.
    pub fn identity_files(mut self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.sources.identity = Some((Pem::File(chain.into()), Pem::File(key.into())));
        self
    }

    /// Trusts clients whose certificates were signed by the authorities in this PEM text, and no others.
    pub fn clients_pem(mut self, authorities: impl Into<Vec<u8>>, clients: ClientCertificates) -> Self {
        self.sources.roots = Some(Pem::Text(authorities.into()));
        self.clients = clients;
        self
    }

    /// The same from a PEM file. It is read again when it changes.
    pub fn clients_file(mut self, authorities: impl Into<PathBuf>, clients: ClientCertificates) -> Self {
        self.sources.roots = Some(Pem::File(authorities.into()));
        self.clients = clients;
        self
    }

    /// How long a client may take for the handshake, waiting for its turn included. 10 s when not called.
    pub fn handshake_timeout(self, handshake_timeout: Duration) -> Self {
        Self { handshake_timeout, ..self }
    }

    /// Most handshakes under way at a time, further ones wait. 256 when not called; zero is taken for one.
    pub fn handshakes_max(self, handshakes_max: usize) -> Self {
        Self { handshakes_max: handshakes_max.clamp(1, Semaphore::MAX_PERMITS), ..self }
    }

    /// Reads the PEM text. Files that change are looked at when a client connects, at most once a second.
    ///
    /// # Errors
    ///
    /// [`Settings`](ErrorKind::Settings): no certificate, a file that cannot be read, text that is not PEM, or a key that does
    /// not belong to its certificate.
    pub fn build(self) -> Result<ServerTls, Error> {
        let Self { sources, clients, handshake_timeout, handshakes_max } = self;
        if sources.identity.is_none() {
            return Err(settings("a server needs a certificate and its key to speak TLS"));
        }
        let server = Rotating::new(sources, move |material| server(material, clients))?;
        let handshakes = Semaphore::new(handshakes_max);
        Ok(ServerTls(Arc::new(Inner { server, handshake_timeout, handshakes })))
    }
}

impl std::fmt::Debug for ServerTlsBuilder {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTlsBuilder")
            .field("identity", &self.sources.identity.is_some())
            .field("clients", &self.sources.roots.as_ref().map(|_| self.clients))
            .field("handshake_timeout", &self.handshake_timeout)
            .field("handshakes_max", &self.handshakes_max)
            .finish()
    }
}

// === impl TlsGuest ===

impl TlsGuest {
    fn new(stream: TlsStream<TcpStream>) -> Self {
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let names = chain.first().map(names).unwrap_or_default();
        let certificates = chain.iter().map(|certificate| certificate.to_vec()).collect();
        Self { stream, certificates, names }
    }
}

fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(read) = webpki::EndEntityCert::try_from(certificate) else { return Vec::new() };
    read.valid_dns_names().chain(read.valid_uri_names()).map(ToOwned::to_owned).collect()
}

fn server(material: &Material, clients: ClientCertificates) -> Result<Arc<ServerConfig>, Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| settings("there is no TLS version to speak").with_source(error))?;
    let builder = match &material.roots {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(read_roots(pem)?), provider);
            let verifier = match clients {
                ClientCertificates::Required => verifier,
                ClientCertificates::Optional => verifier.allow_unauthenticated(),
            };
            let verifier = verifier.build().map_err(|error| {
                settings("no client can be checked by the authorities given").with_source(error)
            })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let (chain, key) = material.identity.as_ref().ok_or_else(|| settings("there is no certificate"))?;
    let chain = read_certificates("the server's certificate", chain)?;
    let mut config = builder.with_single_cert(chain, read_key("server", key)?).map_err(|error| {
        settings("the server's certificate and key cannot be used together").with_source(error)
    })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The first byte that the client sends, left where it is. `None` if it sends none.
async fn first_byte(socket: &TcpStream) -> io::Result<Option<u8>> {
    let mut byte = [0];
    Ok((socket.peek(&mut byte).await? == 1).then_some(byte[0]))
}

/// Tells a client that speaks plaintext what is spoken here.
async fn turn_away(mut socket: TcpStream, peer: SocketAddr) -> Error {
    let mut begun = [0; 4];
    let read = timeout(GOODBYE, socket.read_exact(&mut begun)).await;
    // `PRI ` begins HTTP/2 without TLS, and no method of HTTP/1.
    let http1 = matches!(read, Ok(Ok(_))) && begun.is_ascii() && begun != *b"PRI ";
    // Whether it hears that is its own affair.
    let _ = timeout(GOODBYE, socket.write_all(if http1 { BAD_REQUEST } else { ALERT })).await;
    linger(socket).await;
    explain_turned_away(peer)
}

/// Closes a socket so that the client gets to read what was written last: not while there is something unread from it.
async fn linger(mut socket: TcpStream) {
    let read = async {
        let _ = socket.shutdown().await;
        let _ = tokio::io::copy(&mut socket.take(64 << 10), &mut tokio::io::sink()).await;
    };
    let _ = timeout(GOODBYE, read).await;
}

#[cfg(test)]
mod tests;
