//! What others write is read, and what is written is what others read.

use std::{sync::Arc, time::Duration};

use callsign_core::{
    Domain, Node, Registry, WatchEvent,
    conformance::Replica,
    registry::{GetOptions, ListOptions, RegisterOptions, Removal, WatchOptions},
};

use callsign_testbed::EtcdServer;

use super::{PATIENCE, open};

const NEW: &str = r#"{"name":"greeter","version":"latest","metadata":null,"endpoints":null,"nodes":[{"metadata":null,"id":"greeter-1","address":"192.0.2.10:8080"}]}"#;
const OLD: &str = r#"{"name":"greeter","version":"latest","metadata":null,"endpoints":null,"nodes":[{"id":"greeter-2","address":"192.0.2.10:8080","metadata":null}]}"#;
const OLDEST: &str =
    r#"{"name":"greeter","version":"","nodes":[{"id":"greeter-3","address":"192.0.2.10","port":8080}]}"#;
const DOMAINS: &str = r#"{"name":"greeter","version":"latest","metadata":{"domain":"micro"},"endpoints":null,"nodes":[{"id":"greeter-4","address":"192.0.2.10:8080","metadata":{"domain":"micro"}}]}"#;
const SHOP: &str = r#"{"name":"greeter","version":"latest","metadata":{"domain":"shop"},"endpoints":null,"nodes":[{"id":"greeter-5","address":"192.0.2.10:8080","metadata":{"domain":"shop"}}]}"#;

/// For entries that nobody holds, and that are to stay all the same.
fn for_long() -> RegisterOptions {
    RegisterOptions::default().with_ttl(Duration::from_secs(600))
}

fn node(id: &str) -> Node {
    Node::builder("greeter", id, "192.0.2.10:8080").build().unwrap()
}

#[tokio::test]
async fn entries_of_every_go_micro_are_read_alike() {
    let server = EtcdServer::start().await;
    let registry = open(&server);
    let watch = registry.watch(&WatchOptions::default().of("greeter".parse().unwrap())).await.unwrap();
    let mut seen = Replica::new(watch, "forms", PATIENCE);
    seen.until("nothing is there", |nodes| nodes.is_empty()).await;
    for (key, value) in [
        ("greeter/greeter-1", NEW),
        ("greeter/greeter-2", OLD),
        ("greeter/greeter-3", OLDEST),
        ("micro/greeter/greeter-4", DOMAINS),
        ("shop/greeter/greeter-5", SHOP),
    ] {
        server.put(&format!("/micro/registry/{key}"), value, 0).await;
    }
    let expected = ["greeter-1", "greeter-2", "greeter-3", "greeter-4"].map(node);
    seen.until("the default domain's are there", |nodes| nodes.len() == 4).await;
    let mut got = registry.get(&"greeter".parse().unwrap(), &GetOptions::default()).await.unwrap().nodes;
    got.sort_by_key(|node| node.id().clone());
    for nodes in [seen.nodes().values().cloned().collect::<Vec<_>>(), got] {
        assert!(nodes.iter().map(|node| &**node).eq(&expected), "{nodes:?}");
    }
    let shop = Domain::new("shop").unwrap();
    let listed = registry.list(&ListOptions::in_domain(shop.clone())).await.unwrap();
    let in_shop = node("greeter-5").to_builder().in_domain(&shop).build().unwrap();
    assert_eq!(listed.nodes, [Arc::new(in_shop)]);
    assert_eq!(registry.list(&ListOptions::in_domain(Domain::all())).await.unwrap().nodes.len(), 5);

    // In the layout with domains, too, what is deleted goes.
    server.delete("/micro/registry/micro/greeter/greeter-4").await;
    seen.until("the fourth is gone", |nodes| nodes.len() == 3).await;
}

#[tokio::test]
async fn an_entry_is_written_under_go_micros_key_with_a_lease_of_its_own() {
    let server = EtcdServer::start().await;
    let registry = open(&server);
    let service =
        Node::builder("a/b", "a/b-1", "10.0.0.1:8080").version("1.0.0").metadata("protocol", "mucp");
    let lease = registry.register(&Arc::new(service.build().unwrap()), &for_long()).await.unwrap();
    let shop = node("greeter-5").to_builder().domain("shop").build().unwrap();
    let other = registry.register(&Arc::new(shop), &for_long()).await.unwrap();
    let written = server.list("/micro/registry/").await;
    let texts = written.iter().map(|entry| (entry.key.as_str(), std::str::from_utf8(&entry.value).unwrap()));
    assert_eq!(
        texts.collect::<Vec<_>>(),
        [
            (
                "/micro/registry/a-b/a-b-1",
                r#"{"name":"a/b","version":"1.0.0","metadata":null,"endpoints":null,"nodes":[{"metadata":{"protocol":"mucp"},"id":"a/b-1","address":"10.0.0.1:8080"}]}"#
            ),
            (
                "/micro/registry/shop/greeter/greeter-5",
                r#"{"name":"greeter","version":"latest","metadata":{"domain":"shop"},"endpoints":null,"nodes":[{"metadata":{"domain":"shop"},"id":"greeter-5","address":"192.0.2.10:8080"}]}"#
            ),
        ]
    );
    assert!(written[0].lease != written[1].lease && written.iter().all(|entry| entry.lease != 0));
    assert_eq!(server.leases().await.len(), 2);
    lease.release().await.unwrap();
    other.release().await.unwrap();
    assert_eq!(server.list("/micro/registry/").await, []);
}

#[tokio::test]
async fn a_value_of_garbage_and_one_of_two_megabytes_hide_nobody() {
    let server = EtcdServer::builder().argument("--max-request-bytes=8388608").start().await;
    let registry = open(&server);
    let mut leases = Vec::new();
    for n in 0..20 {
        let node = Arc::new(node(&format!("greeter-{n:02}")));
        leases.push(registry.register(&node, &for_long()).await.unwrap());
    }
    let watch = registry.watch(&WatchOptions::default()).await.unwrap();
    let mut seen = Replica::new(watch, "large", PATIENCE);
    seen.until("all are there", |nodes| nodes.len() == 20).await;
    // Twenty of them make pages that are longer than what is read in one go.
    for n in 0..20 {
        let padding = "x".repeat(2 << 20);
        let value = format!(
            r#"{{"name":"large","nodes":[{{"id":"{n}","address":"a:1","metadata":{{"x":"{padding}"}}}}]}}"#
        );
        server.put(&format!("/micro/registry/greeter/large-{n:02}"), &value, 0).await;
    }
    server.put("/micro/registry/greeter/garbage", "\u{1}".repeat(2 << 20), 0).await;
    seen.until("the large ones are there, too", |nodes| nodes.len() == 40).await;
    let listed = registry.list(&ListOptions::default()).await.unwrap();
    assert_eq!((listed.nodes.len(), listed.poisoned), (40, 1));
    let got = registry.get(&"greeter".parse().unwrap(), &GetOptions::default()).await.unwrap();
    assert_eq!((got.nodes.len(), got.poisoned), (20, 1));
}

#[tokio::test]
async fn a_list_of_many_pages_is_of_one_moment() {
    let server = EtcdServer::start().await;
    let registry = open(&server);
    let options = for_long();
    let mut leases = Vec::new();
    for batch in 0..11 {
        let registering = (0..100).map(|n| {
            let node = Arc::new(node(&format!("greeter-{batch}-{n}")));
            let (registry, options) = (&registry, &options);
            async move { registry.register(&node, options).await.unwrap() }
        });
        leases.extend(futures_util::future::join_all(registering).await);
    }
    // One after the other is changed while lists are read: no list may have a later change without the earlier ones.
    let changing = async {
        for (n, lease) in leases.iter_mut().enumerate().take(300) {
            let changed =
                node(&format!("greeter-{}-{}", n / 100, n % 100)).to_builder().version("2").build().unwrap();
            lease.update(&Arc::new(changed)).await.unwrap();
        }
    };
    let mut counts = Vec::new();
    let listing = async {
        loop {
            let listing = registry.list(&ListOptions::default()).await.unwrap();
            assert_eq!(listing.nodes.len(), 1100);
            counts
                .push((listing.nodes.iter().filter(|node| node.version() == "2").count(), listing.revision));
        }
    };
    tokio::select! {
        () = changing => {}
        () = listing => {}
    }
    assert!(counts.len() > 1, "no list came to its end meanwhile");
    let (first_count, first_at) = counts[0];
    for (count, at) in counts {
        assert_eq!(
            (count - first_count) as u64,
            at.0 - first_at.0,
            "a list is not of the moment it says it is"
        );
    }
}

#[tokio::test]
async fn how_an_entry_went_away_is_told() {
    let server = EtcdServer::start().await;
    let (ours, theirs) = (open(&server), open(&server));
    let mut watch = theirs.watch(&WatchOptions::default()).await.unwrap();
    while !matches!(watch.next().await, Some(WatchEvent::SnapshotDone(_))) {}
    let mut removal = async |what: &str| loop {
        let event = tokio::time::timeout(PATIENCE, watch.next()).await.expect(what).unwrap();
        if let WatchEvent::Remove(_, removal, _) = event {
            break removal;
        }
    };
    let short = RegisterOptions::default().with_ttl(Duration::from_secs(2));
    let node = Arc::new(node("greeter-1"));

    ours.register(&node, &for_long()).await.unwrap().release().await.unwrap();
    assert_eq!(removal("a release").await, Removal::Deregistered);
    drop(ours.register(&node, &for_long()).await.unwrap());
    assert_eq!(removal("a drop").await, Removal::Deregistered);
    std::mem::forget(ours.register(&node, &short).await.unwrap());
    assert_eq!(removal("an expiry").await, Removal::Expired);
    std::mem::forget(ours.register(&node, &for_long()).await.unwrap());
    server.delete("/micro/registry/greeter/greeter-1").await;
    assert_eq!(removal("a deletion by hand").await, Removal::Deregistered);
    // A go-micro service without a time to live.
    server.put("/micro/registry/greeter/greeter-1", NEW, 0).await;
    server.delete("/micro/registry/greeter/greeter-1").await;
    assert_eq!(removal("a deletion without a lease").await, Removal::Deregistered);
    server.put("/micro/registry/greeter/greeter-1", NEW, 0).await;
    server.put("/micro/registry/greeter/greeter-1", "garbage", 0).await;
    assert_eq!(removal("garbage in its place").await, Removal::Unknown);
}

#[tokio::test]
async fn a_node_that_was_restarted_takes_its_entry_over_at_once() {
    let server = EtcdServer::start().await;
    let (before, after, elsewhere) = (open(&server), open(&server), open(&server));
    let node = Arc::new(node("greeter-1"));
    std::mem::forget(before.register(&node, &for_long()).await.unwrap());
    let moved = Arc::new(Node::builder("greeter", "greeter-1", "192.0.2.11:8080").build().unwrap());
    let refused = elsewhere.register(&moved, &for_long()).await.unwrap_err();
    assert_eq!(refused.kind(), callsign_core::ErrorKind::Conflict);
    assert!(refused.to_string().contains("192.0.2.10:8080"), "{refused}");

    let newer = Arc::new(node.to_builder().version("2").build().unwrap());
    let lease = after.register(&newer, &for_long()).await.unwrap();
    let listed = elsewhere.list(&ListOptions::default()).await.unwrap();
    assert_eq!(listed.nodes, [newer]);
    lease.release().await.unwrap();
}
