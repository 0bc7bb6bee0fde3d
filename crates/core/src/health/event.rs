//! What is thought of a node, and that it has changed.

use std::fmt;

use tokio::time::Instant;

use crate::model::NodeKey;

/// What is thought of a node.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// There is nothing against it.
    Ok,
    /// It is left alone.
    Ejected {
        /// Why.
        reason: Reason,
        /// Until when.
        until: Instant,
    },
    /// It was ejected, and gets one call at a time until one has been answered.
    Probing,
}

/// Why a node was ejected.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// So many calls failed in a row.
    Consecutive {
        /// How many.
        failures: u32,
    },
    /// It answered less well than the others.
    SuccessRate {
        /// Its own rate in the last interval, from zero to one.
        rate: f64,
        /// The mean of all.
        mean: f64,
    },
    /// It failed nearly all calls.
    FailedShare {
        /// Which share, from zero to one.
        share: f64,
    },
    /// It failed the call that was to show that it is back.
    Probe,
    /// Somebody said so.
    Blacklisted,
}

/// A verdict that has changed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct HealthEvent {
    /// The node.
    pub node: NodeKey,
    /// What is thought of it now.
    pub verdict: Verdict,
}

// === impl Reason ===

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Consecutive { failures } => write!(f, "{failures} calls failed in a row"),
            Self::SuccessRate { rate, mean } => {
                write!(
                    f,
                    "{:.1} % of its calls went well, and {:.1} % on average",
                    rate * 100.0,
                    mean * 100.0
                )
            }
            Self::FailedShare { share } => write!(f, "{:.0} % of its calls failed", share * 100.0),
            Self::Probe => f.write_str("the call that was to show that it is back failed"),
            Self::Blacklisted => f.write_str("it was put on the blacklist"),
        }
    }
}

// === impl Verdict ===

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("ok"),
            Self::Ejected { reason, until: _ } => write!(f, "ejected: {reason}"),
            Self::Probing => f.write_str("probing"),
        }
    }
}
