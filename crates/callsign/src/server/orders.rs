//! What an operator has said of this node, and how far that is done.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::watch;

/// Whether the node is to get calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Order {
    /// It is.
    #[default]
    Serve,
    /// It is not, and the registry says so by a weight of zero.
    Drain,
    /// It is not, and leaves the registry: clients of go-micro do not go by weights.
    Unlist,
}

/// The last order, shared by those who give it and the one who carries it out. It is kept nowhere: a node that is started again
/// has no orders.
#[derive(Debug, Clone)]
pub(crate) struct Orders(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    given: watch::Sender<Order>,
    carried_out: Mutex<Order>,
    over: AtomicBool,
}

// === impl Orders ===

impl Orders {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            given: watch::Sender::new(Order::Serve),
            carried_out: Mutex::default(),
            over: AtomicBool::new(false),
        }))
    }

    pub(crate) fn give(&self, order: Order) {
        let news = self.0.given.send_if_modified(|given| std::mem::replace(given, order) != order);
        if news {
            tracing::info!(?order, "an operator's word");
        }
    }

    pub(crate) fn current(&self) -> Order {
        *self.0.given.borrow()
    }

    /// Waits until it is another than `order`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn changed_from(&self, order: Order) {
        // The sender lives in `self`, so the channel is never closed.
        let _ = self.0.given.subscribe().wait_for(|given| *given != order).await;
    }

    /// The server leaves: nobody will carry out another.
    pub(crate) fn end(&self) {
        self.0.over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn are_over(&self) -> bool {
        self.0.over.load(Ordering::Relaxed)
    }

    pub(crate) fn note_carried_out(&self, order: Order) {
        *self.0.carried_out.lock().unwrap_or_else(PoisonError::into_inner) = order;
    }

    /// Whether the registry shows the last one.
    pub(crate) fn are_carried_out(&self) -> bool {
        *self.0.carried_out.lock().unwrap_or_else(PoisonError::into_inner) == self.current()
    }
}
