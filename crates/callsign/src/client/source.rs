//! Where a channel's nodes come from.

use std::sync::Arc;

use callsign_core::{
    Node, ServiceName,
    directory::{Answer, Directory, Freshness, Subscription, View},
};

/// A name followed in a directory, or nodes given once and for all.
#[derive(Debug)]
pub(crate) enum Source {
    Directory { directory: Directory, subscription: Subscription },
    Fixed(Arc<[Arc<Node>]>),
}

/// What a source says of its nodes.
#[derive(Debug, Clone)]
pub(crate) enum Known {
    Nodes(Arc<[Arc<Node>]>),
    Absent,
    Pending,
    Failed(callsign_core::Error),
}

// === impl Source ===

impl Source {
    pub(crate) fn followed(directory: Directory, name: &ServiceName) -> Self {
        let subscription = directory.subscribe(name);
        Self::Directory { directory, subscription }
    }

    pub(crate) fn known(&self) -> Known {
        match self {
            Self::Fixed(nodes) => Known::Nodes(nodes.clone()),
            Self::Directory { subscription, .. } => match subscription.answer() {
                Answer::Known(view) => Known::Nodes(view.nodes().clone()),
                Answer::Absent => Known::Absent,
                Answer::Pending => Known::Pending,
                Answer::Failed(error) => Known::Failed(error),
            },
        }
    }

    /// Whether the registry stands by what it has said.
    pub(crate) fn freshness(&self) -> Option<Freshness> {
        match self {
            Self::Fixed(_) => None,
            Self::Directory { subscription, .. } => {
                subscription.answer().view().map(|view| view.freshness().clone())
            }
        }
    }

    /// The view, if the registry has cast doubt on any node in it: such a node is to be used last.
    pub(crate) fn doubtful(&self) -> Option<Arc<View>> {
        match self {
            Self::Fixed(_) => None,
            Self::Directory { subscription, .. } => {
                subscription.answer().view().filter(|view| view.suspects().next().is_some()).cloned()
            }
        }
    }

    /// A node in doubt could not be reached either.
    pub(crate) fn refute(&self, node: &Node) {
        if let Self::Directory { directory, .. } = self {
            directory.refute(node.key());
        }
    }

    /// Returns when [`known`](Self::known) says something new. Never, for fixed nodes or a closed directory.
    pub(crate) async fn changed(&mut self) {
        match self {
            Self::Fixed(_) => std::future::pending().await,
            Self::Directory { subscription, .. } => {
                if subscription.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}
