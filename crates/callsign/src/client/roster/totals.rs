//! What all attempts of a channel have come to, at nodes that are gone as well: numbers that only grow.
//!
//! Attempts are counted on their nodes, for selection, and what is counted of a node ends with it: of a rolling restart, which takes
//! all nodes, nothing would be left to read. So links that are gone are kept until their last call has ended; then their counts are
//! added to what is kept of all of them. Calls pay nothing for it.

use std::sync::{Arc, Mutex, PoisonError};

use crate::client::{AttemptCounts, link::Link};

/// The links that may still count something, and what others have counted.
#[derive(Debug, Default)]
pub(super) struct Totals(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    closed: AttemptCounts,
    open: Vec<Arc<Link>>,
}

// === impl Totals ===

impl Totals {
    /// Counts what goes over this link too.
    pub(super) fn add(&self, link: Arc<Link>) {
        self.settle(|books| books.open.push(link));
    }

    /// All attempts until now.
    pub(super) fn read(&self) -> AttemptCounts {
        self.settle(|books| {
            books
                .open
                .iter()
                .fold(books.closed, |sum, link| sum.plus(link.load.calls(), link.load.failures()))
        })
    }

    fn settle<T>(&self, then: impl FnOnce(&mut Books) -> T) -> T {
        let mut books = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Books { closed, open } = &mut *books;
        open.retain(|link| {
            let done = link.is_at_rest();
            if done {
                *closed = closed.plus(link.load.calls(), link.load.failures());
            }
            !done
        });
        then(&mut books)
    }
}
