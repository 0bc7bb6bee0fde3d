//! A watcher that is cut off while what it missed is forgotten.

use std::time::Duration;

use callsign::registry::etcd::EtcdConfig;
use callsign_testbed::{EtcdServer, Proxy};

use super::fleet::{Fleet, TTL, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_that_compaction_overtakes_sees_one_change_and_not_a_wiped_view() {
    let etcd = EtcdServer::start().await;
    let proxy = Proxy::start(etcd.address()).await;
    let direct = EtcdConfig::new(&etcd.endpoint()).unwrap();
    let far = EtcdConfig::new(&proxy.endpoint()).unwrap();
    let fleet = Fleet::start(&direct, &far, TTL).await;

    for cut in [false, true] {
        if cut {
            proxy.cut();
            fleet.stale().await;
        } else {
            proxy.blackhole();
        }
        for n in 0..50 {
            etcd.put("/micro/registry/other/node", n.to_string(), 0).await;
        }
        // One node comes of which the callers are not told, and the history in which it came is forgotten.
        let twin = String::from_utf8(etcd.get(&fleet.key()).await.unwrap().value).unwrap();
        let id = format!("twin-{cut}");
        etcd.put(&format!("/micro/registry/greeter/{id}"), twin.replace(&fleet.ids[0], &id), 0).await;
        let revision = etcd.delete("/micro/registry/other/node").await;
        etcd.compact(revision).await;
        fleet.carry_on(Duration::from_millis(500)).await;
        assert!(fleet.channel.nodes().iter().all(|status| status.node.id() != &*id));

        proxy.restore();
        soon("the new node is seen", async {
            loop {
                let nodes = fleet.channel.nodes();
                assert!(nodes.len() >= 2, "the view was wiped");
                if nodes.iter().any(|status| status.node.id() == &*id) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        etcd.delete(&format!("/micro/registry/greeter/{id}")).await;
        soon("it is seen to go", async {
            while fleet.channel.nodes().len() != 2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }
    fleet.settled(&etcd, TTL).await;
}
