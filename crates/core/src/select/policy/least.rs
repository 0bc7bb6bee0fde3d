//! The least of a few candidates drawn at random: by calls in flight, or by expected cost.
//!
//! Candidates that may not be taken do not count. None of the loops has a branch on which candidate is less: that cannot be
//! foreseen, and a move is cheaper than a wrong guess.

use std::hint::select_unpredictable;

use super::{
    Alias, Candidate, PickRequest,
    sample::{self, Drawn},
};
use crate::select::cost;

/// Nodes whose cost is below this many times the least are as good as the one that has it: among them calls in flight decide, and
/// else chance, or the weights. As a logarithm: one and a half.
///
/// The estimates of equal nodes differ for reasons that say nothing of the next call, such as when each was last called and
/// which had the one late answer of a hundred. The best of eight would be the luckiest, and get what is the others' share.
const SAME: f64 = 0.405;

/// What a lot adds at most: it decides between equals, and each call in flight counts for more.
const TIE_LOT: f64 = 1e-6;

/// A node that is left out of a comparison is taken all the same if by its own cost, as a logarithm, it is cheaper by this: half.
const FAR_CHEAPER: f64 = std::f64::consts::LN_2;

const NONE: usize = usize::MAX;

/// What one candidate of a comparison costs.
#[derive(Debug, Clone, Copy)]
struct Offer {
    index: usize,
    /// By the node itself, and by the calls it has, with its lot.
    node: f64,
    queue: f64,
}

// === impl Offer ===

impl Offer {
    #[inline]
    fn new(index: usize, lot: f64, (node, queue): (f64, f64)) -> Self {
        Self { index, node, queue: queue + TIE_LOT * lot }
    }
}

/// Fewest calls in flight.
#[inline]
pub(super) fn by_requests(
    candidates: &[Candidate],
    choices: usize,
    request: &PickRequest<'_>,
    rng: &mut fastrand::Rng,
) -> Option<usize> {
    of_distinct(candidates, choices, request, rng, |candidate| {
        (0.0, f64::from(candidate.load.about_inflight()))
    })
}

/// Fewest calls in flight for their weight.
#[inline(never)]
pub(super) fn by_requests_and_weight(
    candidates: &[Candidate],
    alias: &Alias,
    choices: usize,
    request: &PickRequest<'_>,
    rng: &mut fastrand::Rng,
) -> Option<usize> {
    of_weighted(candidates, alias, choices, request, rng, |candidate| {
        (0.0, f64::from(candidate.load.about_inflight()) / candidate.weight)
    })
}

/// Least expected cost.
#[inline]
pub(super) fn by_cost(
    candidates: &[Candidate],
    choices: usize,
    request: &PickRequest<'_>,
    rng: &mut fastrand::Rng,
) -> Option<usize> {
    if choices >= candidates.len() && candidates.len() > 2 {
        return by_cost_of_all_but_one(candidates, request, rng);
    }
    of_distinct(candidates, choices, request, rng, |candidate| candidate.load.cost_parts())
}

/// Least expected cost among those that the weights let be drawn.
#[inline(never)]
pub(super) fn by_cost_and_weight(
    candidates: &[Candidate],
    alias: &Alias,
    choices: usize,
    request: &PickRequest<'_>,
    rng: &mut fastrand::Rng,
) -> Option<usize> {
    of_weighted(candidates, alias, choices, request, rng, |candidate| candidate.load.cost_parts())
}

/// Runs `$body` with the number of choices as a constant, so that loops over them are unrolled.
macro_rules! with_constant {
    ($choices:expr, $D:ident => $body:expr) => {
        match $choices {
            ..=2 => with_constant!(@ 2, $D => $body),
            3 => with_constant!(@ 3, $D => $body),
            4 => with_constant!(@ 4, $D => $body),
            5 => with_constant!(@ 5, $D => $body),
            6 => with_constant!(@ 6, $D => $body),
            7 => with_constant!(@ 7, $D => $body),
            _ => with_constant!(@ 8, $D => $body),
        }
    };
    (@ $value:literal, $D:ident => $body:expr) => {{
        const $D: usize = $value;
        $body
    }};
}

/// The least of `choices` distinct candidates.
#[inline]
fn of_distinct(
    candidates: &[Candidate],
    choices: usize,
    request: &PickRequest<'_>,
    rng: &mut fastrand::Rng,
    cost: impl Fn(&Candidate) -> (f64, f64),
) -> Option<usize> {
    let count = candidates.len();
    let choices = choices.min(count);
    if choices <= 2 {
        // Their order is random already, and decides between what is as good as equal.
        let (i, j) = sample::two(count, rng);
        let offers = [i, j].map(|index| Offer::new(index, 0.0, cost(&candidates[index])));
        return least(candidates, offers, request, rng);
    }
    of_several(candidates, choices, request, rng, cost)
}

/// The least of three to eight distinct candidates. Apart, so that the choice between two stays small enough to be inlined.
#[inline(never)]
fn of_several(
    candidates: &[Candidate],
    choices: usize,
    request: &PickRequest<'_>,
    rng: &mut fastrand::Rng,
    cost: impl Fn(&Candidate) -> (f64, f64),
) -> Option<usize> {
    let count = candidates.len();
    let offer = |drawn: Drawn| Offer::new(drawn.index(), drawn.lot(), cost(&candidates[drawn.index()]));
    with_constant!(choices, D => least(candidates, sample::distinct::<D>(count, rng).map(offer), request, rng))
}

/// Least expected cost in a fleet so small that all could be compared: one is left out, any, unless it is far cheaper.
///
/// With all compared, whoever answers gets its calls right back, for it has the fewest now; the others wait with what they have.
/// Where nodes share processors that never ends: the one that runs has all the work and so goes on running, and the calls on the
/// others are late. With one left out, part of what a node has answered goes elsewhere each time. The price, that calls go to the
/// second best, is not paid when that is far worse: when it is slow, or fails.
#[inline(never)]
fn by_cost_of_all_but_one(
    candidates: &[Candidate],
    request: &PickRequest<'_>,
    rng: &mut fastrand::Rng,
) -> Option<usize> {
    let count = candidates.len();
    let left_out = sample::below(count, rng.u64(..));
    let left = &candidates[left_out].load;
    with_constant!(count, D => {
        let offers = sample::distinct::<D>(count, rng).map(|drawn| {
            let (node, queue) = candidates[drawn.index()].load.cost_parts();
            let node = select_unpredictable(drawn.index() == left_out, f64::INFINITY, node);
            Offer::new(drawn.index(), drawn.lot(), (node, queue))
        });
        let Some(best) = least(candidates, offers, request, rng) else {
            return candidates[left_out].may_take(request).then_some(left_out);
        };
        let (Some(cost_left), Some(cost)) = (left.known_g(), candidates[best].load.known_g()) else {
            return Some(best);
        };
        let better = cost_left + FAR_CHEAPER < cost && left.score() < candidates[best].load.score();
        Some(if better && candidates[left_out].may_take(request) { left_out } else { best })
    })
}

/// The least of `choices` candidates drawn by weight, each independently of the others: so the weights are kept exactly while
/// all are as good as each other.
#[inline]
fn of_weighted(
    candidates: &[Candidate],
    alias: &Alias,
    choices: usize,
    request: &PickRequest<'_>,
    rng: &mut fastrand::Rng,
    cost: impl Fn(&Candidate) -> (f64, f64),
) -> Option<usize> {
    with_constant!(choices.min(candidates.len()), D => {
        let drawn: [usize; D] = std::array::from_fn(|_| alias.draw(rng));
        least(candidates, drawn.map(|index| Offer::new(index, 0.0, cost(&candidates[index]))), request, rng)
    })
}

/// The candidate whose cost and calls in flight come to the least; of equals the one with the lowest lot, and of equal lots the first.
#[inline]
fn least<const D: usize>(
    candidates: &[Candidate],
    mut offers: [Offer; D],
    request: &PickRequest<'_>,
    rng: &mut fastrand::Rng,
) -> Option<usize> {
    let (mut lowest, mut unproven) = (f64::INFINITY, false);
    for offer in &mut offers {
        unproven |= offer.node == cost::UNPROVEN;
        let may = candidates[offer.index].may_take(request);
        offer.node = select_unpredictable(may, offer.node, f64::INFINITY);
        lowest = lowest.min(offer.node);
    }
    if unproven {
        return least_with_unproven(candidates, &offers.map(|offer| offer.index), request, rng);
    }
    let (mut best, mut to_beat) = (NONE, f64::INFINITY);
    for offer in offers {
        let above = offer.node - lowest;
        let total = select_unpredictable(above < SAME, 0.0, above) + offer.queue;
        // Not a number where nobody may be taken: less than nothing.
        let less = total < to_beat;
        best = select_unpredictable(less, offer.index, best);
        to_beat = select_unpredictable(less, total, to_beat);
    }
    (best != NONE).then_some(best)
}

/// The least expected cost when nodes are among the drawn that have calls in flight and have not answered one yet.
///
/// They are assumed to cost what an unknown node does, at the time of the latest sample of the others. To pass them over would
/// be wrong while the others fail: the first node of a cold client to fail would get all calls until another one answers.
#[inline(never)]
fn least_with_unproven(
    candidates: &[Candidate],
    drawn: &[usize],
    request: &PickRequest<'_>,
    rng: &mut fastrand::Rng,
) -> Option<usize> {
    let drawn = || drawn.iter().copied().filter(|index| candidates[*index].may_take(request));
    let latest = drawn().filter_map(|index| candidates[index].load.last_sample()).fold(0.0, f64::max);
    let (mut best, mut to_beat) = (NONE, f64::INFINITY);
    for index in drawn() {
        let key = candidates[index].load.score_assuming(latest) + TIE_LOT * rng.f64();
        if key < to_beat {
            (best, to_beat) = (index, key);
        }
    }
    (best != NONE).then_some(best)
}
