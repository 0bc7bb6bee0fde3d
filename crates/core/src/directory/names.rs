//! The names that a registry has shown, for "did you mean".

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::model::ServiceName;

/// Most names remembered.
const NAMES_MAX: usize = 65_536;

/// Names that were seen in the registry. Clones share them.
///
/// Exact after each snapshot; in between a name whose last node went may still be among them.
#[derive(Debug, Clone, Default)]
pub(super) struct Names(Arc<Mutex<BTreeSet<ServiceName>>>);

// === impl Names ===

impl Names {
    /// All of them, sorted.
    pub(super) fn list(&self) -> Vec<ServiceName> {
        self.lock().iter().cloned().collect()
    }

    pub(super) fn saw(&self, name: &ServiceName) {
        let mut names = self.lock();
        if !names.contains(name) && names.len() < NAMES_MAX {
            names.insert(name.clone());
        }
    }

    pub(super) fn lost(&self, name: &ServiceName) {
        self.lock().remove(name);
    }

    pub(super) fn replace(&self, mut names: BTreeSet<ServiceName>) {
        while names.len() > NAMES_MAX {
            names.pop_last();
        }
        *self.lock() = names;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<ServiceName>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
