//! TLS with a real etcd, and what is said when it cannot be.

use callsign_core::{ErrorKind, Registry, registry::ListOptions};
use callsign_registry::etcd::{EtcdConfig, EtcdRegistry, TlsConfig};
use callsign_testbed::{
    EtcdServer,
    certs::{Authority, Certificate, Validity},
};

/// What a list over TLS comes to: nothing, or the error's kind with all that it says.
async fn list(config: EtcdConfig) -> Result<(), (ErrorKind, String)> {
    let listed = EtcdRegistry::open(config).list(&ListOptions::default()).await;
    listed
        .map(drop)
        .map_err(|error| (error.kind(), format!("{}; {}", error.chain(), error.hint().unwrap_or_default())))
}

fn secured(url: &str, authority: &Authority, identity: Option<Certificate>) -> EtcdConfig {
    let tls = TlsConfig::builder().roots_pem(authority.pem());
    let tls = match identity {
        Some(Certificate { pem, key }) => tls.identity_pem(pem, key),
        None => tls,
    };
    EtcdConfig::new(url).unwrap().with_tls(tls.build().unwrap()).unwrap()
}

#[tokio::test]
async fn etcd_is_spoken_to_by_name_and_by_address() {
    let authority = Authority::new("etcd");
    let server = EtcdServer::builder().tls(authority.server()).start().await;
    let port = server.address().port();
    for address in [server.url(), server.endpoint(), format!("https://localhost:{port}")] {
        assert_eq!(list(secured(&address, &authority, None)).await, Ok(()), "{address}");
    }
}

#[tokio::test]
async fn a_certificate_that_cannot_be_trusted_says_why() {
    let authority = Authority::new("etcd");
    let server = EtcdServer::builder().tls(authority.server()).start().await;
    for (certificate, said) in [
        (authority.sign("server", &["etcd.internal"], Validity::Now), "is for etcd.internal, and not for"),
        (authority.sign("server", &["127.0.0.1"], Validity::Expired), "expired"),
        (Authority::new("other").server(), "give that authority as a root"),
    ] {
        server.show(&certificate);
        let (kind, message) = list(secured(&server.url(), &authority, None)).await.unwrap_err();
        assert_eq!(kind, ErrorKind::Unavailable, "{message}");
        assert!(message.contains(&server.endpoint()) && message.contains(said), "{message}");
        assert!(!message.contains("start etcd"), "it runs: {message}");
    }
}

#[tokio::test]
async fn a_client_certificate_that_etcd_wants_is_asked_for_and_shown() {
    let (authority, clients) = (Authority::new("etcd"), Authority::new("clients"));
    let builder = EtcdServer::builder().tls(authority.server()).client_authority(clients.pem());
    let server = builder.start().await;
    let with = |identity| list(secured(&server.url(), &authority, identity));

    assert_eq!(with(Some(clients.client("shop"))).await, Ok(()));
    let (kind, message) = with(None).await.unwrap_err();
    assert_eq!(kind, ErrorKind::PermissionDenied, "{message}");
    assert!(message.contains("wants a client certificate, and there is none"), "{message}");
    for unwanted in
        [Authority::new("strangers").client("shop"), clients.sign("shop", &["shop"], Validity::Expired)]
    {
        let (kind, message) = with(Some(unwanted)).await.unwrap_err();
        assert_eq!(kind, ErrorKind::PermissionDenied, "{message}");
        assert!(message.contains("our") && message.contains("client certificate"), "{message}");
    }
}

#[tokio::test]
async fn tls_and_plaintext_that_meet_are_named() {
    let authority = Authority::new("etcd");
    let plain = EtcdServer::start().await;
    let address = format!("https://{}", plain.endpoint());
    let (kind, message) = list(secured(&address, &authority, None)).await.unwrap_err();
    assert_eq!(kind, ErrorKind::Unavailable, "{message}");
    assert!(message.contains("speaks plaintext") && message.contains("http://"), "{message}");

    let sealed = EtcdServer::builder().tls(authority.server()).start().await;
    let (kind, message) = list(EtcdConfig::new(&sealed.endpoint()).unwrap()).await.unwrap_err();
    assert_eq!(kind, ErrorKind::Unavailable, "{message}");
    assert!(message.contains("a port that wants TLS") && message.contains("https://"), "{message}");
}
