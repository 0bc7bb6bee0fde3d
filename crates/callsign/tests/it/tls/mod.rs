//! TLS between clients and servers.

mod calls;
mod errors;
mod rotation;
mod tonic_peers;

use callsign::{
    Channel,
    core::memory::MemoryRegistry,
    server::Builder,
    tls::{ServerTls, ServerTlsBuilder, TlsBuilder, TlsConfig},
};
use callsign_examples::greeter::greeter_client::GreeterClient;
use callsign_testbed::certs::{Authority, Certificate};

use crate::support::{Running, hello, run, soon};

/// A server that shows `certificate`.
fn showing(certificate: Certificate) -> ServerTlsBuilder {
    ServerTls::builder().identity_pem(certificate.pem, certificate.key)
}

/// A client that trusts `authority`.
fn trusting(authority: &Authority) -> TlsBuilder {
    TlsConfig::builder().roots_pem(authority.pem())
}

/// A client that trusts `authority` and shows `certificate`.
fn showing_to(authority: &Authority, certificate: Certificate) -> TlsBuilder {
    trusting(authority).identity_pem(certificate.pem, certificate.key)
}

/// Runs a greeter over TLS.
async fn secure(registry: &MemoryRegistry, tls: ServerTlsBuilder) -> Running {
    secure_with(registry, tls, |builder| builder).await
}

async fn secure_with(
    registry: &MemoryRegistry,
    tls: ServerTlsBuilder,
    change: impl FnOnce(Builder) -> Builder,
) -> Running {
    run(registry, |builder| change(builder.tls(tls.build().unwrap()))).await
}

/// Greets through `channel`, waiting for nobody.
async fn greet(channel: &Channel, name: &str) -> Result<String, tonic::Status> {
    let mut client = GreeterClient::new(channel.clone());
    let reply = soon("the call ends", client.hello(hello(name))).await?;
    Ok(reply.into_inner().message)
}
