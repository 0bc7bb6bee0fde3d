//! Real sockets, with our own client as the peer.

use std::{fs, path::PathBuf};

use callsign_testbed::certs::{Authority, Certificate, Validity};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinSet};

use super::*;
use crate::{Config, Host, connect, tls::TlsBuilder, tls::TlsConfig};

/// Longer than anything here takes, except what is to run into it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Accepts over TLS and serves HTTP/2, and tells how each handshake went.
struct Peer {
    host: Host,
    address: SocketAddr,
    seen: tokio::sync::mpsc::Receiver<Result<Vec<String>, Error>>,
    _serving: JoinSet<()>,
}

impl Peer {
    async fn start(tls: ServerTlsBuilder) -> Self {
        let tls = tls.build().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, seen) = tokio::sync::mpsc::channel(100);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut clients = JoinSet::new();
            loop {
                let (socket, peer) = listener.accept().await.unwrap();
                let (tls, tell) = (tls.clone(), tell.clone());
                clients.spawn(async move {
                    let guest = tls.accept(socket, peer).await;
                    let heard = guest.as_ref().map(|guest| guest.names.clone()).map_err(Clone::clone);
                    let _ = tell.send(heard).await;
                    let Ok(guest) = guest else { return };
                    let Ok(mut server) = h2::server::handshake(guest.stream).await else { return };
                    while let Some(Ok(_)) = server.accept().await {}
                });
            }
        });
        Self { host: Host::Ip(address), address, seen, _serving: serving }
    }

    async fn seen(&mut self) -> Result<Vec<String>, Error> {
        tokio::time::timeout(PATIENCE, self.seen.recv()).await.unwrap().unwrap()
    }
}

fn of(Certificate { pem, key }: Certificate) -> ServerTlsBuilder {
    ServerTls::builder().identity_pem(pem, key)
}

fn trusting(authority: &Authority) -> TlsBuilder {
    TlsConfig::builder().roots_pem(authority.pem())
}

async fn call(host: &Host, tls: Option<&TlsConfig>) -> Result<(), Error> {
    let config = Config { connect_timeout: PATIENCE, tls: tls.cloned(), ..Config::default() };
    connect(host, &config, &Arc::default()).await.map(drop)
}

async fn call_with(host: &Host, tls: TlsBuilder) -> Result<(), Error> {
    call(host, Some(&tls.build().unwrap())).await
}

#[tokio::test]
async fn a_client_is_known_by_the_names_in_its_certificate() {
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    for (clients_wanted, shows) in [
        (ClientCertificates::Required, true),
        (ClientCertificates::Optional, true),
        (ClientCertificates::Optional, false),
    ] {
        let mut peer = Peer::start(of(authority.server()).clients_pem(clients.pem(), clients_wanted)).await;
        let Certificate { pem, key } = clients.client("billing");
        let tls = trusting(&authority);
        let tls = if shows { tls.identity_pem(pem, key) } else { tls };
        call_with(&peer.host, tls).await.unwrap();
        assert_eq!(peer.seen().await.unwrap(), if shows { vec!["billing"] } else { vec![] });
    }
}

#[tokio::test]
async fn clients_that_may_not_come_in_are_told_apart_on_both_sides() {
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    let expired = clients.sign("me", &["me"], Validity::Expired);
    let stranger = Authority::new("strangers").client("me");
    for clients_wanted in [ClientCertificates::Required, ClientCertificates::Optional] {
        let mut peer = Peer::start(of(authority.server()).clients_pem(clients.pem(), clients_wanted)).await;
        for (certificate, here, there) in [
            (None, "no client certificate, and one is required", "there is none to show"),
            (Some(&expired), "expired", "our client certificate has expired"),
            (Some(&stranger), "authority that is not trusted here", "does not trust"),
        ] {
            let tls = trusting(&authority);
            let tls = match certificate {
                Some(Certificate { pem, key }) => tls.identity_pem(&**pem, &**key),
                None if clients_wanted == ClientCertificates::Optional => continue,
                None => tls,
            };
            let error = call_with(&peer.host, tls).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TlsRefused, "{error}");
            assert!(error.to_string().contains(there), "{error}");
            let error = peer.seen().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Untrusted, "{error}");
            assert!(error.to_string().contains(here), "{error}");
        }
    }
}

#[tokio::test]
async fn a_client_that_does_not_accept_our_certificate_is_named() {
    let authority = Authority::new("servers");
    let mut peer = Peer::start(of(authority.sign("server", &["elsewhere"], Validity::Now))).await;
    for (tls, said) in [
        (trusting(&Authority::new("strangers")), "does not trust the authority"),
        (trusting(&authority), "another name"),
    ] {
        assert_eq!(call_with(&peer.host, tls).await.unwrap_err().kind(), ErrorKind::Untrusted);
        let error = peer.seen().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TlsRefused, "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[tokio::test]
async fn plaintext_is_answered_in_what_it_speaks() {
    let mut peer = Peer::start(of(Authority::new("ca").server())).await;
    let mut browser = TcpStream::connect(peer.address).await.unwrap();
    browser.write_all(b"POST /greeter HTTP/1.1\r\nhost: a\r\ncontent-length: 9000\r\n\r\n").await.unwrap();
    browser.write_all(&[b'x'; 9000]).await.unwrap();
    let mut answer = String::new();
    browser.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("use https"), "{answer}");
    assert_eq!(peer.seen().await.unwrap_err().kind(), ErrorKind::NotTls);

    let error = call(&peer.host, None).await.unwrap_err();
    assert!(error.to_string().contains("it wants TLS"), "{error}");
    assert_eq!(peer.seen().await.unwrap_err().kind(), ErrorKind::NotTls);
}

#[tokio::test]
async fn who_dawdles_is_given_up_and_holds_up_no_more_than_its_place() {
    let authority = Authority::new("ca");
    let tls = of(authority.server()).handshake_timeout(Duration::from_millis(300)).handshakes_max(1);
    let mut peer = Peer::start(tls).await;
    let silent = TcpStream::connect(peer.address).await.unwrap();
    let error = peer.seen().await.unwrap_err();
    assert!(error.to_string().contains("said nothing within 300ms"), "{error}");

    let mut slow = TcpStream::connect(peer.address).await.unwrap();
    slow.write_all(&[HANDSHAKE]).await.unwrap();
    let error = peer.seen().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectTimeout, "{error}");
    assert!(error.to_string().contains("handshake within 300ms"), "{error}");

    call_with(&peer.host, trusting(&authority)).await.unwrap();
    drop((silent, slow));
}

/// Certificate, key and authorities in files.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new(identity: &Certificate) -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap() };
        files.write(identity);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, Certificate { pem, key }: &Certificate) {
        fs::write(self.path("cert.pem"), pem).unwrap();
        fs::write(self.path("key.pem"), key).unwrap();
    }
}

#[tokio::test]
async fn a_certificate_that_changes_is_shown_from_then_on_and_half_a_pair_is_not() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let files = Files::new(&old.server());
    let tls = ServerTls::builder().identity_files(files.path("cert.pem"), files.path("key.pem"));
    let peer = Peer::start(tls).await;
    let old = trusting(&old).build().unwrap();
    let new_roots = trusting(&new).build().unwrap();
    call(&peer.host, Some(&old)).await.unwrap();

    // The certificate is there before its key.
    let certificate = new.server();
    fs::write(files.path("cert.pem"), &certificate.pem).unwrap();
    let looks = Instant::now();
    while looks.elapsed() < Duration::from_millis(1500) {
        call(&peer.host, Some(&old)).await.unwrap();
    }
    fs::write(files.path("key.pem"), &certificate.key).unwrap();
    until_answered(&peer.host, &new_roots).await;
    assert_eq!(call(&peer.host, Some(&old)).await.unwrap_err().kind(), ErrorKind::Untrusted);
}

#[tokio::test]
async fn authorities_that_change_decide_whom_a_server_lets_in_and_a_client_trusts() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let files = Files::new(&old.server());
    let roots = files.path("roots.pem");
    fs::write(&roots, old.pem()).unwrap();
    let server = ServerTls::builder()
        .identity_files(files.path("cert.pem"), files.path("key.pem"))
        .clients_file(&roots, ClientCertificates::Required);
    let peer = Peer::start(server).await;
    let client = TlsConfig::builder()
        .roots_file(&roots)
        .identity_files(files.path("cert.pem"), files.path("key.pem"))
        .build()
        .unwrap();
    call(&peer.host, Some(&client)).await.unwrap();

    // First both are trusted, then the certificates change, then the old authority is no more.
    fs::write(&roots, format!("{}{}", old.pem(), new.pem())).unwrap();
    until_answered(&peer.host, &client).await;
    files.write(&new.server());
    until_answered(&peer.host, &client).await;
    fs::write(&roots, new.pem()).unwrap();
    until_answered(&peer.host, &client).await;
    let Certificate { pem, key } = old.client("me");
    let former = trusting(&new).identity_pem(pem, key).build().unwrap();
    let refused = async {
        while call(&peer.host, Some(&former)).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("the old authority is no more");
}

/// Calls until it works.
async fn until_answered(host: &Host, tls: &TlsConfig) {
    let answered = async {
        while call(host, Some(tls)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.expect("the new certificate is trusted");
}

#[test]
fn settings_that_cannot_be_used_say_which_and_why() {
    let authority = Authority::new("ca");
    let (one, other) = (authority.server(), authority.server());
    for (tls, said) in [
        (ServerTls::builder(), "needs a certificate"),
        (ServerTls::builder().identity_pem("", &*one.key), "server's certificate"),
        (ServerTls::builder().identity_pem(&*one.pem, "no pem"), "server's key"),
        (ServerTls::builder().identity_pem(&*one.pem, other.key), "together"),
        (ServerTls::builder().identity_files("/no/cert.pem", "/no/key.pem"), "/no/cert.pem"),
        (of(one.clone()).clients_pem("no pem", ClientCertificates::Required), "root certificates"),
    ] {
        let error = tls.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Settings);
        assert!(error.to_string().contains(said), "{error}");
    }
}
