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
#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    /// None for a place that no call has had yet.
    pub(crate) id: Option<CallId>,
    pub(crate) since: Option<Instant>,
    pub(crate) path: Option<PathAndQuery>,
    pub(crate) asked: Asked,
    pub(crate) choices: Vec<Choice>,
    /// How many more choices there were before these.
    pub(crate) forgotten: u32,
    /// None while the call is under way.
    pub(crate) end: Option<End>,
    /// Notes whose memory is to be used again.
    spare: Notes,
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
    /// When, from the start of the call.
    pub(crate) after: Duration,
    /// Nodes that were not to be taken again.
    pub(crate) exclude: Vec<NodeId>,
    /// What its random numbers follow from.
    pub(crate) seed: u64,
    /// What it went by; none if the call named its node, or somebody had the record in hand.
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
    Lost {
        outcome: Outcome,
        reason: String,
        after: Duration,
    },
}

/// What came of a call.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub(crate) outcome: Outcome,
    /// gRPC's status, if there is one.
    pub(crate) code: Option<Code>,
    /// What was said with it.
    pub(crate) message: String,
    /// How long the call took.
    pub(crate) after: Duration,
}

/// A status with its message.
pub(crate) type Said = (Code, String);

// === impl Record ===

impl Record {
    /// Makes room for another call. The memory for its choices stays, and that for the notes of one, which is what most calls make.
    pub(super) fn reset(&mut self, id: CallId) {
        if let Some(choice) = self.choices.pop() {
            self.spare(choice);
        }
        self.choices.clear();
        let Self { choices, spare, .. } = std::mem::take(self);
        *self = Self { id: Some(id), choices, spare, ..Self::default() };
    }

    /// Notes for the next choice.
    pub(crate) fn take_notes(&mut self) -> Notes {
        std::mem::take(&mut self.spare)
    }

    /// Keeps the notes of a choice that is not remembered.
    fn spare(&mut self, choice: Choice) {
        if let Some(notes) = choice.notes {
            self.spare = notes;
        }
    }

    /// Adds a choice, and gives its number. Of those that found nobody, one after the other, the last one is kept.
    pub(crate) fn add(&mut self, choice: Choice) -> u32 {
        if let Some(fruitless) = self.choices.pop_if(|last| last.found.is_err()) {
            self.spare(fruitless);
        } else if self.choices.len() == CHOICES_MAX {
            let oldest = self.choices.remove(0);
            self.spare(oldest);
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

    /// How long the call has taken so far.
    pub(crate) fn elapsed(&self) -> Duration {
        self.since.map(|since| since.elapsed()).unwrap_or_default()
    }

    /// The call has failed on our side.
    pub(crate) fn fail(&mut self, failure: &Failure) {
        let Failure { code, message, .. } = failure;
        let outcome = match code {
            Code::DeadlineExceeded => Outcome::DeadlineExceeded,
            _ => Outcome::Failure,
        };
        self.end(outcome, Some((*code, message.clone())));
    }

    /// The call has ended, unless it had before.
    pub(crate) fn end(&mut self, outcome: Outcome, said: Option<Said>) {
        if self.end.is_some() {
            return;
        }
        let after = self.elapsed();
        let (code, message) = said.map_or((None, String::new()), |(code, message)| (Some(code), message));
        self.end = Some(End { outcome, code, message, after });
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
