//! Callsign's selection: the same slates, loads, tickets and judgement of health that its channel uses, moved as it moves them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use callsign_core::{
    Node, NodeId,
    health::{Health, HealthConfig},
    select::{
        self, AdaptiveConfig, Aperture, Choices, Filters, Load, Member, MethodId, Outcome, Paces,
        PickRequest, Shape, Slate, Strategy,
    },
};
use fastrand::Rng;

use super::{Ask, Balancer, Choice, Mark, Probe, Seat, peers};
use crate::{
    clock::{Clock, Nanos},
    fleet::Fleet,
    scenario::{Policy, Span},
};

/// A client with a slate.
pub(super) struct Ours {
    clock: Clock,
    strategy: Strategy,
    shape: Shape,
    /// What is known of each node, for as long as the client lives.
    known: BTreeMap<usize, (Arc<Node>, Load)>,
    slate: Slate<usize>,
    seats: Vec<Seat>,
    health: Health,
    /// The method of short calls and that of long ones, which may be one.
    methods: [MethodId; 2],
    paces: Paces,
    /// How long a node is new.
    slow_start: Duration,
    rng: Rng,
}

// === impl Ours ===

impl Ours {
    pub(super) fn new(policy: &Policy, home: usize, clock: Clock) -> Result<Self, String> {
        let strategy = strategy(policy)?;
        let shape = if policy.near { Shape::default().near([zone(home)]) } else { Shape::default() };
        let mut rng = Rng::with_seed(0);
        let slate = Slate::new(&strategy, &Filters::default(), Vec::new(), None, &mut rng);
        let config = if policy.ejection { HealthConfig::default() } else { HealthConfig::off() };
        let paces = Paces::new();
        let methods = ["short", if policy.methods { "long" } else { "short" }].map(|path| paces.method(path));
        Ok(Self {
            clock,
            strategy,
            shape,
            known: BTreeMap::new(),
            slate,
            seats: Vec::new(),
            health: Health::new(config, 0),
            methods,
            paces,
            slow_start: policy.slow_start.map_or(Load::RAMP, Span::duration),
            rng,
        })
    }

    /// Keeps a node that was not known before. Unless it is one of the first, it gets its share little by little.
    fn meet(&mut self, seat: Seat, is_first: bool, now: Nanos) {
        let (node, load) = (Arc::new(node(&seat)), self.strategy.new_load_since(self.clock.instant(0)));
        self.health.enter(node.key(), load.clone());
        if !is_first && !self.slow_start.is_zero() {
            load.ramp_up(self.slow_start, Duration::ZERO, self.clock.instant(now));
        }
        self.known.insert(seat.node, (node, load));
    }

    fn publish(&mut self) {
        let member = |seat: &Seat| {
            let (node, load) = self.known.get(&seat.node)?;
            load.set_ready(seat.ready);
            Some(Member { node: node.clone(), load: load.clone(), handle: seat.node })
        };
        let members = self.seats.iter().filter_map(member).collect();
        let (filters, previous) = (Filters::default(), Some(&self.slate));
        self.slate = Slate::shaped(&self.strategy, &filters, &self.shape, members, previous, &mut self.rng);
    }

    fn review(&mut self, now: Nanos) {
        if !self.health.review(self.clock.instant(now)).is_empty() {
            self.publish();
        }
    }
}

impl Balancer for Ours {
    fn update(&mut self, seats: &[Seat], now: Nanos, rng: &mut Rng) {
        let is_first = self.known.is_empty();
        if is_first {
            self.rng = rng.fork();
        }
        let instant = self.clock.instant(now);
        // Seats are in the order of their numbers.
        let is_gone = |seat: &&Seat| seats.binary_search_by_key(&seat.node, |other| other.node).is_err();
        for gone in self.seats.iter().filter(is_gone) {
            if let Some((node, _)) = self.known.remove(&gone.node) {
                self.health.leave(&node.key(), instant);
            }
        }
        for seat in seats {
            if !self.known.contains_key(&seat.node) {
                self.meet(*seat, is_first, now);
            }
        }
        self.seats = seats.to_vec();
        self.publish();
    }

    fn pick(&mut self, ask: &Ask<'_>, rng: &mut Rng) -> Option<Choice> {
        let known = |node: &usize| Some(self.known.get(node)?.0.id().clone());
        let tried: Vec<NodeId> = ask.exclude.iter().filter_map(known).collect();
        let request = PickRequest { exclude: &tried, ..PickRequest::default() };
        let picked = self.slate.pick(&request, rng).ok()?;
        Some(Choice { node: picked.member.handle, ticket: Some(picked.ticket) })
    }

    fn done(&mut self, mark: Mark<'_>) {
        let Some(ticket) = mark.ticket else { return };
        let (method, now) = (self.methods[usize::from(mark.is_long)], self.clock.instant(mark.now));
        if mark.outcome == Outcome::Success {
            self.paces.learn(method, mark.elapsed, now);
        }
        ticket.mark_even(mark.outcome, mark.elapsed, self.paces.even(method, mark.elapsed), now);
        if ticket.wants_review() {
            drop(ticket);
            self.review(mark.now);
        }
    }

    fn tick(&mut self, now: Nanos, _fleet: &Fleet, _rng: &mut Rng) {
        self.slate.tick(self.clock.instant(now));
        self.review(now);
    }

    /// As many nodes as the channel's prober asks, each at most once a call.
    fn probes(&mut self, rng: &mut Rng, probes: &mut Vec<usize>) {
        let Strategy::Prequal(config) = &self.strategy else { return };
        let ready: Vec<usize> = self.seats.iter().filter(|seat| seat.ready).map(|seat| seat.node).collect();
        let wanted = config.draw(rng).min(ready.len());
        while probes.len() < wanted {
            let node = ready[rng.usize(..ready.len())];
            if !probes.contains(&node) {
                probes.push(node);
            }
        }
    }

    fn probed(&mut self, probe: Probe, now: Nanos) {
        let Some((_, load)) = self.known.get(&probe.node) else { return };
        let answer =
            select::Probe { inflight: probe.inflight, latency: probe.latency.map(Duration::from_nanos) };
        self.slate.probed(load, answer, self.clock.instant(now), &mut self.rng);
    }
}

/// The strategy of the policy's name and settings.
fn strategy(policy: &Policy) -> Result<Strategy, String> {
    let named = policy.name.parse::<Strategy>().map_err(|error| {
        let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{error}{hint}; of peers there are {}", peers::NAMES.join(", "))
    })?;
    let wrong = |error: callsign_core::Error| error.to_string();
    match named {
        Strategy::LeastRequest { choices } => {
            Ok(Strategy::LeastRequest { choices: policy.choices.unwrap_or(choices) })
        }
        Strategy::Adaptive(_) => {
            let mut config = AdaptiveConfig::default();
            if let Some(choices) = policy.choices {
                config = config.choices(Choices::Fixed(choices));
            }
            if let Some(aperture) = policy.aperture {
                config = config.aperture(Aperture::Fixed(aperture as u32));
            }
            if let Some(charge) = policy.error_charge {
                config = config.error_charge(charge.duration()).map_err(wrong)?;
            }
            if let Some(decay) = policy.decay {
                config = config.decay(decay.duration()).map_err(wrong)?;
            }
            Ok(Strategy::Adaptive(config))
        }
        Strategy::Prequal(mut config) => {
            if let Some(probes) = policy.probes {
                config = config.probes(probes).map_err(wrong)?;
            }
            if let Some(hot) = policy.hot {
                config = config.hot(hot).map_err(wrong)?;
            }
            Ok(Strategy::Prequal(config))
        }
        other => Ok(other),
    }
}

fn zone(number: usize) -> String {
    format!("zone-{number}")
}

/// A node of the fleet, as it would be registered.
fn node(seat: &Seat) -> Node {
    let builder =
        Node::builder("service", format!("node-{}", seat.node), "127.0.0.1:1").zone(zone(seat.zone));
    let builder = match seat.weight {
        Some(weight) => builder.weight(weight),
        None => builder,
    };
    builder.build().expect("a number makes a valid name")
}
