//! One immutable snapshot of the nodes and of all that must agree with them.

mod notes;
mod replay;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tokio::time::Instant;

pub use self::notes::Notes;
pub use self::replay::{Look, NoReplay, Replay};
use super::{
    Filters, Load, NoPick, Probe, Shape, Standing, Strategy, Ticket, Witness, assume,
    density::{Density, Sums},
    plan::{Making, Plan},
    strategy::Choices,
    view::{Moment, View},
    views::{Found, Views},
};
use crate::model::{Node, NodeId};

/// A node that may be picked.
#[derive(Debug, Clone)]
pub struct Member<T> {
    /// The node as it is registered now.
    pub node: Arc<Node>,
    /// What is known of its load. Must be the same for the same node in every slate.
    pub load: Load,
    /// What the caller needs to reach it.
    pub handle: T,
}

/// What one pick asks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct PickRequest<'a> {
    /// Conditions on the node, on top of the slate's own.
    pub filters: Option<&'a Filters>,
    /// Nodes that this call has tried already. They are taken only if there is no other.
    pub exclude: &'a [NodeId],
    /// What the call is about, for strategies that send the same to the same node.
    pub hash: Option<u64>,
}

/// The chosen member, with the call's place on it.
#[derive(Debug)]
pub struct Picked<'a, T> {
    /// The member.
    pub member: &'a Member<T>,
    /// Its index in [`Slate::members`].
    pub index: usize,
    /// The call's place in the node's in-flight count.
    pub ticket: Ticket,
    /// Why it is another node than the [`Shape`] asks for, if it is.
    pub instead: Option<Arc<str>>,
}

/// One immutable snapshot: members, their weights, the strategy's tables, and a view for each set of filters in use.
///
/// It is to be made anew when a node comes, goes or changes, and soon after one becomes ready or stops being so: picks avoid a
/// node that is not ready at once, but only a new slate draws from one that has become ready while others were.
pub struct Slate<T> {
    members: Box<[Member<T>]>,
    strategy: Strategy,
    filters: Filters,
    /// The view for requests without filters of their own.
    all: Plan,
    views: Views,
    shape: Shape,
    /// Calls that went elsewhere than the shape says, in this slate and those before.
    fallbacks: Arc<AtomicU64>,
    /// Those that went to a farther zone since nodes near by were busier.
    spills: Arc<AtomicU64>,
    density: Density,
    /// New nodes get less than their share, since they are not the most.
    ramps: bool,
}

// === impl Slate ===

impl<T> Slate<T> {
    /// A snapshot of `members`, of which those that pass `filters` can be picked.
    ///
    /// From `previous`, the slate that this one takes the place of, it goes on with what a strategy knows beyond the loads:
    /// whose turn it is, and which filters are in use.
    pub fn new(
        strategy: &Strategy,
        filters: &Filters,
        members: Vec<Member<T>>,
        previous: Option<&Self>,
        rng: &mut fastrand::Rng,
    ) -> Self {
        Self::shaped(strategy, filters, &Shape::default(), members, previous, rng)
    }

    /// The same with a [`Shape`] to the calls.
    pub fn shaped(
        strategy: &Strategy,
        filters: &Filters,
        shape: &Shape,
        members: Vec<Member<T>>,
        previous: Option<&Self>,
        rng: &mut fastrand::Rng,
    ) -> Self {
        let members = members.into_boxed_slice();
        if let Strategy::Adaptive(_) = strategy {
            assume::for_new(&members);
        }
        let density = Density::new(
            count_calls(&members),
            previous.map(|previous| (&previous.density, count_calls(&previous.members))),
        );
        let aperture = |nodes| aperture(strategy, &density, nodes);
        let making = Making { strategy, shape, members: &members, aperture: &aperture };
        let all = Plan::new(&making, filters, previous.map(|previous| &previous.all), rng);
        let views = Views::new();
        if let Some(previous) = previous {
            for (entry, idle) in previous.views.worth_keeping() {
                let narrowed = filters.and_all(&entry.filters);
                views.keep(&entry.filters, Plan::new(&making, &narrowed, Some(&entry.plan), rng), idle);
            }
        }
        let ramping = members.iter().filter(|member| member.load.is_ramping()).count();
        let ramps = ramping > 0 && ramping * 2 <= members.len() && !strategy.uses_key();
        let fallbacks = previous.map(|previous| previous.fallbacks.clone()).unwrap_or_default();
        let spills = previous.map(|previous| previous.spills.clone()).unwrap_or_default();
        let (strategy, filters, shape) = (strategy.clone(), filters.clone(), shape.clone());
        Self { members, strategy, filters, all, views, shape, fallbacks, spills, density, ramps }
    }

    /// Chooses a member and takes a place on it.
    ///
    /// Takes no lock, allocates nothing and reads no clock, but for the first pick with a set of filters that is new to the
    /// slate.
    ///
    /// # Errors
    ///
    /// Why there is no node for this request.
    #[inline]
    pub fn pick(&self, request: &PickRequest<'_>, rng: &mut fastrand::Rng) -> Result<Picked<'_, T>, NoPick> {
        match request.filters {
            Some(filters) if !filters.is_empty() => self.pick_among(filters, request, rng),
            _ => self.pick_by(&self.all, request, rng),
        }
    }

    /// How each member stands with a pick for `request`, in the order of [`members`](Self::members): whether the pick may return it,
    /// and why not.
    ///
    /// It goes by the same views and flags as a pick, and takes no place on any node. It is for people: it looks at all nodes and
    /// allocates. `rng` is for a set of filters that the slate has not seen.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use callsign_core::{Node, select::{Filter, Filters, Member, PickRequest, Slate, Strategy}};
    ///
    /// let strategy = Strategy::default();
    /// let node = Node::builder("greeter", "a", "127.0.0.1:4000").zone("eu-1b").build()?;
    /// let load = strategy.new_load();
    /// load.set_ready(true);
    /// let (mut rng, here) = (fastrand::Rng::with_seed(1), Filters::from(Filter::zone("eu-1a")));
    /// let slate = Slate::new(&strategy, &here, vec![Member { node: Arc::new(node), load, handle: () }], None, &mut rng);
    ///
    /// let standings = slate.explain(&PickRequest::default(), &mut rng);
    /// assert!(!standings[0].is_candidate(), "it is in another zone");
    /// # Ok::<(), callsign_core::Error>(())
    /// ```
    #[must_use]
    pub fn explain(&self, request: &PickRequest<'_>, rng: &mut fastrand::Rng) -> Vec<Standing> {
        self.standings(request, Moment::Now, rng)
    }

    fn standings(
        &self,
        request: &PickRequest<'_>,
        moment: Moment<'_>,
        rng: &mut fastrand::Rng,
    ) -> Vec<Standing> {
        match request.filters {
            Some(filters) if !filters.is_empty() => {
                let narrowed = self.filters.and_all(filters);
                self.view(filters, rng).standings(&self.shape, &narrowed, &self.members, request, moment)
            }
            _ => self.all.standings(&self.shape, &self.filters, &self.members, request, moment),
        }
    }

    /// All members, in the order they were given in.
    #[must_use]
    pub fn members(&self) -> &[Member<T>] {
        &self.members
    }

    /// The strategy that picks follow.
    #[must_use]
    pub fn strategy(&self) -> &Strategy {
        &self.strategy
    }

    /// The conditions that every picked node meets.
    #[must_use]
    pub fn filters(&self) -> &Filters {
        &self.filters
    }

    /// Takes note of the time and of how many calls were made by then. To be called about once a second; it goes over all members.
    ///
    /// New nodes get a little more than before. From that the adaptive strategy learns how many nodes to compare
    /// ([`Choices::ByDensity`]), and among how many ([`Aperture::ByFlow`](super::Aperture::ByFlow)), and it takes nodes not heard of for
    /// a while for what the others are in the middle. Without it, it compares eight among twenty. Returns whether a new slate is due,
    /// for another aperture, for other weights that nodes have reported, or to return to a better preference.
    pub fn tick(&self, now: Instant) -> bool {
        self.members.iter().for_each(|member| member.load.climb(now));
        let waiting = self.is_waiting();
        if let Strategy::LoadReports(config) = &self.strategy {
            let weigh = |due, member: &Member<T>| member.load.weigh_report(config, now) || due;
            return self.members.iter().fold(waiting, weigh);
        }
        if let Strategy::Prequal(_) = &self.strategy {
            let now = self.members.first().map_or(0.0, |member| member.load.seconds(now));
            self.all_views().for_each(|view| view.policy().age(now));
        }
        let Strategy::Adaptive(config) = &self.strategy else { return waiting };
        assume::for_stale(&self.members, now);
        let inflight = self.members.iter().map(|member| u64::from(member.load.about_inflight())).sum();
        let sums = Sums { nodes: self.members.len(), calls: count_calls(&self.members), inflight };
        self.density.tick(sums, now, config) || waiting
    }

    /// Whether a better preference holds than the one that picks go by. The slate after this one returns to it.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.all.is_waiting() || self.views.plans().any(Plan::is_waiting)
    }

    /// Takes note that the node of this load has answered a probe, for [`Strategy::Prequal`]. A node that is no member any more is
    /// passed over.
    pub fn probed(&self, load: &Load, probe: Probe, now: Instant, rng: &mut fastrand::Rng) {
        for view in self.all_views().filter(|view| view.draws_from(load)) {
            view.policy().probed(load, probe, load.seconds(now), rng);
        }
    }

    /// How many calls have gone to other nodes than the [`Shape`] asks for, since there was none of these.
    #[must_use]
    pub fn fallbacks(&self) -> u64 {
        self.fallbacks.load(Relaxed)
    }

    /// How many calls have gone to a farther zone than the nearest that has nodes, since those are far busier.
    #[must_use]
    pub fn spills(&self) -> u64 {
        self.spills.load(Relaxed)
    }

    /// Whether so few nodes can be used that verdicts on their [health](crate::health) are ignored. It begins below one half, and
    /// ends at 55 %.
    #[must_use]
    pub fn is_in_panic(&self) -> bool {
        self.all.is_in_panic()
    }

    fn all_views(&self) -> impl Iterator<Item = &View> {
        std::iter::once(&self.all).chain(self.views.plans()).flat_map(Plan::views)
    }

    /// How many nodes the strategy compares for one pick.
    #[inline]
    fn choices<W: Witness>(&self, witness: &mut W) -> usize {
        match &self.strategy {
            Strategy::Adaptive(config) => match config.choices {
                Choices::Fixed(choices) => usize::from(choices).clamp(2, Strategy::CHOICES_MAX),
                Choices::ByDensity => usize::from(witness.see(|| self.density.choices())),
            },
            Strategy::LeastRequest { choices } => usize::from(*choices).clamp(2, Strategy::CHOICES_MAX),
            _ => 1,
        }
    }

    fn view(&self, filters: &Filters, rng: &mut fastrand::Rng) -> Found<'_> {
        self.views.find(filters, || {
            let aperture = |nodes| aperture(&self.strategy, &self.density, nodes);
            let making = Making {
                strategy: &self.strategy,
                shape: &self.shape,
                members: &self.members,
                aperture: &aperture,
            };
            Plan::new(&making, &self.filters.and_all(filters), None, rng)
        })
    }

    /// Apart, so that a pick without filters of its own stays small.
    #[inline(never)]
    fn pick_among(
        &self,
        filters: &Filters,
        request: &PickRequest<'_>,
        rng: &mut fastrand::Rng,
    ) -> Result<Picked<'_, T>, NoPick> {
        let plan = self.view(filters, rng);
        self.pick_by(&plan, request, rng)
    }

    /// Always in place: what it returns has no room in registers, and to hand it over through memory takes as long as a random pick.
    #[inline(always)]
    fn pick_by<W: Witness>(
        &self,
        plan: &Plan,
        request: &PickRequest<'_>,
        witness: &mut W,
    ) -> Result<Picked<'_, T>, NoPick> {
        let choices = self.choices(witness);
        let Some((candidate, instead)) = plan.pick(request, choices, self.ramps, witness) else {
            return Err(plan.why_none());
        };
        let instead = instead.map(|instead| {
            let count = if plan.is_spill(instead) { &self.spills } else { &self.fallbacks };
            count.fetch_add(1, Relaxed);
            instead.clone()
        });
        let index = candidate.member as usize;
        Ok(Picked { member: &self.members[index], index, ticket: candidate.load.ticket(), instead })
    }
}

impl<T> fmt::Debug for Slate<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slate")
            .field("strategy", &self.strategy)
            .field("filters", &self.filters)
            .field("members", &self.members.len())
            .finish_non_exhaustive()
    }
}

/// How many of `nodes` nodes the strategy draws from.
fn aperture(strategy: &Strategy, density: &Density, nodes: usize) -> usize {
    match strategy {
        Strategy::Adaptive(config) => density.aperture(config, nodes),
        _ => nodes,
    }
}

fn count_calls<T>(members: &[Member<T>]) -> u64 {
    members.iter().map(|member| member.load.calls()).sum()
}

#[cfg(test)]
mod tests;
