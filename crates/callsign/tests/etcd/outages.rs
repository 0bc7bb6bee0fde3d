//! An etcd that is gone for a while.

use std::time::Duration;

use callsign_testbed::{Data, EtcdServer};

use super::fleet::{Fleet, TTL, soon};

/// Down for `outage`, and back with its data.
async fn down_for(outage: Duration, ttl: Duration) {
    let mut etcd = EtcdServer::start().await;
    let fleet = Fleet::in_etcd(&etcd, ttl).await;
    let before = fleet.entries(&etcd).await;
    etcd.stop().await;
    fleet.stale().await;
    fleet.carry_on(outage).await;
    if outage > ttl {
        fleet.lost().await;
        let said = fleet.states()[0].error().unwrap().chain();
        assert!(said.contains(&etcd.endpoint()), "{said}");
    }
    etcd.restart(Data::Kept).await;
    fleet.back(&etcd, etcd.accepts_writes().await).await;
    if outage < ttl {
        let after = fleet.entries(&etcd).await;
        assert_eq!(before, after, "the entries outlive an outage that their leases outlive");
    }
    fleet.settled(&etcd, TTL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outages_of_any_length_cost_no_call_and_no_node() {
    // Together, since they mostly wait.
    tokio::join!(
        down_for(Duration::from_secs(1), Duration::from_secs(15)),
        down_for(Duration::from_secs(30), Duration::from_secs(60)),
        down_for(Duration::from_secs(30), TTL),
        down_for(TTL + Duration::from_secs(2), TTL),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etcd_that_restarts_empty_is_filled_again() {
    let mut etcd = EtcdServer::start().await;
    for n in 0..20 {
        // So that the new one counts from less.
        etcd.put("/other", n.to_string(), 0).await;
    }
    let fleet = Fleet::in_etcd(&etcd, Duration::from_secs(15)).await;
    for _ in 0..2 {
        etcd.kill().await;
        fleet.stale().await;
        etcd.restart(Data::Lost).await;
        fleet.back(&etcd, etcd.accepts_writes().await).await;
        fleet.carry_on(Duration::from_secs(1)).await;
    }
    fleet.settled(&etcd, TTL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etcd_stopped_for_longer_than_the_lease_costs_no_call() {
    let mut etcd = EtcdServer::start().await;
    let fleet = Fleet::in_etcd(&etcd, TTL).await;
    // What is in a stopped process's sockets looks like a slow answer, not like an end.
    etcd.pause().await;
    fleet.carry_on(TTL + Duration::from_secs(2)).await;
    fleet.lost().await;
    etcd.resume().await;
    fleet.back(&etcd, etcd.accepts_writes().await).await;
    fleet.settled(&etcd, TTL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_and_callers_that_start_while_etcd_is_away_find_each_other_once_it_is_there() {
    let mut etcd = EtcdServer::start().await;
    etcd.kill().await;
    let config = callsign::registry::etcd::EtcdConfig::new(&etcd.endpoint()).unwrap();
    let fleet = Fleet::start_unregistered(&config, &config, TTL).await;
    let refused = soon("a call fails", fleet.call()).await.unwrap_err();
    assert!(refused.message().contains(&etcd.endpoint()), "{refused}");
    soon("it is said why there is no registration", async {
        while !fleet.say_why() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    etcd.restart(Data::Kept).await;
    fleet.back(&etcd, etcd.accepts_writes().await).await;
    soon("calls go through", async { while fleet.call().await.is_err() {} }).await;
}
