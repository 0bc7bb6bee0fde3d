//! Links that are not there, or of no use.

use std::net::UdpSocket;

use callsign_core::{ErrorKind, Registry};
use callsign_registry::mdns::MdnsConfig;

use crate::{host::Host, node, station::Station};

#[tokio::test]
async fn without_an_interface_every_call_says_so_and_all_goes_on_when_there_is_one() {
    let station = Station::on(Host::new());
    station.host.ip("link set lo down");
    let registry = station.open(MdnsConfig::new());
    let mut watch = registry.watch().await;
    let said = "error cannot use mDNS: no network interface is up and has an address, not even loopback";
    assert_eq!(watch.heard().await, said);
    for error in [
        registry.get().await.unwrap_err(),
        registry.list().await.unwrap_err(),
        registry.register(&node("1", "127.0.0.1:4000")).await.unwrap_err(),
        registry.there(|r| async move { r.deregister(&node("1", "a:1").key()).await.unwrap_err() }).await,
    ] {
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
        assert!(error.to_string().contains("no network interface is up"), "{error}");
        assert!(error.hint().unwrap().contains("ip address"));
    }
    station.host.ip("link set lo up");
    assert_eq!(watch.heard().await, "ready");
    let _lease = registry.register(&node("1", "127.0.0.1:4000")).await.unwrap();
    assert_eq!(watch.heard().await, "came 1 at 127.0.0.1:4000");
}

#[tokio::test]
async fn while_the_interface_is_away_what_was_known_stays() {
    let station = Station::on(Host::new());
    let (ours, theirs) = (station.open(MdnsConfig::new()), station.open(MdnsConfig::new()));
    let mut watch = ours.watch().await;
    assert_eq!(watch.heard().await, "ready");
    let lease = theirs.register(&node("1", "127.0.0.1:4000")).await.unwrap();
    assert_eq!(watch.heard().await, "came 1 at 127.0.0.1:4000");
    station.host.ip("link set lo down");
    assert!(watch.heard().await.starts_with("error cannot use mDNS"));
    station.host.ip("link set lo up");
    // The new snapshot has it still.
    assert_eq!(watch.heard().await, "came 1 at 127.0.0.1:4000");
    assert_eq!(watch.heard().await, "ready");
    lease.release().await.unwrap();
    assert_eq!(watch.heard().await, "went 1 Deregistered");
}

#[tokio::test]
async fn without_a_route_for_multicast_the_error_says_that_one_is_needed() {
    let [here, _there] = Station::pair();
    here.host.ip("-6 route del ff00::/8 dev eth0 table local");
    let registry = here.open(MdnsConfig::new().ipv6_only().with_interfaces(["eth0"]));
    let error = registry.get().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("multicast cannot be sent on eth0"), "{error}");
    assert!(error.hint().unwrap().contains("multicast needs a route"), "{error:?}");

    let mut watch = registry.watch().await;
    assert!(watch.heard().await.starts_with("error cannot use mDNS: multicast cannot be sent on eth0"));
    here.host.ip("-6 route add multicast ff00::/8 dev eth0 table local");
    assert_eq!(watch.heard().await, "ready");
}

#[tokio::test]
async fn an_interface_that_is_not_there_is_named_and_used_when_it_comes() {
    let [here, there] = [Host::new(), Host::new()].map(Station::on);
    let registry = here.open(MdnsConfig::new().with_interfaces(["eth0"]));
    let error = registry.get().await.unwrap_err();
    assert!(error.to_string().contains("none of the interfaces eth0 is up"), "{error}");
    let mut watch = registry.watch().await;
    assert!(watch.heard().await.starts_with("error"));

    here.host.cable("eth0", &there.host, "eth0");
    for (station, number) in [(&here, 1), (&there, 2)] {
        station.host.ip(&format!("addr add 10.77.0.{number}/24 dev eth0"));
        station.host.ip("link set eth0 up");
    }
    assert_eq!(watch.heard().await, "ready");
    let theirs = there.open(MdnsConfig::new());
    let _lease = theirs.register(&node("1", "10.77.0.2:4000")).await.unwrap();
    assert_eq!(watch.heard().await, "came 1 at 10.77.0.2:4000");
}

#[tokio::test]
async fn an_interface_that_comes_later_is_used_beside_the_others() {
    let [here, there] = [Host::new(), Host::new()].map(Station::on);
    let (ours, theirs) = (here.open(MdnsConfig::new()), there.open(MdnsConfig::new()));
    let _lease = theirs.register(&node("1", "10.77.0.2:4000")).await.unwrap();
    let mut watch = ours.watch().await;
    assert_eq!(watch.heard().await, "ready");
    here.host.cable("eth0", &there.host, "eth0");
    for (station, number) in [(&here, 1), (&there, 2)] {
        station.host.ip(&format!("addr add 10.77.0.{number}/24 dev eth0"));
        station.host.ip("link set eth0 up");
    }
    // It is announced again where it was not heard before.
    assert_eq!(watch.heard().await, "came 1 at 10.77.0.2:4000");
}

#[tokio::test]
async fn a_port_that_another_program_keeps_to_itself_is_named_and_taken_when_it_is_free() {
    let station = Station::on(Host::new());
    let registry = station.open(MdnsConfig::new());
    let selfish = registry
        .there(|_| async { ["0.0.0.0:5353", "[::]:5353"].map(|address| UdpSocket::bind(address).ok()) });
    let selfish = selfish.await;
    let error = registry.get().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("UDP port 5353 cannot be opened"), "{error}");
    assert!(error.hint().unwrap().contains("ss -ulpn sport = :5353"), "{error:?}");
    let mut watch = registry.watch().await;
    assert!(watch.heard().await.starts_with("error"));
    drop(selfish);
    assert_eq!(watch.heard().await, "ready");
}
