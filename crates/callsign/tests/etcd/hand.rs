//! Entries and leases that somebody takes away or changes by hand.

use std::time::Duration;

use callsign_testbed::EtcdServer;
use tokio::time::Instant;

use super::{
    fleet::{Fleet, TTL},
    log::log,
};

/// What is done to the first node's entry.
enum Hand {
    Delete,
    Overwrite,
    OverwriteUnderItsLease,
    OverwriteUnderAnotherLease,
    Revoke,
}

async fn put_right(hand: Hand) {
    let etcd = EtcdServer::start().await;
    // Nothing here is to be mended by the mere expiry of a lease.
    let fleet = Fleet::in_etcd(&etcd, Duration::from_secs(60)).await;
    let (key, entry) = (fleet.key(), etcd.get(&fleet.key()).await.unwrap());
    match hand {
        Hand::Delete => drop(etcd.delete(&key).await),
        Hand::Overwrite => drop(etcd.put(&key, "{}", 0).await),
        Hand::OverwriteUnderItsLease => drop(etcd.put(&key, "garbage", entry.lease).await),
        Hand::OverwriteUnderAnotherLease => {
            // What another process wrote that was started with the same id by mistake, and ended at once.
            let lease = etcd.grant(2).await;
            etcd.put(&key, "garbage", lease).await;
        }
        Hand::Revoke => etcd.revoke(entry.lease).await,
    }
    let done = Instant::now();
    super::fleet::soon("it is noticed", async {
        while log().lines("registration lost", &fleet.ids[0]).is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    fleet.back(&etcd, done).await;
    let mended = etcd.get(&key).await.unwrap();
    assert_eq!(mended.value, entry.value, "the whole entry is back");
    // The other node has nothing to do with it.
    let lost = fleet.handles.iter().map(|handle| handle.registration_meter().unwrap().lost());
    assert_eq!(lost.collect::<Vec<_>>(), [1, 0]);
    assert!(log().lines("registration lost", &fleet.ids[1]).is_empty());
    fleet.settled(&etcd, TTL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_away_or_changed_by_hand_is_put_right() {
    tokio::join!(
        put_right(Hand::Delete),
        put_right(Hand::Overwrite),
        put_right(Hand::OverwriteUnderItsLease),
        put_right(Hand::OverwriteUnderAnotherLease),
        put_right(Hand::Revoke),
    );
}
