//! What is wrong is named, on the first call and without a wait.
//!
//! Time to connect is longer than any test may take: a failure that is named was not waited for.

use std::time::Duration;

use callsign::tls::ClientCertificates;
use callsign_testbed::certs::Validity;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::*;
use crate::client::fixed;

/// What a call to `running` fails with, if the client speaks `tls`, or plaintext.
async fn failure(running: &Running, tls: Option<TlsBuilder>) -> String {
    let mut config = callsign_net::Config::default();
    config.connect_timeout = Duration::from_secs(3600);
    let channel = fixed([("one", running.handle.local_addr())]).connection(config);
    let channel = match tls {
        Some(tls) => channel.tls(tls.build().unwrap()),
        None => channel,
    };
    let channel = channel.build().unwrap();
    let status = greet(&channel, "World").await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status}");
    status.message().to_owned()
}

/// Asserts that a client that trusts `authority` is told of a server's certificate that it `said` so.
async fn certificate(authority: &Authority, shown: Certificate, said: &str) {
    let running = secure(&MemoryRegistry::new(), showing(shown)).await;
    let told = failure(&running, Some(trusting(authority))).await;
    assert!(told.contains(said), "{said}: {told}");
}

#[tokio::test]
async fn each_fault_of_the_servers_certificate_is_named() {
    let authority = Authority::new("ca");
    let of = |names: &[&str], validity| authority.sign("server", names, validity);
    certificate(&authority, of(&["elsewhere"], Validity::Now), "is for elsewhere, and not for").await;
    certificate(&authority, of(&["127.0.0.1"], Validity::Expired), "expired").await;
    certificate(&authority, of(&["127.0.0.1"], Validity::NotYet), "is valid only in").await;
    certificate(&authority, Authority::new("another").server(), "is not trusted here").await;
}

#[tokio::test]
async fn each_fault_of_the_clients_certificate_is_named() {
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    let tls = showing(authority.server()).clients_pem(clients.pem(), ClientCertificates::Required);
    let running = secure(&MemoryRegistry::new(), tls).await;
    let expired = clients.sign("me", &["me"], Validity::Expired);
    let stranger = Authority::new("strangers").client("me");
    for (tls, said) in [
        (trusting(&authority), "wants a client certificate, and there is none to show"),
        (showing_to(&authority, expired), "our client certificate has expired"),
        (showing_to(&authority, stranger), "authority that it does not trust"),
    ] {
        let told = failure(&running, Some(tls)).await;
        assert!(told.contains(said), "{said}: {told}");
    }
}

#[tokio::test]
async fn plaintext_and_tls_that_meet_are_named_on_either_side() {
    let authority = Authority::new("ca");
    let plain = run(&MemoryRegistry::new(), |builder| builder).await;
    let told = failure(&plain, Some(trusting(&authority))).await;
    assert!(told.contains("it speaks plaintext; try it without TLS"), "{told}");

    let sealed = secure(&MemoryRegistry::new(), showing(authority.server())).await;
    let told = failure(&sealed, None).await;
    assert!(told.contains("it wants TLS"), "{told}");
    let mut browser = TcpStream::connect(sealed.handle.local_addr()).await.unwrap();
    browser.write_all(b"GET / HTTP/1.1\r\nhost: greeter\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    soon("an answer", browser.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("https"), "{answer}");
}

#[tokio::test]
async fn a_node_that_speaks_tls_is_not_called_in_plaintext_by_who_was_told_nothing() {
    let registry = MemoryRegistry::new();
    let running = secure(&registry, showing(Authority::new("private").server())).await;
    let node = (**running.handle.node()).clone();
    let channel = Channel::builder("greeter").nodes([node]).build().unwrap();
    let status = greet(&channel, "World").await.unwrap_err();
    // By the platform's authorities, of which there may be none here.
    let told = status.message();
    assert!(told.contains("not trusted here") || told.contains("no root certificates"), "{told}");
}
