//! What all calls of a channel keep together of their requests, to send them again.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Bytes that a channel's calls keep at most.
const BYTES_MAX: usize = 16 << 20;

/// A bound that calls share.
#[derive(Debug)]
pub(crate) struct Pool {
    kept: AtomicUsize,
    max: usize,
}

/// Bytes out of a pool. They go back when dropped.
#[derive(Debug)]
pub(crate) struct Reserved {
    pool: Arc<Pool>,
    bytes: usize,
}

// === impl Pool ===

impl Pool {
    pub(crate) fn new() -> Arc<Self> {
        Self::with_max(BYTES_MAX)
    }

    pub(crate) fn with_max(max: usize) -> Arc<Self> {
        Arc::new(Self { kept: AtomicUsize::new(0), max })
    }

    pub(crate) fn reserve(self: &Arc<Self>) -> Reserved {
        Reserved { pool: self.clone(), bytes: 0 }
    }
}

// === impl Reserved ===

impl Reserved {
    /// Asks for `bytes` in all. Nothing changes if there is no room for them.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let before = self.pool.kept.fetch_add(more, Ordering::Relaxed);
        if before + more > self.pool.max {
            self.pool.kept.fetch_sub(more, Ordering::Relaxed);
            return false;
        }
        self.bytes += more;
        true
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.pool.kept.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_goes_back_and_no_more_than_the_bound_is_given() {
        let pool = Pool::with_max(100);
        let (mut one, mut other) = (pool.reserve(), pool.reserve());
        assert!(one.grow_to(60) && one.grow_to(60) && one.grow_to(10));
        assert!(!other.grow_to(41));
        assert!(other.grow_to(40));
        assert!(!one.grow_to(61));
        drop(one);
        assert!(other.grow_to(100));
        drop(other);
        assert_eq!(pool.kept.load(Ordering::Relaxed), 0);
    }
}
