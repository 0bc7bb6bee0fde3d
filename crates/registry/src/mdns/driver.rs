//! Moves the machine: packets from the sockets, requests from the handle, the clock, and what the kernel says of the link.

use std::{collections::VecDeque, io, net::SocketAddr, sync::Arc, task::Poll, time::Duration};

use callsign_core::error::Error;
use tokio::{
    io::ReadBuf,
    sync::{broadcast, mpsc},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    config::MdnsConfig,
    fault,
    link::Link,
    machine::{Batch, From, Machine, Packet, Request, To},
    responder::Reach,
    sockets::{self, PACKET_BYTES_MAX, Sockets, Via},
};

/// How many packets are sent in one go, and how long is waited until the next: nobody's buffers are to overflow.
const BURST: usize = 32;
const BURST_PAUSE: Duration = Duration::from_millis(4);
/// How many packets are read in one go.
const READS_MAX: usize = 256;
/// What says nothing and asks nothing, to see whether anything can be sent at all.
const NOTHING: [u8; 12] = [0; 12];

/// The machine and what it works with.
pub(super) struct Driver {
    pub(super) config: MdnsConfig,
    pub(super) machine: Machine,
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) batches: broadcast::Sender<Arc<Batch>>,
    pub(super) stop: CancellationToken,
}

/// What the machine sees of the world.
struct World {
    sockets: Option<Sockets>,
    link: Link,
    /// When the link is looked at next.
    rescan: Instant,
    outbox: VecDeque<Packet>,
    buffer: Vec<u8>,
}

// === impl Driver ===

impl Driver {
    /// Works until the handle is closed; then says goodbye.
    pub(super) async fn run(mut self) {
        let mut world = World {
            sockets: None,
            link: Link::default(),
            rescan: Instant::now(),
            outbox: VecDeque::new(),
            buffer: vec![0; PACKET_BYTES_MAX],
        };
        let dropped = self.machine.dropped();
        loop {
            let now = Instant::now();
            if world.rescan <= now {
                world.rescan = now + self.config.rescan;
                self.rescan(&mut world, now);
            }
            self.machine.poll(now);
            self.send(&mut world, now);
            self.machine.reply();
            self.publish();
            let due = self.machine.next(now).min(world.rescan);
            let due = if world.outbox.is_empty() { due } else { due.min(now + BURST_PAUSE) };
            tokio::select! {
                // What is asked goes first, so that it is not kept waiting by what others say.
                biased;
                () = self.stop.cancelled() => break,
                request = self.requests.recv() => match request {
                    Some(request) => self.ask(&mut world, request),
                    None => break,
                },
                () = dropped.bell.notified() => {}
                () = readable(&world.sockets, &mut world.buffer, &world.link, &mut self.machine) => {}
                () = tokio::time::sleep_until(due) => {}
            }
        }
        self.machine.close(Instant::now());
        world.outbox.extend(self.machine.take_packets());
        while let Some(packet) = world.outbox.pop_front() {
            let _ = world.send(&packet);
        }
    }

    /// Does what was asked, and what has been asked meanwhile; but hears first what was said before.
    fn ask(&mut self, world: &mut World, request: Request) {
        let now = Instant::now();
        for _ in 0..READS_MAX {
            let Some(sockets) = &world.sockets else { break };
            let Some((length, from)) = sockets.receive_now(&mut world.buffer) else { break };
            take(&world.buffer[..length], from, sockets, &world.link, &mut self.machine);
        }
        self.machine.ask(request, now);
        while let Ok(request) = self.requests.try_recv() {
            self.machine.ask(request, now);
        }
    }

    /// Looks which interfaces there are, and whether they can be used.
    fn rescan(&mut self, world: &mut World, now: Instant) {
        let link = match Link::scan(&self.config) {
            Ok(link) => link,
            Err(error) => return self.machine.set_away(Some(fault::interfaces(error)), now),
        };
        let changed = link != world.link;
        world.link = link;
        if !changed && self.machine.away().is_none() && world.sockets.is_some() {
            return;
        }
        let away = self.reopen(world).err();
        let was_here = self.machine.away().is_none();
        self.machine.set_away(away, now);
        if changed && was_here && self.machine.away().is_none() {
            tracing::debug!(interfaces = ?world.link.interfaces().map(|(_, i)| &i.name).collect::<Vec<_>>(), "the link changed");
            self.machine.restart(now);
        }
    }

    fn reopen(&self, world: &mut World) -> Result<(), Error> {
        let MdnsConfig { port, ipv4, ipv6, .. } = self.config;
        let sockets = match &mut world.sockets {
            Some(sockets) => sockets,
            None => {
                let opened = Sockets::open(port, ipv4, ipv6).map_err(|error| fault::sockets(port, error))?;
                world.sockets.insert(opened)
            }
        };
        sockets.join(&world.link);
        if world.link.is_empty() {
            return Err(fault::no_interface(&self.config));
        }
        sockets
            .send_all(&NOTHING, Via::Own, Reach::Everybody, &world.link)
            .map_err(|error| fault::sending(&world.link, error))
    }

    /// Sends what there is to send, but not all at once.
    fn send(&mut self, world: &mut World, now: Instant) {
        world.outbox.extend(self.machine.take_packets());
        for _ in 0..BURST {
            let Some(packet) = world.outbox.pop_front() else { break };
            let Err(error) = world.send(&packet) else { continue };
            if matches!(packet.to, To::One(_)) || error.kind() == io::ErrorKind::WouldBlock {
                tracing::trace!(%error, to = ?packet.to, "packet not sent");
            } else if matches!(packet.to, To::All(Reach::Everybody) | To::Asking(Reach::Everybody)) {
                // Whether that is so for everything is seen by another look at the link.
                tracing::debug!(%error, "nothing can be sent to everybody");
                let away = self.reopen(world).err();
                self.machine.set_away(away, now);
                break;
            }
        }
    }

    fn publish(&mut self) {
        if let Some(batch) = self.machine.take_batch() {
            // Nobody may be watching.
            let _ = self.batches.send(Arc::new(batch));
        }
    }
}

// === impl World ===

impl World {
    fn send(&self, packet: &Packet) -> io::Result<()> {
        let Some(sockets) = &self.sockets else { return Ok(()) };
        match packet.to {
            To::All(reach) => sockets.send_all(&packet.bytes, Via::Shared, reach, &self.link),
            To::Asking(reach) => sockets.send_all(&packet.bytes, Via::Own, reach, &self.link),
            To::One(to) => sockets.send_to(&packet.bytes, to),
        }
    }
}

/// Waits for packets, and hands over those that are there.
async fn readable(sockets: &Option<Sockets>, buffer: &mut [u8], link: &Link, machine: &mut Machine) {
    let Some(sockets) = sockets else { return std::future::pending().await };
    std::future::poll_fn(|cx| {
        let mut reads = 0;
        while reads < READS_MAX {
            let mut packet = ReadBuf::new(buffer);
            let Poll::Ready(from) = sockets.poll_receive(cx, &mut packet) else { break };
            reads += 1;
            take(packet.filled(), from, sockets, link, machine);
        }
        if reads == 0 { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
}

/// Hands over a packet, unless it comes from too far away, or is our own question.
fn take(packet: &[u8], from: SocketAddr, sockets: &Sockets, link: &Link, machine: &mut Machine) {
    let address = sockets::ip(from);
    let local = link.is_local(address);
    if !link.is_near(address) || local && sockets.is_own(from) {
        return;
    }
    let zone = match from {
        SocketAddr::V6(v6) => link.name(v6.scope_id()),
        SocketAddr::V4(_) => None,
    };
    machine.receive(packet, From { address: from, local, zone }, Instant::now());
}
