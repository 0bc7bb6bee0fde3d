//! What the folder is known to hold, and what changed in it. No files here, and no time.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use callsign_core::{
    Domain, Node, ServiceName, WatchEvent,
    registry::{Listing, Removal, Revision},
};

use super::{
    folder::Stamp,
    name::{self, Named},
};

/// The entries by the names of their files, and the changes that nobody has been told yet.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: HashMap<Arc<str>, Known>,
    services: HashMap<ServiceName, BTreeSet<Arc<str>>>,
    /// What could not be understood, with the reason.
    poisoned: HashMap<String, String>,
    revision: u64,
    changes: Vec<WatchEvent>,
}

#[derive(Debug)]
struct Known {
    node: Arc<Node>,
    stamp: Stamp,
}

impl Table {
    /// What is known of the content under `name`.
    pub(super) fn stamp(&self, name: &str) -> Option<Stamp> {
        self.entries.get(name).map(|known| known.stamp)
    }

    /// The names of everything known.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(|name| &**name).chain(self.poisoned.keys().map(String::as_str))
    }

    /// There is a living node under `name`.
    pub(super) fn upsert(&mut self, name: &str, node: Arc<Node>, stamp: Stamp) {
        self.poisoned.remove(name);
        match self.entries.get_mut(name) {
            Some(known) => {
                known.stamp = stamp;
                if known.node == node {
                    return;
                }
                known.node = node.clone();
            }
            None => {
                let name: Arc<str> = name.into();
                self.services.entry(node.service().clone()).or_default().insert(name.clone());
                self.entries.insert(name, Known { node: node.clone(), stamp });
            }
        }
        let revision = self.advance();
        self.changes.push(WatchEvent::Upsert(node, revision));
    }

    /// There is nothing under `name`.
    pub(super) fn remove(&mut self, name: &str, removal: Removal) {
        self.poisoned.remove(name);
        let Some(Known { node, .. }) = self.entries.remove(name) else { return };
        if let Some(names) = self.services.get_mut(node.service()) {
            names.remove(name);
            if names.is_empty() {
                self.services.remove(node.service());
            }
        }
        let revision = self.advance();
        self.changes.push(WatchEvent::Remove(node.key(), removal, revision));
    }

    /// There is something under `name` that cannot be understood.
    pub(super) fn poison(&mut self, name: &str, reason: String) {
        self.remove(name, Removal::Unknown);
        tracing::warn!(file = name, reason, "entry not understood; skipped");
        self.poisoned.insert(name.to_owned(), reason);
    }

    /// Whether `name` cannot be understood for this very reason.
    pub(super) fn is_poisoned(&self, name: &str, reason: &str) -> bool {
        self.poisoned.get(name).is_some_and(|known| known == reason)
    }

    /// What is there in a domain, of one service or of all.
    pub(super) fn listing(&self, domain: &Domain, service: Option<&ServiceName>) -> Listing {
        let covered = |known: &&Known| domain.covers(known.node.domain());
        let nodes: Vec<_> = match service {
            None => self.entries.values().filter(covered).map(|known| known.node.clone()).collect(),
            Some(service) => {
                let names = self.services.get(service).into_iter().flatten();
                let known = names.filter_map(|name| self.entries.get(name));
                known.filter(covered).map(|known| known.node.clone()).collect()
            }
        };
        let concerned = |name: &&String| match name::parse(name) {
            Some(Named::Key(key)) => {
                domain.covers(&key.domain) && service.is_none_or(|service| *service == key.service)
            }
            // Whose it is cannot be told.
            Some(Named::Hashed) | None => service.is_none(),
        };
        let poisoned = self.poisoned.keys().filter(concerned).count();
        Listing { nodes, revision: Revision(self.revision), poisoned }
    }

    /// What changed since the last time this was asked.
    pub(super) fn take_changes(&mut self) -> Vec<WatchEvent> {
        std::mem::take(&mut self.changes)
    }

    fn advance(&mut self) -> Revision {
        self.revision += 1;
        Revision(self.revision)
    }
}

#[cfg(test)]
mod tests;
