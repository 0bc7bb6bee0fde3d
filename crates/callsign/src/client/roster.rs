//! Who can be called: the nodes of one service, each with its link, in one immutable snapshot.
//!
//! One task (`run`) is the only writer. It follows the source of nodes and the links' news, and publishes a new [`State`]
//! for each change; calls read the state and, if there is nobody to call, wait for the next one.

mod dial;
mod health;
mod totals;
mod usage;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use callsign_core::{
    Node, NodeId, NodeKey, ServiceName, WeakTasks,
    directory::Freshness,
    health::{Health, HealthConfig},
    model::{Address, keys},
    select::{Filters, Member, Paces, Shape, Slate, Strategy, subset},
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};

pub(crate) use self::dial::{fitness, fixed_node};
use self::{totals::Totals, usage::Usage};
use super::{
    AttemptCounts, ChannelMeter, HealthCheck, NodeState,
    decisions::{CallId, Decisions},
    link::{Link, News},
    prober::Prober,
    reports::Reports,
    source::{Known, Source},
    speech::{Speech, Tongue},
};

/// Most addresses called outside the registry at the same time.
const PINNED_MAX: usize = 32;
/// An odd constant that spreads consecutive numbers over all of 64 bits (2^64 divided by the golden ratio).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// What all parts of a channel share.
#[derive(Debug)]
pub(crate) struct Roster {
    pub(crate) service: ServiceName,
    /// Where nodes come from, for messages: a registry's name, or "a fixed list".
    pub(crate) origin: String,
    pub(crate) strategy: Strategy,
    pub(crate) filters: Filters,
    pub(crate) shape: Shape,
    speech: Speech,
    pub(crate) idle_after: Duration,
    check: Option<Arc<HealthCheck>>,
    state: ArcSwap<State>,
    published: watch::Sender<()>,
    news: Arc<News>,
    reports: Option<Arc<Reports>>,
    prober: Option<Arc<Prober>>,
    /// The links rest, or are about to be told to: `News::resting`, to be read at no cost.
    asleep: AtomicBool,
    /// Nobody has been told yet that calls come without the key that the strategy goes by.
    keyed: AtomicBool,
    seeds: AtomicU64,
    /// What the seeds of calls begin after.
    first_seed: u64,
    pinned: Mutex<Vec<Arc<Link>>>,
    health: Mutex<Health>,
    slow_start: Duration,
    pub(crate) subset: Option<usize>,
    /// How long each method's calls take.
    pub(crate) paces: Arc<Paces>,
    pub(crate) meter: ChannelMeter,
    totals: Totals,
    pub(crate) decisions: Decisions,
    /// What tells this client from others.
    seed: u64,
    tasks: WeakTasks,
}

/// One snapshot.
#[derive(Debug)]
pub(crate) struct State {
    /// Counted from the first one of the roster.
    pub(crate) number: u64,
    pub(crate) slate: Slate<Arc<Link>>,
    pub(crate) known: Known,
    /// Nodes that are registered and cannot be called by this channel at all, with the reason.
    pub(crate) unfit: Vec<String>,
    /// Whether the registry stands by them, if there is one that has said something.
    pub(crate) freshness: Option<Freshness>,
    /// How many members were ready when the slate was made.
    ready: usize,
}

/// What a [`Roster`] is made of.
pub(crate) struct Parts {
    pub(crate) service: ServiceName,
    pub(crate) origin: String,
    pub(crate) strategy: Strategy,
    pub(crate) filters: Filters,
    pub(crate) shape: Shape,
    pub(crate) speech: Speech,
    pub(crate) idle_after: Duration,
    pub(crate) check: Option<HealthCheck>,
    pub(crate) health: HealthConfig,
    pub(crate) slow_start: Duration,
    pub(crate) subset: Option<usize>,
    /// How many calls are remembered.
    pub(crate) remembered: usize,
    pub(crate) seed: u64,
}

/// A node and the link to it.
type Seat = (Arc<Node>, Arc<Link>);

// === impl Roster ===

impl Roster {
    pub(crate) fn new(parts: Parts, tasks: WeakTasks) -> Self {
        let Parts {
            service,
            origin,
            strategy,
            filters,
            shape,
            speech,
            idle_after,
            check,
            health,
            slow_start,
            subset,
            remembered,
            seed,
        } = parts;
        let mut rng = fastrand::Rng::with_seed(seed);
        let (reports, prober) = (Reports::of(&strategy), Prober::of(&strategy));
        let slate = Slate::new(&strategy, &filters, Vec::new(), None, &mut rng);
        let (known, unfit) = (Known::Pending, Vec::new());
        let state = Arc::new(State { number: 0, slate, known, unfit, freshness: None, ready: 0 });
        let decisions = Decisions::new(remembered);
        decisions.keep(&state);
        Self {
            service,
            origin,
            strategy,
            filters,
            shape,
            speech,
            idle_after,
            check: check.map(Arc::new),
            state: ArcSwap::new(state),
            published: watch::Sender::new(()),
            news: Arc::new(News::new()),
            reports,
            prober,
            asleep: AtomicBool::new(false),
            keyed: AtomicBool::new(true),
            seeds: AtomicU64::new(rng.u64(..)),
            pinned: Mutex::default(),
            health: Mutex::new(Health::new(health, rng.u64(..))),
            slow_start,
            subset,
            paces: Arc::default(),
            meter: ChannelMeter::default(),
            totals: Totals::default(),
            decisions,
            first_seed: rng.u64(..),
            seed,
            tasks,
        }
    }

    pub(crate) fn state(&self) -> arc_swap::Guard<Arc<State>> {
        self.state.load()
    }

    /// Tells of each state published from now on.
    pub(crate) fn published(&self) -> watch::Receiver<()> {
        self.published.subscribe()
    }

    /// What all attempts have come to, at nodes that are gone as well.
    pub(crate) fn attempts(&self) -> AttemptCounts {
        self.totals.read()
    }

    /// Randomness for anything but the choices of calls.
    pub(crate) fn rng(&self) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.draw_seed())
    }

    /// What the randomness of a call's first choice follows from.
    pub(crate) fn seed_of(&self, call: CallId) -> u64 {
        self.first_seed.wrapping_add(call.number().wrapping_mul(SPREAD))
    }

    /// The same for anything else.
    pub(crate) fn draw_seed(&self) -> u64 {
        self.seeds.fetch_add(SPREAD, Ordering::Relaxed)
    }

    /// About what a call takes: the median of what nodes take. Zero if nothing is known.
    pub(crate) fn usual_latency(&self) -> Duration {
        let state = self.state();
        let known = state.slate.members().iter().filter_map(|member| member.load.latency());
        let mut known: Vec<Duration> = known.collect();
        known.sort_unstable();
        known.get(known.len() / 2).copied().unwrap_or_default()
    }

    /// A call says nothing of what it is about. Where the strategy goes by that, it is worth a word, once.
    pub(crate) fn note_keyless(&self) {
        let unsaid = self.strategy.uses_key() && self.keyed.load(Ordering::Relaxed);
        if unsaid && self.keyed.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                service = %self.service,
                strategy = %self.strategy,
                "a call without a hash key went to any node, by chance; set CallOptions::hash_key, or hash=header:NAME"
            );
        }
    }

    /// Whether it is known who there is, and each node has been tried.
    pub(crate) fn is_settled(&self) -> bool {
        let state = self.state();
        let tried = |member: &Member<Arc<Link>>| match member.handle.state() {
            NodeState::Connecting => false,
            NodeState::Ready => member.load.is_ready(),
            _ => true,
        };
        let ready = state.slate.members().iter().filter(|member| member.load.is_ready()).count();
        !matches!(state.known, Known::Pending)
            && state.slate.members().iter().all(tried)
            && ready == state.ready
            && !state.slate.is_waiting()
    }

    /// A call is made, for strategies that probe nodes meanwhile.
    #[inline]
    pub(crate) fn note_call(&self) {
        if let Some(prober) = &self.prober {
            prober.note_call();
        }
    }

    /// What sends probes, for strategies that go by them.
    pub(super) fn prober(&self) -> Option<&Arc<Prober>> {
        self.prober.as_ref()
    }

    /// Somebody calls: connections that were let go for want of calls are made again.
    pub(crate) fn stir(&self) {
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel) {
            self.news.resting.send_replace(false);
        }
    }

    /// The link to an address that the caller has chosen, registered or not.
    pub(crate) fn pin(&self, address: &Address) -> Option<Seat> {
        let state = self.state();
        let registered = state.slate.members().iter().find(|member| member.handle.address == *address);
        if let Some(member) = registered {
            return Some((member.node.clone(), member.handle.clone()));
        }
        let node = fixed_node(&self.service, address, None).ok()?;
        let mut pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = pinned.iter().find(|link| link.address == *address && !link.is_gone()) {
            return Some((node, link.clone()));
        }
        if pinned.len() == PINNED_MAX {
            pinned.remove(0).leave();
        }
        // Of an address that nobody registered nothing is published.
        let tongue = self.speech.to(&node).ok()?;
        let link = self.link(node.id().clone(), address.clone(), tongue)?;
        pinned.push(link.clone());
        Some((node, link))
    }

    /// Follows `source` until the channel is gone.
    pub(crate) async fn run(self: Arc<Self>, mut source: Source) {
        let mut seats: Vec<Seat> = Vec::new();
        let mut unfit = Vec::new();
        let mut rng = self.rng();
        let mut second = interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut usage = Usage { calls: 0, since: Instant::now(), asleep: false };
        self.reconcile(&source, &mut seats, &mut unfit);
        self.publish(&source, &seats, &unfit, &mut rng);
        loop {
            tokio::select! {
                biased;
                () = source.changed() => {
                    self.reconcile(&source, &mut seats, &mut unfit);
                    self.publish(&source, &seats, &unfit, &mut rng);
                }
                () = self.news.readiness.notified() => self.publish(&source, &seats, &unfit, &mut rng),
                () = self.news.health.notified() => {
                    if self.review(Instant::now()) {
                        self.publish(&source, &seats, &unfit, &mut rng);
                    }
                }
                () = self.news.wording.notified() => {
                    self.refute(&source, &seats);
                    self.published.send_replace(());
                }
                now = second.tick() => {
                    let due = self.state().slate.tick(now);
                    if self.review(now) || due {
                        self.publish(&source, &seats, &unfit, &mut rng);
                    }
                    if self.is_idle(&mut usage, &seats, now) && !self.asleep.load(Ordering::Relaxed) {
                        tracing::debug!(service = %self.service, "no calls: connections are let go");
                        // In this order: whoever sees the flag and takes it back has the last word.
                        self.news.resting.send_replace(true);
                        self.asleep.store(true, Ordering::Release);
                        usage.asleep = true;
                    }
                }
            }
        }
    }

    /// Gives each node a link, and takes leave of nodes that are no more.
    fn reconcile(&self, source: &Source, seats: &mut Vec<Seat>, unfit: &mut Vec<String>) {
        let Known::Nodes(nodes) = source.known() else {
            // Not to be known, or not to be known any more, is no word that a node has left.
            if matches!(source.known(), Known::Absent) {
                seats.drain(..).for_each(|seat| self.dismiss(&seat));
            }
            return;
        };
        unfit.clear();
        let first = seats.is_empty();
        // By the whole key: in several domains there may be nodes of one id.
        let mut before: HashMap<NodeKey, Seat> = seats.drain(..).map(|seat| (seat.0.key(), seat)).collect();
        for node in self.own(&nodes) {
            let (address, tongue) = match self.approach(node) {
                Ok(approach) => approach,
                Err(reason) => {
                    unfit.push(reason);
                    continue;
                }
            };
            let link = match before.remove(&node.key()) {
                Some((known, link)) if link.address == address && link.scheme == tongue.scheme => {
                    if known != *node {
                        link.wake();
                    }
                    let back = known.weight() == Some(0) && node.weight() != Some(0);
                    if back && !self.slow_start.is_zero() {
                        // It was drained and is back: as cold as a new one, perhaps.
                        link.load.ramp_up(self.slow_start, Duration::ZERO, Instant::now());
                    }
                    Some(link)
                }
                Some((_, moved)) => {
                    moved.leave();
                    self.seat(node, address, tongue, first)
                }
                None => self.seat(node, address, tongue, first),
            };
            match link {
                Some(link) => seats.push((node.clone(), link)),
                None => unfit.push(format!("{}: HTTP cannot name {}", node.id(), node.address())),
            }
        }
        before.into_values().for_each(|seat| self.dismiss(&seat));
    }

    /// The nodes that this client keeps to, in their order.
    pub(crate) fn own<'a>(&self, nodes: &'a [Arc<Node>]) -> Vec<&'a Arc<Node>> {
        let Some(size) = self.subset else { return nodes.iter().collect() };
        let useful: Vec<&Arc<Node>> =
            nodes.iter().filter(|node| self.filters.pass(node) && self.approach(node).is_ok()).collect();
        let mut chosen = subset(useful.iter().map(|node| &***node), self.seed, size);
        chosen.sort_unstable();
        chosen.into_iter().map(|index| useful[index]).collect()
    }

    /// A link to a node that was not there before. Unless it is among the `first` that this channel sees, it gets its share of calls
    /// little by little; and so does one that says that it has just started.
    fn seat(&self, node: &Node, address: Address, tongue: Tongue, first: bool) -> Option<Arc<Link>> {
        let link = self.link(node.id().clone(), address, tongue)?;
        if let (Some(weight), None) = (node.metadata().get(keys::WEIGHT), node.weight()) {
            tracing::warn!(
                service = %self.service,
                node = %node.id(),
                weight,
                "a weight that is no whole number from 0 to 65535 counts as the mean of the others"
            );
        }
        self.health().enter(node.key(), link.load.clone());
        let age = node.started().map(|started| since_epoch().saturating_sub(started));
        let gone = age.unwrap_or(if first { self.slow_start } else { Duration::ZERO });
        if gone < self.slow_start {
            link.load.ramp_up(self.slow_start, gone, Instant::now());
        }
        Some(link)
    }

    fn dismiss(&self, (node, link): &Seat) {
        link.leave();
        self.health().leave(&node.key(), Instant::now());
    }

    /// Where and how a node is called, if this channel can call it.
    fn approach(&self, node: &Node) -> Result<(Address, Tongue), String> {
        Ok((fitness(node)?, self.speech.to(node)?))
    }

    fn link(&self, id: NodeId, address: Address, tongue: Tongue) -> Option<Arc<Link>> {
        let Tongue { scheme, config } = tongue;
        let load = self.strategy.new_load();
        let link = Link::new(
            id,
            address,
            scheme,
            load,
            self.news.clone(),
            self.paces.clone(),
            self.reports.clone(),
        )?;
        let running = link.clone().run(config, self.check.clone(), self.tasks.clone(), self.rng());
        self.tasks.spawn("link", running);
        self.totals.add(link.clone());
        Some(link)
    }

    /// Nodes in doubt are seated only when no other is ready.
    fn publish(&self, source: &Source, seats: &[Seat], unfit: &[String], rng: &mut fastrand::Rng) {
        self.refute(source, seats);
        let doubtful = source.doubtful();
        let sure = |node: &Node| doubtful.as_ref().is_none_or(|view| !view.is_suspect(node));
        let sure_ready = seats.iter().any(|(node, link)| link.load.is_ready() && sure(node));
        let members: Vec<_> = seats
            .iter()
            .filter(|(node, _)| !sure_ready || sure(node))
            .map(|(node, link)| Member { node: node.clone(), load: link.load.clone(), handle: link.clone() })
            .collect();
        let ready = members.iter().filter(|member| member.load.is_ready()).count();
        let previous = self.state();
        let slate =
            Slate::shaped(&self.strategy, &self.filters, &self.shape, members, Some(&previous.slate), rng);
        match (previous.slate.is_in_panic(), slate.is_in_panic()) {
            (false, true) => tracing::warn!(
                service = %self.service,
                "less than half of the nodes can be used: calls go to ejected ones too"
            ),
            (true, false) => tracing::info!(service = %self.service, "enough nodes can be used again"),
            _ => {}
        }
        let (known, freshness) = (source.known(), source.freshness());
        let (number, unfit) = (previous.number + 1, unfit.to_vec());
        let state = Arc::new(State { number, slate, known, unfit, freshness, ready });
        self.decisions.keep(&state);
        self.state.store(state);
        self.published.send_replace(());
    }

    /// Nodes that are in doubt and cannot be reached are no more.
    fn refute(&self, source: &Source, seats: &[Seat]) {
        let Some(view) = source.doubtful() else { return };
        for (node, link) in seats {
            if view.is_suspect(node) && link.error().is_some() {
                source.refute(node);
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a node tells its start by the wall clock; its age is a matter of seconds"
)]
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests;
