//! Certificates change while servers and clients run.

use std::{fs, path::PathBuf};

use callsign::{client::ChannelBuilder, tls::ClientCertificates};
use tempfile::TempDir;

use super::*;
use crate::client::{builder, until_ready};

/// One identity and one list of authorities, that a server and its clients share.
struct Files(TempDir);

impl Files {
    fn new(authority: &Authority) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.trust(authority.pem());
        files.show(&authority.server());
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn trust(&self, authorities: &str) {
        fs::write(self.path("ca.pem"), authorities).unwrap();
    }

    fn show(&self, Certificate { pem, key }: &Certificate) {
        fs::write(self.path("cert.pem"), pem).unwrap();
        fs::write(self.path("key.pem"), key).unwrap();
    }

    fn server(&self) -> ServerTlsBuilder {
        ServerTls::builder()
            .identity_files(self.path("cert.pem"), self.path("key.pem"))
            .clients_file(self.path("ca.pem"), ClientCertificates::Required)
    }

    fn client(&self) -> TlsConfig {
        let tls = TlsConfig::builder().identity_files(self.path("cert.pem"), self.path("key.pem"));
        tls.roots_file(self.path("ca.pem")).build().unwrap()
    }
}

/// Waits until a new connection, made just so, answers.
async fn until_answered(what: &str, channel: impl Fn() -> ChannelBuilder) {
    soon(what, async {
        while greet(&channel().build().unwrap(), "World").await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_authority_is_replaced_while_calls_go_on() {
    let registry = MemoryRegistry::new();
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let files = Files::new(&old);
    let first = secure_with(&registry, files.server(), |builder| builder.id("first")).await;
    let channel = builder(&registry).tls(files.client()).build().unwrap();
    until_ready(&channel, "first").await;
    greet(&channel, "World").await.unwrap();

    // Trust both, show the new, trust the new alone: after the last step who knows the new one only is served,
    files.trust(&format!("{}{}", old.pem(), new.pem()));
    let certificate = new.server();
    files.show(&certificate);
    files.trust(new.pem());
    let address = first.handle.local_addr();
    until_answered("the first server shows its new certificate", || {
        let tls = showing_to(&new, certificate.clone()).build().unwrap();
        crate::client::fixed([("first", address)]).tls(tls)
    })
    .await;
    // the connection from before goes on,
    greet(&channel, "World").await.unwrap();

    // and the channel from before calls a server that never had any other certificate.
    let second = secure_with(&registry, files.server(), |builder| builder.id("second")).await;
    until_ready(&channel, "second").await;
    first.handle.shutdown();
    first.end().await.unwrap();
    greet(&channel, "World").await.unwrap();
    second.handle.shutdown();
    second.end().await.unwrap();
}
