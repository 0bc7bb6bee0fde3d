//! The strategies at work: each with the tables it has over one view.

mod hashed;
mod least;
mod prequal;
mod round_robin;
mod stride;

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
};

use self::{hashed::Hashed, prequal::Prequal, round_robin::RoundRobin, stride::Stride};
use super::{
    Load, PickRequest, Probe, Strategy, Witness,
    sample::{self, Alias},
    view::Candidate,
};
use crate::model::Node;

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
    Hashed(Box<Hashed>),
    Prequal(Box<Prequal>),
    Custom(Arc<dyn CustomStrategy>),
}

/// Whose turn it is, in terms that outlive a change of the candidates.
#[derive(Debug, Clone, Copy)]
struct Cursor {
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
    /// The tables over `candidates`, which are in the order of their ranks. From `previous` over `candidates_before` it goes on
    /// with whose turn it is, and with what tables are still good for.
    pub(super) fn new(
        strategy: &Strategy,
        candidates: &[Candidate],
        previous: Option<(&Self, &[Candidate])>,
        rng: &mut fastrand::Rng,
    ) -> Self {
        let cursor = previous.and_then(|(policy, candidates_before)| policy.cursor(candidates_before));
        match strategy {
            Strategy::Random => Self::Random(alias(candidates)),
            Strategy::RoundRobin => Self::RoundRobin(RoundRobin::new(Cursor::start(cursor, candidates, rng))),
            Strategy::WeightedRoundRobin | Strategy::LoadReports(_) => {
                Self::Stride(Stride::new(candidates, Cursor::start(cursor, candidates, rng)))
            }
            Strategy::LeastRequest { choices: _ } => Self::LeastRequest(alias(candidates)),
            Strategy::Adaptive(_) => Self::Adaptive(alias(candidates)),
            Strategy::RingHash(config) | Strategy::Maglev(config) | Strategy::Rendezvous(config) => {
                let previous = match previous {
                    Some((Self::Hashed(hashed), _)) => Some(&**hashed),
                    _ => None,
                };
                Self::Hashed(Box::new(Hashed::new(strategy, config, candidates, previous)))
            }
            Strategy::Prequal(config) => {
                let previous = match previous {
                    Some((Self::Prequal(prequal), _)) => Some(&**prequal),
                    _ => None,
                };
                Self::Prequal(Box::new(Prequal::new(config, candidates.len(), alias(candidates), previous)))
            }
            Strategy::Custom(custom) => Self::Custom(custom.clone()),
        }
    }

    /// Proposes one of at least two candidates by its position.
    ///
    /// Those that compare candidates propose none that may not be taken; the others propose blindly.
    #[inline]
    pub(super) fn draw<W: Witness>(
        &self,
        candidates: &[Candidate],
        request: &PickRequest<'_>,
        choices: usize,
        witness: &mut W,
    ) -> Option<usize> {
        let count = candidates.len();
        match self {
            Self::Random(None) => Some(sample::below(count, witness.rng().u64(..))),
            Self::Random(Some(alias)) => Some(alias.draw(witness.rng())),
            Self::RoundRobin(turn) => Some(turn.next(count, witness)),
            Self::Stride(stride) => stride.next(witness),
            Self::LeastRequest(None) => least::by_requests(candidates, choices, request, witness),
            Self::LeastRequest(Some(alias)) => {
                least::by_requests_and_weight(candidates, alias, choices, request, witness)
            }
            Self::Adaptive(None) => least::by_cost(candidates, choices, request, witness),
            Self::Adaptive(Some(alias)) => {
                least::by_cost_and_weight(candidates, alias, choices, request, witness)
            }
            Self::Hashed(hashed) => hashed.pick(candidates, request, witness),
            Self::Prequal(prequal) => Some(prequal.pick(candidates, request, witness)),
            Self::Custom(custom) => ask(&**custom, candidates, request, witness),
        }
    }

    /// Whether `one` is more than `times` as busy as `other`, for strategies that compare: the others say no, and those that go by a
    /// key keep to where it leads.
    #[inline]
    pub(super) fn is_busier<W: Witness>(
        &self,
        one: &Candidate,
        other: &Candidate,
        times: f64,
        witness: &mut W,
    ) -> bool {
        match self {
            Self::LeastRequest(_) => least::has_more_requests(one, other, times, witness),
            Self::Adaptive(_) => least::costs_more(one, other, times, witness),
            Self::Random(_)
            | Self::RoundRobin(_)
            | Self::Stride(_)
            | Self::Hashed(_)
            | Self::Prequal(_)
            | Self::Custom(_) => false,
        }
    }

    /// Whether [`is_busier`](Self::is_busier) ever says yes.
    pub(super) fn compares(&self) -> bool {
        matches!(self, Self::LeastRequest(_) | Self::Adaptive(_))
    }

    /// The candidate that the request's key leads to, if it has one and the strategy goes by it. As good as a draw, which then takes
    /// no chances.
    pub(super) fn home<W: Witness>(
        &self,
        candidates: &[Candidate],
        request: &PickRequest<'_>,
        witness: &mut W,
    ) -> Option<usize> {
        match self {
            Self::Hashed(hashed) if request.hash.is_some() && candidates.len() > 1 => {
                hashed.pick(candidates, request, witness)
            }
            _ => None,
        }
    }

    /// The node of this load has answered a probe, at a time in seconds.
    pub(super) fn probed(&self, load: &Load, probe: Probe, now: f64, rng: &mut fastrand::Rng) {
        if let Self::Prequal(prequal) = self {
            prequal.probed(load, probe, now, rng);
        }
    }

    /// It is so many seconds later.
    pub(super) fn age(&self, now: f64) {
        if let Self::Prequal(prequal) = self {
            prequal.age(now);
        }
    }

    /// Whose turn it is, for strategies that take turns.
    fn cursor(&self, candidates: &[Candidate]) -> Option<Cursor> {
        let count = candidates.len() as u64;
        let counted = match self {
            Self::RoundRobin(turn) => turn.counted(),
            Self::Stride(stride) => stride.counted(),
            Self::Random(_)
            | Self::LeastRequest(_)
            | Self::Adaptive(_)
            | Self::Hashed(_)
            | Self::Prequal(_)
            | Self::Custom(_) => return None,
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

/// Asks a strategy of one's own. It has chance of its own: what it looks at is not known here, so all that can be seen of it is what it
/// says.
#[inline(never)]
fn ask<W: Witness>(
    custom: &dyn CustomStrategy,
    candidates: &[Candidate],
    request: &PickRequest<'_>,
    witness: &mut W,
) -> Option<usize> {
    let mut rng = witness.rng().fork();
    witness.see(|| custom.pick(&Candidates(candidates), request, &mut rng))
}

/// A table to draw by weight, if the weights differ.
fn alias(candidates: &[Candidate]) -> Option<Alias> {
    let weights: Vec<f64> = candidates.iter().map(|candidate| candidate.weight).collect();
    weights.windows(2).any(|pair| pair[0] != pair[1]).then(|| Alias::new(&weights))
}
