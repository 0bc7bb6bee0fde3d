//! What links tell their roster, and it tells them.

use tokio::sync::{Notify, watch};

/// What a roster is told by its links.
#[derive(Debug)]
pub(crate) struct News {
    /// A node became ready, or stopped being so: a new snapshot is due.
    pub(crate) readiness: Notify,
    /// Something else about a node is to be said differently.
    pub(crate) wording: Notify,
    /// A call has ended in a way that is worth a look at its node's health.
    pub(crate) health: Notify,
    /// Nobody calls: links let go of their connections, and make none, for as long as this holds.
    pub(crate) resting: watch::Sender<bool>,
}

// === impl News ===

impl News {
    pub(crate) fn new() -> Self {
        Self {
            readiness: Notify::new(),
            wording: Notify::new(),
            health: Notify::new(),
            resting: watch::Sender::new(false),
        }
    }
}
