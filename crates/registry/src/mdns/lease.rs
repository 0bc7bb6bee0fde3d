//! An entry that is ours.

use std::sync::Arc;

use async_trait::async_trait;
use callsign_core::{
    Node,
    error::{Error, Result},
    registry::Lease,
};

use super::{Handle, machine::Request, responder::Registered};

/// The lease on a registration; keeps the handle and what speaks for its nodes alive.
#[derive(Debug)]
pub(super) struct MdnsLease {
    pub(super) handle: Arc<Handle>,
    pub(super) registered: Registered,
}

// === impl MdnsLease ===

#[async_trait]
impl Lease for MdnsLease {
    async fn hold(&mut self) -> Error {
        // Nothing to renew: who looks after a node asks it, and the answer comes from elsewhere.
        let mut lost = self.registered.lost.clone();
        let known = lost.wait_for(Option::is_some).await.ok().and_then(|lost| lost.clone());
        known.unwrap_or_else(|| super::closed("hold registration"))
    }

    async fn update(&mut self, node: &Arc<Node>) -> Result<()> {
        let (serial, node) = (self.registered.serial, node.clone());
        self.handle.ask("update registration", |reply| Request::Update { serial, node, reply }).await?
    }

    async fn release(self: Box<Self>) -> Result<()> {
        let Registered { serial, key, .. } = &self.registered;
        let (serial, key) = (*serial, key.clone());
        self.handle.ask("deregister node", |reply| Request::Release { serial, key, reply }).await
    }
}
