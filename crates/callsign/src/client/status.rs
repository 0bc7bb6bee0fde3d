//! A node as a channel sees it, for people and dashboards.

use std::{fmt, sync::Arc, time::Duration};

use callsign_core::{Node, health::Verdict};

use super::{histogram::LatencyCounts, timeout::Readable};

/// A node as a channel sees it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NodeStatus {
    /// The node as registered.
    pub node: Arc<Node>,
    /// Its connectivity.
    pub state: NodeState,
    /// What its calls say of it: whether it is left alone for a while, why, and until when.
    pub verdict: Verdict,
    /// Calls in flight from this channel.
    pub inflight: u32,
    /// Calls that this channel has sent to it.
    pub calls: u64,
    /// Calls that it failed.
    pub failures: u32,
    /// Recent mean latency of its answers.
    pub latency: Option<Duration>,
    /// How long how many calls took to the head of the reply, failures and missed deadlines included. It begins anew when the node
    /// comes back at another address.
    pub latencies: LatencyCounts,
    /// Open connections.
    pub connections: usize,
}

/// Whether a node can be called.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeState {
    /// Not connected, since nobody calls.
    Idle,
    /// Being connected, or asked for the first time whether it serves.
    Connecting,
    /// Can be called.
    Ready,
    /// Can be called, and is where there is no other: it said on a reply that it leaves.
    Leaving,
    /// Connected, and not called: asked whether it serves ([`HealthCheck`](super::HealthCheck)), it did not say yes.
    NotServing {
        /// What it said.
        reason: String,
    },
    /// The last attempt to connect failed; the next one comes after this time.
    Backoff {
        /// What failed.
        error: String,
        /// How long until the next attempt.
        retry_in: Duration,
    },
    /// It has left.
    Gone,
}

// === impl NodeState ===

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => f.write_str("not connected, since nobody calls"),
            Self::Connecting => f.write_str("being connected"),
            Self::Ready => f.write_str("ready"),
            Self::Leaving => f.write_str("leaving, by its own word"),
            Self::NotServing { reason } => write!(f, "not serving: {reason}"),
            Self::Backoff { error, retry_in } => {
                write!(f, "out of reach: {error}; tried again in {}", Readable(*retry_in))
            }
            Self::Gone => f.write_str("gone"),
        }
    }
}
