//! TLS for one connection: whom to trust, who we are, and which name the peer must prove.
//!
//! It is rustls with ring, TLS 1.2 and 1.3. A client offers HTTP/2 as the only protocol (ALPN); the server's side is in
//! [`ServerTls`]. There is no way to skip the check of the peer's certificate: give the authority that signed it as a root
//! instead.
//!
//! The platform's roots are those in its files or key store, checked by rustls as our own are, rather than by the platform's
//! own verifier: one set of rules and one set of messages everywhere. Files of our own are read again when they change
//! (`rotating`). What went wrong is put into words in `fault`.

mod fault;
mod pem;
mod rotating;
mod server;

use std::{fmt, path::PathBuf, sync::Arc};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

pub(crate) use self::fault::{explain_broken, explain_handshake};
pub use self::server::{ClientCertificates, ServerTls, ServerTlsBuilder, TlsGuest};
use self::{
    pem::{Material, Pem, Sources, read_certificates, read_key, read_roots, settings},
    rotating::Rotating,
};
use crate::{Host, error::Error};

/// The client's side of TLS. Cheap to clone; clones share the sessions that can be resumed, and what was read anew.
///
/// ```
/// # use callsign_net::tls::TlsConfig;
/// # fn f() -> Result<(), callsign_net::Error> {
/// let tls = TlsConfig::builder()
///     .roots_file("/etc/shop/ca.pem")
///     .identity_files("/etc/shop/cert.pem", "/etc/shop/key.pem")
///     .build()?;
/// let mut config = callsign_net::Config::default();
/// config.tls = Some(tls);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TlsConfig(Arc<Inner>);

/// Makes a [`TlsConfig`].
#[derive(Clone, Default)]
#[must_use = "nothing is made before `build`"]
pub struct TlsBuilder {
    sources: Sources,
    server_name: Option<String>,
}

struct Inner {
    client: Rotating<Arc<ClientConfig>>,
    server_name: Option<ServerName<'static>>,
    has_identity: bool,
}

// === impl TlsConfig ===

impl TlsConfig {
    /// Begins with the platform's roots, no identity, and the name or address that is connected to.
    pub fn builder() -> TlsBuilder {
        TlsBuilder::default()
    }

    /// Whether there is a client certificate to show.
    #[must_use]
    pub fn has_identity(&self) -> bool {
        self.0.has_identity
    }

    /// Shakes hands over `socket`.
    pub(crate) async fn seal(&self, host: &Host, socket: TcpStream) -> Result<TlsStream<TcpStream>, Error> {
        let name = self.server_name(host)?;
        let client = self.0.client.current().await;
        let stream = TlsConnector::from(client).connect(name, socket).await;
        stream.map_err(|error| explain_handshake(host, self, error))
    }

    fn server_name(&self, host: &Host) -> Result<ServerName<'static>, Error> {
        match (&self.0.server_name, host) {
            (Some(name), _) => Ok(name.clone()),
            (None, Host::Ip(address)) => Ok(ServerName::IpAddress(address.ip().into())),
            (None, Host::Name(name, _)) => read_server_name(name),
        }
    }
}

impl PartialEq for TlsConfig {
    /// Whether they are clones of one another.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for TlsConfig {}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig")
            .field("server_name", &self.0.server_name)
            .field("has_identity", &self.0.has_identity)
            .finish_non_exhaustive()
    }
}

// === impl TlsBuilder ===

impl TlsBuilder {
    /// Trusts the authorities in this PEM text, and not the platform's.
    pub fn roots_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.sources.roots = Some(Pem::Text(pem.into()));
        self
    }

    /// Trusts the authorities in this PEM file, and not the platform's. It is read again when it changes.
    pub fn roots_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.sources.roots = Some(Pem::File(path.into()));
        self
    }

    /// Shows this certificate, its chain after it, to a peer that asks for one. Both are PEM.
    pub fn identity_pem(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.sources.identity = Some((Pem::Text(chain.into()), Pem::Text(key.into())));
        self
    }

    /// The same from PEM files. They are read again when they change.
    pub fn identity_files(mut self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.sources.identity = Some((Pem::File(chain.into()), Pem::File(key.into())));
        self
    }

    /// Expects this name or IP address in the peer's certificate, whatever is connected to.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Reads the PEM text, and the platform's roots if no others were given: those are read here, once.
    ///
    /// Files that change are looked at when a connection is made, at most once a second. Connections that there are go on.
    ///
    /// # Errors
    ///
    /// [`Settings`](crate::ErrorKind::Settings): a file that cannot be read, text that is not PEM, a key that does not belong
    /// to its certificate, a server name that is none, or a platform without roots.
    pub fn build(self) -> Result<TlsConfig, Error> {
        let Self { sources, server_name } = self;
        let platform = match sources.roots {
            Some(_) => RootCertStore::empty(),
            None => platform_roots()?,
        };
        let has_identity = sources.identity.is_some();
        let client = Rotating::new(sources, move |material| client(material, &platform))?;
        let server_name = server_name.as_deref().map(read_server_name).transpose()?;
        Ok(TlsConfig(Arc::new(Inner { client, server_name, has_identity })))
    }
}

impl fmt::Debug for TlsBuilder {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsBuilder")
            .field("roots", &self.sources.roots.is_some())
            .field("identity", &self.sources.identity.is_some())
            .field("server_name", &self.server_name)
            .finish()
    }
}

// === free functions ===

fn client(material: &Material, platform: &RootCertStore) -> Result<Arc<ClientConfig>, Error> {
    let roots = match &material.roots {
        Some(pem) => read_roots(pem)?,
        None => platform.clone(),
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| settings("there is no TLS version to speak").with_source(error))?
        .with_root_certificates(roots);
    let mut config = match &material.identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let chain = read_certificates("the client's certificate", chain)?;
            builder.with_client_auth_cert(chain, read_key("client", key)?).map_err(|error| {
                settings("the client's certificate and key cannot be used together").with_source(error)
            })?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

fn platform_roots() -> Result<RootCertStore, Error> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable > 0 {
        return Ok(roots);
    }
    let error = settings(
        "this machine has no root certificates: install them (ca-certificates on Debian), or give those to trust",
    );
    Err(match found.errors.into_iter().next() {
        Some(cause) => error.with_source(cause),
        None => error,
    })
}

fn read_server_name(name: &str) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(name.to_owned()).map_err(|error| {
        settings(format!("{name:?} is no name that a certificate can hold")).with_source(error)
    })
}

#[cfg(test)]
mod tests;
