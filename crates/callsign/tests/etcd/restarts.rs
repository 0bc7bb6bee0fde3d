//! Servers that are restarted in turn, as in a rolling release.

use std::time::Duration;

use callsign_testbed::EtcdServer;

use super::fleet::{Fleet, TTL};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarting_each_server_in_order_fails_no_call() {
    let etcd = EtcdServer::start().await;
    let mut fleet = Fleet::in_etcd(&etcd, TTL).await;
    for index in [0, 1, 0] {
        fleet.carry_on(Duration::ZERO).await;
        fleet.restart(index).await;
        fleet.carry_on(Duration::ZERO).await;
    }
    fleet.end().await;
}
