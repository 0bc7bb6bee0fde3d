//! Keeping equal values once.

use std::{
    borrow::Borrow,
    collections::HashSet,
    hash::{Hash, Hasher},
    sync::Arc,
};

use crate::model::{Endpoint, Metadata};

/// How many values a pool keeps before it looks for those that nobody uses any more.
const KEPT_MIN: usize = 64;

/// Values of which each is kept once, for as long as anybody uses it and a while longer.
#[derive(Debug)]
pub(super) struct Pool<T> {
    values: HashSet<T>,
    /// The size at which the pool is cleaned.
    full: usize,
}

/// A handle on a value that many may hold.
pub(super) trait Shared: Clone + Eq + Hash {
    /// Whether anybody but the pool holds it.
    fn in_use(&self) -> bool;
}

/// The endpoints that a text stands for: the text is looked up, and read only the first time.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) text: Box<str>,
    pub(super) endpoints: Arc<[Endpoint]>,
}

// === impl Pool ===

impl<T: Shared> Pool<T> {
    /// The value like `key`, made by `make` if there is none yet.
    pub(super) fn share<Q>(&mut self, key: &Q, make: impl FnOnce() -> T) -> T
    where
        T: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if let Some(kept) = self.values.get(key) {
            return kept.clone();
        }
        if self.values.len() >= self.full {
            self.values.retain(Shared::in_use);
            self.full = (self.values.len() * 2).max(KEPT_MIN);
        }
        let value = make();
        self.values.insert(value.clone());
        value
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self { values: HashSet::new(), full: KEPT_MIN }
    }
}

// === impl Shared ===

impl Shared for Arc<str> {
    fn in_use(&self) -> bool {
        Self::strong_count(self) > 1
    }
}

impl Shared for Metadata {
    fn in_use(&self) -> bool {
        self.is_shared()
    }
}

impl Shared for Shape {
    fn in_use(&self) -> bool {
        Arc::strong_count(&self.endpoints) > 1
    }
}

// === impl Shape ===

impl Borrow<str> for Shape {
    fn borrow(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Shape {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Shape {}

impl Hash for Shape {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}
