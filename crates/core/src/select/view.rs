//! The members that pass one set of filters, ready to be picked from.

mod offer;

use std::sync::Arc;

pub(super) use self::offer::{Moment, Offers};
use super::{
    Filters, Load, Member, NoPick, PassedOver, PickRequest, Rejection, Strategy, Witness, explain, load,
    policy::Policy, sample, weights,
};
use crate::model::Node;

/// Draws after the first one, before all candidates are looked through.
const REDRAWS: usize = 3;

/// Panic begins when less than this share of the candidates can be used, and ends when the other share can.
const PANIC_BELOW: f64 = 0.5;
const CALM_FROM: f64 = 0.55;

/// The members that pass one set of filters, with the strategy's tables over them.
#[derive(Debug)]
pub(super) struct View {
    /// In the order of their ranks; those that were ready when the view was made come first.
    candidates: Box<[Candidate]>,
    /// How many the strategy draws from: those that were ready, or as many of them as the aperture is wide. Their ranks are random to
    /// each client, and stay, so clients have different apertures that change by a node when a node comes or goes.
    drawn_from: usize,
    /// How many were ready when the view was made.
    ready: usize,
    policy: Policy,
    /// Hardly any candidate can be used: no verdict counts.
    panic: bool,
    /// Why there is no candidate, when there is none.
    none: NoPick,
}

/// Members, with their indices.
pub(super) type Passing<'a, T> = Vec<(usize, &'a Member<T>)>;

/// A member that may be picked: what a pick reads of it, side by side.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) load: Load,
    pub(super) node: Arc<Node>,
    pub(super) weight: f64,
    /// Which of the load's flags count.
    mask: u8,
    /// They as they were when the view was made, for those who ask later.
    flags: u8,
    /// Its index among the members.
    pub(super) member: u32,
}

// === impl View ===

impl View {
    pub(super) fn new<T>(
        strategy: &Strategy,
        filters: &Filters,
        members: &[Member<T>],
        passing: &Passing<'_, T>,
        previous: Option<&Self>,
        aperture: &dyn Fn(usize) -> usize,
        rng: &mut fastrand::Rng,
    ) -> Self {
        let none = match passing.is_empty() {
            true if !members.is_empty() => filtered(filters, members),
            _ => NoPick::Empty,
        };
        let published: Vec<_> = passing.iter().map(|(_, member)| member.node.weight()).collect();
        let mut shares = weights::effective(&published);
        if let Strategy::LoadReports(_) = strategy {
            weights::believe(&mut shares, passing.iter().map(|(_, member)| member.load.reported()));
        }
        let panic = is_panic(passing, previous.is_some_and(|view| view.panic));
        let mask = if panic { load::FACTS } else { load::ALL };
        let mut candidates: Vec<_> = passing
            .iter()
            .zip(shares)
            .filter_map(|(&(index, member), weight)| {
                let candidate = Candidate {
                    load: member.load.clone(),
                    node: member.node.clone(),
                    weight: weight?,
                    mask,
                    flags: member.load.flags(),
                    member: index as u32,
                };
                // Read once: it may change while we sort.
                Some((!member.load.may_be_drawn(mask), member.load.rank(rng), candidate))
            })
            .collect();
        candidates.sort_by_key(|(unready, rank, _)| (*unready, *rank));
        let ready = candidates.partition_point(|(unready, ..)| !*unready);
        let candidates: Box<[_]> = candidates.into_iter().map(|(.., candidate)| candidate).collect();
        // A node that is not ready keeps its keys, for when it is again.
        let drawn_from =
            if ready == 0 || strategy.uses_key() { candidates.len() } else { aperture(ready).min(ready) };
        let previous = previous.map(|view| (&view.policy, &view.candidates[..view.drawn_from]));
        let policy = Policy::new(strategy, &candidates[..drawn_from], previous, rng);
        Self { candidates, drawn_from, ready, policy, panic, none }
    }

    /// The candidate to take; [`why_none`](Self::why_none) when there is none. With `ramps`, new nodes are spared part of what they
    /// would get.
    ///
    /// It is called from several places, and none of them has a copy of its own: the answer fits a register, and a call is cheaper
    /// than an answer in memory.
    #[inline(never)]
    pub(super) fn pick<W: Witness>(
        &self,
        request: &PickRequest<'_>,
        choices: usize,
        ramps: bool,
        witness: &mut W,
    ) -> Option<&Candidate> {
        let drawn_from = &self.candidates[..self.drawn_from];
        match drawn_from {
            [] => return None,
            [only] if only.may_take(request, witness) => return Some(only),
            [_] => {}
            _ => {
                for _ in 0..=REDRAWS {
                    let drawn = self.policy.draw(drawn_from, request, choices, witness);
                    if let Some(candidate) = drawn.and_then(|index| drawn_from.get(index))
                        && candidate.may_take(request, witness)
                        && !(ramps && candidate.is_spared(witness))
                    {
                        return Some(candidate);
                    }
                }
            }
        }
        self.search(request, witness)
    }

    /// Looks through all candidates, from a random one on. One that the request excludes is better than none.
    #[inline(never)]
    fn search<W: Witness>(&self, request: &PickRequest<'_>, witness: &mut W) -> Option<&Candidate> {
        let start = sample::below(self.candidates.len(), witness.rng().u64(..));
        let (after, before) = (&self.candidates[start..], &self.candidates[..start]);
        let mut find = |accused: bool, excluded: bool| {
            after.iter().chain(before).find(|candidate| {
                let may = if accused { candidate.is_ready(witness) } else { candidate.is_usable(witness) };
                may && (excluded || !candidate.excluded_by(request))
            })
        };
        find(false, false)
            .or_else(|| find(false, true))
            // One that was ejected is better than none.
            .or_else(|| find(true, false))
            .or_else(|| find(true, true))
    }

    /// One candidate drawn by chance, if `other` is more than `times` as busy by what the strategy compares.
    #[inline]
    pub(super) fn less_busy<W: Witness>(
        &self,
        other: &Candidate,
        times: f64,
        request: &PickRequest<'_>,
        witness: &mut W,
    ) -> Option<&Candidate> {
        let drawn = self.candidates.get(sample::below(self.drawn_from, witness.rng().u64(..)))?;
        let is_less_busy =
            drawn.may_take(request, witness) && self.policy.is_busier(other, drawn, times, witness);
        is_less_busy.then_some(drawn)
    }

    /// Why a pick found nothing.
    #[cold]
    pub(super) fn why_none(&self) -> NoPick {
        match self.candidates.len() {
            0 => self.none.clone(),
            candidates => NoPick::NotReady { candidates },
        }
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whether calls go to the node of this load.
    pub(super) fn draws_from(&self, load: &Load) -> bool {
        self.candidates[..self.drawn_from].iter().any(|candidate| candidate.load.is_same(load))
    }

    pub(super) fn is_in_panic(&self) -> bool {
        self.panic
    }
}

// === impl Candidate ===

impl Candidate {
    /// Whether the request may have it, if there is a choice.
    #[inline]
    pub(super) fn may_take<W: Witness>(&self, request: &PickRequest<'_>, witness: &mut W) -> bool {
        self.is_usable(witness) && !self.excluded_by(request)
    }

    /// Whether a request may have it that excludes nobody, at any time.
    #[inline]
    pub(super) fn is_plainly_usable(&self, flags: u8) -> bool {
        load::is_plainly_usable(flags, self.mask)
    }

    #[inline]
    fn is_usable<W: Witness>(&self, witness: &mut W) -> bool {
        load::is_usable(witness.flags(self), self.mask, || witness.inflight(self))
    }

    fn is_ready<W: Witness>(&self, witness: &mut W) -> bool {
        load::is_ready(witness.flags(self))
    }

    /// Whether it is new, and spared this call.
    fn is_spared<W: Witness>(&self, witness: &mut W) -> bool {
        load::is_ramping(witness.flags(self))
            && witness.rng().u32(..) > witness.see(|| self.load.ramp_chance())
    }

    /// What was against it, by what was seen of it.
    pub(super) fn objection_to(&self, flags: u8, inflight: u32) -> Option<PassedOver> {
        explain::objection(flags, self.mask, || inflight)
    }

    #[inline]
    fn excluded_by(&self, request: &PickRequest<'_>) -> bool {
        // Nothing is excluded on a first attempt; that is the case to be fast in.
        !request.exclude.is_empty() && request.exclude.contains(self.node.id())
    }
}

/// Whether verdicts are to be ignored, since with them hardly anybody could be used. Nodes of weight zero do not count, and neither
/// do those that leave.
fn is_panic<T>(passing: &Passing<'_, T>, before: bool) -> bool {
    let counts = |member: &Member<T>| member.node.weight() != Some(0) && !member.load.is_leaving();
    let counted = || passing.iter().filter(|(_, member)| counts(member));
    let ejected = counted().filter(|(_, member)| member.load.is_ejected()).count();
    if ejected == 0 {
        return false;
    }
    let usable = counted().filter(|(_, member)| member.load.may_be_drawn(load::ALL)).count();
    let bound = if before { CALM_FROM } else { PANIC_BELOW };
    (usable as f64) < counted().count() as f64 * bound
}

fn filtered<T>(filters: &Filters, members: &[Member<T>]) -> NoPick {
    let nodes: Vec<&Node> = members.iter().map(|member| &*member.node).collect();
    let rejections = filters.iter().map(|filter| Rejection::new(filter, &nodes)).collect();
    NoPick::Filtered { nodes: members.len(), rejections }
}
