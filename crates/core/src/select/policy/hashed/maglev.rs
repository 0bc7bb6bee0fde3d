//! A table of slots in which each node has as many as its weight asks for, after Eisenbud and others, "Maglev: A Fast and Reliable
//! Software Network Load Balancer".
//!
//! The nodes take turns; each claims the next free slot of an order of its own. A node with a smaller weight sits out turns, as
//! in Envoy.

use super::{Hash, spread};
use crate::select::sample::below;

/// Primes. Shares differ by less than a percent while there are a hundred slots to a node.
const SLOTS: usize = 65_537;
const SLOTS_OF_MANY: usize = 655_373;
/// With more nodes than this the table is the larger one.
const FEW_MAX: usize = 650;

const FREE: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Maglev(Box<[u32]>);

/// A node taking its turns.
struct Turns {
    /// The slot it looks at next, and how far the one after that is.
    next: usize,
    skip: usize,
    weight: f64,
    /// It claims a slot once its weight has added up to this.
    due: f64,
}

// === impl Maglev ===

impl Maglev {
    pub(super) fn new(nodes: &[Hash]) -> Self {
        let count = if nodes.len() > FEW_MAX { SLOTS_OF_MANY } else { SLOTS };
        Self::with_slots(nodes, count)
    }

    fn with_slots(nodes: &[Hash], count: usize) -> Self {
        let heaviest = nodes.iter().map(|node| node.weight).fold(0.0, f64::max);
        let mut turns: Vec<_> = nodes
            .iter()
            .map(|node| Turns {
                next: (node.hash % count as u64) as usize,
                skip: (spread(node.hash, 0) % (count as u64 - 1)) as usize + 1,
                weight: node.weight,
                due: 0.0,
            })
            .collect();
        let mut slots = vec![FREE; count].into_boxed_slice();
        let mut free = if nodes.is_empty() { 0 } else { count };
        let mut round = 0.0;
        while free > 0 {
            round += 1.0;
            for (node, turns) in turns.iter_mut().enumerate() {
                if round * turns.weight < turns.due {
                    continue;
                }
                turns.due += heaviest;
                slots[turns.claim(&slots)] = node as u32;
                free -= 1;
                if free == 0 {
                    break;
                }
            }
        }
        Self(slots)
    }

    #[inline]
    pub(super) fn home(&self, key: u64) -> u32 {
        self.0[below(self.0.len(), key)]
    }

    #[cfg(test)]
    pub(super) fn slots(&self) -> &[u32] {
        &self.0
    }
}

// === impl Turns ===

impl Turns {
    /// The next slot in its order that is free. There is one: its order leads through all of them, since their number is prime.
    fn claim(&mut self, slots: &[u32]) -> usize {
        loop {
            let slot = self.next;
            self.next += self.skip;
            if self.next >= slots.len() {
                self.next -= slots.len();
            }
            if slots[slot] == FREE {
                return slot;
            }
        }
    }
}
