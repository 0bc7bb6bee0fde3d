//! Who is spoken to in TLS, and who is known by it.

use callsign::{client::NodeState, core::Registry, core::registry::ListOptions, tls::ClientCertificates};

use super::*;
use crate::client::{builder, fixed, refusal, state, until, until_ready};

#[tokio::test]
async fn a_server_publishes_that_it_speaks_tls_and_is_spoken_to_in_it() {
    let (registry, authority) = (MemoryRegistry::new(), Authority::new("ca"));
    let running = secure(&registry, showing(authority.server())).await;
    assert_eq!(running.handle.node().metadata().get("secure"), Some("true"));
    let tls = trusting(&authority).build().unwrap();
    for channel in [builder(&registry).tls(tls.clone()), builder(&registry).tls_as_published(tls)] {
        let channel = channel.wait_for_ready(true).build().unwrap();
        assert_eq!(greet(&channel, "World").await.unwrap(), "Hello, World!");
        assert_eq!(greet(&channel, "what am I called").await.unwrap(), "Hello, !");
    }
}

#[tokio::test]
async fn a_handler_knows_its_caller_by_name() {
    let registry = MemoryRegistry::new();
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    let tls = showing(authority.server()).clients_pem(clients.pem(), ClientCertificates::Required);
    let _running = secure(&registry, tls).await;
    let tls = showing_to(&authority, clients.client("billing")).build().unwrap();
    let channel = builder(&registry).tls(tls).wait_for_ready(true).build().unwrap();
    assert_eq!(greet(&channel, "what am I called").await.unwrap(), "Hello, billing!");
}

#[tokio::test]
async fn one_service_may_have_nodes_with_tls_and_without() {
    let (registry, authority) = (MemoryRegistry::new(), Authority::new("ca"));
    let _sealed = secure_with(&registry, showing(authority.server()), |builder| builder.id("sealed")).await;
    let _plain = run(&registry, |builder| builder.id("plain")).await;
    let tls = trusting(&authority).build().unwrap();

    let both = builder(&registry).tls_as_published(tls.clone()).build().unwrap();
    until_ready(&both, "sealed").await;
    until_ready(&both, "plain").await;
    for _ in 0..50 {
        greet(&both, "World").await.unwrap();
    }
    assert!(both.nodes().iter().all(|node| node.calls > 0), "{:?}", both.nodes());

    // Told to speak TLS, it does not speak plaintext to anybody.
    let strict = builder(&registry).tls(tls).build().unwrap();
    until_ready(&strict, "sealed").await;
    until("the plaintext node is found out", || refusal(&strict, "plain").is_some()).await;
    assert!(refusal(&strict, "plain").unwrap().contains("plaintext"), "{:?}", refusal(&strict, "plain"));
    for _ in 0..20 {
        greet(&strict, "World").await.unwrap();
    }
    assert_ne!(state(&strict, "plain"), Some(NodeState::Ready));
}

#[tokio::test]
async fn a_node_that_begins_to_speak_tls_is_spoken_to_in_it() {
    let (registry, authority) = (MemoryRegistry::new(), Authority::new("ca"));
    let plain = run(&registry, |builder| builder.id("one")).await;
    let address = plain.handle.local_addr();
    let tls = trusting(&authority).build().unwrap();
    let channel = builder(&registry).tls_as_published(tls).build().unwrap();
    until_ready(&channel, "one").await;
    plain.handle.shutdown();
    plain.end().await.unwrap();

    let again = |builder: Builder| builder.id("one").bind(address.to_string());
    let _sealed = secure_with(&registry, showing(authority.server()), again).await;
    until("the node is called in TLS", || {
        let nodes = channel.nodes();
        let secure = |key| nodes.iter().any(|node| node.node.metadata().get(key) == Some("true"));
        secure("secure") && state(&channel, "one") == Some(NodeState::Ready)
    })
    .await;
    greet(&channel, "World").await.unwrap();
}

#[tokio::test]
async fn a_certificate_for_the_services_name_does_for_all_its_nodes() {
    let (registry, authority) = (MemoryRegistry::new(), Authority::new("ca"));
    let certificate = authority.sign("greeter", &["greeter"], callsign_testbed::certs::Validity::Now);
    let running = secure(&registry, showing(certificate)).await;
    let tls = trusting(&authority).server_name("greeter").build().unwrap();
    let channel = fixed([("one", running.handle.local_addr())]).tls(tls).build().unwrap();
    assert_eq!(greet(&channel, "World").await.unwrap(), "Hello, World!");
}

#[tokio::test]
async fn a_target_names_the_files() {
    let (registry, authority, clients) =
        (MemoryRegistry::new(), Authority::new("servers"), Authority::new("clients"));
    let certificate = authority.sign("greeter", &["greeter"], callsign_testbed::certs::Validity::Now);
    let tls = showing(certificate).clients_pem(clients.pem(), ClientCertificates::Required);
    let running = secure(&registry, tls).await;

    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let Certificate { pem, key } = clients.client("billing");
    let (ca, cert, key) = (file("ca", authority.pem()), file("cert", &pem), file("key", &key));
    let address = running.handle.local_addr();
    let target = format!("static://{address}?ca={ca}&cert={cert}&key={key}&server_name=greeter");
    let channel = Channel::from_target(&target).unwrap();
    assert_eq!(greet(&channel, "what am I called").await.unwrap(), "Hello, billing!");

    let error = Channel::from_target(&format!("static://{address}?ca={ca}.no")).unwrap_err();
    assert!(error.chain().contains(&format!("{ca}.no")), "{}", error.chain());
}

#[tokio::test]
async fn the_key_that_says_tls_is_not_to_be_contradicted() {
    let tls = || showing(Authority::new("ca").server()).build().unwrap();
    let (builder, _) = crate::support::builder(&MemoryRegistry::new());
    let error = builder.tls(tls()).metadata("secure", "false").build().await.unwrap_err();
    assert!(error.to_string().contains("secure"), "{error}");
    // In front of a server without TLS there may be somebody who speaks it.
    let registry = MemoryRegistry::new();
    let _running = run(&registry, |builder| builder.metadata("secure", "true")).await;
    until_listed(&registry).await;
}

async fn until_listed(registry: &MemoryRegistry) {
    soon("the node is registered", async {
        while registry.list(&ListOptions::default()).await.unwrap().nodes.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
