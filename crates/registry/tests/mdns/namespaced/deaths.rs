//! Nodes that go without a word.

use std::time::Duration;

use callsign_registry::mdns::MdnsConfig;
use rustix::process::Signal;

use crate::{node, process::Process, station::Station};

/// Looks after its nodes more often than one would on a real network.
fn attentive() -> MdnsConfig {
    MdnsConfig::new().with_check(Duration::from_secs(1))
}

#[tokio::test]
async fn a_killed_node_is_gone_and_its_neighbour_stays() {
    let [here, there] = Station::pair();
    let ours = here.open(attentive());
    let mut watch = ours.watch().await;
    assert_eq!(watch.heard().await, "ready");
    let stays = Process::node(&there.host, "stays", "10.77.0.2:4000");
    assert_eq!(watch.heard().await, "came stays at 10.77.0.2:4000");
    let victim = Process::node(&there.host, "victim", "10.77.0.2:4001");
    assert_eq!(watch.heard().await, "came victim at 10.77.0.2:4001");
    victim.signal(Signal::KILL);
    assert_eq!(watch.heard().await, "went victim Expired");
    assert_eq!(ours.list().await.unwrap(), ["stays"]);
    drop(stays);
    assert_eq!(watch.heard().await, "went stays Expired");
}

#[tokio::test]
async fn a_killed_node_that_starts_again_has_its_id_at_once() {
    let [here, there] = Station::pair();
    let ours = here.open(MdnsConfig::new());
    let mut watch = ours.watch().await;
    assert_eq!(watch.heard().await, "ready");
    drop(Process::node(&there.host, "phoenix", "10.77.0.2:4000"));
    assert_eq!(watch.heard().await, "came phoenix at 10.77.0.2:4000");
    let _again = Process::node(&there.host, "phoenix", "10.77.0.2:4001");
    // Nobody had to find out that the first one is dead.
    assert_eq!(watch.heard().await, "came phoenix at 10.77.0.2:4001");
}

#[tokio::test]
async fn a_stopped_node_is_gone_and_comes_back_when_it_goes_on() {
    let [here, there] = Station::pair();
    let ours = here.open(attentive());
    let mut watch = ours.watch().await;
    assert_eq!(watch.heard().await, "ready");
    let sleeper = Process::node(&there.host, "sleeper", "10.77.0.2:4000");
    assert_eq!(watch.heard().await, "came sleeper at 10.77.0.2:4000");
    sleeper.signal(Signal::STOP);
    assert_eq!(watch.heard().await, "went sleeper Expired");
    sleeper.signal(Signal::CONT);
    assert_eq!(watch.heard().await, "came sleeper at 10.77.0.2:4000");
}

#[tokio::test]
async fn the_nodes_of_a_host_whose_cable_is_pulled_are_gone_and_come_back_with_it() {
    let [here, there] = Station::pair();
    let (ours, theirs) = (here.open(attentive()), there.open(attentive()));
    let mut watch = ours.watch().await;
    assert_eq!(watch.heard().await, "ready");
    let _lease = theirs.register(&node("1", "10.77.0.2:4000")).await.unwrap();
    assert_eq!(watch.heard().await, "came 1 at 10.77.0.2:4000");
    // The loopback interface stays, so that there is still somebody to ask: nobody.
    there.host.ip("link set eth0 down");
    assert_eq!(watch.heard().await, "went 1 Expired");
    there.host.ip("link set eth0 up");
    assert_eq!(watch.heard().await, "came 1 at 10.77.0.2:4000");
}
