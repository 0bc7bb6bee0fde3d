//! Whether a server speaks TLS yet.
//!
//! etcd says that it is ready before it has read its certificate and its key. A test that gave it others just then had them read
//! half written now and then, and etcd ended.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, Error, RootCertStore, crypto::ring, pki_types::ServerName},
};

use crate::PATIENCE;

/// Waits until the server at `address` shows a certificate. Which one does not matter: nothing is trusted here.
pub(crate) async fn complete(address: SocketAddr) -> io::Result<()> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let shown = async {
        let stream = TcpStream::connect(address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::from(address.ip()), stream).await
    };
    match timeout(PATIENCE, shown).await? {
        Ok(_) => Ok(()),
        Err(error) if is_about_the_certificate(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

fn is_about_the_certificate(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    matches!(inner, Some(Error::InvalidCertificate(_)))
}
