//! What a server needs to know of TLS, whether it was built with it or not.

#[cfg(feature = "tls")]
pub(crate) use callsign_net::tls::ServerTls;
#[cfg(feature = "tls")]
use callsign_net::tls::TlsGuest;
#[cfg(not(feature = "tls"))]
pub(crate) use without::{ServerTls, TlsGuest};

/// Who a client has shown to be.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) certificates: Vec<Vec<u8>>,
    pub(crate) names: Vec<String>,
}

/// Takes apart who was let in.
#[cfg(feature = "tls")]
pub(crate) fn known(
    guest: TlsGuest,
) -> (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static, Identity) {
    let TlsGuest { stream, certificates, names } = guest;
    (stream, Identity { certificates, names })
}

#[cfg(not(feature = "tls"))]
#[expect(clippy::needless_pass_by_value, reason = "as with it")]
pub(crate) fn known(guest: TlsGuest) -> (tokio::net::TcpStream, Identity) {
    match guest {}
}

#[cfg(not(feature = "tls"))]
mod without {
    use std::net::SocketAddr;

    use tokio::net::TcpStream;

    /// TLS that nobody can have asked for.
    #[derive(Debug, Clone)]
    pub(crate) enum ServerTls {}

    pub(crate) enum TlsGuest {}

    // === impl ServerTls ===

    impl ServerTls {
        pub(crate) async fn accept(
            &self,
            _: TcpStream,
            _: SocketAddr,
        ) -> Result<TlsGuest, callsign_net::Error> {
            match *self {}
        }
    }
}
