//! An entry that is ours.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use async_trait::async_trait;
use callsign_core::{
    Node, NodeKey,
    error::{Error, ErrorKind, Result},
    registry::Lease,
};
use tokio::sync::watch;

use super::{
    Handle, entry,
    folder::{Dir, Draft, Folder, Placed},
    name,
    work::{Wanted, blocking},
};

/// One entry that this process owns, or has lost.
pub(super) struct Holding {
    key: NodeKey,
    /// The file's name.
    name: String,
    folder: Arc<Folder>,
    /// Gone once the entry is released or lost.
    placed: Mutex<Option<Placed>>,
    lost: watch::Sender<Option<Error>>,
}

/// The entries that one registry handle owns, by the names of their files.
#[derive(Debug, Default)]
pub(super) struct Holdings(Mutex<HashMap<String, Weak<Holding>>>);

/// The lease on a [`Holding`]; keeps the handle and its scanner alive.
#[derive(Debug)]
pub(super) struct LocalLease {
    pub(super) handle: Arc<Handle>,
    pub(super) holding: Arc<Holding>,
}

// === impl Holding ===

impl Holding {
    pub(super) fn new(key: NodeKey, folder: Arc<Folder>, placed: Placed) -> Self {
        let name = name::file_name(&key);
        Self { key, name, folder, placed: Mutex::new(Some(placed)), lost: watch::Sender::new(None) }
    }

    /// Writes the entry anew, for `node`.
    pub(super) fn rewrite(&self, op: &'static str, node: &Node, wanted: &Wanted) -> Result<()> {
        if node.key() != self.key {
            return Err(Error::invalid(
                op,
                format!("the entry is {}, and cannot become {}", self.key, node.key()),
            ));
        }
        let dir = self.folder.enter(op)?;
        let mut placed = self.placed();
        wanted.check(op)?;
        if placed.as_ref().is_none_or(|ours| !dir.leads_to(&self.name, ours.stamp)) {
            drop(placed);
            self.check(&dir);
            return Err(self.gone(op, ErrorKind::NotFound, "it was removed, or its file replaced"));
        }
        let draft = Draft::write(op, &dir, &entry::encode(node, std::process::id()))?;
        // The old file is let go of only here, after the name leads to the new one, which is locked.
        *placed = Some(draft.replace(op, &dir, &self.name)?);
        Ok(())
    }

    /// Gives the entry up to a newer registration of the same owner, if it still has it.
    fn hand_over(&self) -> Option<Placed> {
        let placed = self.placed().take()?;
        let why = "the same process registered the node again";
        self.lose(self.gone("hold registration", ErrorKind::Conflict, why));
        Some(placed)
    }

    /// Takes the entry away, if it is still ours.
    pub(super) fn release(&self, op: &'static str) -> Result<()> {
        // Let go of whatever happens: if the name cannot be taken away, watchers still see that its owner is gone.
        let Some(ours) = self.placed().take() else { return Ok(()) };
        match self.folder.enter(op) {
            Ok(dir) if dir.leads_to(&self.name, ours.stamp) => dir.withdraw(op, &self.name),
            Ok(_) => Ok(()),
            // Without the folder there is no entry.
            Err(error) if error.kind() == ErrorKind::Unavailable => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Notices when the name no longer leads to our file.
    pub(super) fn check(&self, dir: &Dir<'_>) {
        let mut placed = self.placed();
        if placed.as_ref().is_none_or(|ours| dir.leads_to(&self.name, ours.stamp)) {
            return;
        }
        *placed = None;
        drop(placed);
        self.lose(self.gone(
            "hold registration",
            ErrorKind::NotFound,
            "somebody removed or replaced its file",
        ));
    }

    /// Closes the file and does nothing else, as the kernel does when the process dies.
    #[cfg(test)]
    pub(super) fn abandon(&self) {
        *self.placed() = None;
    }

    fn lose(&self, error: Error) {
        tracing::debug!(node = %self.key, error = %error, "entry lost");
        self.lost.send_replace(Some(error));
    }

    fn gone(&self, op: &'static str, kind: ErrorKind, why: &str) -> Error {
        let path = self.folder.path().display();
        Error::new(kind, op, format!("the entry {} is no longer in {path}: {why}", self.key)).retryable(true)
    }

    fn placed(&self) -> MutexGuard<'_, Option<Placed>> {
        self.placed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holding").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        // Nobody is there to be told. The file's lock goes with it in any case.
        if let Err(error) = self.release("deregister node") {
            tracing::debug!(node = %self.key, error = %error.chain(), "entry not removed");
        }
    }
}

// === impl Holdings ===

impl Holdings {
    pub(super) fn insert(&self, holding: &Arc<Holding>) {
        let mut held = self.held();
        if held.len() == held.capacity() {
            held.retain(|_, holding| holding.strong_count() > 0);
        }
        held.insert(holding.name.clone(), Arc::downgrade(holding));
    }

    /// Takes from an older lease of this handle what it has under `name`.
    pub(super) fn hand_over(&self, name: &str) -> Option<Placed> {
        self.find(name)?.hand_over()
    }

    /// Has the owner of each of these names see to its file.
    pub(super) fn check<'a>(&self, dir: &Dir<'_>, names: impl Iterator<Item = &'a str>) {
        names.filter_map(|name| self.find(name)).for_each(|holding| holding.check(dir));
    }

    pub(super) fn find(&self, name: &str) -> Option<Arc<Holding>> {
        self.held().get(name).and_then(Weak::upgrade)
    }

    /// Has every owner see to its file.
    pub(super) fn check_all(&self, dir: &Dir<'_>) {
        let all: Vec<_> = self.held().values().filter_map(Weak::upgrade).collect();
        all.iter().for_each(|holding| holding.check(dir));
    }

    fn held(&self) -> MutexGuard<'_, HashMap<String, Weak<Holding>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl LocalLease ===

#[async_trait]
impl Lease for LocalLease {
    async fn hold(&mut self) -> Error {
        // Nothing to renew: the kernel holds the lock. The scanner says when the file is gone.
        let mut lost = self.holding.lost.subscribe();
        tokio::select! {
            biased;
            Ok(error) = lost.wait_for(Option::is_some) => error.clone().unwrap_or_else(closed),
            () = self.handle.scanner_gone() => closed(),
        }
    }

    async fn update(&mut self, node: &Arc<Node>) -> Result<()> {
        const OP: &str = "update registration";
        let (holding, node) = (self.holding.clone(), node.clone());
        blocking(OP, move |wanted| holding.rewrite(OP, &node, wanted)).await
    }

    async fn release(self: Box<Self>) -> Result<()> {
        const OP: &str = "deregister node";
        let holding = self.holding.clone();
        blocking(OP, move |_| holding.release(OP)).await
    }
}

fn closed() -> Error {
    super::scanner::closed("hold registration")
}
