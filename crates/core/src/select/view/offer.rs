//! What a view has for a request: which of its candidates a pick may return, and what is against the others.
//!
//! It goes by the same candidates, flags and tables as [`View::pick`], and draws nothing: a pick's draws that all fail end in a
//! search, and here both are followed to all of their ends.

use super::{Candidate, View};
use crate::select::{Look, PassedOver, PickRequest, Rng, Witness, explain, load, witness};

/// When the nodes are looked at.
#[derive(Debug, Clone, Copy)]
pub(in crate::select) enum Moment<'a> {
    Now,
    /// When a pick was made that has looked at these. The others are seen as they were when the snapshot was made.
    Then(&'a [Look]),
}

/// Shows a table the nodes as they are seen.
struct Onlooker<'a> {
    rng: Rng,
    moment: Moment<'a>,
}

/// All candidates of a view, as a request finds them.
#[derive(Debug)]
pub(in crate::select) struct Offers {
    /// How good the best of them are.
    best: Rank,
    offers: Vec<Offer>,
}

/// One candidate.
#[derive(Debug)]
pub(in crate::select) struct Offer {
    /// Its index among the members.
    pub(in crate::select) member: usize,
    /// Why a pick does not return it, if it does not.
    pub(in crate::select) against: Option<PassedOver>,
    /// What would be against it, were there others.
    pub(in crate::select) despite: Option<PassedOver>,
}

/// In the order in which a search takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Good,
    Tried,
    Accused,
    AccusedAndTried,
    Unready,
}

// === impl View ===

impl View {
    /// How each candidate stands with a pick for `request`.
    pub(in crate::select) fn offers(&self, request: &PickRequest<'_>, moment: Moment<'_>) -> Offers {
        let rank = |candidate: &Candidate| candidate.rank(request, moment);
        let best = self.candidates.iter().map(rank).min().unwrap_or(Rank::Unready);
        let drawn_from = &self.candidates[..self.drawn_from];
        let drawn = drawn_from.iter().any(|candidate| rank(candidate) == Rank::Good);
        let home = drawn.then(|| self.policy.home(drawn_from, request, &mut Onlooker::new(moment))).flatten();
        let offer = |(position, candidate): (usize, &Candidate)| {
            let objection = candidate.objection(request, moment);
            let is_best = rank(candidate) == best && best < Rank::Unready;
            let against = match home {
                _ if !is_best => objection.clone(),
                _ if drawn && position >= self.drawn_from => Some(match position < self.ready {
                    true => PassedOver::OutsideAperture { drawn_from: self.drawn_from, nodes: self.ready },
                    false => PassedOver::New,
                }),
                Some(home) if home != position => {
                    Some(PassedOver::OtherKey { home: self.candidates[home].node.id().clone() })
                }
                _ => None,
            };
            Offer { member: candidate.member as usize, against, despite: objection }
        };
        Offers { best, offers: self.candidates.iter().enumerate().map(offer).collect() }
    }
}

// === impl Offers ===

impl Offers {
    /// Whether a pick finds one.
    pub(in crate::select) fn has_any(&self) -> bool {
        self.best < Rank::Unready
    }

    /// Whether a pick finds one that nothing is to be said against.
    pub(in crate::select) fn has_good(&self) -> bool {
        self.best == Rank::Good
    }

    pub(in crate::select) fn iter(&self) -> impl Iterator<Item = &Offer> {
        self.offers.iter()
    }
}

// === impl Onlooker ===

impl<'a> Onlooker<'a> {
    fn new(moment: Moment<'a>) -> Self {
        Self { rng: Rng::with_seed(0), moment }
    }
}

impl Witness for Onlooker<'_> {
    fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    fn see<S: witness::Sight>(&mut self, look: impl FnOnce() -> S) -> S {
        look()
    }

    fn flags(&mut self, candidate: &Candidate) -> u8 {
        self.moment.of(candidate).0
    }

    fn inflight(&mut self, candidate: &Candidate) -> u32 {
        self.moment.of(candidate).1
    }
}

// === impl Candidate ===

impl Candidate {
    fn rank(&self, request: &PickRequest<'_>, moment: Moment<'_>) -> Rank {
        let (flags, inflight) = moment.of(self);
        let is_usable = load::is_usable(flags, self.mask, || inflight);
        match (load::is_ready(flags), is_usable, self.excluded_by(request)) {
            (false, ..) => Rank::Unready,
            (true, true, false) => Rank::Good,
            (true, true, true) => Rank::Tried,
            (true, false, false) => Rank::Accused,
            (true, false, true) => Rank::AccusedAndTried,
        }
    }

    /// What is to be said against it, before all that it has been tried already.
    fn objection(&self, request: &PickRequest<'_>, moment: Moment<'_>) -> Option<PassedOver> {
        let (flags, inflight) = moment.of(self);
        let own = explain::objection(flags, self.mask, || inflight);
        own.or_else(|| self.excluded_by(request).then_some(PassedOver::Tried))
    }
}

// === impl Moment ===

impl Moment<'_> {
    /// A candidate's flags, and its calls in flight.
    fn of(self, candidate: &Candidate) -> (u8, u32) {
        match self {
            Self::Now => (candidate.load.flags(), candidate.load.about_inflight()),
            Self::Then(looks) => {
                let look = looks.iter().find(|look| look.member == candidate.member as usize);
                let seen = look.and_then(|look| Some((look.flags?, look.inflight.unwrap_or(0))));
                seen.unwrap_or((candidate.flags, 0))
            }
        }
    }
}
