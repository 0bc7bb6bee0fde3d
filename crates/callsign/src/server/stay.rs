//! From the start of a server until it leaves: registered while it is well, and as its operator says.

use std::time::Duration;

use callsign_core::{Node, model::keys, registration::Registration};
use tokio::time::{sleep, timeout};

use super::{
    handle::{Handle, Phase},
    lifecycle::{Ready, Registering},
    notice::Notice,
    orders::Order,
};
use crate::{Error, ErrorKind, Result};

/// Between attempts to have the registry say something else of the node.
const UPDATE_PAUSE: Duration = Duration::from_millis(200);

/// What a server needs to stay.
#[derive(Debug)]
pub(super) struct Stay {
    pub(super) handle: Handle,
    pub(super) registering: Option<Registering>,
    /// How long the registry may take to remove the entry.
    pub(super) deregister: Duration,
    pub(super) notice: Notice,
}

// === impl Stay ===

impl Stay {
    /// Registers while healthy, and does not return unless that is no use any more.
    pub(super) async fn run(self, ready: Option<Ready>, registration: &mut Option<Registration>) -> Error {
        let (handle, health, orders) = (&self.handle, self.handle.health(), self.handle.orders());
        handle.enter(Phase::NotReady);
        health.publish(false).await;
        if let Some(ready) = ready
            && let Err(error) = ready.await
        {
            return Error::new(ErrorKind::Unavailable, "start the server", "its readiness hook failed")
                .with_source(error);
        }
        let mut first = true;
        let mut before = Order::Serve;
        let mut left_behind = false;
        loop {
            let (healthy, order) = (health.is_healthy(), orders.current());
            self.say(healthy, order).await;
            if !healthy || order == Order::Unlist {
                left_behind |= !self.leave_registry(registration).await;
            }
            let changed = async {
                tokio::select! {
                    biased;
                    () = health.until(!healthy) => {}
                    () = orders.changed_from(order) => {}
                }
            };
            let listed = async {
                if order == Order::Unlist {
                    if left_behind {
                        self.forget().await;
                    }
                } else if healthy {
                    self.list(order, before, &mut first, registration).await?;
                }
                left_behind = false;
                orders.note_carried_out(order);
                std::future::pending::<Result<()>>().await
            };
            tokio::select! {
                biased;
                () = changed => {}
                Err(error) = listed => return error,
            }
            before = order;
        }
    }

    /// Tells those who are connected.
    async fn say(&self, healthy: bool, order: Order) {
        let (handle, drained) = (&self.handle, order != Order::Serve);
        match drained {
            true => self.notice.give(),
            false => self.notice.take_back(),
        }
        handle.health().publish(healthy && !drained).await;
        handle.enter(match (healthy, drained) {
            (false, _) => Phase::NotReady,
            (true, true) => Phase::Drained,
            (true, false) => Phase::Serving,
        });
    }

    /// Has the registry say what is so, until it does.
    async fn list(
        &self,
        order: Order,
        before: Order,
        first: &mut bool,
        registration: &mut Option<Registration>,
    ) -> Result<()> {
        let Some(registering) = &self.registering else { return Ok(()) };
        let wanted = self.entry(order)?;
        let current = match registration {
            Some(current) => current,
            None => {
                // Who was away by an operator's word comes back as one who is drained: clients then see it change, and give it
                // its share little by little.
                let back = before == Order::Unlist;
                let node = if back { self.entry(Order::Drain)? } else { wanted.clone() };
                let options = registering.options.clone();
                let current = registration.insert(registering.registrar.register(node, options));
                self.handle.set_registration(Some(current.watch()));
                current
            }
        };
        if std::mem::take(first) {
            registering.first(current).await?;
        }
        current.registered().await?;
        if *current.node() != wanted {
            while let Err(error) = current.update(wanted.clone()).await {
                tracing::warn!(error = error.chain(), "the registry does not take the change; trying on");
                sleep(UPDATE_PAUSE).await;
            }
            current.registered().await?;
        }
        Ok(())
    }

    /// What the node says of itself.
    fn entry(&self, order: Order) -> Result<Node> {
        let node = &**self.handle.node();
        match order {
            Order::Serve => Ok(node.clone()),
            Order::Drain | Order::Unlist => node.to_builder().metadata(keys::WEIGHT, "0").build(),
        }
    }

    /// Says whether nothing is left there.
    async fn leave_registry(&self, registration: &mut Option<Registration>) -> bool {
        let Some(current) = registration.take() else { return true };
        tracing::info!("not to be called: deregistering");
        let gone = deregister(current, self.deregister).await;
        self.handle.set_registration(None);
        gone
    }

    /// Has the registry forget an entry that could not be taken away, since who goes on must not be found meanwhile.
    async fn forget(&self) {
        let Some(registering) = &self.registering else { return };
        let key = self.handle.node().key();
        while let Err(error) = registering.registrar.registry().deregister(&key).await {
            tracing::debug!(error = error.chain(), "the entry may still be there; trying on");
            sleep(UPDATE_PAUSE).await;
        }
        tracing::info!("deregistered");
    }
}

/// Takes the entry away; says whether that worked.
pub(super) async fn deregister(registration: Registration, within: Duration) -> bool {
    let closed = timeout(within, registration.close()).await;
    match &closed {
        Ok(Ok(())) => tracing::info!("deregistered"),
        Ok(Err(error)) => tracing::warn!(error = error.chain(), "cannot deregister; the entry will expire"),
        Err(_) => tracing::warn!(?within, "the registry does not answer; the entry will expire"),
    }
    matches!(closed, Ok(Ok(())))
}
