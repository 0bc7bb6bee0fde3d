//! Values that are no entries, and ones that are too long, among good ones.

use std::time::Duration;

use callsign::{
    core::{Registry as _, ServiceName},
    registry::etcd::{EtcdConfig, EtcdRegistry},
};
use callsign_testbed::{Data, EtcdServer};

use super::fleet::{Fleet, TTL};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_two_megabytes_among_good_entries_spoil_neither_lists_nor_watches() {
    let mut etcd = EtcdServer::builder().argument("--max-request-bytes=4194304").start().await;
    etcd.put("/micro/registry/greeter/garbage", "{\"name\": \"greeter\", ", 0).await;
    etcd.put("/micro/registry/greeter/huge", vec![b'x'; 2 << 20], 0).await;
    let fleet = Fleet::in_etcd(&etcd, TTL).await;

    let registry = EtcdRegistry::open(EtcdConfig::new(&etcd.endpoint()).unwrap());
    let name = ServiceName::new("greeter").unwrap();
    let listing = registry.get(&name, &Default::default()).await.unwrap();
    assert_eq!((listing.nodes.len(), listing.poisoned), (2, 2));

    // The same under the watches of servers and callers: each of these events has the value of before beside it.
    for _ in 0..3 {
        etcd.put("/micro/registry/greeter/garbage", "\0", 0).await;
        etcd.put("/micro/registry/greeter/huge", vec![b'y'; 2 << 20], 0).await;
        let huge = format!("{{\"name\":\"big\",\"metadata\":{{\"k\":\"{}\"}}}}", "v".repeat(2 << 20));
        etcd.put("/micro/registry/big/huge", huge, 0).await;
    }
    fleet.carry_on(Duration::from_millis(200)).await;
    // A node that goes and comes is seen beside them.
    etcd.delete(&fleet.key()).await;
    fleet.back(&etcd, tokio::time::Instant::now()).await;
    etcd.kill().await;
    fleet.stale().await;
    etcd.restart(Data::Kept).await;
    fleet.back(&etcd, etcd.accepts_writes().await).await;
    fleet.settled(&etcd, TTL).await;
}
