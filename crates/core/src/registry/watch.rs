//! The stream of changes that a registry gives.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;

use super::Revision;
use crate::{
    error::Error,
    model::{Node, NodeKey},
};

/// What happened in a registry.
///
/// A snapshot is `SnapshotStart`, any number of `Node`, `SnapshotDone`; what it does not hold is gone. No other event comes
/// in between but `Error`.
///
/// ```
/// use std::sync::Arc;
/// use callsign_core::{
///     Node, Registry, WatchEvent, memory::MemoryRegistry, registry::{Removal, WatchOptions},
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> callsign_core::Result<()> {
/// let registry = MemoryRegistry::new();
/// let mut watch = registry.watch(&WatchOptions::default()).await?;
/// assert!(matches!(watch.next().await, Some(WatchEvent::SnapshotStart)));
/// assert!(matches!(watch.next().await, Some(WatchEvent::SnapshotDone(_))));
///
/// let node = Arc::new(Node::builder("greeter", "greeter-1", "127.0.0.1:4000").build()?);
/// let lease = registry.register(&node, &Default::default()).await?;
/// assert!(matches!(watch.next().await, Some(WatchEvent::Upsert(seen, _)) if seen == node));
/// lease.release().await?;
/// assert!(matches!(watch.next().await, Some(WatchEvent::Remove(_, Removal::Deregistered, _))));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub enum WatchEvent {
    /// A whole picture follows.
    SnapshotStart,
    /// One node of the snapshot.
    Node(Arc<Node>),
    /// The snapshot is whole, and shows this revision.
    SnapshotDone(Revision),
    /// A node was registered or its entry changed.
    Upsert(Arc<Node>, Revision),
    /// A node's entry went away.
    Remove(NodeKey, Removal, Revision),
    /// The watch had a failure that it is recovering from. What was seen before stays true as far as anybody knows.
    Error(Error),
}

/// Why an entry went away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Removal {
    /// It was taken away on purpose.
    Deregistered,
    /// Its owner stopped keeping it alive.
    Expired,
    /// The registry does not say.
    Unknown,
}

/// A stream of [`WatchEvent`]s, ended only by the registry's handle being closed.
pub struct Watch(Pin<Box<dyn Stream<Item = WatchEvent> + Send>>);

// === impl Watch ===

impl Watch {
    /// Wraps a backend's stream.
    pub fn new(events: impl Stream<Item = WatchEvent> + Send + 'static) -> Self {
        Self(Box::pin(events))
    }

    /// The next event; `None` once the registry's handle is closed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no event is lost.
    pub async fn next(&mut self) -> Option<WatchEvent> {
        std::future::poll_fn(|cx| self.0.as_mut().poll_next(cx)).await
    }
}

impl Stream for Watch {
    type Item = WatchEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}
