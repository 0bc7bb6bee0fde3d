//! The sockets: two of each family of addresses.
//!
//! One has the port of mDNS, which it shares with every other program on this machine that speaks it, and hears what is sent
//! to everybody. Answers to our questions come to one person, and of a shared port nobody can say who that is: so we ask
//! from a second socket with a port of its own.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    task::{Context, Poll},
};

use rustix::net::{RecvFlags, recvfrom};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockRef, Socket, Type};
use tokio::{io::ReadBuf, net::UdpSocket};

use super::{
    link::{Interface, Link},
    responder::Reach,
};

const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// How many routers a packet may pass: none; but some programs insist on this number (RFC 6762, 11).
const HOPS: u32 = 255;
/// What waits to be read, at most: a service's nodes all answer at once.
const BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// The largest packet that is taken.
pub(super) const PACKET_BYTES_MAX: usize = 65_536;

/// The sockets of one handle.
#[derive(Debug)]
pub(super) struct Sockets {
    port: u16,
    v4: Option<Family>,
    v6: Option<Family>,
}

/// The two sockets of one family.
#[derive(Debug)]
struct Family {
    shared: UdpSocket,
    own: UdpSocket,
    /// The interfaces on which the group was joined.
    joined: BTreeSet<u32>,
}

/// From which socket something is sent to everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Via {
    Shared,
    Own,
}

// === impl Sockets ===

impl Sockets {
    /// Opens them. A family that this machine does not have is done without, if it has the other.
    ///
    /// # Errors
    ///
    /// Why one cannot be had.
    pub(super) fn open(port: u16, ipv4: bool, ipv6: bool) -> io::Result<Self> {
        let v4 = ipv4.then(|| Family::open_v4(port));
        let v6 = ipv6.then(|| Family::open_v6(port));
        let (v4, v6) = match (v4, v6) {
            (Some(Err(_)), Some(Ok(v6))) if !has(Domain::IPV4) => (None, Some(v6)),
            (Some(Ok(v4)), Some(Err(_))) if !has(Domain::IPV6) => (Some(v4), None),
            (v4, v6) => (v4.transpose()?, v6.transpose()?),
        };
        Ok(Self { port, v4, v6 })
    }

    /// Joins the groups on interfaces that are new, and forgets those that have gone.
    pub(super) fn join(&mut self, link: &Link) {
        for (family, is_v4) in [(&mut self.v4, true), (&mut self.v6, false)] {
            let Some(family) = family else { continue };
            let wanted = link
                .interfaces()
                .filter(|(_, interface)| if is_v4 { interface.v4.is_some() } else { interface.v6 });
            let wanted: BTreeSet<u32> = wanted.map(|(index, _)| index).collect();
            family.joined.retain(|index| wanted.contains(index));
            for index in wanted {
                if family.joined.contains(&index) {
                    continue;
                }
                let shared = SockRef::from(&family.shared);
                let joined = if is_v4 {
                    shared.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(index))
                } else {
                    shared.join_multicast_v6(&GROUP_V6, index)
                };
                match joined {
                    Ok(()) => drop(family.joined.insert(index)),
                    // Joined before, when the interface was here already.
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                        family.joined.insert(index);
                    }
                    Err(error) => {
                        tracing::debug!(interface = link.name(index), %error, "multicast group not joined");
                    }
                }
            }
        }
    }

    /// Sends to everybody, on each interface in each family.
    ///
    /// # Errors
    ///
    /// Why it worked on none.
    pub(super) fn send_all(&self, bytes: &[u8], via: Via, reach: Reach, link: &Link) -> io::Result<()> {
        let mut sent = Err(io::Error::from(io::ErrorKind::NetworkUnreachable));
        let wanted = |interface: &&Interface| reach == Reach::Everybody || interface.loopback;
        for (index, interface) in link.interfaces().filter(|(_, interface)| wanted(interface)) {
            if let (Some(family), Some(address)) = (&self.v4, interface.v4) {
                let to = SocketAddr::from((GROUP_V4, self.port));
                let socket = SockRef::from(family.socket(via));
                let one =
                    socket.set_multicast_if_v4(&address).and_then(|()| socket.send_to(bytes, &to.into()));
                merge(&mut sent, one.map(drop));
            }
            if let (Some(family), true) = (&self.v6, interface.v6) {
                let to = SocketAddrV6::new(GROUP_V6, self.port, 0, index);
                let one = SockRef::from(family.socket(via)).send_to(bytes, &to.into());
                merge(&mut sent, one.map(drop));
            }
        }
        sent
    }

    /// Sends to one.
    pub(super) fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        let family = if to.is_ipv4() { &self.v4 } else { &self.v6 };
        let Some(family) = family else { return Err(io::ErrorKind::NetworkUnreachable.into()) };
        SockRef::from(&family.shared).send_to(bytes, &to.into()).map(drop)
    }

    /// Whether a packet from there is our own question.
    pub(super) fn is_own(&self, from: SocketAddr) -> bool {
        let family = if from.is_ipv4() { &self.v4 } else { &self.v6 };
        let own = family.as_ref().and_then(|family| family.own.local_addr().ok());
        own.is_some_and(|own| own.port() == from.port())
    }

    /// Takes one packet that is there already, though the runtime may not know of it yet.
    pub(super) fn receive_now(&self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        let families = [&self.v4, &self.v6].into_iter().flatten();
        families.flat_map(|family| [&family.own, &family.shared]).find_map(|socket| {
            let (received, _, from) = recvfrom(socket, &mut *buffer, RecvFlags::DONTWAIT).ok()?;
            Some((received, from?.try_into().ok()?))
        })
    }

    /// Takes one packet, from whichever socket has one.
    pub(super) fn poll_receive(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<SocketAddr> {
        for family in [&self.v4, &self.v6].into_iter().flatten() {
            for socket in [&family.own, &family.shared] {
                // What a socket complains of was a packet before; the next one comes all the same.
                while let Poll::Ready(received) = socket.poll_recv_from(cx, buffer) {
                    if let Ok(from) = received {
                        return Poll::Ready(from);
                    }
                }
            }
        }
        Poll::Pending
    }
}

// === impl Family ===

impl Family {
    fn open_v4(port: u16) -> io::Result<Self> {
        let open = |port| {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
            socket.set_multicast_loop_v4(true)?;
            socket.set_multicast_ttl_v4(HOPS)?;
            // Otherwise what other programs joined would be heard too, on interfaces that are not wanted here.
            #[cfg(target_os = "linux")]
            socket.set_multicast_all_v4(false)?;
            bind(socket, SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
        };
        Ok(Self { shared: open(port)?, own: open(0)?, joined: BTreeSet::new() })
    }

    fn open_v6(port: u16) -> io::Result<Self> {
        let open = |port| {
            let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
            socket.set_only_v6(true)?;
            socket.set_multicast_loop_v6(true)?;
            socket.set_multicast_hops_v6(HOPS)?;
            #[cfg(target_os = "linux")]
            socket.set_multicast_all_v6(false)?;
            bind(socket, SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))
        };
        Ok(Self { shared: open(port)?, own: open(0)?, joined: BTreeSet::new() })
    }

    fn socket(&self, via: Via) -> &UdpSocket {
        match via {
            Via::Shared => &self.shared,
            Via::Own => &self.own,
        }
    }
}

// === free functions ===

/// Whether this machine has a family at all: IPv6 can be turned off.
fn has(domain: Domain) -> bool {
    Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)).is_ok()
}

fn bind(socket: Socket, to: SocketAddr) -> io::Result<UdpSocket> {
    if to.port() != 0 {
        socket.set_reuse_address(true)?;
        // Where sharing a port has a name of its own. Linux would choose one of all who say so for each packet.
        #[cfg(not(any(target_os = "linux", windows)))]
        socket.set_reuse_port(true)?;
    }
    // The kernel may give less.
    let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
    socket.set_nonblocking(true)?;
    socket.bind(&to.into())?;
    UdpSocket::from_std(socket.into())
}

/// One success is success. Of failures the first that says more than that there is no way is kept.
fn merge(all: &mut io::Result<()>, one: io::Result<()>) {
    match (&*all, one) {
        (Ok(()), _) => {}
        (Err(known), Err(_)) if known.kind() != io::ErrorKind::NetworkUnreachable => {}
        (Err(_), one) => *all = one,
    }
}

/// An address without an interface in it, to look it up.
pub(super) fn ip(from: SocketAddr) -> IpAddr {
    from.ip().to_canonical()
}
