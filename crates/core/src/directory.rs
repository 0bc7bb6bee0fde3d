//! A client's live, cached view of one registry.
//!
//! Calls must not wait for a registry, and must not fail because one does. So a [`Directory`] keeps, for every name that
//! was asked for, the last that the registry said, follows what changes, and hands out immutable [`View`]s that are swapped
//! in whole.
//!
//! # How it follows
//!
//! One watch over the whole domain feeds all names. A name asked for the first time is read with one
//! [`Registry::get`], however many callers wait for it; the revision of what was read puts it in order with the watch.
//! Changes of one name that come within 100 ms are published together, except that the first, a deregistration, and a drain
//! (weight 0) are published at once.
//!
//! # What it believes
//!
//! Discovery is advice, a live connection is a fact, and losing advice must not remove facts:
//!
//! | The registry | The view |
//! |---|---|
//! | is away | stays, with its age, for as long as it takes |
//! | says that a node was deregistered | loses it at once |
//! | says that a node expired, or shows it no more | loses it |
//! | does so for more than half of a name's nodes within 15 s, or after having been away | keeps them as [suspects](View::suspects) |
//! | does not have a suspect 1 s and 5 s later either | loses it, unless it had expired |
//! | shows a state older than one it has shown | stays, until that has been repeated twice |
//!
//! A suspect is kept for at most 5 minutes of a registry that answers, or until a caller [refutes](Directory::refute) it,
//! having found it dead.
//!
//! # What it costs
//!
//! [`Directory::answer`] takes no lock: one look into a hash table and one into the name's slot. Names are bounded by
//! [`DirectoryConfig::capacity`] and let go when nobody has asked for them in a while; nodes are held only of names that
//! were asked for.

mod answer;
mod config;
mod driver;
mod entry;
mod machine;
mod members;
mod names;
mod slots;
mod source;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use fastrand::Rng;
use tokio::sync::watch;

pub use self::{
    answer::{Answer, Freshness, View},
    config::DirectoryConfig,
};
use self::{
    driver::Driver,
    names::Names,
    slots::{Signal, Slot, Slots, closed},
};
use crate::{
    error::Result,
    model::{NodeKey, ServiceName},
    registry::Registry,
    tasks::Tasks,
};

/// A live, cached view of one registry. Clones are the same directory.
///
/// ```
/// use std::sync::Arc;
/// use callsign_core::{Node, Registry, ServiceName};
/// use callsign_core::{directory::{Answer, Directory}, memory::MemoryRegistry};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> callsign_core::Result<()> {
/// let registry = Arc::new(MemoryRegistry::new());
/// let directory = Directory::new(registry.clone(), Default::default());
/// let name = ServiceName::new("greeter")?;
/// assert!(matches!(directory.resolve(&name).await, Answer::Absent));
///
/// let mut greeter = directory.subscribe(&name);
/// let node = Arc::new(Node::builder("greeter", "greeter-1", "127.0.0.1:4000").build()?);
/// let _lease = registry.register(&node, &Default::default()).await?;
/// greeter.changed().await?;
/// assert_eq!(greeter.answer().view().map(|view| view.nodes().len()), Some(1));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Directory(Arc<Inner>);

/// A name that is kept for as long as this lives, and whose changes can be waited for.
#[derive(Debug)]
pub struct Subscription {
    slot: Arc<Slot>,
    signal: watch::Receiver<Signal>,
}

/// The driver holds the slots and the names but not this, so that dropping the last directory ends it.
struct Inner {
    registry: Arc<dyn Registry>,
    slots: Arc<Slots>,
    names: Names,
    tasks: Tasks,
}

// === impl Directory ===

impl Directory {
    /// Begins to follow `registry`.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new(registry: Arc<dyn Registry>, config: DirectoryConfig) -> Self {
        Self::with_rng(registry, config, Rng::new())
    }

    /// As [`new`](Self::new), with the randomness that spreads repeated attempts over time.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn with_rng(registry: Arc<dyn Registry>, config: DirectoryConfig, rng: Rng) -> Self {
        let (slots, names, tasks) = (Arc::new(Slots::new(config.capacity)), Names::default(), Tasks::new());
        let driver = Driver::new(registry.clone(), config, slots.clone(), names.clone(), rng);
        tasks.spawn("directory", driver.run());
        Self(Arc::new(Inner { registry, slots, names, tasks }))
    }

    /// What is known of `name` at this moment. A name asked for the first time is [`Answer::Pending`], and is followed
    /// from now on, until nobody has asked for it in a while.
    #[must_use]
    pub fn answer(&self, name: &ServiceName) -> Answer {
        self.0.slots.answer(name)
    }

    /// Keeps `name` held, and tells of its changes.
    #[must_use]
    pub fn subscribe(&self, name: &ServiceName) -> Subscription {
        let slot = self.0.slots.subscribe(name);
        Subscription { signal: slot.signal(), slot }
    }

    /// The first answer for `name` that is not [`Answer::Pending`]. Any number of callers wait for the same one reading.
    ///
    /// It comes when the registry answers or gives up: a caller with less time sets its own deadline.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the reading goes on, and a later call finds its result.
    pub async fn resolve(&self, name: &ServiceName) -> Answer {
        let mut subscription = self.subscribe(name);
        loop {
            let answer = subscription.answer();
            if !answer.is_pending() {
                return answer;
            }
            if let Err(error) = subscription.changed().await {
                return Answer::Failed(error);
            }
        }
    }

    /// The names that the registry has shown, sorted: to say "did you mean" by.
    #[must_use]
    pub fn names(&self) -> Vec<ServiceName> {
        self.0.names.list()
    }

    /// Whether the registry is heard, or since when it is not and why.
    #[must_use]
    pub fn freshness(&self) -> Freshness {
        self.0.slots.freshness()
    }

    /// The registry that is followed.
    #[must_use]
    pub fn registry(&self) -> &Arc<dyn Registry> {
        &self.0.registry
    }

    /// Reports that a node could not be reached. If it is a [suspect](View::suspects) it is dropped at once: the registry
    /// does not stand by it, and now nobody does. Any other node is left alone.
    pub fn refute(&self, node: NodeKey) {
        self.0.slots.refute(node);
    }

    /// Ends following, and waits until it has ended. Answers stay as they are; nothing new is looked up.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: following ends anyway, and a second call waits again.
    pub async fn close(&self) {
        self.0.tasks.close().await;
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { registry, slots, names: _, tasks: _ } = &*self.0;
        f.debug_struct("Directory")
            .field("registry", &format_args!("{registry}"))
            .field("names", &slots.table().len())
            .finish_non_exhaustive()
    }
}

// === impl Subscription ===

impl Subscription {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &ServiceName {
        self.slot.name()
    }

    /// What is known at this moment. Takes no lock.
    #[must_use]
    pub fn answer(&self) -> Answer {
        self.slot.answer()
    }

    /// Waits until something was published since this subscription was made or this was last called.
    ///
    /// Several publications in between count as one: [`answer`](Self::answer) is always the latest.
    ///
    /// # Errors
    ///
    /// [`Closed`](crate::ErrorKind::Closed) when the directory was closed or dropped, and
    /// [`ResourceExhausted`](crate::ErrorKind::ResourceExhausted) when it had no room for the name: nothing will change
    /// any more.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a publication is not missed.
    pub async fn changed(&mut self) -> Result<()> {
        // The sender is in the slot that we hold, so waiting cannot fail.
        let waited = if self.signal.borrow().is_over { Ok(()) } else { self.signal.changed().await };
        if waited.is_err() || self.signal.borrow_and_update().is_over {
            return Err(match self.answer() {
                Answer::Failed(error) => error,
                Answer::Known(_) | Answer::Absent | Answer::Pending => closed(),
            });
        }
        Ok(())
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.slot.unsubscribe();
    }
}
