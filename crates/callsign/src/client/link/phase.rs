//! Where a link is, what its node says of itself, and how both are shown.

use tokio::time::Instant;

use super::describe;
use crate::client::{NodeState, health_check::Word};

/// Where a link is, and why its node cannot be called if it cannot.
#[derive(Debug, Clone)]
pub(super) struct Phase {
    pub(super) state: State,
    /// The last failure, until a connection works.
    pub(super) error: Option<callsign_net::Error>,
    /// What the node says, while there is a connection to say it on.
    pub(super) word: Word,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Idle,
    Connecting,
    Ready,
    Backoff(Instant),
    Gone,
}

// === impl Phase ===

impl Phase {
    /// Not connected yet.
    pub(super) fn new() -> Self {
        Self { state: State::Connecting, error: None, word: Word::Serving }
    }

    /// Whether the node, once it is connected, can be called.
    pub(super) fn is_serving(&self) -> bool {
        self.word == Word::Serving
    }

    /// Why the node cannot be called, if there is more to it than that it has not been tried.
    pub(super) fn refusal(&self) -> Option<String> {
        match (&self.state, &self.word) {
            (State::Ready, Word::Not(why)) => Some(why.clone()),
            _ => self.error.as_ref().map(|error| describe(error)),
        }
    }

    pub(super) fn shown(self, now: Instant) -> NodeState {
        match (self.state, self.word) {
            (State::Idle, _) => NodeState::Idle,
            (State::Connecting, _) | (State::Ready, Word::Awaited) => NodeState::Connecting,
            (State::Ready, Word::Serving) => NodeState::Ready,
            (State::Ready, Word::Not(reason)) => NodeState::NotServing { reason },
            (State::Gone, _) => NodeState::Gone,
            (State::Backoff(until), _) => NodeState::Backoff {
                error: self.error.map(|error| describe(&error)).unwrap_or_default(),
                retry_in: until.saturating_duration_since(now),
            },
        }
    }
}
