//! How each node stands with a plan: the plan's pools, followed to all that a pick may return.

use std::sync::Arc;

use super::{Plan, SIDE};
use crate::{
    model::Node,
    select::{
        Filters, Member, PassedOver, PickRequest, Shape, Standing,
        key::spread,
        view::{Moment, Offers},
    },
};

/// What one share of the calls finds.
struct Reach<'a> {
    share: f64,
    /// What the pool has; none if they go to any node, since it has nothing.
    pool: Option<Offers>,
    instead: Option<&'a Arc<str>>,
}

// === impl Plan ===

impl Plan {
    /// How each of `members` stands with a pick for `request`, in their order.
    pub(in crate::select) fn standings<T>(
        &self,
        shape: &Shape,
        filters: &Filters,
        members: &[Member<T>],
        request: &PickRequest<'_>,
        moment: Moment<'_>,
    ) -> Vec<Standing> {
        let all = self.all.offers(request, moment);
        let reaches = self.reaches(request, moment);
        let of = |offers: &Offers, index: usize| {
            offers
                .iter()
                .find(|offer| offer.member == index)
                .map(|offer| (offer.against.clone(), offer.despite.clone()))
        };
        let standing = |(index, member): (usize, &Member<T>)| {
            let node = &*member.node;
            if let Some(filter) = filters.iter().find(|filter| !filter.passes(node)) {
                return Standing::PassedOver(PassedOver::filtered(filter, node));
            }
            if shape.preferred_only && !shape.tiers.iter().any(|tier| tier.pass(node)) {
                return Standing::PassedOver(PassedOver::NotPreferred);
            }
            let Some((_, own)) = of(&all, index) else {
                return Standing::PassedOver(PassedOver::NoWeight);
            };
            let (mut share, mut instead, mut despite, mut reason) = (0.0, None, None, None);
            for reach in &reaches {
                let offers = reach.pool.as_ref().unwrap_or(&all);
                match of(offers, index) {
                    Some((None, objection)) => {
                        share += reach.share;
                        instead = instead.or(reach.instead);
                        despite = despite.or(objection);
                    }
                    Some((against, _)) => reason = reason.or(against),
                    None => {}
                }
            }
            if share > 0.0 {
                return Standing::Candidate { share, instead: instead.cloned(), despite };
            }
            // The pool that has calls for it knows best: verdicts may count for nothing there, and for something among all.
            let reason = reason.or(own).unwrap_or_else(|| self.elsewhere(shape, node, request));
            Standing::PassedOver(reason)
        };
        members.iter().enumerate().map(standing).collect()
    }

    /// The pools that calls fall on, each with its share.
    fn reaches(&self, request: &PickRequest<'_>, moment: Moment<'_>) -> Vec<Reach<'_>> {
        let lot = request.hash.map(|key| spread(key, SIDE));
        let mut begin = 0;
        let mut reaches: Vec<Reach<'_>> = Vec::new();
        for pool in &self.pools {
            let width = (pool.end - begin.min(pool.end)) as f64 / 2_f64.powi(64);
            let share = match lot {
                Some(lot) => f64::from(u8::from(lot <= pool.end && reaches.is_empty())),
                None => width,
            };
            begin = pool.end;
            if share > 0.0 {
                let offers = pool.view.offers(request, moment);
                let left = if request.exclude.is_empty() { !offers.has_any() } else { !offers.has_good() };
                let instead = pool.instead.as_ref().or(left.then_some(&self.gone));
                reaches.push(Reach { share, pool: (!left).then_some(offers), instead });
            }
        }
        if reaches.is_empty() {
            reaches.push(Reach { share: 1.0, pool: None, instead: None });
        }
        reaches
    }

    /// Why the shape has no calls for a node that could take them.
    fn elsewhere(&self, shape: &Shape, node: &Node, request: &PickRequest<'_>) -> PassedOver {
        let side = shape.splits.iter().position(|(conditions, _)| conditions.pass(node));
        let named = side.map(|side| shape.splits[side].0.to_string());
        let side = side.unwrap_or(shape.splits.len());
        let per_side = self.pools.len() / (shape.splits.len() + 1);
        let pools = &self.pools[side * per_side..(side + 1) * per_side];
        let before = self.pools[..side * per_side].last().map_or(0, |pool| pool.end);
        let lot = request.hash.map(|key| spread(key, SIDE));
        let reached = match lot {
            Some(lot) => (side == 0 || lot > before) && pools.last().is_some_and(|pool| lot <= pool.end),
            None => pools.last().is_some_and(|pool| pool.end > before),
        };
        if !reached {
            return PassedOver::OtherSide { side: named, by_key: lot.is_some() };
        }
        let tier = shape.tiers.iter().position(|tier| tier.pass(node)).unwrap_or(shape.tiers.len());
        let held = self.tiers.get(side).map_or(0, |standing| standing.tier);
        if tier != held {
            let preferred = shape.tiers.get(held).map(ToString::to_string);
            return PassedOver::OtherPreference { preferred };
        }
        let taken = pools.iter().zip(&shape.zones).filter(|(pool, _)| pool.share > 0.0);
        let rank = shape.zones.iter().position(|zone| node.zone() == Some(zone)).unwrap_or(shape.zones.len());
        let own = side * per_side + rank;
        let spills_there = pools.iter().any(|pool| pool.share > 0.0 && pool.farther == Some(own));
        PassedOver::OtherZone {
            nearer: taken.map(|(_, zone)| zone.clone()).collect(),
            unless_busy: spills_there && self.pools[own].view.policy().compares(),
        }
    }
}
