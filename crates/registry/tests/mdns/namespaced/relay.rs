//! Hosts between which packets get lost.
//!
//! The kernel can lose packets itself (`tc qdisc add … netem loss`), where it was built with that. So that it need not be, a
//! third host stands in between, and hands on what it hears on one side to everybody on the other: not all of it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use callsign_core::Tasks;
use callsign_registry::mdns::MdnsConfig;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use crate::{host::Host, node, process::Process, station::Station};

const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);

/// A socket on one interface.
fn socket(interface: &str, address: Ipv4Addr) -> UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind_device(Some(interface.as_bytes())).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 5353)).into()).unwrap();
    socket.join_multicast_v4_n(&GROUP, &InterfaceIndexOrAddress::Address(address)).unwrap();
    socket.set_multicast_if_v4(&address).unwrap();
    socket.set_multicast_loop_v4(false).unwrap();
    UdpSocket::from_std(socket.into()).unwrap()
}

/// Hands packets on in one direction, all but so many of a hundred.
async fn hand_on(from: Arc<UdpSocket>, to: Arc<UdpSocket>, lost: u8, seed: u64, count: Arc<AtomicUsize>) {
    let (mut rng, mut buffer) = (fastrand::Rng::with_seed(seed), vec![0; 65_536]);
    loop {
        let (length, _) = from.recv_from(&mut buffer).await.unwrap();
        if rng.u8(..100) < lost {
            count.fetch_add(1, Ordering::Relaxed);
        } else {
            to.send_to(&buffer[..length], (GROUP, 5353)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn where_every_fifth_packet_is_lost_nodes_are_found_change_leave_and_die() {
    let [left, middle] = Host::pair();
    let right = Host::new();
    middle.cable("eth1", &right, "eth0");
    for (host, number, interface) in [(&middle, 3, "eth1"), (&right, 4, "eth0")] {
        host.ip(&format!("addr add 10.77.0.{number}/24 dev {interface}"));
        host.ip(&format!("link set {interface} up"));
    }
    right.wait_for("eth0");
    let [left, middle, right] = [left, middle, right].map(Station::on);
    let (tasks, lost) = (Tasks::new(), Arc::new(AtomicUsize::new(0)));
    let (relay, count) = (tasks.clone(), lost.clone());
    let there = middle.open(MdnsConfig::new());
    there
        .there(|_| async move {
            let one = Arc::new(socket("eth0", Ipv4Addr::new(10, 77, 0, 2)));
            let other = Arc::new(socket("eth1", Ipv4Addr::new(10, 77, 0, 3)));
            relay.spawn("there", hand_on(one.clone(), other.clone(), 20, 1, count.clone()));
            relay.spawn("back", hand_on(other, one, 20, 2, count));
        })
        .await;

    let config = || MdnsConfig::new().ipv4_only().with_check(Duration::from_secs(1));
    let (ours, theirs) = (left.open(config()), right.open(config()));
    let mut watch = ours.watch().await;
    watch.until("ready").await;
    let mut leases = Vec::new();
    for n in 0..8 {
        let address = format!("10.77.0.4:{}", 4000 + n);
        leases.push(theirs.register(&node(&n.to_string(), &address)).await.unwrap());
        watch.until(&format!("came {n} at {address}")).await;
    }
    for (n, mut lease) in leases.into_iter().enumerate() {
        let changed = node(&n.to_string(), "10.77.0.4:1").to_builder().weight(7).build().unwrap();
        lease.update(&changed.into()).await.unwrap();
        watch.until(&format!("came {n} at 10.77.0.4:1 7")).await;
        lease.release().await.unwrap();
        // One in a hundred of them says it so softly three times that its silence has to be noticed.
        while !watch.heard().await.starts_with(&format!("went {n} ")) {}
    }
    let victim = Process::node(&right.host, "victim", "10.77.0.4:2");
    watch.until("came victim at 10.77.0.4:2").await;
    drop(victim);
    watch.until("went victim Expired").await;
    assert!(lost.load(Ordering::Relaxed) > 10, "not much was lost");
    tasks.close().await;
}
