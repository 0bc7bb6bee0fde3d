//! The link.

use std::{
    collections::{BTreeMap, HashMap},
    net::Ipv4Addr,
};

use super::*;

/// Nothing takes longer than this on the way.
const DELAY_MAX: Duration = Duration::from_millis(20);

pub(super) struct Link {
    pub(super) now: Instant,
    pub(super) stations: Vec<Station>,
    rng: fastrand::Rng,
    /// How many packets of a hundred are lost, and how many come twice.
    pub(super) lost: u8,
    pub(super) doubled: u8,
    /// Who hears nobody and is heard by nobody.
    pub(super) cut: Vec<usize>,
    under_way: BTreeMap<(Instant, u64), Delivery>,
    sent: u64,
}

/// One machine, and what its watchers were told.
pub(super) struct Station {
    pub(super) machine: Machine,
    pub(super) nodes: HashMap<NodeKey, Arc<Node>>,
    pub(super) removals: Vec<(NodeKey, Removal)>,
    pub(super) errors: usize,
    pub(super) recovered: usize,
    /// Everything that it sent.
    pub(super) sent: Vec<Packet>,
    dead: bool,
}

struct Delivery {
    to: usize,
    from: SocketAddr,
    bytes: Vec<u8>,
}

pub(super) fn node(id: &str, weight: u16) -> Arc<Node> {
    Arc::new(Node::builder("greeter", id, "10.0.0.1:4000").weight(weight).build().unwrap())
}

impl Link {
    pub(super) const TIMING: Timing = Timing {
        lookup: Duration::from_millis(500),
        settle: Duration::from_millis(30),
        check: Duration::from_secs(10),
        probe: Duration::from_millis(100),
    };

    pub(super) fn new(stations: usize, seed: u64) -> Self {
        let now = Instant::now();
        let host = Name::of([&b"host"[..]]).unwrap();
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut station = |_| Station {
            machine: Machine::new(Self::TIMING, host.clone(), rng.fork(), now),
            nodes: HashMap::new(),
            removals: Vec::new(),
            errors: 0,
            recovered: 0,
            sent: Vec::new(),
            dead: false,
        };
        let stations = (0..stations).map(&mut station).collect();
        Self { now, stations, rng, lost: 0, doubled: 0, cut: Vec::new(), under_way: BTreeMap::new(), sent: 0 }
    }

    /// Lets the time pass.
    pub(super) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.run_until(end, |_| false);
    }

    /// Lets the time pass until something is so; whether it became so.
    pub(super) fn run_until(&mut self, end: Instant, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        loop {
            self.poll();
            if done(self) {
                return true;
            }
            let living = self.stations.iter().filter(|station| !station.dead);
            let due = living.map(|station| station.machine.next(self.now)).min();
            let delivery = self.under_way.keys().next().map(|(at, _)| *at);
            let next = due.into_iter().chain(delivery).min().unwrap_or(end);
            if next > end {
                self.now = end;
                return false;
            }
            self.now = self.now.max(next);
            while let Some(entry) = self.under_way.first_entry()
                && entry.key().0 <= self.now
            {
                let Delivery { to, from, bytes } = entry.remove();
                self.deliver(to, from, &bytes);
            }
        }
    }

    /// What somebody who waits is answered.
    pub(super) fn answer<T>(&mut self, mut answer: oneshot::Receiver<T>) -> T {
        let mut got = None;
        let end = self.now + Duration::from_secs(30);
        self.run_until(end, |_| {
            got = answer.try_recv().ok();
            got.is_some()
        });
        got.expect("an answer")
    }

    pub(super) fn register(&mut self, at: usize, node: &Arc<Node>) -> Result<Registered> {
        let answer = self.begin_to_register(at, node);
        self.answer(answer)
    }

    pub(super) fn begin_to_register(
        &mut self,
        at: usize,
        node: &Arc<Node>,
    ) -> oneshot::Receiver<Result<Registered>> {
        let (reply, answer) = oneshot::channel();
        self.ask(at, Request::Register { node: node.clone(), reply });
        answer
    }

    pub(super) fn update(&mut self, at: usize, registered: &Registered, node: &Arc<Node>) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.ask(at, Request::Update { serial: registered.serial, node: node.clone(), reply });
        self.answer(answer)
    }

    /// What is found; a service by its name, or everything.
    pub(super) fn look(&mut self, at: usize, service: Option<&str>) -> Result<Vec<String>> {
        let answer = self.begin_to_look(at, service, None);
        let listing = self.answer(answer)?;
        let mut ids: Vec<_> = listing.nodes.iter().map(|node| node.id().to_string()).collect();
        ids.sort();
        Ok(ids)
    }

    pub(super) fn begin_to_look(
        &mut self,
        at: usize,
        service: Option<&str>,
        watch: Option<&Arc<()>>,
    ) -> oneshot::Receiver<Result<Listing>> {
        let (reply, answer) = oneshot::channel();
        let (domain, hasty) = (Domain::default(), service.is_some() && watch.is_none());
        let service = service.map(|name| name.parse().unwrap());
        let watch = watch.map(Arc::downgrade);
        self.ask(at, Request::Look(Look { domain, service, hasty, watch, reply }));
        answer
    }

    pub(super) fn ask(&mut self, at: usize, request: Request) {
        self.stations[at].machine.ask(request, self.now);
    }

    /// A machine is no more.
    pub(super) fn kill(&mut self, at: usize) {
        self.stations[at].dead = true;
    }

    /// Somebody from outside says something to a station.
    pub(super) fn say(&mut self, at: usize, bytes: &[u8]) {
        self.deliver(at, SocketAddr::from(([10, 0, 0, 99], 5353)), bytes);
    }

    fn deliver(&mut self, to: usize, from: SocketAddr, bytes: &[u8]) {
        let station = &mut self.stations[to];
        if !station.dead {
            station.machine.receive(bytes, From { address: from, local: false, zone: None }, self.now);
        }
    }

    fn poll(&mut self) {
        for at in 0..self.stations.len() {
            if self.stations[at].dead {
                continue;
            }
            let station = &mut self.stations[at];
            station.machine.poll(self.now);
            while let Some(batch) = station.machine.take_batch() {
                station.take(batch);
            }
            for packet in station.machine.take_packets() {
                self.stations[at].sent.push(packet.clone());
                self.send(at, &packet);
            }
            self.stations[at].machine.reply();
        }
    }

    fn send(&mut self, at: usize, packet: &Packet) {
        let address = |station: usize, port| SocketAddr::from((Ipv4Addr::new(10, 0, 0, station as u8), port));
        let own = 40_000 + at as u16;
        let (from, to) = match packet.to {
            To::All(Reach::Loopback) | To::Asking(Reach::Loopback) => return,
            To::All(Reach::Everybody) => (address(at, 5353), None),
            To::Asking(Reach::Everybody) => (address(at, own), None),
            To::One(to) => (address(at, 5353), Some(to)),
        };
        for station in 0..self.stations.len() {
            let meant = match to {
                Some(to) => to.ip() == address(station, 0).ip(),
                // One hears one's own words, and not one's own questions.
                None => station != at || from.port() == 5353,
            };
            if !meant || station != at && (self.cut.contains(&station) || self.cut.contains(&at)) {
                continue;
            }
            if station != at && self.rng.u8(..100) < self.lost {
                continue;
            }
            let times = if self.rng.u8(..100) < self.doubled { 2 } else { 1 };
            for _ in 0..times {
                let delay = DELAY_MAX.mul_f64(self.rng.f64());
                self.sent += 1;
                let delivery = Delivery { to: station, from, bytes: packet.bytes.clone() };
                self.under_way.insert((self.now + delay, self.sent), delivery);
            }
        }
    }
}

impl Station {
    /// The ids of the nodes that its watchers know of.
    pub(super) fn ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = self.nodes.keys().map(|key| key.id.to_string()).collect();
        ids.sort();
        ids
    }

    fn take(&mut self, batch: Batch) {
        self.recovered += usize::from(batch.recovered);
        for event in batch.events {
            match event {
                WatchEvent::Upsert(node, _) => {
                    let known = self.nodes.insert(node.key(), node.clone());
                    assert_ne!(known, Some(node), "told twice");
                }
                WatchEvent::Remove(key, removal, _) => {
                    assert!(self.nodes.remove(&key).is_some(), "{key} was not there");
                    self.removals.push((key, removal));
                }
                WatchEvent::Error(_) => self.errors += 1,
                other => panic!("{other:?}"),
            }
        }
    }
}
