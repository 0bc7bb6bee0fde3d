//! Clients that knock at the wrong door.
//!
//! One that speaks TLS where plaintext is spoken, or shows a certificate that does not do, comes again and again. Whoever runs the
//! server is told once of each kind; the rest is for who looks for it.

use std::{
    fmt::Display,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use callsign_net::ErrorKind;

/// Tells of the client of one connection. All of a server share what was said.
#[derive(Debug, Clone)]
pub(crate) struct Strays {
    peer: SocketAddr,
    said: Said,
}

/// The kinds that were told of already.
pub(crate) type Said = Arc<Mutex<Vec<ErrorKind>>>;

// === impl Strays ===

impl Strays {
    pub(crate) fn new(peer: SocketAddr, said: &Said) -> Self {
        Self { peer, said: said.clone() }
    }

    pub(crate) fn tell(&self, kind: ErrorKind, problem: impl Display) {
        let peer = self.peer;
        // Who connects and goes away again is a probe of somebody who looks whether the port is open.
        if kind != ErrorKind::HungUp && self.is_first(kind) {
            tracing::warn!(%peer, %problem, "a client cannot be served; others like it are told of in debug only");
        } else {
            tracing::debug!(%peer, %problem, "a client cannot be served");
        }
    }

    fn is_first(&self, kind: ErrorKind) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let first = !said.contains(&kind);
        if first {
            said.push(kind);
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_new_once_on_all_connections_together() {
        let said = Said::default();
        let strays = || Strays::new(([127, 0, 0, 1], 1).into(), &said);
        assert!(strays().is_first(ErrorKind::NotTls));
        assert!(strays().is_first(ErrorKind::Untrusted));
        assert!(!strays().is_first(ErrorKind::NotTls));
    }
}
