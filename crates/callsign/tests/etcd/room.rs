//! An etcd that has no room left for anything new.

use std::time::Duration;

use callsign_testbed::{EtcdServer, room};

use super::fleet::{Fleet, TTL, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_etcd_keeps_the_nodes_it_has_and_takes_them_back_when_it_has_room() {
    let etcd = EtcdServer::builder().argument(room::SMALL).start().await;
    let fleet = Fleet::in_etcd(&etcd, TTL).await;
    let before = fleet.entries(&etcd).await;
    etcd.fill().await;
    fleet.carry_on(TTL + Duration::from_secs(1)).await;
    assert_eq!(fleet.entries(&etcd).await, before, "leases are renewed without room");

    etcd.delete(&fleet.key()).await;
    soon("it is said that there is no room", async {
        let is_said = || {
            let error = fleet.states()[0].error().map(|error| error.chain());
            error.is_some_and(|error| error.contains("space exceeded"))
        };
        while !is_said() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // The other one still answers all calls.
    fleet.carry_on(Duration::from_secs(1)).await;
    assert_eq!(fleet.entries(&etcd).await.len(), 1);

    etcd.make_room().await;
    fleet.back(&etcd, etcd.accepts_writes().await).await;
    fleet.settled(&etcd, TTL).await;
}
