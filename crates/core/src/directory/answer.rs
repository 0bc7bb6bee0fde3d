//! What a directory answers: four answers, and the view that one of them holds.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{error::Error, model::Node, registry::Revision};

/// What is known of a name. Never an empty list that could mean any of these.
#[derive(Debug, Clone)]
pub enum Answer {
    /// These nodes, perhaps none any more.
    Known(Arc<View>),
    /// The registry answered, and has shown no node of that name.
    Absent,
    /// Nobody has asked before, and the registry has not answered yet.
    Pending,
    /// The registry could not be asked. It is asked again in the background.
    Failed(Error),
}

/// The nodes of one name at one moment. Immutable: a change makes a new one.
#[derive(Clone)]
pub struct View {
    nodes: Arc<[Arc<Node>]>,
    /// Positions in `nodes`, ascending.
    suspects: Box<[usize]>,
    revision: Revision,
    freshness: Freshness,
    confirmed: Instant,
}

/// Whether the registry stands by what is shown.
#[derive(Debug, Clone)]
pub enum Freshness {
    /// Changes are seen as they happen.
    Fresh,
    /// The registry is away: this is the last that it said.
    Stale {
        /// Since when nobody stands by it.
        since: Instant,
        /// Why the registry is not heard.
        error: Error,
    },
}

// === impl Answer ===

impl Answer {
    /// The view, if there is one.
    #[must_use]
    pub fn view(&self) -> Option<&Arc<View>> {
        match self {
            Self::Known(view) => Some(view),
            Self::Absent | Self::Pending | Self::Failed(_) => None,
        }
    }

    /// Whether nothing is known yet.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        matches!(self, Self::Pending)
    }
}

// === impl View ===

impl View {
    pub(super) fn new(
        nodes: Arc<[Arc<Node>]>,
        suspects: Box<[usize]>,
        revision: Revision,
        freshness: Freshness,
        confirmed: Instant,
    ) -> Self {
        debug_assert!(suspects.iter().all(|&at| at < nodes.len()));
        Self { nodes, suspects, revision, freshness, confirmed }
    }

    /// The nodes, in the order of their ids, suspects among them.
    #[must_use]
    pub fn nodes(&self) -> &Arc<[Arc<Node>]> {
        &self.nodes
    }

    /// The nodes that the registry suddenly shows no more and that are kept until it is sure. To be used last.
    #[must_use]
    pub fn suspects(&self) -> impl ExactSizeIterator<Item = &Arc<Node>> {
        self.suspects.iter().map(|&at| &self.nodes[at])
    }

    /// Whether `node` is one of the [`suspects`](Self::suspects).
    #[must_use]
    pub fn is_suspect(&self, node: &Node) -> bool {
        if self.suspects.is_empty() {
            return false;
        }
        let wanted = (node.id(), node.domain());
        let at = self.nodes.binary_search_by(|held| (held.id(), held.domain()).cmp(&wanted));
        at.is_ok_and(|at| self.suspects.binary_search(&at).is_ok())
    }

    /// The state of the registry that this shows.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Whether the registry stands by it.
    #[must_use]
    pub fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// When the registry last said something about this name.
    #[must_use]
    pub fn confirmed(&self) -> Instant {
        self.confirmed
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nodes, suspects, revision, freshness, confirmed: _ } = self;
        f.debug_struct("View")
            .field("nodes", &nodes.iter().map(|node| node.id()).collect::<Vec<_>>())
            .field("suspects", suspects)
            .field("revision", revision)
            .field("freshness", freshness)
            .finish_non_exhaustive()
    }
}

// === impl Freshness ===

impl Freshness {
    /// Whether the registry is away.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        matches!(self, Self::Stale { .. })
    }

    /// For how long nobody has stood by it; zero while fresh.
    #[must_use]
    pub fn age(&self, now: Instant) -> Duration {
        match self {
            Self::Fresh => Duration::ZERO,
            Self::Stale { since, error: _ } => now.saturating_duration_since(*since),
        }
    }
}

/// Whether a reader would learn nothing from the second error that the first has not said.
pub(super) fn says_same(a: &Error, b: &Error) -> bool {
    a.kind() == b.kind() && a.chain() == b.chain()
}
