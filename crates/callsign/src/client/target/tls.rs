//! How nodes are spoken to, and whom to trust: names of files, which are read when the channel is made.

use std::path::PathBuf;

use callsign_core::{Error, Result};

use super::options::Options;
use crate::client::speech::Wish;

/// What a target says of TLS.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "read, to be refused as a whole"))]
pub(in crate::client) struct Tls {
    /// To all nodes, or to those that publish it.
    always: bool,
    ca: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
    server_name: Option<String>,
}

/// What the target says of it, if it does.
pub(super) fn read(options: &mut Options<'_>) -> Result<Option<Tls>> {
    let always = options.take("tls").map(|value| match &*value.text()? {
        "on" => Ok(true),
        "published" => Ok(false),
        _ => Err(value.wrong("on, nor published for those nodes that publish it")),
    });
    let always = always.transpose()?;
    let ca = options.take("ca").map(|value| value.text()).transpose()?;
    let identity = match (options.take("cert"), options.take("key")) {
        (Some(cert), Some(key)) => Some((cert.text()?.into(), key.text()?.into())),
        (Some(half), None) => return Err(half.idle("needs its key: add key=FILE")),
        (None, Some(half)) => return Err(half.idle("needs its certificate: add cert=FILE")),
        (None, None) => None,
    };
    let server_name = options.take("server_name").map(|value| value.text()).transpose()?;
    if always.is_none() && ca.is_none() && identity.is_none() && server_name.is_none() {
        return Ok(None);
    }
    // Whoever says how TLS is to be spoken wants it spoken.
    Ok(Some(Tls { always: always.unwrap_or(true), ca: ca.map(PathBuf::from), identity, server_name }))
}

// === impl Tls ===

impl Tls {
    #[cfg(test)]
    pub(super) fn is_always(&self) -> bool {
        self.always
    }

    /// Reads the files.
    #[cfg(feature = "tls")]
    pub(in crate::client) fn load(self) -> Result<Wish> {
        let Self { always, ca, identity, server_name } = self;
        let mut tls = callsign_net::tls::TlsConfig::builder();
        if let Some(ca) = ca {
            tls = tls.roots_file(ca);
        }
        if let Some((cert, key)) = identity {
            tls = tls.identity_files(cert, key);
        }
        if let Some(name) = server_name {
            tls = tls.server_name(name);
        }
        let tls = tls.build().map_err(|error| {
            Error::invalid("make a channel", "TLS cannot be set up as the target says").with_source(error)
        })?;
        Ok(if always { Wish::Always(tls) } else { Wish::Published(tls) })
    }

    #[cfg(not(feature = "tls"))]
    pub(in crate::client) fn load(self) -> Result<Wish> {
        Err(Error::invalid("make a channel", "the target asks for TLS, and this program was built without")
            .with_hint("turn on the feature `tls` of callsign"))
    }
}
