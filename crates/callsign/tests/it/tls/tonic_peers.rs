//! Over TLS with tonic's own client and server at the other end.

use callsign::tls::ClientCertificates;
use callsign_examples::greeter::greeter_server::GreeterServer;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{
    Certificate as Trusted, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig,
};

use super::*;
use crate::{client::fixed, support::TestGreeter};

#[tokio::test]
async fn tonics_client_calls_our_server() {
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    let tls = showing(authority.server()).clients_pem(clients.pem(), ClientCertificates::Required);
    let running = secure(&MemoryRegistry::new(), tls).await;
    let Certificate { pem, key } = clients.client("billing");
    let tls = ClientTlsConfig::new()
        .ca_certificate(Trusted::from_pem(authority.pem()))
        .identity(Identity::from_pem(pem, key))
        .domain_name("localhost");
    let endpoint = Endpoint::from_shared(format!("https://{}", running.handle.local_addr())).unwrap();
    let channel = soon("connecting", endpoint.tls_config(tls).unwrap().connect()).await.unwrap();
    let reply = GreeterClient::new(channel).hello(hello("what am I called")).await.unwrap();
    assert_eq!(reply.into_inner().message, "Hello, billing!");
}

#[tokio::test]
async fn our_channel_calls_tonics_server() {
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    let Certificate { pem, key } = authority.server();
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(pem, key))
        .client_ca_root(Trusted::from_pem(clients.pem()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server =
        Server::builder().tls_config(tls).unwrap().add_service(GreeterServer::new(TestGreeter::default()));
    let serving = tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));

    let with = |tls: TlsBuilder| fixed([("one", address)]).tls(tls.build().unwrap()).build().unwrap();
    let channel = with(showing_to(&authority, clients.client("billing")));
    assert_eq!(greet(&channel, "World").await.unwrap(), "Hello, World!");
    let status = greet(&with(trusting(&authority)), "World").await.unwrap_err();
    assert!(status.message().contains("there is none to show"), "{status}");
    serving.abort();
}
