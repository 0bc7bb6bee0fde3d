//! Where calls go that pass one set of filters: the view of all of them, and the pools that a shape makes of it.

mod standing;

use std::sync::Arc;

use super::{
    Filters, Member, NoPick, PickRequest, Shape, Strategy, Witness,
    key::spread,
    view::{Candidate, Passing, View},
};
use crate::model::Node;

/// By how much more than it must a zone takes: with 72 % of its nodes it still takes all (Envoy's overprovisioning).
const OVERPROVISION: f64 = 1.4;
/// A share of calls that a zone takes is not changed for less than this.
const SHARE_STEP: f64 = 0.05;

/// A call goes on to a farther zone if the node near by costs more than so many times what one there does.
const SPILL_ABOVE: f64 = 2.0;

/// Which of the numbers that a key begins decides on its side of a split.
const SIDE: u64 = 1 << 32;

#[derive(Debug)]
pub(super) struct Plan {
    /// All that may be called, whatever the shape would rather have.
    all: View,
    /// With their shares of the calls; none without a shape.
    pools: Box<[Pool]>,
    /// For each side of the split, the preference that holds.
    tiers: Box<[Standing]>,
    /// What to say when none of a pool can be called any more.
    gone: Arc<str>,
    /// What to say when nodes near by are busier.
    busy: Arc<str>,
}

/// What the slate is made of, the same for all of its plans.
pub(super) struct Making<'a, T> {
    pub(super) strategy: &'a Strategy,
    pub(super) shape: &'a Shape,
    pub(super) members: &'a [Member<T>],
    pub(super) aperture: &'a dyn Fn(usize) -> usize,
}

/// Nodes that a share of the calls goes to.
#[derive(Debug)]
struct Pool {
    /// Where its share ends, of 2^64; it begins where the one before ends.
    end: u64,
    view: View,
    /// What this pool stands in for, if it is not what was asked for.
    instead: Option<Arc<str>>,
    /// The pool that is asked for a node when this one's are busy.
    farther: Option<usize>,
    /// Its share before it was rounded and cut, for the next plan to go on with.
    share: f64,
}

/// The nodes of one zone on a side of the split.
struct Zone<'a, T> {
    nodes: Passing<'a, T>,
    /// Of the side's calls.
    share: f64,
    /// The rank of the next zone that has a node to call.
    farther: Option<usize>,
}

/// Which preference holds, and whether a better one has begun to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Standing {
    tier: usize,
    better: bool,
}

// === impl Plan ===

impl Plan {
    pub(super) fn new<T>(
        making: &Making<'_, T>,
        filters: &Filters,
        previous: Option<&Self>,
        rng: &mut fastrand::Rng,
    ) -> Self {
        let Making { strategy, shape, members, aperture } = making;
        let passes = |node: &Node| {
            filters.pass(node) && (!shape.preferred_only || shape.tiers.iter().any(|tier| tier.pass(node)))
        };
        let passing: Passing<'_, T> =
            members.iter().enumerate().filter(|(_, member)| passes(&member.node)).collect();
        let before = previous.map(|plan| &plan.all);
        let all = View::new(strategy, filters, members, &passing, before, aperture, rng);
        let mut plan = Self {
            all,
            pools: Box::default(),
            tiers: Box::default(),
            gone: Arc::default(),
            busy: Arc::default(),
        };
        if !shape.is_plain() && !passing.is_empty() {
            plan.divide(making, filters, &passing, previous, rng);
        }
        plan
    }

    /// Makes a pool of each zone of the preference that holds on each side of the split.
    fn divide<T>(
        &mut self,
        making: &Making<'_, T>,
        filters: &Filters,
        passing: &Passing<'_, T>,
        previous: Option<&Self>,
        rng: &mut fastrand::Rng,
    ) {
        let Making { strategy, shape, members, aperture } = making;
        let (mut pools, mut tiers, mut begin) = (Vec::new(), Vec::new(), 0.0);
        for (side, (nodes, share, instead)) in sides(shape, &wanted(passing)).into_iter().enumerate() {
            let before = previous.and_then(|plan| plan.tiers.get(side).copied());
            let (nodes, standing) = prefer(shape, &nodes, before);
            tiers.push(standing);
            let lesser =
                || (standing.tier > 0).then(|| format!("no node of {} can be called", shape.tiers[0]).into());
            let instead: Option<Arc<str>> = instead.or_else(lesser);
            let first = pools.len();
            for (rank, Zone { nodes, share: part, farther }) in near(shape, &nodes).into_iter().enumerate() {
                let before = previous.and_then(|plan| plan.pools.get(first + rank));
                let part = steady(part, before);
                begin += share * part;
                let view_before = before.map(|pool| &pool.view);
                let view = View::new(strategy, filters, members, &nodes, view_before, aperture, rng);
                let spilt = || format!("too few nodes in {} can be called", shape.zones[0]).into();
                pools.push(Pool {
                    end: (begin * 2_f64.powi(64)) as u64,
                    view,
                    instead: instead.clone().or_else(|| (rank > 0).then(spilt)),
                    farther: farther.map(|rank| first + rank),
                    share: part,
                });
            }
        }
        // What is lost by rounding goes to the last that gets anything.
        if let Some(last) = pools.iter_mut().rev().find(|pool| pool.share > 0.0) {
            last.end = u64::MAX;
        }
        let nearest = shape.zones.first().map_or("nearer by", |zone| zone);
        self.busy = format!("the nodes in {nearest} are more than twice as busy").into();
        self.gone = "none of the nodes that it was meant for can be called".into();
        self.pools = pools.into();
        self.tiers = tiers.into();
    }

    /// The candidate to take, and what it stands in for; [`why_none`](Self::why_none) when there is none.
    #[inline]
    pub(super) fn pick<W: Witness>(
        &self,
        request: &PickRequest<'_>,
        choices: usize,
        ramps: bool,
        witness: &mut W,
    ) -> Option<(&Candidate, Option<&Arc<str>>)> {
        if self.pools.is_empty() {
            return Some((self.all.pick(request, choices, ramps, witness)?, None));
        }
        self.pick_shaped(request, choices, ramps, witness)
    }

    #[inline(never)]
    fn pick_shaped<W: Witness>(
        &self,
        request: &PickRequest<'_>,
        choices: usize,
        ramps: bool,
        witness: &mut W,
    ) -> Option<(&Candidate, Option<&Arc<str>>)> {
        let lot = request.hash.map_or_else(|| witness.rng().u64(..), |key| spread(key, SIDE));
        let pool = self.pools.iter().find(|pool| lot <= pool.end);
        if let Some(pool) = pool
            && let Some(candidate) = pool.view.pick(request, choices, ramps, witness)
            && (request.exclude.is_empty() || candidate.may_take(request, witness))
        {
            return Some(match self.spill(pool, candidate, request, witness) {
                Some(other) => (other, Some(&self.busy)),
                None => (candidate, pool.instead.as_ref()),
            });
        }
        // Its nodes went since the plan was made, or have all been tried.
        let candidate = self.all.pick(request, choices, ramps, witness)?;
        Some((candidate, pool.map(|pool| pool.instead.as_ref().unwrap_or(&self.gone))))
    }

    /// A node farther away that takes the call of the one chosen near by, which is busier by far. One is looked at, drawn by chance: it
    /// shows whether a whole zone has too much to do, and costs next to nothing where none has.
    #[inline]
    fn spill<W: Witness>(
        &self,
        pool: &Pool,
        near: &Candidate,
        request: &PickRequest<'_>,
        witness: &mut W,
    ) -> Option<&Candidate> {
        self.pools[pool.farther?].view.less_busy(near, SPILL_ABOVE, request, witness)
    }

    /// Whether that is said of a call that goes farther since nodes near by are busier.
    pub(super) fn is_spill(&self, instead: &Arc<str>) -> bool {
        Arc::ptr_eq(instead, &self.busy)
    }

    /// Why a pick found nothing.
    #[cold]
    pub(super) fn why_none(&self) -> NoPick {
        self.all.why_none()
    }

    /// All that is picked from.
    pub(super) fn views(&self) -> impl Iterator<Item = &View> {
        std::iter::once(&self.all).chain(self.pools.iter().map(|pool| &pool.view))
    }

    pub(super) fn is_in_panic(&self) -> bool {
        self.all.is_in_panic() || self.pools.iter().any(|pool| pool.share > 0.0 && pool.view.is_in_panic())
    }

    /// Whether another plan is due, to return to a better preference.
    pub(super) fn is_waiting(&self) -> bool {
        self.tiers.iter().any(|standing| standing.better)
    }
}

/// Without the nodes that want no calls, by a weight of zero; unless all do. It is decided here for all pools: a pool of such nodes
/// alone would take it that nobody meant it.
fn wanted<'a, T>(passing: &Passing<'a, T>) -> Passing<'a, T> {
    let wants = |(_, member): &&(usize, &Member<T>)| member.node.weight() != Some(0);
    let wanted: Passing<'a, T> = passing.iter().filter(wants).copied().collect();
    if wanted.is_empty() { passing.clone() } else { wanted }
}

/// The nodes on each side of the split with its share of the calls, and what they stand in for if they are others than asked for.
fn sides<'a, T>(shape: &Shape, passing: &Passing<'a, T>) -> Vec<(Passing<'a, T>, f64, Option<Arc<str>>)> {
    let side_of = |node: &Node| shape.splits.iter().position(|(conditions, _)| conditions.pass(node));
    let of = |side: Option<usize>| -> Passing<'a, T> {
        passing.iter().copied().filter(|(_, member)| side_of(&member.node) == side).collect()
    };
    let rest = 1.0 - shape.splits.iter().map(|(_, share)| share).sum::<f64>();
    let mut sides: Vec<_> = (0..shape.splits.len()).map(|n| (of(Some(n)), shape.splits[n].1, None)).collect();
    sides.push((of(None), rest.max(0.0), None));
    for (side, (nodes, _, instead)) in sides.iter_mut().enumerate() {
        if nodes.iter().any(is_usable) {
            continue;
        }
        // All the others are better than none.
        nodes.clone_from(passing);
        *instead = Some(match shape.splits.get(side) {
            Some((conditions, _)) => format!("no node of {conditions} can be called").into(),
            None => "no node beside those of the splits can be called".into(),
        });
    }
    sides
}

/// The nodes of the preference that holds, and which that is.
fn prefer<'a, T>(
    shape: &Shape,
    nodes: &Passing<'a, T>,
    before: Option<Standing>,
) -> (Passing<'a, T>, Standing) {
    let of = |tier: usize| -> Passing<'a, T> {
        let Some(conditions) = shape.tiers.get(tier) else { return nodes.clone() };
        nodes.iter().copied().filter(|(_, member)| conditions.pass(&member.node)).collect()
    };
    let best =
        (0..shape.tiers.len()).find(|tier| of(*tier).iter().any(is_usable)).unwrap_or(shape.tiers.len());
    match before {
        // A better one must have held when the plan before was made, too.
        Some(Standing { tier, better: false }) if best < tier && of(tier).iter().any(is_usable) => {
            (of(tier), Standing { tier, better: true })
        }
        _ => (of(best), Standing { tier: best, better: false }),
    }
}

/// The nodes of each zone in order, and those elsewhere, with their shares: each takes what those before cannot.
fn near<'a, T>(shape: &Shape, nodes: &Passing<'a, T>) -> Vec<Zone<'a, T>> {
    if shape.zones.is_empty() {
        return vec![Zone { nodes: nodes.clone(), share: 1.0, farther: None }];
    }
    let rank = |node: &Node| {
        shape.zones.iter().position(|zone| node.zone() == Some(zone)).unwrap_or(shape.zones.len())
    };
    let mut left = 1.0;
    let mut zones: Vec<Zone<'a, T>> = Vec::new();
    for tier in 0..=shape.zones.len() {
        let nodes: Passing<'a, T> =
            nodes.iter().copied().filter(|(_, member)| rank(&member.node) == tier).collect();
        let usable = nodes.iter().filter(|node| is_usable(node)).count();
        let able = (usable as f64 / nodes.len().max(1) as f64 * OVERPROVISION).min(1.0);
        let share = able.min(left);
        left -= share;
        zones.push(Zone { nodes, share, farther: None });
    }
    let sum: f64 = zones.iter().map(|zone| zone.share).sum();
    match sum > 0.0 {
        true => zones.iter_mut().for_each(|zone| zone.share /= sum),
        // Nobody can be called: as good a reason as any to try the nearest.
        false => zones[0].share = 1.0,
    }
    let able: Vec<bool> = zones.iter().map(|zone| zone.nodes.iter().any(is_usable)).collect();
    for (rank, zone) in zones.iter_mut().enumerate() {
        zone.farther = (rank + 1..able.len()).find(|rank| able[*rank]);
    }
    zones
}

/// A zone's part of the calls, which goes on as it was while it would change by little.
fn steady(part: f64, before: Option<&Pool>) -> f64 {
    match before {
        Some(pool) if (pool.share - part).abs() < SHARE_STEP && part > 0.0 && part < 1.0 => pool.share,
        _ => part,
    }
}

fn is_usable<T>((_, member): &(usize, &Member<T>)) -> bool {
    member.load.is_usable(super::load::ALL) && member.node.weight() != Some(0)
}
