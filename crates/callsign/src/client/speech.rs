//! In what a node is spoken to: plaintext or TLS.
//!
//! A channel that was given TLS speaks nothing else, whatever a registry says: whoever can write to a registry must not be
//! able to turn it off. Without that, or when told to, it goes by what each node publishes, so that one service can have nodes
//! of both kinds; then TLS is as sure as the registry is.

use std::sync::{Arc, OnceLock};

use callsign_core::{
    Node,
    model::{Address, keys},
};
#[cfg(feature = "tls")]
use callsign_net::tls::TlsConfig;
use callsign_net::{Config, Host};
use http::uri::{Authority, Scheme};

/// What the maker of a channel says of TLS.
#[derive(Debug, Default)]
pub(crate) enum Wish {
    /// To nodes that publish it, by the platform's authorities.
    #[default]
    Nothing,
    /// To nodes that publish it.
    #[cfg(feature = "tls")]
    Published(TlsConfig),
    /// To all nodes.
    #[cfg(feature = "tls")]
    Always(TlsConfig),
}

/// How the nodes of a channel are spoken to.
#[derive(Debug)]
pub(crate) struct Speech {
    plain: Arc<Config>,
    /// The same with TLS, or why there is none. The platform's authorities are read for the first node that needs them.
    sealed: OnceLock<Result<Arc<Config>, String>>,
    always: bool,
}

/// How one node is spoken to.
#[derive(Debug, Clone)]
pub(crate) struct Tongue {
    pub(crate) scheme: Scheme,
    pub(crate) config: Arc<Config>,
}

// === impl Wish ===

impl Wish {
    /// Settings of connections with TLS, if it was said by whose authority, and whether there are to be no others. TLS that was
    /// put among the settings of `plain` is taken out of them.
    #[cfg(feature = "tls")]
    fn seal(self, plain: &mut Config) -> (Option<Config>, bool) {
        let (tls, always) = match (self, plain.tls.take()) {
            (Self::Always(tls), _) | (Self::Nothing, Some(tls)) => (tls, true),
            (Self::Published(tls), _) => (tls, false),
            (Self::Nothing, None) => return (None, false),
        };
        (Some(with(tls, plain)), always)
    }

    #[cfg(not(feature = "tls"))]
    fn seal(self, _: &mut Config) -> (Option<Config>, bool) {
        (None, false)
    }
}

// === impl Speech ===

impl Speech {
    pub(crate) fn new(mut plain: Config, wish: Wish) -> Self {
        let (sealed, always) = wish.seal(&mut plain);
        let sealed = sealed.map_or_else(OnceLock::new, |sealed| OnceLock::from(Ok(Arc::new(sealed))));
        Self { plain: Arc::new(plain), sealed, always }
    }

    /// How to speak to `node`.
    ///
    /// # Errors
    ///
    /// Why that cannot be done here.
    pub(crate) fn to(&self, node: &Node) -> Result<Tongue, String> {
        let secure = self.always || node.metadata().get(keys::SECURE) == Some("true");
        if !secure {
            return Ok(Tongue { scheme: Scheme::HTTP, config: self.plain.clone() });
        }
        match self.sealed.get_or_init(|| default_seal(&self.plain)) {
            Ok(config) => Ok(Tongue { scheme: Scheme::HTTPS, config: config.clone() }),
            Err(reason) => Err(format!("{} speaks TLS, and {reason}", node.id())),
        }
    }
}

// === free functions ===

/// What to connect to.
pub(crate) fn host(address: &Address) -> Host {
    match address.socket_addr() {
        Some(address) => Host::Ip(address),
        None => Host::Name(address.host().into(), address.port()),
    }
}

/// How HTTP writes an address, if it can.
pub(crate) fn authority(address: &Address) -> Option<Authority> {
    // The interface of a link-local address means something to this machine alone (RFC 6874, 1).
    let authority = match address.host().split_once('%') {
        Some((host, _interface)) => format!("[{host}]:{}", address.port()),
        None => address.to_string(),
    };
    Authority::try_from(authority).ok()
}

#[cfg(feature = "tls")]
fn with(tls: TlsConfig, plain: &Config) -> Config {
    let mut sealed = plain.clone();
    sealed.tls = Some(tls);
    sealed
}

/// TLS by the platform's authorities.
#[cfg(feature = "tls")]
fn default_seal(plain: &Config) -> Result<Arc<Config>, String> {
    let tls = TlsConfig::builder().build().map_err(|error| super::link::describe(&error))?;
    Ok(Arc::new(with(tls, plain)))
}

#[cfg(not(feature = "tls"))]
fn default_seal(_: &Config) -> Result<Arc<Config>, String> {
    Err("this program was built without: turn on the feature `tls` of callsign".to_owned())
}
