//! Watches whose stream breaks.

use std::sync::Arc;

use callsign_core::{Node, Registry, WatchEvent, conformance::Replica, registry::WatchOptions};
use callsign_registry::etcd::{EtcdConfig, EtcdRegistry};
use callsign_testbed::{Data, EtcdServer, Proxy};

use super::{PATIENCE, open};

fn node(id: &str) -> Arc<Node> {
    Arc::new(Node::builder("greeter", id, "192.0.2.10:8080").build().unwrap())
}

fn through(proxy: &Proxy) -> EtcdRegistry {
    EtcdRegistry::open(EtcdConfig::new(&proxy.endpoint()).unwrap())
}

async fn follow(registry: &dyn Registry, options: &WatchOptions) -> Replica {
    Replica::new(registry.watch(options).await.unwrap(), "breaking", PATIENCE)
}

#[tokio::test]
async fn a_watch_goes_on_where_its_connection_broke_off() {
    let server = EtcdServer::start().await;
    let proxy = Proxy::start(server.address()).await;
    let (ours, theirs) = (open(&server), through(&proxy));
    let one = WatchOptions::default().of("greeter".parse().unwrap());
    let mut leases = vec![ours.register(&node("0"), &Default::default()).await.unwrap()];
    for options in [WatchOptions::default(), one] {
        let mut watch = theirs.watch(&options).await.unwrap();
        while !matches!(watch.next().await, Some(WatchEvent::SnapshotDone(_))) {}
        let next = node(&leases.len().to_string());
        proxy.cut();
        leases.push(ours.register(&next, &Default::default()).await.unwrap());
        proxy.restore();
        // The change comes first: no failure was said, and nothing listed anew.
        let event = tokio::time::timeout(PATIENCE, watch.next()).await.unwrap();
        assert!(matches!(&event, Some(WatchEvent::Upsert(node, _)) if *node == next), "{event:?}");
    }
}

#[tokio::test]
async fn another_store_is_never_taken_for_the_one_that_was_followed() {
    let mut server = EtcdServer::start().await;
    let proxy = Proxy::start(server.address()).await;
    let (ours, theirs) = (open(&server), through(&proxy));
    let lease = ours.register(&node("before"), &Default::default()).await.unwrap();
    let mut seen = follow(&theirs, &WatchOptions::default()).await;
    seen.until("the node is there", |nodes| nodes.len() == 1).await;
    // While nothing comes through, the store is lost, and another has come further than the first.
    proxy.blackhole();
    std::mem::forget(lease);
    drop(ours);
    server.kill().await;
    server.restart(Data::Lost).await;
    for n in 0..20 {
        server.put(&format!("/micro/registry/other/{n}"), "garbage", 0).await;
    }
    let ours = open(&server);
    let _after = ours.register(&node("after"), &Default::default()).await.unwrap();
    proxy.cut();
    proxy.restore();
    seen.until("the other store's node is there, alone", |nodes| {
        nodes.len() == 1 && nodes.keys().all(|key| key.id == "after")
    })
    .await;
    assert!(seen.errors() > 0, "it was not said that the watch had a failure");
}
