//! A pick made again from its notes: the node that it came to, and what it saw of those that it looked at.

use std::{fmt, time::Duration};

use tokio::time::Instant;

use super::{Notes, PickRequest, Slate};
use crate::select::{
    Load, PassedOver, Rng, Standing,
    view::{Candidate, Moment},
    witness::Showing,
};

/// A pick that was made again: [`Slate::replay`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Replay {
    /// The index of the member that it returned, if it returned one.
    pub picked: Option<usize>,
    /// The members that it looked at, in the order of looking, each once.
    pub looks: Vec<Look>,
}

/// What a pick saw of one member. What it did not look for is none: strategies go by different things.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Look {
    /// Its index.
    pub member: usize,
    /// What was against it; none if it could be taken.
    pub against: Option<PassedOver>,
    /// This client's calls in flight there.
    pub inflight: Option<u32>,
    pub(in crate::select) flags: Option<u8>,
    /// The estimate of its cost, as [`Load::g`].
    g: Option<f64>,
    load: Load,
}

/// Why a pick cannot be made again. Displayed, it goes on from "it cannot be made again, because".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoReplay {
    /// It saw more than there is room for: it has looked at hundreds of nodes.
    Cut,
    /// More sets of filters were in use than the slate keeps views for, and its view was made for it alone.
    NoView,
    /// The notes are those of another pick: of another request, or by another slate.
    Astray,
}

// === impl Look ===

impl Look {
    pub(in crate::select) fn new(candidate: &Candidate) -> Self {
        let Candidate { member, load, .. } = candidate;
        Self {
            member: *member as usize,
            against: None,
            inflight: None,
            flags: None,
            g: None,
            load: load.clone(),
        }
    }

    pub(in crate::select) fn see_flags(&mut self, flags: u8, candidate: &Candidate) {
        self.flags = Some(flags);
        self.against = candidate.objection_to(flags, self.inflight.unwrap_or(0));
    }

    pub(in crate::select) fn see_inflight(&mut self, inflight: u32, candidate: &Candidate) {
        self.inflight = Some(inflight);
        self.against = self.flags.and_then(|flags| candidate.objection_to(flags, inflight));
    }

    pub(in crate::select) fn see_cost(&mut self, g: f64) {
        self.g = Some(g);
    }

    /// What the adaptive strategy expected a call to it to cost with nothing else in flight there, at the time of the pick; none if it did
    /// not compare costs, or knew nothing of the node.
    #[must_use]
    pub fn cost(&self, picked: Instant) -> Option<Duration> {
        self.load.cost_of(self.g?, picked)
    }
}

// === impl NoReplay ===

impl fmt::Display for NoReplay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut => {
                write!(
                    f,
                    "it looked at so many nodes that {} bytes of notes did not hold it",
                    Notes::SEEN_MAX
                )
            }
            Self::NoView => f.write_str("more sets of filters were in use than a snapshot keeps"),
            Self::Astray => f.write_str("the notes are those of another request, or of another snapshot"),
        }
    }
}

impl std::error::Error for NoReplay {}

// === impl Slate ===

impl<T> Slate<T> {
    /// Makes a pick again that was made by this slate for the same request. It goes by the notes alone, however the world has changed
    /// since, and changes nothing in it.
    ///
    /// What a [`CustomStrategy`](crate::select::CustomStrategy) looked at is not known here, so what it said is among the notes, and it is not
    /// asked again.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use callsign_core::{Node, select::{Filters, Member, Notes, PickRequest, Slate, Strategy}};
    ///
    /// let strategy = Strategy::default();
    /// let member = |id| {
    ///     let load = strategy.new_load();
    ///     load.set_ready(true);
    ///     let node = Arc::new(Node::builder("greeter", id, "127.0.0.1:4000").build()?);
    ///     Ok::<_, callsign_core::Error>(Member { node, load, handle: () })
    /// };
    /// let members = vec![member("a")?, member("b")?];
    /// let mut rng = fastrand::Rng::with_seed(1);
    /// let slate = Slate::new(&strategy, &Filters::default(), members, None, &mut rng);
    ///
    /// let (request, mut notes) = (PickRequest::default(), Notes::default());
    /// let picked = slate.pick_noting(&request, &mut rng, &mut notes)?;
    /// picked.member.load.set_ready(false);
    /// let replay = slate.replay(&request, &notes)?;
    /// assert_eq!(replay.picked, Some(picked.index));
    /// assert!(replay.looks.iter().any(|look| look.member == picked.index && look.against.is_none()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Why it cannot be made again.
    pub fn replay(&self, request: &PickRequest<'_>, notes: &Notes) -> Result<Replay, NoReplay> {
        if notes.is_cut {
            return Err(NoReplay::Cut);
        }
        if notes.is_single {
            return Err(NoReplay::NoView);
        }
        let plan = match request.filters {
            Some(filters) if !filters.is_empty() => self.views.get(filters).ok_or(NoReplay::Astray)?,
            _ => &self.all,
        };
        let seen = notes.seen();
        let mut showing = Showing::new(Rng::with_seed(notes.seed), &seen);
        let choices = self.choices(&mut showing);
        let found = plan.pick(request, choices, self.ramps, &mut showing);
        let picked = found.map(|(candidate, _)| candidate.member as usize);
        let looks = showing.end().ok_or(NoReplay::Astray)?;
        Ok(Replay { picked, looks })
    }

    /// As [`explain`](Self::explain), of a pick that was made: with what it saw of the nodes that it looked at, and the others as they
    /// were when the slate was made. [`replay`](Self::replay) has the looks; without any, all are as they were then.
    #[must_use]
    pub fn explain_picked(&self, request: &PickRequest<'_>, looks: &[Look], rng: &mut Rng) -> Vec<Standing> {
        self.standings(request, Moment::Then(looks), rng)
    }
}
