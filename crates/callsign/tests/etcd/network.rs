//! A network that is slow, breaks, or swallows what it is given.

use std::time::Duration;

use callsign::registry::etcd::EtcdConfig;
use callsign_testbed::{EtcdCluster, EtcdServer, Proxy};
use tokio::time::{Instant, sleep};

use super::fleet::{Fleet, TTL, soon};

async fn behind_a_proxy() -> (EtcdServer, Proxy, Fleet) {
    let etcd = EtcdServer::start().await;
    let proxy = Proxy::start(etcd.address()).await;
    let config = EtcdConfig::new(&proxy.endpoint()).unwrap();
    let fleet = Fleet::start(&config, &config, TTL).await;
    (etcd, proxy, fleet)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_network_costs_no_registration() {
    let (etcd, proxy, fleet) = behind_a_proxy().await;
    let before = fleet.entries(&etcd).await;
    for delay in [100, 400] {
        proxy.delay(Duration::from_millis(delay));
        fleet.carry_on(2 * TTL).await;
        assert_eq!(fleet.entries(&etcd).await, before, "with {delay} ms each way");
    }
    proxy.slow(20_000);
    fleet.carry_on(2 * TTL).await;
    assert_eq!(fleet.entries(&etcd).await, before, "with 20 kB a second");
    proxy.restore();
    fleet.settled(&etcd, TTL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_breaks_again_and_again_costs_no_registration() {
    let (etcd, proxy, fleet) = behind_a_proxy().await;
    let before = fleet.entries(&etcd).await;
    for _ in 0..5 {
        proxy.cut();
        fleet.carry_on(Duration::from_millis(200)).await;
        proxy.restore();
        fleet.carry_on(Duration::from_secs(1)).await;
    }
    assert_eq!(fleet.entries(&etcd).await, before);
    fleet.settled(&etcd, TTL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_cannot_be_reached_any_more_is_left_for_another() {
    let cluster = EtcdCluster::start(3).await;
    let (mut proxies, mut addresses) = (Vec::new(), Vec::new());
    for member in &cluster.members {
        let proxy = Proxy::start(member.address()).await;
        addresses.push(proxy.endpoint());
        proxies.push(proxy);
    }
    let config = EtcdConfig::new(&addresses.join(",")).unwrap();
    // Silence is noticed by a renewal that is not answered for two seconds.
    let ttl = Duration::from_secs(9);
    let fleet = Fleet::start(&config, &config, ttl).await;
    let before = fleet.entries(&cluster.members[0]).await;
    for silent in 0..3 {
        proxies[silent].blackhole();
        proxies[(silent + 1) % 3].cut();
        fleet.carry_on(ttl + TTL).await;
        assert_eq!(fleet.entries(&cluster.members[0]).await, before, "the third member is enough");
        // A change is seen through whichever member is left.
        etcd_changes(&cluster.members[0], &fleet).await;
        for proxy in &proxies {
            proxy.restore();
        }
    }
    fleet.settled(&cluster.members[0], ttl).await;
}

/// A node comes and goes, and the callers see it.
async fn etcd_changes(etcd: &EtcdServer, fleet: &Fleet) {
    let twin = String::from_utf8(etcd.get(&fleet.key()).await.unwrap().value).unwrap();
    let key = "/micro/registry/greeter/twin";
    etcd.put(key, twin.replace(&fleet.ids[0], "twin"), 0).await;
    for nodes in [3, 2] {
        soon("the change is seen", async {
            while fleet.channel.nodes().len() != nodes {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        etcd.delete(key).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_cut_for_longer_than_the_lease_costs_no_call() {
    let (etcd, proxy, fleet) = behind_a_proxy().await;
    proxy.cut();
    fleet.stale().await;
    fleet.carry_on(TTL + Duration::from_secs(2)).await;
    fleet.lost().await;
    proxy.restore();
    fleet.back(&etcd, Instant::now()).await;
    fleet.settled(&etcd, TTL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_swallows_everything_for_longer_than_the_lease_costs_no_call() {
    let (etcd, proxy, fleet) = behind_a_proxy().await;
    proxy.blackhole();
    fleet.carry_on(TTL + Duration::from_secs(2)).await;
    fleet.lost().await;
    // A watch's silence is noticed by its pings, not by its lease.
    fleet.stale().await;
    proxy.restore();
    fleet.back(&etcd, Instant::now()).await;
    fleet.settled(&etcd, TTL).await;
}
