//! Real sockets, with rustls's server as the peer.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use callsign_testbed::certs::{Authority, Certificate, Validity};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{PrivateKeyDer, pem::PemObject},
        server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    },
};

use super::*;
use crate::{Config, Disposition, ErrorKind, Host, connect};

/// A peer that serves HTTP/2 over TLS, one connection after the other.
struct Peer {
    host: Host,
    serving: tokio::task::JoinSet<()>,
}

impl Peer {
    async fn start(certificate: &Certificate, clients: Option<&Authority>, alpn: &[u8]) -> Self {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let roots = Arc::new(read_roots(authority.pem().as_bytes()).unwrap());
                let verifier: Arc<dyn ClientCertVerifier> =
                    WebPkiClientVerifier::builder_with_provider(roots, provider).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        let chain = read_certificates("the server's", certificate.pem.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).unwrap();
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![alpn.to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = Host::Ip(listener.local_addr().unwrap());
        let mut serving = tokio::task::JoinSet::new();
        serving.spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let Ok(stream) = acceptor.accept(socket).await else { continue };
                let Ok(mut server) = h2::server::handshake(stream).await else { continue };
                while let Some(Ok((_, mut respond))) = server.accept().await {
                    let mut body = respond.send_response(http::Response::new(()), false).unwrap();
                    body.send_data(Bytes::from_static(b"sealed"), true).unwrap();
                }
            }
        });
        Self { host, serving }
    }

    async fn of(certificate: &Certificate) -> Self {
        Self::start(certificate, None, b"h2").await
    }
}

fn trusting(authority: &Authority) -> TlsBuilder {
    TlsConfig::builder().roots_pem(authority.pem())
}

fn config(tls: TlsBuilder) -> Config {
    // Failures come at once; only silence takes this long, and a busy machine needs some.
    Config { connect_timeout: Duration::from_secs(20), tls: Some(tls.build().unwrap()), ..Config::default() }
}

async fn refused(host: &Host, tls: TlsBuilder) -> (ErrorKind, String) {
    let error = connect(host, &config(tls), &Arc::default()).await.unwrap_err();
    assert_eq!(error.disposition(), Disposition::Unsent);
    (error.kind(), error.to_string())
}

/// Makes one call.
async fn answer(host: &Host, tls: TlsBuilder) -> Vec<u8> {
    let (connection, mut driver) = connect(host, &config(tls), &Arc::default()).await.unwrap();
    let call = async {
        let slot = connection.try_slot().unwrap();
        let (mut stream, _outgoing) = slot.open(&connection, http::Request::new(()), true).unwrap();
        let response = std::future::poll_fn(|cx| stream.poll_response(cx)).await.unwrap();
        let mut body = response.into_body();
        let frame = std::future::poll_fn(|cx| http_body::Body::poll_frame(std::pin::Pin::new(&mut body), cx));
        frame.await.unwrap().unwrap().into_data().unwrap().to_vec()
    };
    tokio::select! {
        biased;
        error = &mut driver => panic!("{error:?}"),
        answer = call => answer,
    }
}

#[tokio::test]
async fn a_trusted_peer_is_called_and_a_client_certificate_shown() {
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    let peer = Peer::start(&authority.server(), Some(&clients), b"h2").await;
    let Certificate { pem, key } = clients.client("me");
    for _ in 0..2 {
        // The second time the session is resumed.
        assert_eq!(answer(&peer.host, trusting(&authority).identity_pem(&*pem, &*key)).await, b"sealed");
    }
}

#[tokio::test]
async fn the_name_looked_up_or_the_one_set_is_what_the_certificate_must_hold() {
    let authority = Authority::new("ca");
    let peer = Peer::of(&authority.sign("etcd", &["etcd.internal"], Validity::Now)).await;
    let Host::Ip(address) = peer.host else { unreachable!() };
    let named = Host::Name("localhost".into(), address.port());
    for (host, tried) in [(&peer.host, "127.0.0.1"), (&named, "localhost")] {
        let (kind, message) = refused(host, trusting(&authority)).await;
        assert_eq!(kind, ErrorKind::Untrusted, "{message}");
        assert!(message.contains(tried) && message.contains("etcd.internal"), "{message}");
        assert_eq!(answer(host, trusting(&authority).server_name("etcd.internal")).await, b"sealed");
    }
}

#[tokio::test]
async fn a_certificate_without_names_is_named_as_such() {
    let authority = Authority::new("ca");
    let peer = Peer::of(&authority.sign("localhost", &[], Validity::Now)).await;
    let (kind, message) = refused(&peer.host, trusting(&authority)).await;
    assert_eq!(kind, ErrorKind::Untrusted, "{message}");
    assert!(message.contains("no name at all"), "{message}");
}

#[tokio::test]
async fn expired_not_yet_valid_and_unknown_certificates_are_told_apart() {
    let authority = Authority::new("ca");
    for (signer, validity, said) in [
        (&authority, Validity::Expired, "expired"),
        (&authority, Validity::NotYet, "clock"),
        (&Authority::new("another"), Validity::Now, "not trusted here"),
        // Same name, another key: what a rebuilt authority looks like to those who trust the old one.
        (&Authority::new("ca"), Validity::Now, "signature"),
    ] {
        let peer = Peer::of(&signer.sign("server", &["127.0.0.1"], validity)).await;
        let (kind, message) = refused(&peer.host, trusting(&authority)).await;
        assert_eq!(kind, ErrorKind::Untrusted, "{message}");
        assert!(message.contains(said), "{message}");
        assert!(message.contains(&peer.host.to_string()), "{message}");
    }
}

#[tokio::test]
async fn a_peer_that_wants_a_client_certificate_says_so() {
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    let peer = Peer::start(&authority.server(), Some(&clients), b"h2").await;
    let (kind, message) = refused(&peer.host, trusting(&authority)).await;
    assert_eq!(kind, ErrorKind::TlsRefused, "{message}");
    assert!(message.contains("wants a client certificate, and there is none"), "{message}");

    let expired = clients.sign("me", &["me"], Validity::Expired);
    let (kind, message) =
        refused(&peer.host, trusting(&authority).identity_pem(expired.pem, expired.key)).await;
    assert_eq!(kind, ErrorKind::TlsRefused, "{message}");
    assert!(message.contains("our client certificate has expired"), "{message}");

    let stranger = Authority::new("strangers").client("me");
    let (kind, message) =
        refused(&peer.host, trusting(&authority).identity_pem(stranger.pem, stranger.key)).await;
    assert_eq!(kind, ErrorKind::TlsRefused, "{message}");
    assert!(
        message.contains("our client certificate") || message.contains("ours was not signed"),
        "{message}"
    );
}

#[tokio::test]
async fn a_peer_without_http2_over_tls_is_named() {
    let authority = Authority::new("ca");
    let peer = Peer::start(&authority.server(), None, b"http/1.1").await;
    let (kind, message) = refused(&peer.host, trusting(&authority)).await;
    assert_eq!(kind, ErrorKind::TlsRefused, "{message}");
    assert!(message.contains("no HTTP/2 over TLS"), "{message}");
}

#[tokio::test]
async fn plaintext_where_tls_is_spoken_is_named() {
    let authority = Authority::new("ca");
    for answer in [
        Some(&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..]),
        // SETTINGS, as a plaintext HTTP/2 server sends them unasked.
        Some(b"\0\0\0\x04\0\0\0\0\0"),
        None,
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = Host::Ip(listener.local_addr().unwrap());
        let peer = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            socket.read_exact(&mut [0; 24]).await.unwrap();
            if let Some(answer) = answer {
                socket.write_all(answer).await.unwrap();
                let _ = socket.read_to_end(&mut Vec::new()).await;
            }
        };
        let ((kind, message), ()) = tokio::join!(refused(&host, trusting(&authority)), peer);
        assert_eq!(kind, ErrorKind::NotTls, "{message}");
        assert!(message.contains("plaintext"), "{message}");
    }
}

#[tokio::test]
async fn tls_where_plaintext_is_spoken_is_named() {
    let mut peer = Peer::of(&Authority::new("ca").server()).await;
    let plaintext = Config { connect_timeout: Duration::from_secs(20), ..Config::default() };
    let error = connect(&peer.host, &plaintext, &Arc::default()).await.unwrap_err();
    // A peer need not answer with an alert; the tests of the plaintext connection have one that does.
    assert!(error.to_string().contains("wants TLS"), "{error}");
    peer.serving.abort_all();
}

#[tokio::test]
async fn a_peer_that_never_shakes_hands_is_given_up_within_the_time_to_connect() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = Host::Ip(listener.local_addr().unwrap());
    let mut config = config(trusting(&Authority::new("ca")));
    config.connect_timeout = Duration::from_millis(300);
    let error = connect(&host, &config, &Arc::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectTimeout, "{error}");
}

#[test]
fn settings_that_cannot_be_used_say_which_and_why() {
    let authority = Authority::new("ca");
    let (one, other) = (authority.client("one"), authority.client("other"));
    for (tls, said) in [
        (TlsConfig::builder().roots_pem("no pem"), "root certificates"),
        (TlsConfig::builder().roots_pem(&*one.key), "root certificates"),
        (trusting(&authority).identity_pem("", &*one.key), "client's certificate"),
        (trusting(&authority).identity_pem(&*one.pem, &*one.pem), "client's key"),
        (trusting(&authority).identity_pem(one.pem, other.key), "together"),
        (trusting(&authority).server_name("a name"), "\"a name\""),
    ] {
        let error = tls.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Settings);
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[test]
fn the_key_is_not_printed() {
    let authority = Authority::new("ca");
    let Certificate { pem, key } = authority.client("me");
    let builder = trusting(&authority).identity_pem(pem, key);
    let shown = format!("{builder:?} {:?}", builder.clone().build().unwrap());
    assert!(shown.len() < 200 && !shown.contains("PRIVATE"), "{shown}");
}
