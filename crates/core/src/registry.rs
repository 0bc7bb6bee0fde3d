//! What a registry is: where nodes register and are found.
//!
//! [`Registry`] is written for those who implement a backend: few methods, object-safe, no convenience. What callers want
//! on top is in [`RegistryExt`], implemented once for every backend. What both may rely on is pinned down by the
//! `conformance` suite, and every backend passes the same one.
//!
//! # Who does what
//!
//! A backend stores entries, keeps them alive while a [`Lease`] is held, and tells of changes. It does not retry a
//! registration (a [`Registrar`](crate::registration::Registrar) does, the same way over every backend), does not cache
//! and does not judge what it reads (a directory does). What it must do by itself is to recover its watches, for ever.
//!
//! # How to write one
//!
//! 1. Write and read entries with [`wire`](crate::model::wire), so that a fleet of mixed languages can share them.
//! 2. Give each handle an owner of its own: registering a key that this handle registered before replaces the entry;
//!    one that another live owner holds is a conflict.
//! 3. Bound everything: how long a call waits, how many events a watch holds back. A watch that lags gets a new snapshot.
//! 4. Run the `conformance` suite over it. It checks the contract, also where it is easily forgotten: futures dropped half
//!    way, entries that nobody can read, names full of slashes.
//!
//! # Revisions
//!
//! A registry handle numbers the states it shows with a [`Revision`] that only grows. What [`Registry::get`] and
//! [`Registry::list`] answer holds at their revision, and each watch event carries the revision that it led to; so a caller
//! may list, then watch, and drop every event that is not newer than its list. Revisions of two handles say nothing about
//! each other.

mod ext;
mod options;
mod watch;

use std::{any::Any, fmt, sync::Arc};

use async_trait::async_trait;

pub use self::ext::RegistryExt;
pub use self::options::{GetOptions, ListOptions, RegisterOptions, WatchOptions};
pub use self::watch::{Removal, Watch, WatchEvent};
use crate::{
    error::{Error, Result},
    model::{Node, NodeKey, ServiceName},
};

/// Where services register and are found.
///
/// # Contract
///
/// - Every method may be called from any task at any time, and its future dropped at any await, without leaving anything
///   half done that a later call does not put right.
/// - No method waits for ever: each gives up by itself with [`Unavailable`](crate::ErrorKind::Unavailable) or
///   [`DeadlineExceeded`](crate::ErrorKind::DeadlineExceeded), within seconds.
/// - An entry that cannot be understood is skipped, counted in [`Listing::poisoned`] and logged; it never spoils the others.
/// - What is read is what was registered: weights, metadata and endpoints make the round trip.
#[async_trait]
pub trait Registry: fmt::Debug + fmt::Display + Send + Sync + 'static {
    /// Puts a node's entry in place, replacing what the same owner had under its key, and keeps it alive through the lease.
    ///
    /// # Errors
    ///
    /// [`Conflict`](crate::ErrorKind::Conflict) when another live owner holds the same key;
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) when the entry cannot be stored in this backend whatever one does;
    /// otherwise why the registry did not take it.
    async fn register(&self, node: &Arc<Node>, options: &RegisterOptions) -> Result<Box<dyn Lease>>;

    /// Removes an entry, whoever owns it. Removing what is not there is no error.
    ///
    /// Its owner, if alive, notices and puts it back: this is for entries whose owner is gone.
    ///
    /// # Errors
    ///
    /// Why the registry did not do it.
    async fn deregister(&self, key: &NodeKey) -> Result<()>;

    /// The nodes of one service. None at all means that the registry answered and knows none.
    ///
    /// # Errors
    ///
    /// Why the registry did not answer.
    async fn get(&self, service: &ServiceName, options: &GetOptions) -> Result<Listing>;

    /// All nodes of all services.
    ///
    /// # Errors
    ///
    /// Why the registry did not answer.
    async fn list(&self, options: &ListOptions) -> Result<Listing>;

    /// Follows the nodes of one service or of all.
    ///
    /// The stream begins with a snapshot, recovers from every failure by itself, for ever, and says so with
    /// [`WatchEvent::Error`]; after a gap it sends a new snapshot. It ends only when the handle is closed.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) or [`Unsupported`](crate::ErrorKind::Unsupported) only: a registry
    /// that is away is not an error here but the watch's first event.
    async fn watch(&self, options: &WatchOptions) -> Result<Watch>;
}

/// One entry held in a registry. Made by [`Registry::register`]; alive until released, dropped, or lost.
///
/// Dropping it stops keeping the entry alive and tries to remove it without waiting; only [`release`](Self::release) tells
/// whether that worked.
///
/// It is [`Any`], so that a backend's own tests can reach the type behind the box.
#[async_trait]
pub trait Lease: Any + fmt::Debug + Send + Sync {
    /// Keeps the entry alive for as long as it is polled, and returns only when the entry is lost, with the reason.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it may be dropped and called again; in between nothing keeps the entry alive.
    async fn hold(&mut self) -> Error;

    /// Replaces the entry's content. Key and owner stay.
    ///
    /// # Errors
    ///
    /// Why it did not work; the lease is then to be given up and the node registered anew.
    async fn update(&mut self, node: &Arc<Node>) -> Result<()>;

    /// Removes the entry.
    ///
    /// # Errors
    ///
    /// Why the registry did not do it; the entry will then go with its time to live.
    async fn release(self: Box<Self>) -> Result<()>;
}

/// The number of a registry's state: larger is later, within one handle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// What a registry answered.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// The nodes, in no particular order, each key once.
    pub nodes: Vec<Arc<Node>>,
    /// The state that this answer shows.
    pub revision: Revision,
    /// How many entries could not be understood and are missing here.
    pub poisoned: usize,
}

// === impl Revision ===

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
