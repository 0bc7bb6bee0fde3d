//! One call as the ring has it.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use callsign_core::{
    NodeId,
    select::{Filters, Notes, Outcome},
};
use http::uri::PathAndQuery;
use serde::Serialize;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::CallId;
use crate::client::{
    Code,
    failure::Failure,
    options::{CallOptions, Place},
    roster::State,
};

/// Choices of one call that are remembered, the last ones.
const CHOICES_MAX: usize = 8;

/// One call: what it asked for, which nodes were chosen for it, and what came of it.
///
/// The ring's memory is cold when its turn comes again, so what counts is how much of it a usual call touches: this is one piece, and what
/// only few calls have lies elsewhere.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    /// None for a place that no call has had yet.
    pub(crate) id: Option<CallId>,
    pub(crate) since: Option<Instant>,
    pub(crate) path: Option<PathAndQuery>,
    pub(crate) asked: Asked,
    /// Most calls make one.
    pub(crate) choices: SmallVec<[Choice; 1]>,
    /// How many more choices there were before these.
    pub(crate) forgotten: u32,
    /// None while the call is under way.
    pub(crate) end: Option<End>,
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
pub(crate) struct Choice {
    /// The snapshot that it was made by.
    pub(crate) state: Weak<State>,
    pub(crate) why: Why,
    pub(crate) at: Instant,
    /// Nodes that were not to be taken again.
    pub(crate) exclude: Box<[NodeId]>,
    /// What its random numbers follow from.
    pub(crate) seed: u64,
    /// What it went by; none if the call named its node.
    pub(crate) notes: Option<Notes>,
    /// The node, or why there was none.
    pub(crate) found: Result<Taken, String>,
    pub(crate) fate: Fate,
}

/// A node that was chosen.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) id: NodeId,
    /// This client's calls in flight there, with this one.
    pub(crate) inflight: u32,
    /// Why it is another node than the shape asks for.
    pub(crate) instead: Option<Arc<str>>,
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
    /// Makes room for another call.
    pub(super) fn reset(&mut self, new: CallId) {
        let Self { id, since, path, asked, choices, forgotten, end } = self;
        *id = Some(new);
        (*since, *path, *end) = (None, None, None);
        *asked = Asked::default();
        choices.clear();
        *forgotten = 0;
    }

    /// Adds a choice, and gives its number. Of those that found nobody, one after the other, the last one is kept.
    pub(crate) fn add(&mut self, choice: Choice) -> u32 {
        if self.choices.last().is_some_and(|last| last.found.is_err()) {
            self.choices.pop();
        } else if self.choices.len() == CHOICES_MAX {
            self.choices.remove(0);
            self.forgotten += 1;
        }
        self.choices.push(choice);
        self.forgotten + self.choices.len() as u32
    }

    /// Says what came of a choice, unless that is known already.
    pub(crate) fn settle(&mut self, choice: u32, fate: Fate) {
        let index = choice.checked_sub(self.forgotten + 1);
        if let Some(choice) = index.and_then(|index| self.choices.get_mut(index as usize))
            && let Fate::UnderWay = choice.fate
        {
            choice.fate = fate;
        }
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

// === impl Asked ===

impl Asked {
    pub(crate) fn of(options: &CallOptions) -> Self {
        let CallOptions { filters, hash, .. } = options;
        let place = options.place().map(|place| Box::new(place.clone()));
        Self { filters: filters.clone(), hash: *hash, place }
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
