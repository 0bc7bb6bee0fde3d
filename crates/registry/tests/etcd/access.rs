//! Getting in, and being told why not.

use std::time::Duration;

use callsign_core::{
    ErrorKind, Registry, WatchEvent,
    registry::{ListOptions, RegisterOptions, WatchOptions},
};
use callsign_registry::etcd::{EtcdConfig, EtcdRegistry};
use callsign_testbed::{Data, EtcdServer};
use tokio::{net::TcpListener, time::Instant};

use super::{PATIENCE, config};

async fn list_error(config: EtcdConfig) -> callsign_core::Error {
    EtcdRegistry::open(config).list(&ListOptions::default()).await.unwrap_err()
}

#[tokio::test]
async fn users_get_in_with_their_password_and_nobody_else_does() {
    let server = EtcdServer::builder().user("shop", "secret").start().await;
    server.add_guest("guest", "secret").await;
    let login = |user: &str, password: &str| config(&server).with_credentials(user, password).unwrap();
    let registry = EtcdRegistry::open(login("shop", "secret"));
    let node = callsign_core::Node::builder("greeter", "1", "127.0.0.1:4000").build().unwrap();
    let lease = registry.register(&node.into(), &Default::default()).await.unwrap();
    assert_eq!(registry.list(&ListOptions::default()).await.unwrap().nodes.len(), 1);
    let mut watch = registry.watch(&WatchOptions::default()).await.unwrap();
    assert!(matches!(watch.next().await, Some(WatchEvent::SnapshotStart)));
    lease.release().await.unwrap();

    for (config, said, hinted) in [
        (login("shop", "wrong"), "authentication failed", "ETCD_PASSWORD"),
        (config(&server), "user name is empty", "ETCD_USERNAME"),
        (login("guest", "secret"), "permission denied", "grant-permission"),
    ] {
        let error = list_error(config).await;
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
        assert!(error.to_string().contains(said) && error.hint().unwrap().contains(hinted), "{error:?}");
    }
    let mut denied =
        EtcdRegistry::open(login("guest", "secret")).watch(&WatchOptions::default()).await.unwrap();
    match tokio::time::timeout(PATIENCE, denied.next()).await.unwrap() {
        Some(WatchEvent::Error(error)) => assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}"),
        other => panic!("{other:?} instead of an error"),
    }
}

#[tokio::test]
async fn a_password_where_nobody_asks_for_one_does_no_harm() {
    let server = EtcdServer::start().await;
    let config = config(&server).with_credentials("shop", "secret").unwrap();
    EtcdRegistry::open(config).list(&ListOptions::default()).await.unwrap();
}

#[tokio::test]
async fn a_token_that_is_no_longer_good_is_renewed_unnoticed() {
    let mut server = EtcdServer::builder().user("shop", "secret").start().await;
    let registry = EtcdRegistry::open(config(&server).with_credentials("shop", "secret").unwrap());
    registry.list(&ListOptions::default()).await.unwrap();
    // A change of users makes every token old.
    server.add_guest("other", "secret").await;
    registry.list(&ListOptions::default()).await.unwrap();
    let node = callsign_core::Node::builder("greeter", "1", "127.0.0.1:4000").build().unwrap();
    let options = RegisterOptions::default().with_interval(Duration::from_millis(500));
    let mut lease = registry.register(&node.into(), &options).await.unwrap();
    // A restart forgets them all; the entry is held through it, on streams that were opened with the old one.
    let held = tokio::time::timeout(Duration::from_secs(6), async {
        tokio::select! {
            error = lease.hold() => panic!("lost: {error:?}"),
            () = async {
                server.kill().await;
                server.restart(Data::Kept).await;
                std::future::pending::<()>().await;
            } => {}
        }
    });
    assert!(held.await.is_err());
    assert_eq!(registry.list(&ListOptions::default()).await.unwrap().nodes.len(), 1);
}

#[tokio::test]
async fn who_cannot_be_reached_is_named_within_the_connect_timeout() {
    let free = || async { TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap() };
    let (first, second) = (free().await, free().await);
    let error = list_error(EtcdConfig::new(&format!("{first},{second}")).unwrap()).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let chain = error.chain();
    assert!(chain.contains(&first.to_string()) && chain.contains(&second.to_string()), "{chain}");
    assert!(chain.contains("refused"), "{chain}");

    // One that takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let limit = Duration::from_millis(500);
    let began = Instant::now();
    let error = list_error(EtcdConfig::new(&address.to_string()).unwrap().with_connect_timeout(limit)).await;
    assert!(began.elapsed() < Duration::from_secs(4), "it took {:?}", began.elapsed());
    assert!(
        error.chain().contains(&address.to_string()) && error.chain().contains("said nothing"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_member_that_is_away_is_passed_over() {
    let server = EtcdServer::start().await;
    let away = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    // One that takes connections and says nothing is passed over, too.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = format!("{away},{},{}", silent.local_addr().unwrap(), server.endpoint());
    for seed in 0..6 {
        let config = EtcdConfig::new(&addresses).unwrap();
        let registry = EtcdRegistry::with_rng(config, fastrand::Rng::with_seed(seed));
        let began = Instant::now();
        registry.list(&ListOptions::default()).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(3), "seed {seed}: it took {:?}", began.elapsed());
    }
}
