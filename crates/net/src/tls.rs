//! TLS for one connection, as its client: whom to trust, who we are, and which name the peer must prove.
//!
//! It is rustls with ring, TLS 1.2 and 1.3, and HTTP/2 as the only protocol offered (ALPN). There is no way to skip the check
//! of the peer's certificate: give the authority that signed it as a root instead.
//!
//! The platform's roots are those in its files or key store, checked by rustls as our own are, rather than by the platform's
//! own verifier: one set of rules and one set of messages everywhere. What went wrong is put into words in `fault`.

mod fault;

use std::{fmt, sync::Arc};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};

pub(crate) use self::fault::{explain_broken, explain_handshake};
use crate::{
    Host,
    error::{Disposition, Error, ErrorKind},
};

/// The client's side of TLS. Cheap to clone; clones share the sessions that can be resumed.
///
/// ```
/// # use callsign_net::tls::TlsConfig;
/// # fn f(ca_pem: &str, cert_pem: &str, key_pem: &str) -> Result<(), callsign_net::Error> {
/// let tls = TlsConfig::builder().roots_pem(ca_pem).identity_pem(cert_pem, key_pem).build()?;
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
    roots: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
    server_name: Option<String>,
}

struct Inner {
    connector: TlsConnector,
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
        let stream = self.0.connector.connect(name, socket).await;
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
        self.roots = Some(pem.into());
        self
    }

    /// Shows this certificate, its chain after it, to a peer that asks for one. Both are PEM.
    pub fn identity_pem(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.identity = Some((chain.into(), key.into()));
        self
    }

    /// Expects this name or IP address in the peer's certificate, whatever is connected to.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Reads the PEM text, and the platform's roots if no others were given: files are read here, once.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Settings`]: text that is not PEM, a key that does not belong to its certificate, a server name that is
    /// none, or a platform without roots.
    pub fn build(self) -> Result<TlsConfig, Error> {
        let Self { roots, identity, server_name } = self;
        let roots = match roots {
            Some(pem) => read_roots(&pem)?,
            None => platform_roots()?,
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| settings("there is no TLS version to speak").with_source(error))?
            .with_root_certificates(roots);
        let has_identity = identity.is_some();
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = read_certificates("the client's certificate", &chain)?;
                let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| {
                    settings("the client's key holds no private key in PEM").with_source(error)
                })?;
                builder.with_client_auth_cert(chain, key).map_err(|error| {
                    settings("the client's certificate and key cannot be used together").with_source(error)
                })?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let server_name = server_name.as_deref().map(read_server_name).transpose()?;
        let connector = TlsConnector::from(Arc::new(config));
        Ok(TlsConfig(Arc::new(Inner { connector, server_name, has_identity })))
    }
}

impl fmt::Debug for TlsBuilder {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsBuilder")
            .field("roots", &self.roots.is_some())
            .field("identity", &self.identity.is_some())
            .field("server_name", &self.server_name)
            .finish()
    }
}

// === free functions ===

fn read_roots(pem: &[u8]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates("the root certificates", pem)? {
        roots
            .add(certificate)
            .map_err(|error| settings("a root certificate cannot be read").with_source(error))?;
    }
    Ok(roots)
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

fn read_certificates(what: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(certificates) if certificates.is_empty() => {
            Err(settings(format!("{what}: there is no `BEGIN CERTIFICATE` in the PEM text")))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(settings(format!("{what}: this is not PEM")).with_source(error)),
    }
}

fn read_server_name(name: &str) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(name.to_owned()).map_err(|error| {
        settings(format!("{name:?} is no name that a certificate can hold")).with_source(error)
    })
}

fn settings(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Settings, Disposition::Unsent, message)
}

#[cfg(test)]
mod tests;
