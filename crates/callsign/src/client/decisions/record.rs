//! One call as the ring has it.

use std::{mem, sync::Arc, time::Duration};

use callsign_core::{
    NodeId,
    select::{Filters, Notes, Outcome},
};
use http::uri::PathAndQuery;
use serde::Serialize;
use tokio::time::Instant;

use super::CallId;
use crate::client::{
    Code,
    failure::Failure,
    options::{CallOptions, Place},
};

/// Choices of one call that are remembered, the last ones.
const CHOICES_MAX: usize = 8;

/// One call: what it asked for, which nodes were chosen for it, and what came of it.
///
/// The ring's memory and the code that writes there are cold when a call's turn comes, so what counts is how little of both a usual call
/// touches: this is one piece, what only few calls have lies elsewhere, and what is written when a call ends stands in front.
#[derive(Debug, Clone, Default)]
#[repr(C)]
pub(crate) struct Record {
    /// None for a place that no call has had yet.
    pub(crate) id: Option<CallId>,
    /// How many choices there were, and so the number of the last one.
    made: u32,
    /// None while the call is under way.
    pub(crate) end: Option<End>,
    last: Choice,
    pub(crate) since: Option<Instant>,
    pub(crate) path: Option<PathAndQuery>,
    pub(crate) asked: Asked,
    /// Choices before the last. Most calls make one.
    earlier: Vec<Choice>,
}

/// What a call asks of its nodes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    pub(crate) filters: Filters,
    pub(crate) hash: Option<u64>,
    /// Boxed, since hardly any call has one.
    pub(crate) place: Option<Box<Place>>,
}

/// One choice of a node.
#[derive(Debug, Clone)]
#[repr(C)]
pub(crate) struct Choice {
    pub(crate) fate: Fate,
    /// The node; none if there was none.
    pub(crate) taken: Option<Taken>,
    /// The number of the snapshot that it was made by.
    pub(crate) state: u64,
    pub(crate) at: Option<Instant>,
    pub(crate) why: Why,
    pub(crate) rare: Option<Box<Rare>>,
    /// What it went by; none if the call named its node.
    pub(crate) notes: Option<Notes>,
}

/// A node that was chosen.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) id: NodeId,
    /// This client's calls in flight there, with this one.
    pub(crate) inflight: u32,
}

/// What few choices have.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rare {
    /// Nodes that were not to be taken again.
    pub(crate) exclude: Box<[NodeId]>,
    /// Why it is another node than the shape asks for.
    pub(crate) instead: Option<Arc<str>>,
    /// Why there was no node.
    pub(crate) shortage: String,
}

/// What a node is chosen for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Why {
    /// The first attempt.
    First,
    /// Another attempt, since the one before failed.
    Retry,
    /// Another attempt beside those that are slow or have failed.
    Hedge,
}

/// What came of a choice.
#[derive(Debug, Clone)]
pub(crate) enum Fate {
    UnderWay,
    /// Nothing was sent to the node, for this reason.
    Unused(&'static str),
    /// It gave the call's answer.
    Answered,
    /// It did not, and this is how its attempt ended.
    Lost(Box<Lost>),
}

/// How an attempt ended that did not give the call's answer.
#[derive(Debug, Clone)]
pub(crate) struct Lost {
    pub(crate) outcome: Outcome,
    pub(crate) reason: String,
    pub(crate) at: Instant,
}

/// What came of a call.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub(crate) outcome: Outcome,
    /// gRPC's status, if there is one.
    pub(crate) code: Option<Code>,
    /// What was said with it.
    pub(crate) message: String,
    pub(crate) at: Instant,
}

/// A status with its message.
pub(crate) type Said = (Code, String);

// === impl Record ===

impl Record {
    /// Makes it that of another call.
    #[inline]
    pub(crate) fn begin(&mut self, call: CallId, at: Instant, asking: &PathAndQuery, options: &CallOptions) {
        // The last choice stays until there is one of the new call.
        let Self { id, since, path, asked, made, last: _, earlier, end } = self;
        *id = Some(call);
        *since = Some(at);
        *path = Some(asking.clone());
        asked.take_over(options);
        *made = 0;
        earlier.clear();
        *end = None;
    }

    /// Adds a choice, to be filled in: what stands there is of another one. Of those that found nobody, one after the other, the last one is
    /// kept.
    pub(crate) fn add(&mut self) -> (u32, &mut Choice) {
        if self.made == 0 {
            self.made = 1;
        } else if self.last.taken.is_some() {
            self.set_last_aside();
            self.made += 1;
        }
        (self.made, &mut self.last)
    }

    #[cold]
    fn set_last_aside(&mut self) {
        if self.earlier.len() + 1 == CHOICES_MAX {
            self.earlier.remove(0);
        }
        self.earlier.push(mem::take(&mut self.last));
    }

    /// The last choices, in the order in which they were made.
    pub(crate) fn choices(&self) -> impl DoubleEndedIterator<Item = &Choice> {
        self.earlier.iter().chain((self.made > 0).then_some(&self.last))
    }

    /// How many more choices there were before these.
    pub(crate) fn forgotten(&self) -> u32 {
        self.made - self.choices().count() as u32
    }

    /// Says what came of a choice, unless that is known already.
    #[inline]
    pub(crate) fn settle(&mut self, choice: u32, fate: Fate) {
        let choice = if choice == self.made { Some(&mut self.last) } else { self.earlier(choice) };
        if let Some(Choice { fate: known @ Fate::UnderWay, .. }) = choice {
            *known = fate;
        }
    }

    /// The choice of this number, if it is one before the last.
    #[cold]
    fn earlier(&mut self, choice: u32) -> Option<&mut Choice> {
        let back = self.made.checked_sub(choice)?.checked_sub(1)?;
        self.earlier.iter_mut().nth_back(back as usize)
    }

    /// How long the call had taken by then.
    pub(crate) fn until(&self, at: Instant) -> Duration {
        self.since.map(|since| at.saturating_duration_since(since)).unwrap_or_default()
    }

    /// The call has failed on our side.
    pub(crate) fn fail(&mut self, failure: &Failure) {
        let Failure { code, message, .. } = failure;
        let outcome = match code {
            Code::DeadlineExceeded => Outcome::DeadlineExceeded,
            _ => Outcome::Failure,
        };
        self.end(outcome, Some((*code, message.clone())), Instant::now());
    }

    /// The call has ended, unless it had before.
    pub(crate) fn end(&mut self, outcome: Outcome, said: Option<Said>, at: Instant) {
        if self.end.is_some() {
            return;
        }
        let (code, message) = said.map_or((None, String::new()), |(code, message)| (Some(code), message));
        self.end = Some(End { outcome, code, message, at });
    }
}

// === impl Choice ===

impl Choice {
    /// Nodes that were not to be taken again.
    pub(crate) fn exclude(&self) -> &[NodeId] {
        self.rare.as_ref().map_or(&[], |rare| &rare.exclude)
    }
}

/// One that nobody has made yet.
impl Default for Choice {
    fn default() -> Self {
        Self {
            fate: Fate::UnderWay,
            taken: None,
            state: 0,
            at: None,
            why: Why::First,
            rare: None,
            notes: None,
        }
    }
}

// === impl Rare ===

impl Rare {
    #[cold]
    pub(crate) fn boxed(exclude: &[NodeId], instead: Option<Arc<str>>, shortage: &str) -> Box<Self> {
        Box::new(Self { exclude: exclude.into(), instead, shortage: shortage.to_owned() })
    }
}

// === impl Asked ===

impl Asked {
    /// Takes over what a call's options ask.
    #[inline]
    fn take_over(&mut self, options: &CallOptions) {
        let Self { filters, hash, place } = self;
        *filters = options.filters.clone();
        *hash = options.hash;
        *place = options.place().map(|place| Box::new(place.clone()));
    }

    /// As the options of a call that asks the same.
    pub(crate) fn options(&self) -> CallOptions {
        let Self { filters, hash, place } = self.clone();
        let mut options = match place.map(|place| *place) {
            None => CallOptions::new(),
            Some(Place::Node(id)) => CallOptions::new().node(id),
            Some(Place::Address(address)) => CallOptions::new().address(address),
        };
        (options.filters, options.hash) = (filters, hash);
        options
    }
}
