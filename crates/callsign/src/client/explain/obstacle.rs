//! What stands between a call and a node.

use std::{fmt, time::Duration};

use callsign_core::{health::Verdict, select::PassedOver};
use tokio::time::Instant;

use crate::client::{NodeState, NodeStatus, timeout::Readable};

/// Why the next call does not go to a node. Displayed, it is what [`NodeExplanation`](super::NodeExplanation) says.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Obstacle {
    /// What selection has against it, where there is no more to be said about it.
    Selection(PassedOver),
    /// It cannot be called, being in this state.
    State(NodeState),
    /// It is left alone for a while, because of this.
    Verdict {
        /// What is thought of it.
        verdict: Verdict,
        /// For how much longer; zero while it is probing.
        left: Duration,
    },
    /// It is registered with something that this channel cannot call.
    Unfit(String),
    /// This client keeps to a [subset](crate::client::ChannelBuilder::subset) of the nodes, and it is not of these.
    OutsideSubset {
        /// How many the client keeps to.
        size: usize,
        /// How many are registered.
        nodes: usize,
    },
    /// The registry suddenly shows it no more. It is called only while no other node is ready.
    InDoubt,
    /// The call names another node, or another address.
    NotMeant,
}

// === impl Obstacle ===

impl Obstacle {
    /// What selection says, with what the channel knows of it.
    pub(super) fn of(why: PassedOver, status: &NodeStatus, now: Instant) -> Self {
        match (&why, &status.state, status.verdict) {
            (PassedOver::NotReady, state, _) if *state != NodeState::Ready => Self::State(state.clone()),
            (PassedOver::Ejected | PassedOver::Probing, _, verdict) if verdict != Verdict::Ok => {
                let left = match verdict {
                    Verdict::Ejected { until, .. } => until.saturating_duration_since(now),
                    _ => Duration::ZERO,
                };
                Self::Verdict { verdict, left }
            }
            _ => Self::Selection(why),
        }
    }

    /// One word for it, for programs: `filter`, `draining`, `ejected` and so on. Words are added, never changed.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Selection(why) => match why {
                PassedOver::Filtered { .. } => "filter",
                PassedOver::NoWeight => "draining",
                PassedOver::NotReady | PassedOver::New => "not-ready",
                PassedOver::Leaving => "leaving",
                PassedOver::Ejected => "ejected",
                PassedOver::Probing => "probing",
                PassedOver::Tried => "tried",
                PassedOver::OtherSide { .. } => "split",
                PassedOver::NotPreferred | PassedOver::OtherPreference { .. } => "preference",
                PassedOver::OtherZone { .. } => "zone",
                PassedOver::OutsideAperture { .. } => "aperture",
                PassedOver::OtherKey { .. } => "key",
                _ => "other",
            },
            Self::State(NodeState::NotServing { .. }) => "not-serving",
            Self::State(_) => "not-ready",
            Self::Verdict { verdict: Verdict::Probing, .. } => "probing",
            Self::Verdict { .. } => "ejected",
            Self::Unfit(_) => "unfit",
            Self::OutsideSubset { .. } => "subset",
            Self::InDoubt => "doubt",
            Self::NotMeant => "not-meant",
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Selection(why) => why.fmt(f),
            Self::State(state) => write!(f, "it is {state}"),
            Self::Verdict { verdict: Verdict::Probing, .. } => PassedOver::Probing.fmt(f),
            Self::Verdict { verdict, left } => write!(f, "it is {verdict}; for another {}", Readable(*left)),
            Self::Unfit(why) => f.write_str(why),
            Self::OutsideSubset { size, nodes } => {
                write!(f, "it is outside the subset: this client keeps to {size} of the {nodes} nodes")
            }
            Self::InDoubt => f.write_str("the registry suddenly shows it no more, and others are ready"),
            Self::NotMeant => f.write_str("the call names another one"),
        }
    }
}
