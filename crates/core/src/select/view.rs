//! The members that pass one set of filters, ready to be picked from.

use std::sync::Arc;

use super::{
    Filters, Load, Member, NoPick, PickRequest, Rejection, Strategy, policy::Policy, sample, weights,
};
use crate::model::Node;

/// Draws after the first one, before all candidates are looked through.
const REDRAWS: usize = 3;

/// The members that pass one set of filters, with the strategy's tables over them.
#[derive(Debug)]
pub(super) struct View {
    /// In the order of their ranks; those that were ready when the view was made come first.
    candidates: Box<[Candidate]>,
    /// How many the strategy draws from.
    drawn_from: usize,
    policy: Policy,
    /// Why there is no candidate, when there is none.
    none: NoPick,
}

/// A member that may be picked: what a pick reads of it, side by side.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) load: Load,
    pub(super) node: Arc<Node>,
    pub(super) weight: f64,
    /// Its index among the members.
    pub(super) member: u32,
}

// === impl View ===

impl View {
    pub(super) fn new<T>(
        strategy: &Strategy,
        filters: &Filters,
        members: &[Member<T>],
        previous: Option<&Self>,
        rng: &mut fastrand::Rng,
    ) -> Self {
        let passing: Vec<_> =
            members.iter().enumerate().filter(|(_, member)| filters.pass(&member.node)).collect();
        let none = match passing.is_empty() {
            true if !members.is_empty() => filtered(filters, members),
            _ => NoPick::Empty,
        };
        let published: Vec<_> = passing.iter().map(|(_, member)| member.node.weight()).collect();
        let mut candidates: Vec<_> = passing
            .iter()
            .zip(weights::effective(&published))
            .filter_map(|(&(index, member), weight)| {
                let candidate = Candidate {
                    load: member.load.clone(),
                    node: member.node.clone(),
                    weight: weight?,
                    member: index as u32,
                };
                // Read once: it may change while we sort.
                Some((!member.load.is_ready(), member.load.rank(rng), candidate))
            })
            .collect();
        candidates.sort_by_key(|(unready, rank, _)| (*unready, *rank));
        let ready = candidates.partition_point(|(unready, ..)| !*unready);
        let candidates: Box<[_]> = candidates.into_iter().map(|(.., candidate)| candidate).collect();
        // A node that is not ready keeps its keys, for when it is again.
        let drawn_from = if ready == 0 || strategy.uses_key() { candidates.len() } else { ready };
        let previous = previous.map(|view| (&view.policy, &view.candidates[..view.drawn_from]));
        let policy = Policy::new(strategy, &candidates[..drawn_from], previous, rng);
        Self { candidates, drawn_from, policy, none }
    }

    /// The candidate to take.
    #[inline]
    pub(super) fn pick(
        &self,
        request: &PickRequest<'_>,
        choices: usize,
        rng: &mut fastrand::Rng,
    ) -> Result<&Candidate, NoPick> {
        let drawn_from = &self.candidates[..self.drawn_from];
        match drawn_from {
            [] => return Err(self.none.clone()),
            [only] if only.may_take(request) => return Ok(only),
            [_] => {}
            _ => {
                for _ in 0..=REDRAWS {
                    let drawn = self.policy.draw(drawn_from, request, choices, rng);
                    if let Some(candidate) = drawn.and_then(|index| drawn_from.get(index))
                        && candidate.may_take(request)
                    {
                        return Ok(candidate);
                    }
                }
            }
        }
        self.search(request, rng)
    }

    /// Looks through all candidates, from a random one on. One that the request excludes is better than none.
    #[inline(never)]
    fn search(&self, request: &PickRequest<'_>, rng: &mut fastrand::Rng) -> Result<&Candidate, NoPick> {
        let count = self.candidates.len();
        let start = sample::below(count, rng.u64(..));
        let (after, before) = (&self.candidates[start..], &self.candidates[..start]);
        let ready = || after.iter().chain(before).filter(|candidate| candidate.load.is_ready());
        ready()
            .find(|candidate| !candidate.excluded_by(request))
            .or_else(|| ready().next())
            .ok_or(NoPick::NotReady { candidates: count })
    }
}

// === impl Candidate ===

impl Candidate {
    /// Whether the request may have it, if there is a choice.
    #[inline]
    pub(super) fn may_take(&self, request: &PickRequest<'_>) -> bool {
        self.load.is_ready() && !self.excluded_by(request)
    }

    #[inline]
    fn excluded_by(&self, request: &PickRequest<'_>) -> bool {
        // Nothing is excluded on a first attempt; that is the case to be fast in.
        !request.exclude.is_empty() && request.exclude.contains(self.node.id())
    }
}

fn filtered<T>(filters: &Filters, members: &[Member<T>]) -> NoPick {
    let nodes: Vec<&Node> = members.iter().map(|member| &*member.node).collect();
    let rejections = filters.iter().map(|filter| Rejection::new(filter, &nodes)).collect();
    NoPick::Filtered { nodes: members.len(), rejections }
}
