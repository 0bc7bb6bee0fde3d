//! The strategies at work: each with the tables it has over one view.

mod round_robin;
mod stride;

use std::{
    fmt,
    hint::select_unpredictable,
    sync::{Arc, atomic::AtomicU64},
};

use self::{round_robin::RoundRobin, stride::Stride};
use super::{
    Load, PickRequest, Strategy,
    sample::{self, Alias, Drawn},
    view::Candidate,
};
use crate::model::Node;

/// By how much, as a logarithm, a node must look cheaper than the one drawn before it, when weights decide who is drawn.
/// Without it two idle nodes that are as good as equal would take turns, whatever their weights.
const WEIGHTED_MARGIN: f64 = 0.1;

/// What a lot adds at most to a number of calls in flight, and to the logarithm of a cost.
const REQUEST_LOT: f64 = 0.5;
const SCORE_LOT: f64 = 1e-6;

/// A strategy of your own: give it to [`Strategy::Custom`].
pub trait CustomStrategy: fmt::Debug + Send + Sync {
    /// Its name, for messages.
    fn name(&self) -> &str;

    /// Chooses one of the candidates by its position; there are at least two. When the position is out of range, the
    /// candidate not ready or already tried, or with `None`, it is asked again up to three times, and then any node that is
    /// ready is taken.
    ///
    /// It runs within every call: it should not lock, allocate or wait.
    fn pick(
        &self,
        candidates: &Candidates<'_>,
        request: &PickRequest<'_>,
        rng: &mut fastrand::Rng,
    ) -> Option<usize>;
}

/// What a [`CustomStrategy`] chooses from: nodes that pass the filters, with a weight above zero, ready when last looked at.
#[derive(Debug)]
pub struct Candidates<'a>(&'a [Candidate]);

/// A strategy with its tables.
#[derive(Debug)]
pub(super) enum Policy {
    Random(Option<Alias>),
    RoundRobin(RoundRobin),
    Stride(Stride),
    LeastRequest(Option<Alias>),
    Adaptive(Option<Alias>),
    Custom(Arc<dyn CustomStrategy>),
}

/// Whose turn it is, in terms that outlive a change of the candidates.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    /// How many times the turn has gone round.
    round: u64,
    /// The rank of the next candidate.
    rank: u64,
}

/// A counter alone in its cache lines: what is read by every pick must not share one with what is written by every pick.
#[derive(Debug)]
#[repr(align(128))]
struct Counter(AtomicU64);

// === impl Policy ===

impl Policy {
    /// The tables over `candidates`, which are in the order of their ranks.
    pub(super) fn new(
        strategy: &Strategy,
        candidates: &[Candidate],
        cursor: Option<Cursor>,
        rng: &mut fastrand::Rng,
    ) -> Self {
        match strategy {
            Strategy::Random => Self::Random(alias(candidates)),
            Strategy::RoundRobin => Self::RoundRobin(RoundRobin::new(Cursor::start(cursor, candidates, rng))),
            Strategy::WeightedRoundRobin => {
                Self::Stride(Stride::new(candidates, Cursor::start(cursor, candidates, rng)))
            }
            Strategy::LeastRequest { choices: _ } => Self::LeastRequest(alias(candidates)),
            Strategy::Adaptive(_) => Self::Adaptive(alias(candidates)),
            Strategy::Custom(custom) => Self::Custom(custom.clone()),
        }
    }

    /// Proposes one of at least two candidates by its position.
    ///
    /// Those that compare candidates propose none that may not be taken; the others propose blindly.
    #[inline]
    pub(super) fn draw(
        &self,
        candidates: &[Candidate],
        request: &PickRequest<'_>,
        choices: usize,
        rng: &mut fastrand::Rng,
    ) -> Option<usize> {
        let count = candidates.len();
        match self {
            Self::Random(None) => Some(sample::below(count, rng.u64(..))),
            Self::Random(Some(alias)) => Some(alias.draw(rng)),
            Self::RoundRobin(turn) => Some(turn.next(count)),
            Self::Stride(stride) => Some(stride.next()),
            Self::LeastRequest(None) => {
                let key = |candidate: &Candidate| f64::from(candidate.load.about_inflight());
                least_of_distinct(candidates, choices, request, rng, REQUEST_LOT, key)
            }
            Self::LeastRequest(Some(alias)) => {
                let key =
                    |candidate: &Candidate| f64::from(candidate.load.about_inflight()) / candidate.weight;
                least_of_weighted(candidates, alias, choices, request, rng, 0.0, key)
            }
            Self::Adaptive(None) => {
                let key = |candidate: &Candidate| candidate.load.score();
                least_of_distinct(candidates, choices, request, rng, SCORE_LOT, key)
            }
            Self::Adaptive(Some(alias)) => {
                let key = |candidate: &Candidate| candidate.load.score();
                least_of_weighted(candidates, alias, choices, request, rng, WEIGHTED_MARGIN, key)
            }
            Self::Custom(custom) => custom.pick(&Candidates(candidates), request, rng),
        }
    }

    /// Whose turn it is, for strategies that take turns.
    pub(super) fn cursor(&self, candidates: &[Candidate]) -> Option<Cursor> {
        let count = candidates.len() as u64;
        let counted = match self {
            Self::RoundRobin(turn) => turn.counted(),
            Self::Stride(stride) => stride.counted(),
            Self::Random(_) | Self::LeastRequest(_) | Self::Adaptive(_) | Self::Custom(_) => return None,
        };
        let next = candidates.get(counted.checked_rem(count)? as usize)?;
        Some(Cursor { round: counted / count, rank: next.load.known_rank() })
    }
}

// === impl Cursor ===

impl Cursor {
    /// The count to go on with: at the first candidate that is not before the cursor, or anywhere without one.
    fn start(cursor: Option<Self>, candidates: &[Candidate], rng: &mut fastrand::Rng) -> u64 {
        let count = candidates.len().max(1) as u64;
        match cursor {
            Some(Self { round, rank }) => {
                let place = candidates.partition_point(|candidate| candidate.load.known_rank() < rank);
                // Behind the last one comes the first of the next round: the same number.
                round.wrapping_mul(count).wrapping_add(place as u64)
            }
            None => u64::from(rng.u32(..)),
        }
    }
}

// === impl Candidates ===

impl Candidates<'_> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The node at a position.
    ///
    /// # Panics
    ///
    /// When the position is not below [`len`](Self::len).
    #[must_use]
    pub fn node(&self, position: usize) -> &Node {
        &self.0[position].node
    }

    /// The load of the node at a position.
    ///
    /// # Panics
    ///
    /// When the position is not below [`len`](Self::len).
    #[must_use]
    pub fn load(&self, position: usize) -> &Load {
        &self.0[position].load
    }

    /// The weight of the node at a position, above zero; the mean of the others' for one that publishes none.
    ///
    /// # Panics
    ///
    /// When the position is not below [`len`](Self::len).
    #[must_use]
    pub fn weight(&self, position: usize) -> f64 {
        self.0[position].weight
    }
}

/// A table to draw by weight, if the weights differ.
fn alias(candidates: &[Candidate]) -> Option<Alias> {
    let weights: Vec<f64> = candidates.iter().map(|candidate| candidate.weight).collect();
    weights.windows(2).any(|pair| pair[0] != pair[1]).then(|| Alias::new(&weights))
}

/// The least of `choices` distinct candidates drawn at random. `lot` is what a lot, from zero to one, adds to a key: too little
/// to matter but between keys that are the same.
#[inline]
fn least_of_distinct(
    candidates: &[Candidate],
    choices: usize,
    request: &PickRequest<'_>,
    rng: &mut fastrand::Rng,
    lot: f64,
    key: impl Fn(&Candidate) -> f64,
) -> Option<usize> {
    let count = candidates.len();
    let key = |index: usize| key(&candidates[index]);
    match choices.min(count) {
        ..=2 => {
            let (i, j) = sample::two(count, rng);
            let (less, other) = select_unpredictable(key(j) < key(i), (j, i), (i, j));
            [less, other].into_iter().find(|index| candidates[*index].may_take(request))
        }
        3 => least(candidates, keyed(sample::distinct::<3>(count, rng), lot, key), request, 0.0),
        4 => least(candidates, keyed(sample::distinct::<4>(count, rng), lot, key), request, 0.0),
        5 => least(candidates, keyed(sample::distinct::<5>(count, rng), lot, key), request, 0.0),
        6 => least(candidates, keyed(sample::distinct::<6>(count, rng), lot, key), request, 0.0),
        7 => least(candidates, keyed(sample::distinct::<7>(count, rng), lot, key), request, 0.0),
        _ => least(candidates, keyed(sample::distinct::<8>(count, rng), lot, key), request, 0.0),
    }
}

#[inline]
fn keyed<const D: usize>(
    drawn: [Drawn; D],
    lot: f64,
    key: impl Fn(usize) -> f64,
) -> impl Iterator<Item = (usize, f64)> {
    drawn.map(|drawn| (drawn.index(), key(drawn.index()) + lot * drawn.lot())).into_iter()
}

/// The least of `choices` candidates drawn by weight, each independently of the others: so the weights are kept exactly while
/// all are as good as each other. A later one must be less by `margin`.
#[inline]
fn least_of_weighted(
    candidates: &[Candidate],
    alias: &Alias,
    choices: usize,
    request: &PickRequest<'_>,
    rng: &mut fastrand::Rng,
    margin: f64,
    key: impl Fn(&Candidate) -> f64,
) -> Option<usize> {
    let keyed = (0..choices.min(candidates.len())).map(|_| {
        let index = alias.draw(rng);
        (index, key(&candidates[index]))
    });
    least(candidates, keyed, request, margin)
}

/// The first of the candidates given with their keys, unless a later one is less by more than `margin`, and so on. Those that
/// may not be taken do not count.
#[inline]
fn least(
    candidates: &[Candidate],
    keyed: impl Iterator<Item = (usize, f64)>,
    request: &PickRequest<'_>,
    margin: f64,
) -> Option<usize> {
    const NONE: usize = usize::MAX;
    let (mut best, mut to_beat) = (NONE, f64::INFINITY);
    for (index, key) in keyed {
        let key = if candidates[index].may_take(request) { key } else { f64::INFINITY };
        // Which one is less cannot be foreseen: moves are cheaper than a branch here.
        let less = key < to_beat;
        best = select_unpredictable(less, index, best);
        to_beat = select_unpredictable(less, key - margin, to_beat);
    }
    (best != NONE).then_some(best)
}
