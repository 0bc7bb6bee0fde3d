//! Where etcd is, and how to get in.

use std::{fmt, time::Duration};

use callsign_core::error::{Error, Result};
use callsign_net::tls::TlsConfig;

use super::client::{Endpoint, Scheme};

const OP: &str = "configure etcd";

/// Settings of an [`EtcdRegistry`](super::EtcdRegistry), checked when made.
///
/// ```
/// use callsign_registry::etcd::EtcdConfig;
///
/// let config = EtcdConfig::new("10.0.0.1:2379,10.0.0.2")?.with_credentials("shop", "secret")?;
/// assert_eq!(config.to_string(), "etcd://10.0.0.1:2379,10.0.0.2:2379");
///
/// let error = EtcdConfig::new("10.0.0.1:port").unwrap_err();
/// assert!(error.to_string().contains("not a port"));
/// # Ok::<(), callsign_core::Error>(())
/// ```
#[derive(Clone)]
pub struct EtcdConfig {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) credentials: Option<Credentials>,
    pub(super) tls: Option<TlsConfig>,
    pub(super) connect_timeout: Duration,
    pub(super) request_timeout: Duration,
}

/// Who we are.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: String,
}

// === impl EtcdConfig ===

impl EtcdConfig {
    /// Where etcd listens when nothing is said of it.
    pub const ADDRESS_DEFAULT: &str = "127.0.0.1:2379";

    /// The members of one etcd cluster: `host:port`, `host` or URLs, separated by commas. None at all stands for
    /// [`ADDRESS_DEFAULT`](Self::ADDRESS_DEFAULT).
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](callsign_core::ErrorKind::InvalidInput), naming the address that cannot be read; or when some of them
    /// speak TLS and others do not.
    pub fn new(addresses: &str) -> Result<Self> {
        let named = addresses.split(',').map(str::trim).filter(|address| !address.is_empty());
        let mut endpoints = named.map(str::parse).collect::<Result<Vec<Endpoint>>>()?;
        if endpoints.is_empty() {
            endpoints.push(Self::ADDRESS_DEFAULT.parse()?);
        }
        let secure = endpoints.iter().filter(|endpoint| endpoint.scheme() == Scheme::Tls).count();
        if secure != 0 && secure != endpoints.len() {
            let message = format!("of {addresses:?} some speak TLS and some do not");
            return Err(
                Error::invalid(OP, message).with_hint("write https:// before all of them or before none")
            );
        }
        let tls = (secure != 0).then(|| TlsConfig::builder().build()).transpose();
        let tls = tls.map_err(|error| {
            Error::invalid(OP, "TLS cannot be set up with the authorities of this system").with_source(error)
        })?;
        Ok(Self {
            endpoints,
            credentials: None,
            tls,
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(5),
        })
    }

    /// Sets whom to trust, and which certificate to show. Without it, addresses with `https://` are trusted as the authorities
    /// of this system say, and others are spoken to in plaintext.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](callsign_core::ErrorKind::InvalidInput) when an address begins with `http://`.
    pub fn with_tls(self, tls: TlsConfig) -> Result<Self> {
        match self.endpoints.iter().find(|endpoint| endpoint.scheme() == Scheme::Plain) {
            None => Ok(Self { tls: Some(tls), ..self }),
            Some(plain) => {
                Err(Error::invalid(OP, format!("there is TLS for http://{plain}, which is without"))
                    .with_hint("write https:// there, or nothing before the host"))
            }
        }
    }

    /// Sets who we are, for an etcd that wants to know.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](callsign_core::ErrorKind::InvalidInput) when the user's name is empty.
    pub fn with_credentials(self, user: impl Into<String>, password: impl Into<String>) -> Result<Self> {
        let (user, password) = (user.into(), password.into());
        if user.is_empty() {
            return Err(Error::invalid(OP, "a password was given, and no user it belongs to")
                .with_hint("set both ETCD_USERNAME and ETCD_PASSWORD, or neither"));
        }
        Ok(Self { credentials: Some(Credentials { user, password }), ..self })
    }

    /// Sets how long it may take to connect to a member. 3 s when not set.
    #[must_use]
    pub fn with_connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    /// Sets how long an answer may take, connecting included. 5 s when not set.
    #[must_use]
    pub fn with_request_timeout(self, request_timeout: Duration) -> Self {
        Self { request_timeout, ..self }
    }
}

/// As a URL, without credentials.
impl fmt::Display for EtcdConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("etcd://")?;
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{endpoint}")?;
        }
        Ok(())
    }
}

/// Without the password.
impl fmt::Debug for EtcdConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoints, credentials, tls, connect_timeout, request_timeout } = self;
        f.debug_struct("EtcdConfig")
            .field("endpoints", endpoints)
            .field("user", &credentials.as_ref().map(|credentials| &credentials.user))
            .field("tls", tls)
            .field("connect_timeout", connect_timeout)
            .field("request_timeout", request_timeout)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_tls_and_half_of_a_login_are_refused() {
        let tls = || TlsConfig::builder().build().unwrap();
        assert!(EtcdConfig::new("a,b").unwrap().with_tls(tls()).unwrap().tls.is_some());
        for (result, said) in [
            (EtcdConfig::new("https://a,b"), "some speak TLS"),
            (EtcdConfig::new("http://a").and_then(|config| config.with_tls(tls())), "http://a:2379"),
            (EtcdConfig::new("a").and_then(|config| config.with_credentials("", "secret")), "no user"),
        ] {
            let error = result.unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
    }

    #[test]
    fn no_address_is_the_usual_one_and_no_password_is_shown() {
        let config = EtcdConfig::new(" , ").unwrap().with_credentials("shop", "secret").unwrap();
        assert_eq!(config.to_string(), "etcd://127.0.0.1:2379");
        let shown = format!("{config:?}");
        assert!(shown.contains("shop") && !shown.contains("secret"), "{shown}");
    }
}
