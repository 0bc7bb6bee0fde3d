//! The least of a few candidates drawn at random: by calls in flight, or by expected cost.
//!
//! Candidates that may not be taken do not count. None of the loops has a branch on which candidate is less: that cannot be
//! foreseen, and a move is cheaper than a wrong guess.

use std::hint::select_unpredictable;

use super::{
    Alias, Candidate, PickRequest, Witness,
    sample::{self, Drawn},
};
use crate::select::{Strategy, cost};

/// Nodes whose cost is below this many times the least are as good as the one that has it: among them calls in flight decide, and
/// else chance, or the weights. As a logarithm: one and a half.
///
/// The estimates of equal nodes differ for reasons that say nothing of the next call, such as when each was last called and
/// which had the one late answer of a hundred. The best of eight would be the luckiest, and get what is the others' share.
const SAME: f64 = 0.405;

/// What a lot adds at most where scores are compared that should be equal, and are but for rounding.
const TIE_LOT: f64 = 1e-6;

/// A node that is left out of a comparison is taken all the same if by its own cost, as a logarithm, it is cheaper by this: half.
const FAR_CHEAPER: f64 = std::f64::consts::LN_2;

/// Nobody is left out.
const NOBODY: usize = usize::MAX;

/// The lowest bits of a [`key`] are the place among the drawn, of which there are eight at most, and above these is the lot. What is
/// left of the cost is exact to one in 2^33.
const PLACE_BITS: u32 = 3;
const PLACE: u64 = (1 << PLACE_BITS) - 1;
const LOT_AND_PLACE: u64 = (1 << (sample::LOT_BITS + PLACE_BITS)) - 1;

/// What candidates are compared by, in two parts to be added up: what the node costs, and what the calls in flight add to that.
trait Measure {
    /// For a candidate that may be taken, with its flags, which say whether it may. The first part is `-∞` if [`exact`](Self::exact) has to
    /// be asked.
    fn quick<W: Witness>(candidate: &Candidate, witness: &mut W) -> ((f64, f64), u8);

    /// The first part may be [`UNPROVEN`](cost::UNPROVEN).
    fn exact<W: Witness>(candidate: &Candidate, witness: &mut W) -> (f64, f64) {
        Self::quick(candidate, witness).0
    }
}

/// Calls in flight.
struct Requests;

/// Calls in flight for the weight.
struct RequestsByWeight;

/// Expected cost of one more call.
struct ExpectedCost;

/// Fewest calls in flight.
#[inline]
pub(super) fn by_requests<W: Witness>(
    candidates: &[Candidate],
    choices: usize,
    request: &PickRequest<'_>,
    witness: &mut W,
) -> Option<usize> {
    of_distinct::<Requests, _>(candidates, choices, request, witness)
}

/// Fewest calls in flight for their weight.
#[inline(never)]
pub(super) fn by_requests_and_weight<W: Witness>(
    candidates: &[Candidate],
    alias: &Alias,
    choices: usize,
    request: &PickRequest<'_>,
    witness: &mut W,
) -> Option<usize> {
    of_weighted::<RequestsByWeight, _>(candidates, alias, choices, request, witness)
}

/// Least expected cost.
#[inline]
pub(super) fn by_cost<W: Witness>(
    candidates: &[Candidate],
    choices: usize,
    request: &PickRequest<'_>,
    witness: &mut W,
) -> Option<usize> {
    if choices >= candidates.len() && candidates.len() > 2 {
        return by_cost_of_all_but_one(candidates, request, witness);
    }
    of_distinct::<ExpectedCost, _>(candidates, choices, request, witness)
}

/// Least expected cost among those that the weights let be drawn.
#[inline(never)]
pub(super) fn by_cost_and_weight<W: Witness>(
    candidates: &[Candidate],
    alias: &Alias,
    choices: usize,
    request: &PickRequest<'_>,
    witness: &mut W,
) -> Option<usize> {
    of_weighted::<ExpectedCost, _>(candidates, alias, choices, request, witness)
}

/// Whether `one` has more than `times` the calls in flight for its weight, with the one to come.
#[inline]
pub(super) fn has_more_requests<W: Witness>(
    one: &Candidate,
    other: &Candidate,
    times: f64,
    witness: &mut W,
) -> bool {
    let mut filled =
        |candidate: &Candidate| (f64::from(witness.inflight(candidate)) + 1.0) / candidate.weight;
    filled(one) > times * filled(other)
}

/// Whether one more call at `one` is expected to cost more than `times` what it does at `other`. A node of which nothing is known is
/// taken for one like the other: calls in flight decide.
#[inline]
pub(super) fn costs_more<W: Witness>(
    one: &Candidate,
    other: &Candidate,
    times: f64,
    witness: &mut W,
) -> bool {
    let (cost, mut cost_other) = (witness.cost(one), witness.cost(other));
    if cost == f64::NEG_INFINITY {
        return false;
    }
    if cost_other == f64::NEG_INFINITY {
        cost_other = cost;
    }
    cost::score(cost, witness.inflight(one)) > cost::score(cost_other, witness.inflight(other)) + times.ln()
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
fn of_distinct<M: Measure, W: Witness>(
    candidates: &[Candidate],
    choices: usize,
    request: &PickRequest<'_>,
    witness: &mut W,
) -> Option<usize> {
    let count = candidates.len();
    let choices = choices.min(count);
    if choices <= 2 {
        // Their order is random already, and decides between what is as good as equal.
        let (i, j) = sample::two(count, witness.rng());
        return least::<M, _, 2>(candidates, [i, j].map(Drawn::first), NOBODY, request, witness);
    }
    of_several::<M, _>(candidates, choices, request, witness)
}

/// The least of three to eight distinct candidates. Apart, so that the choice between two stays small.
#[inline(never)]
fn of_several<M: Measure, W: Witness>(
    candidates: &[Candidate],
    choices: usize,
    request: &PickRequest<'_>,
    witness: &mut W,
) -> Option<usize> {
    let count = candidates.len();
    with_constant!(choices, D => {
        least::<M, _, D>(candidates, sample::distinct::<D>(count, witness.rng()), NOBODY, request, witness)
    })
}

/// Least expected cost in a fleet so small that all could be compared: one is left out, any, unless it is far cheaper.
///
/// With all compared, whoever answers gets its calls right back, for it has the fewest now; the others wait with what they have.
/// Where nodes share processors that never ends: the one that runs has all the work and so goes on running, and the calls on the
/// others are late. With one left out, part of what a node has answered goes elsewhere each time. The price, that calls go to the
/// second best, is not paid when that is far worse: when it is slow, or fails.
#[inline(never)]
fn by_cost_of_all_but_one<W: Witness>(
    candidates: &[Candidate],
    request: &PickRequest<'_>,
    witness: &mut W,
) -> Option<usize> {
    let count = candidates.len();
    let left_out = sample::below(count, witness.rng().u64(..));
    with_constant!(count, D => {
        let drawn = sample::distinct::<D>(count, witness.rng());
        let Some((best, costs)) = quickly_least::<ExpectedCost, _, D>(candidates, drawn, left_out, request, witness)
        else {
            return by_cost_of_some_but_one(candidates, &drawn, left_out, request, witness);
        };
        let left = drawn.iter().zip(costs).fold((f64::NEG_INFINITY, 0.0), |left, (drawn, cost)| {
            select_unpredictable(drawn.index() == left_out, cost, left)
        });
        let (cost, best) = (costs[best], drawn[best].index());
        let is_better = match left.0 > f64::NEG_INFINITY {
            true => left.0 + FAR_CHEAPER < cost.0 && left.0 + left.1 < cost.0 + cost.1,
            false => is_far_better(&candidates[left_out], &candidates[best], witness),
        };
        Some(if is_better { left_out } else { best })
    })
}

/// The same when not all may be taken, or not all are known.
#[inline(never)]
fn by_cost_of_some_but_one<W: Witness>(
    candidates: &[Candidate],
    drawn: &[Drawn],
    left_out: usize,
    request: &PickRequest<'_>,
    witness: &mut W,
) -> Option<usize> {
    let left = &candidates[left_out];
    let Some(best) = least_of_some::<ExpectedCost, _>(candidates, drawn, left_out, request, witness) else {
        return left.may_take(request, witness).then_some(left_out);
    };
    let is_better = is_far_better(left, &candidates[best], witness) && left.may_take(request, witness);
    Some(if is_better { left_out } else { best })
}

/// Whether the one left out is worth it, by its own cost and with its calls in flight. One of which nothing is known is not.
#[inline(never)]
fn is_far_better<W: Witness>(left: &Candidate, best: &Candidate, witness: &mut W) -> bool {
    let (cost_left, cost) = (witness.cost(left), witness.cost(best));
    cost_left > f64::NEG_INFINITY
        && cost_left + FAR_CHEAPER < cost
        && cost::score(cost_left, witness.inflight(left)) < cost::score(cost, witness.inflight(best))
}

/// The least of `choices` candidates drawn by weight, each independently of the others: so the weights are kept exactly while
/// all are as good as each other.
#[inline]
fn of_weighted<M: Measure, W: Witness>(
    candidates: &[Candidate],
    alias: &Alias,
    choices: usize,
    request: &PickRequest<'_>,
    witness: &mut W,
) -> Option<usize> {
    with_constant!(choices.min(candidates.len()), D => {
        let drawn: [Drawn; D] = std::array::from_fn(|_| Drawn::first(alias.draw(witness.rng())));
        least::<M, _, D>(candidates, drawn, NOBODY, request, witness)
    })
}

/// The candidate whose cost and calls in flight come to the least; of equals the one with the lowest lot, and of equal lots the
/// first. The one `left_out` does not take part.
#[inline(always)]
fn least<M: Measure, W: Witness, const D: usize>(
    candidates: &[Candidate],
    drawn: [Drawn; D],
    left_out: usize,
    request: &PickRequest<'_>,
    witness: &mut W,
) -> Option<usize> {
    match quickly_least::<M, W, D>(candidates, drawn, left_out, request, witness) {
        Some((best, _)) => Some(drawn[best].index()),
        None => least_of_some::<M, _>(candidates, &drawn, left_out, request, witness),
    }
}

/// The same for the common case, in which all may be taken and are well known: its place among the drawn, and what they all cost. The
/// others are [`least_of_some`]'s.
#[inline(always)]
fn quickly_least<M: Measure, W: Witness, const D: usize>(
    candidates: &[Candidate],
    drawn: [Drawn; D],
    left_out: usize,
    request: &PickRequest<'_>,
    witness: &mut W,
) -> Option<(usize, [(f64, f64); D])> {
    let mut costs = [(0.0, 0.0); D];
    let (mut lowest, mut all_usable) = (f64::INFINITY, request.exclude.is_empty());
    let node = |drawn: Drawn, (node, _)| select_unpredictable(drawn.index() == left_out, f64::INFINITY, node);
    for (cost, drawn) in costs.iter_mut().zip(drawn) {
        let candidate = &candidates[drawn.index()];
        let flags;
        (*cost, flags) = M::quick(candidate, witness);
        lowest = lowest.min(node(drawn, *cost));
        all_usable &= candidate.is_plainly_usable(flags);
    }
    if !all_usable || lowest == f64::NEG_INFINITY {
        return None;
    }
    let mut best = u64::MAX;
    for (place, (cost, drawn)) in costs.into_iter().zip(drawn).enumerate() {
        best = best.min(key(node(drawn, cost) - lowest, cost.1, drawn, place));
    }
    Some((place_in(best), costs))
}

/// The least of those that may be taken.
#[inline(never)]
fn least_of_some<M: Measure, W: Witness>(
    candidates: &[Candidate],
    drawn: &[Drawn],
    left_out: usize,
    request: &PickRequest<'_>,
    witness: &mut W,
) -> Option<usize> {
    let mut costs = [None; Strategy::CHOICES_MAX];
    for (cost, drawn) in costs.iter_mut().zip(drawn) {
        let candidate = &candidates[drawn.index()];
        *cost = candidate.may_take(request, witness).then(|| M::exact(candidate, witness));
    }
    let may = || {
        let costs = costs.iter().zip(drawn).enumerate();
        costs.filter_map(|(place, (cost, drawn))| cost.map(|cost| (place, *drawn, cost)))
    };
    if may().any(|(.., (node, _))| node == cost::UNPROVEN) {
        return least_with_unproven(candidates, may().map(|(_, drawn, cost)| (drawn.index(), cost)), witness);
    }
    let may = || may().filter(|(_, drawn, _)| drawn.index() != left_out);
    let lowest = may().map(|(.., (node, _))| node).fold(f64::INFINITY, f64::min);
    let key = |(place, drawn, (node, queue))| key(node - lowest, queue, drawn, place);
    may().map(key).min().map(|best| drawn[place_in(best)].index())
}

/// The least expected cost, of that in its parts, when nodes are among the drawn that have calls in flight and have not answered one yet.
///
/// They are assumed to cost what an unknown node does, at the time of the latest sample of the others. To pass them over would
/// be wrong while the others fail: the first node of a cold client to fail would get all calls until another one answers.
fn least_with_unproven<W: Witness>(
    candidates: &[Candidate],
    drawn: impl Iterator<Item = (usize, (f64, f64))> + Clone,
    witness: &mut W,
) -> Option<usize> {
    let last_sample = |(index, _): (usize, _)| witness.see(|| candidates[index].load.last_sample());
    let latest = drawn.clone().map(last_sample).fold(0.0, f64::max);
    drawn
        .map(|(index, cost)| (cost::score_assuming(cost, latest) + TIE_LOT * witness.rng().f64(), index))
        .min_by(|(score, _), (other, _)| score.total_cmp(other))
        .map(|(_, index)| index)
}

/// A number by which candidates can be compared, and that says which it is of: the lowest is that of the one to take. Its cost is
/// `above` the lowest, and what the calls in flight add is not negative either; bits of such numbers are in the order of the numbers.
#[inline]
fn key(above: f64, queue: f64, drawn: Drawn, place: usize) -> u64 {
    let total = select_unpredictable(above < SAME, 0.0, above) + queue;
    total.to_bits() & !LOT_AND_PLACE | drawn.lot() << PLACE_BITS | place as u64
}

/// The place in a [`key`].
#[inline]
fn place_in(key: u64) -> usize {
    (key & PLACE) as usize
}

// === impl Measure ===

impl Measure for Requests {
    #[inline]
    fn quick<W: Witness>(candidate: &Candidate, witness: &mut W) -> ((f64, f64), u8) {
        let (inflight, flags) = witness.calls(candidate);
        ((0.0, f64::from(inflight)), flags)
    }
}

impl Measure for RequestsByWeight {
    #[inline]
    fn quick<W: Witness>(candidate: &Candidate, witness: &mut W) -> ((f64, f64), u8) {
        let (inflight, flags) = witness.calls(candidate);
        ((0.0, f64::from(inflight) / candidate.weight), flags)
    }
}

impl Measure for ExpectedCost {
    #[inline]
    fn quick<W: Witness>(candidate: &Candidate, witness: &mut W) -> ((f64, f64), u8) {
        let (cost, (inflight, flags)) = witness.all(candidate);
        (cost::quick_parts(cost, inflight), flags)
    }

    fn exact<W: Witness>(candidate: &Candidate, witness: &mut W) -> (f64, f64) {
        cost::parts(witness.cost(candidate), witness.inflight(candidate))
    }
}
