//! A network that is slow, breaks, or swallows what it is given.

use std::time::Duration;

use callsign::registry::etcd::EtcdConfig;
use callsign_testbed::{EtcdServer, Proxy};
use tokio::time::Instant;

use super::fleet::{Fleet, TTL};

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
