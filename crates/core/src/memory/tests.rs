use std::time::Duration;

use super::*;
use crate::{
    ErrorKind,
    registry::{Removal, Revision, WatchEvent},
};

fn node(id: &str) -> Arc<Node> {
    Arc::new(Node::builder("greeter", id, "127.0.0.1:4000").build().unwrap())
}

fn options() -> RegisterOptions {
    RegisterOptions::default().with_ttl(Duration::from_secs(9))
}

async fn following(registry: &MemoryRegistry) -> Watch {
    registry.watch(&WatchOptions::default()).await.unwrap()
}

/// The ids of the next event's whole snapshot.
async fn snapshot(watch: &mut Watch) -> Vec<String> {
    let start = watch.next().await.unwrap();
    assert!(matches!(start, WatchEvent::SnapshotStart), "{start:?}");
    let mut ids = Vec::new();
    loop {
        match watch.next().await.unwrap() {
            WatchEvent::Node(node) => ids.push(node.id().to_string()),
            WatchEvent::SnapshotDone(_) => return ids,
            other => panic!("{other:?} within a snapshot"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_expires_with_its_time_to_live_and_not_before() {
    let registry = MemoryRegistry::new();
    let mut watch = following(&registry).await;
    assert!(snapshot(&mut watch).await.is_empty());
    let start = Instant::now();
    std::mem::forget(registry.register(&node("1"), &options()).await.unwrap());
    assert!(matches!(watch.next().await, Some(WatchEvent::Upsert(..))));
    let event = watch.next().await.unwrap();
    assert!(matches!(event, WatchEvent::Remove(_, Removal::Expired, Revision(2))), "{event:?}");
    assert_eq!(start.elapsed(), Duration::from_secs(9));
}

#[tokio::test(start_paused = true)]
async fn an_entry_is_held_for_as_long_as_its_lease_is_polled() {
    let registry = MemoryRegistry::new();
    let mut lease = registry.register(&node("1"), &options()).await.unwrap();
    let held = tokio::time::timeout(Duration::from_secs(3600), lease.hold()).await;
    assert!(held.is_err(), "{held:?}");
    assert_eq!(registry.list(&ListOptions::default()).await.unwrap().nodes.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lease_notices_at_once_that_its_entry_was_removed() {
    let registry = MemoryRegistry::new();
    let mut lease = registry.register(&node("1"), &options()).await.unwrap();
    let remove = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        registry.deregister(&node("1").key()).await.unwrap();
        Instant::now()
    };
    let (error, removed) = tokio::join!(lease.hold(), remove);
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(removed, Instant::now());
}

#[tokio::test(start_paused = true)]
async fn an_expired_entry_that_nobody_has_looked_at_stands_in_nobodys_way() {
    let registry = MemoryRegistry::new();
    std::mem::forget(registry.register(&node("1"), &options()).await.unwrap());
    let refused = registry.peer().register(&node("1"), &options()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    tokio::time::advance(Duration::from_secs(9)).await;
    registry.peer().register(&node("1"), &options()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_entry_without_a_time_to_live_stays_though_nobody_holds_it() {
    let registry = MemoryRegistry::new();
    let options = options().with_ttl(Duration::ZERO);
    std::mem::forget(registry.register(&node("1"), &options).await.unwrap());
    tokio::time::advance(Duration::from_secs(1_000_000)).await;
    assert_eq!(registry.list(&ListOptions::default()).await.unwrap().nodes.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn while_away_every_call_fails_and_a_watch_says_so_once() {
    let registry = MemoryRegistry::new();
    let mut lease = registry.register(&node("1"), &options()).await.unwrap();
    let mut watch = following(&registry).await;
    assert_eq!(snapshot(&mut watch).await, ["1"]);

    registry.set_away(true);
    let unavailable = |error: crate::Error| assert_eq!(error.kind(), ErrorKind::Unavailable);
    unavailable(registry.register(&node("2"), &options()).await.unwrap_err());
    unavailable(registry.get(node("1").service(), &GetOptions::default()).await.unwrap_err());
    unavailable(registry.list(&ListOptions::default()).await.unwrap_err());
    unavailable(registry.deregister(&node("1").key()).await.unwrap_err());
    unavailable(lease.update(&node("1")).await.unwrap_err());
    let event = watch.next().await.unwrap();
    assert!(matches!(event, WatchEvent::Error(_)), "{event:?}");
    let silent = tokio::time::timeout(Duration::from_secs(3600), watch.next()).await;
    assert!(silent.is_err(), "{silent:?}");

    registry.set_away(false);
    assert!(snapshot(&mut watch).await.is_empty());
    assert_eq!(lease.hold().await.kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_short_absence_of_the_registry_costs_no_lease() {
    let registry = MemoryRegistry::new();
    let mut lease = registry.register(&node("1"), &options()).await.unwrap();
    for _ in 0..10 {
        registry.set_away(true);
        let held = tokio::time::timeout(Duration::from_secs(5), lease.hold()).await;
        assert!(held.is_err(), "{held:?}");
        registry.set_away(false);
        let held = tokio::time::timeout(Duration::from_secs(1), lease.hold()).await;
        assert!(held.is_err(), "{held:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_gives_up_once_its_entry_must_have_expired() {
    let registry = MemoryRegistry::new();
    let mut lease = registry.register(&node("1"), &options()).await.unwrap();
    registry.set_away(true);
    let start = Instant::now();
    assert_eq!(lease.hold().await.kind(), ErrorKind::Unavailable);
    assert_eq!(start.elapsed(), Duration::from_secs(9));
}

#[tokio::test(start_paused = true)]
async fn a_wiped_registry_starts_its_watches_again_and_loses_its_leases() {
    let registry = MemoryRegistry::new();
    let mut lease = registry.register(&node("1"), &options()).await.unwrap();
    let mut watch = following(&registry).await;
    assert_eq!(snapshot(&mut watch).await, ["1"]);
    registry.wipe();
    assert!(snapshot(&mut watch).await.is_empty());
    assert_eq!(lease.hold().await.kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_falls_behind_is_given_a_snapshot_in_place_of_what_it_missed() {
    let registry = MemoryRegistry::new();
    let mut watch = following(&registry).await;
    assert!(snapshot(&mut watch).await.is_empty());
    let mut lease = registry.register(&node("1"), &options()).await.unwrap();
    for _ in 0..WATCH_BUFFER_MAX {
        lease.update(&node("1")).await.unwrap();
    }
    assert_eq!(snapshot(&mut watch).await, ["1"]);
    lease.release().await.unwrap();
    assert!(matches!(watch.next().await, Some(WatchEvent::Remove(_, Removal::Deregistered, _))));
}

#[tokio::test(start_paused = true)]
async fn a_later_registration_of_the_same_owner_takes_the_entry_over() {
    let registry = MemoryRegistry::new();
    let mut old = registry.register(&node("1"), &options()).await.unwrap();
    let new = registry.register(&node("1"), &options()).await.unwrap();
    assert_eq!(old.hold().await.kind(), ErrorKind::Conflict);
    drop(old);
    assert_eq!(registry.list(&ListOptions::default()).await.unwrap().nodes.len(), 1);
    drop(new);
    assert!(registry.list(&ListOptions::default()).await.unwrap().nodes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_watch_leaves_nothing_behind() {
    let registry = MemoryRegistry::new();
    drop(following(&registry).await);
    assert_eq!(Arc::strong_count(&registry.store), 1);
    assert_eq!(registry.store.change(|state| state.watching()), 0);
}
