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

/// What a lot adds at most to a number of calls in flight, and to the logarithm of a cost: too little to matter but between
/// equals.
const REQUEST_LOT: f64 = 0.5;
const COST_LOT: f64 = 1e-6;

/// By how much, as a logarithm, a node must look cheaper than the one drawn before it, when weights decide who is drawn.
/// Without it two idle nodes that are as good as equal would take turns, whatever their weights.
const WEIGHTED_MARGIN: f64 = 0.1;

const NONE: usize = usize::MAX;

/// Fewest calls in flight.
#[inline]
pub(super) fn by_requests(
    candidates: &[Candidate],
    choices: usize,
    request: &PickRequest<'_>,
    rng: &mut fastrand::Rng,
) -> Option<usize> {
    of_distinct(candidates, choices, request, rng, REQUEST_LOT, |candidate| {
        f64::from(candidate.load.about_inflight())
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
    of_weighted(candidates, alias, choices, request, rng, 0.0, |candidate| {
        f64::from(candidate.load.about_inflight()) / candidate.weight
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
    of_distinct(candidates, choices, request, rng, COST_LOT, |candidate| candidate.load.score())
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
    of_weighted(candidates, alias, choices, request, rng, WEIGHTED_MARGIN, |candidate| candidate.load.score())
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
    lot: f64,
    key: impl Fn(&Candidate) -> f64,
) -> Option<usize> {
    let count = candidates.len();
    let choices = choices.min(count);
    if choices <= 2 {
        // Their order is random already, and decides between equals.
        let (i, j) = sample::two(count, rng);
        return least(candidates, &[i, j].map(|index| (index, key(&candidates[index]))), request, 0.0, rng);
    }
    of_several(candidates, choices, request, rng, lot, key)
}

/// The least of three to eight distinct candidates. Apart, so that the choice between two stays small enough to be inlined.
#[inline(never)]
fn of_several(
    candidates: &[Candidate],
    choices: usize,
    request: &PickRequest<'_>,
    rng: &mut fastrand::Rng,
    lot: f64,
    key: impl Fn(&Candidate) -> f64,
) -> Option<usize> {
    let count = candidates.len();
    let keyed = |drawn: Drawn| (drawn.index(), key(&candidates[drawn.index()]) + lot * drawn.lot());
    with_constant!(choices, D => least(candidates, &sample::distinct::<D>(count, rng).map(keyed), request, 0.0, rng))
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
    margin: f64,
    key: impl Fn(&Candidate) -> f64,
) -> Option<usize> {
    with_constant!(choices.min(candidates.len()), D => {
        let drawn: [usize; D] = std::array::from_fn(|_| alias.draw(rng));
        least(candidates, &drawn.map(|index| (index, key(&candidates[index]))), request, margin, rng)
    })
}

/// The first of the candidates given with their keys, unless a later one is less by more than `margin`, and so on.
#[inline]
fn least<const D: usize>(
    candidates: &[Candidate],
    keyed: &[(usize, f64); D],
    request: &PickRequest<'_>,
    margin: f64,
    rng: &mut fastrand::Rng,
) -> Option<usize> {
    let (mut best, mut to_beat, mut unproven) = (NONE, f64::INFINITY, false);
    for &(index, key) in keyed {
        unproven |= key == cost::UNPROVEN;
        let key = if candidates[index].may_take(request) { key } else { f64::INFINITY };
        let less = key < to_beat;
        best = select_unpredictable(less, index, best);
        to_beat = select_unpredictable(less, key - margin, to_beat);
    }
    if unproven {
        return least_with_unproven(candidates, keyed, request, rng);
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
    keyed: &[(usize, f64)],
    request: &PickRequest<'_>,
    rng: &mut fastrand::Rng,
) -> Option<usize> {
    let drawn = || keyed.iter().map(|(index, _)| *index).filter(|index| candidates[*index].may_take(request));
    let latest = drawn().filter_map(|index| candidates[index].load.last_sample()).fold(0.0, f64::max);
    let (mut best, mut to_beat) = (NONE, f64::INFINITY);
    for index in drawn() {
        let key = candidates[index].load.score_assuming(latest) + COST_LOT * rng.f64();
        if key < to_beat {
            (best, to_beat) = (index, key);
        }
    }
    (best != NONE).then_some(best)
}
