//! Two hosts on one cable.

use std::time::Duration;

use callsign_core::{ErrorKind, Node, Registry};
use callsign_registry::mdns::MdnsConfig;

use crate::{PATIENCE, node, station::Station};

#[tokio::test]
async fn a_node_on_one_host_is_seen_on_the_other_changes_and_leaves() {
    let [here, there] = Station::pair();
    let (ours, theirs) = (here.open(MdnsConfig::new()), there.open(MdnsConfig::new()));
    let mut watch = theirs.watch().await;
    assert_eq!(watch.heard().await, "ready");

    let mut lease = ours.register(&node("1", "10.77.0.1:4000")).await.unwrap();
    assert_eq!(watch.heard().await, "came 1 at 10.77.0.1:4000");
    assert_eq!(theirs.get().await.unwrap(), ["1"]);
    assert_eq!(theirs.list().await.unwrap(), ["1"]);

    let changed = Node::builder("greeter", "1", "[fd77::1]:5000").weight(7).build().unwrap();
    lease.update(&changed.into()).await.unwrap();
    assert_eq!(watch.heard().await, "came 1 at [fd77::1]:5000 7");

    lease.release().await.unwrap();
    assert_eq!(watch.heard().await, "went 1 Deregistered");
    assert!(theirs.get().await.unwrap().is_empty());
}

#[tokio::test]
async fn over_ipv6_alone_everything_works_and_over_ipv4_alone() {
    for (config, address) in
        [(MdnsConfig::new().ipv6_only(), "[fd77::1]:4000"), (MdnsConfig::new().ipv4_only(), "10.77.0.1:4000")]
    {
        let [here, there] = Station::pair();
        let (ours, theirs) = (here.open(config.clone()), there.open(config));
        let mut watch = theirs.watch().await;
        assert_eq!(watch.heard().await, "ready");
        let lease = ours.register(&node("1", address)).await.unwrap();
        assert_eq!(watch.heard().await, format!("came 1 at {address}"));
        lease.release().await.unwrap();
        assert_eq!(watch.heard().await, "went 1 Deregistered");
    }
}

#[tokio::test]
async fn on_hosts_that_have_no_ipv4_at_all_everything_works() {
    let [here, there] = Station::pair();
    for station in [&here, &there] {
        station.host.ip("-4 addr flush dev eth0");
        station.host.ip("-4 addr flush dev lo");
    }
    let (ours, theirs) = (here.open(MdnsConfig::new()), there.open(MdnsConfig::new()));
    let mut watch = theirs.watch().await;
    assert_eq!(watch.heard().await, "ready");
    let _lease = ours.register(&node("1", "[fd77::1]:4000")).await.unwrap();
    assert_eq!(watch.heard().await, "came 1 at [fd77::1]:4000");
}

#[tokio::test]
async fn a_cold_lookup_does_not_wait_for_its_time_to_be_up() {
    let [here, there] = Station::pair();
    let ours = here.open(MdnsConfig::new());
    let _lease = ours.register(&node("1", "10.77.0.1:4000")).await.unwrap();
    // So long that only an answer can end it.
    let theirs = there.open(MdnsConfig::new().with_lookup(PATIENCE));
    assert_eq!(theirs.get().await.unwrap(), ["1"]);
}

#[tokio::test]
async fn a_node_on_loopback_is_seen_on_its_own_host_alone() {
    let [here, there] = Station::pair();
    let [ours, beside, theirs] = [&here, &here, &there].map(|station| station.open(MdnsConfig::new()));
    let _local = ours.register(&node("local", "127.0.0.1:4000")).await.unwrap();
    let _known = ours.register(&node("known", "10.77.0.1:4000")).await.unwrap();
    assert_eq!(beside.list().await.unwrap(), ["known", "local"]);
    assert_eq!(theirs.list().await.unwrap(), ["known"]);
}

#[tokio::test]
async fn an_id_that_another_host_has_is_refused_until_it_is_free() {
    let [here, there] = Station::pair();
    let (ours, theirs) = (here.open(MdnsConfig::new()), there.open(MdnsConfig::new()));
    let lease = ours.register(&node("1", "10.77.0.1:4000")).await.unwrap();
    let error = theirs.register(&node("1", "10.77.0.2:4000")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("10.77.0.1:4000"), "{error}");
    lease.release().await.unwrap();
    let _lease = theirs.register(&node("1", "10.77.0.2:4000")).await.unwrap();
}

#[tokio::test]
async fn of_two_hosts_that_were_apart_one_gives_a_common_id_up() {
    let [here, there] = Station::pair();
    let (ours, theirs) = (here.open(MdnsConfig::new()), there.open(MdnsConfig::new()));
    here.host.ip("link set eth0 down");
    let mut mine = ours.register(&node("1", "10.77.0.1:4000")).await.unwrap();
    let mut yours = theirs.register(&node("1", "10.77.0.2:4000")).await.unwrap();
    here.host.ip("link set eth0 up");
    here.host.ip("addr add fd77::1/64 dev eth0 nodad");
    let (lost, kept) = tokio::select! {
        biased;
        lost = mine.hold() => (lost, theirs),
        lost = yours.hold() => (lost, ours),
        () = tokio::time::sleep(PATIENCE) => panic!("both keep it"),
    };
    assert_eq!(lost.kind(), ErrorKind::Conflict);
    assert_eq!(kept.get().await.unwrap(), ["1"]);
}

#[tokio::test]
async fn a_host_between_two_networks_is_seen_on_both() {
    let [left, middle] = crate::host::Host::pair();
    let right = crate::host::Host::new();
    middle.cable("eth1", &right, "eth0");
    for (host, address, interface) in [(&middle, "10.78.0.1", "eth1"), (&right, "10.78.0.2", "eth0")] {
        host.ip(&format!("addr add {address}/24 dev {interface}"));
        host.ip(&format!("link set {interface} up"));
    }
    right.wait_for("eth0");
    middle.wait_for("eth1");
    let [left, middle, right] = [left, middle, right].map(Station::on);
    let ours = middle.open(MdnsConfig::new());
    let _lease = ours.register(&node("1", "10.77.0.2:4000")).await.unwrap();
    for station in [&left, &right] {
        assert_eq!(station.open(MdnsConfig::new()).get().await.unwrap(), ["1"]);
    }
    // One that is told to use one network alone is not seen on the other.
    let shy = middle.open(MdnsConfig::new().with_interfaces(["eth1"]));
    let _lease = shy.register(&node("2", "10.78.0.1:4000")).await.unwrap();
    assert_eq!(left.open(MdnsConfig::new()).list().await.unwrap(), ["1"]);
    assert_eq!(right.open(MdnsConfig::new()).list().await.unwrap(), ["1", "2"]);
}

#[tokio::test]
async fn a_handle_that_closes_takes_its_nodes_along_and_ends_its_watches() {
    let [here, there] = Station::pair();
    let (ours, theirs) = (here.open(MdnsConfig::new()), there.open(MdnsConfig::new()));
    let mut watch = theirs.watch().await;
    assert_eq!(watch.heard().await, "ready");
    let lease = ours.register(&node("1", "10.77.0.1:4000")).await.unwrap();
    assert_eq!(watch.heard().await, "came 1 at 10.77.0.1:4000");
    let mut own =
        ours.there(|registry| async move { registry.watch(&Default::default()).await.unwrap() }).await;
    ours.there(|registry| async move { registry.close().await }).await;
    assert_eq!(watch.heard().await, "went 1 Deregistered");
    let ended = async { while own.next().await.is_some() {} };
    tokio::time::timeout(PATIENCE, ended).await.expect("an end of the watch");
    let error = ours.get().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    drop(lease);
}

#[tokio::test]
async fn a_lease_dropped_together_with_its_registry_still_says_goodbye() {
    let [here, there] = Station::pair();
    let theirs = there.open(MdnsConfig::new().with_check(Duration::from_secs(3600)));
    let mut watch = theirs.watch().await;
    assert_eq!(watch.heard().await, "ready");
    let ours = here.open(MdnsConfig::new());
    let lease = ours.register(&node("1", "10.77.0.1:4000")).await.unwrap();
    assert_eq!(watch.heard().await, "came 1 at 10.77.0.1:4000");
    drop((lease, ours));
    assert_eq!(watch.heard().await, "went 1 Deregistered");
}
