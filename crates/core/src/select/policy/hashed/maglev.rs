//! A table of slots in which each node has as many as its weight asks for, after Eisenbud and others, "Maglev: A Fast and Reliable
//! Software Network Load Balancer".
//!
//! The nodes take turns; each claims the next free slot of an order of its own. A node with a smaller weight sits out turns, as
//! in Envoy.
//!
//! Nearly all of the work are the last slots, for which each node passes by thousands that are taken. So whether a slot is free is a
//! bit, and all of them lie in the processor's nearest cache; and once few are left, each of them is asked how far ahead it is in
//! the node's order, instead of that order being walked.

use super::{Hash, spread};
use crate::select::sample::below;

/// Primes. The slots of equal nodes differ by one at most, so their shares by a percent while there are a hundred slots to a node.
/// With the larger table that is so up to 1300 nodes; at 10,000 a node has 13 or 14 slots, and none more than 7 % above its share.
/// A table of ten times the smaller would have them within 2 %, and take five times as long to make.
const SLOTS: usize = 65_537;
const SLOTS_OF_MANY: usize = 131_071;
/// With more nodes than this the table is the larger one.
const FEW_MAX: usize = 650;

/// When so many slots are left, to ask them all is cheaper than to walk: a walk is as long as the slots are to those that are free.
const LAST_SLOTS: usize = 256;

const NOBODY: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Maglev(Box<[u32]>);

/// A node taking its turns.
struct Turns {
    /// The slot it looks at next, and how far the one after that is.
    next: u32,
    skip: u32,
    weight: f64,
    /// It claims a slot once its weight has added up to this.
    due: f64,
}

/// The slots that nobody has claimed.
struct Free {
    slots: u32,
    bits: Box<[u64]>,
    count: usize,
    /// The same once they are few, in no order; empty before.
    last: Vec<u32>,
}

// === impl Maglev ===

impl Maglev {
    pub(super) fn new(nodes: &[Hash]) -> Self {
        let count = if nodes.len() > FEW_MAX { SLOTS_OF_MANY } else { SLOTS };
        Self::with_slots(nodes, count as u32)
    }

    /// A table of `count` slots, which is a prime.
    pub(super) fn with_slots(nodes: &[Hash], count: u32) -> Self {
        let heaviest = nodes.iter().map(|node| node.weight).fold(0.0, f64::max);
        let mut turns: Vec<_> = nodes.iter().map(|node| Turns::new(node, count)).collect();
        let mut slots = vec![NOBODY; count as usize].into_boxed_slice();
        let mut free = Free::all(count);
        let mut round = 0.0;
        while free.count > 0 && !nodes.is_empty() {
            round += 1.0;
            for (node, turns) in turns.iter_mut().enumerate() {
                if round * turns.weight < turns.due {
                    continue;
                }
                turns.due += heaviest;
                slots[free.claim(turns) as usize] = node as u32;
                if free.count == 0 {
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
    fn new(node: &Hash, slots: u32) -> Self {
        let next = (node.hash % u64::from(slots)) as u32;
        let skip = (spread(node.hash, 0) % u64::from(slots - 1)) as u32 + 1;
        Self { next, skip, weight: node.weight, due: 0.0 }
    }
}

// === impl Free ===

impl Free {
    fn all(slots: u32) -> Self {
        let bits = vec![u64::MAX; slots.div_ceil(u64::BITS) as usize].into();
        Self { slots, bits, count: slots as usize, last: Vec::new() }
    }

    /// The next slot in the node's order that is free. There is one: the order leads through all slots, since their number is prime.
    fn claim(&mut self, turns: &mut Turns) -> u32 {
        if self.count <= LAST_SLOTS {
            return self.claim_of_last(turns);
        }
        loop {
            let slot = turns.next;
            turns.next = self.after(slot, turns.skip);
            let (word, bit) = ((slot / u64::BITS) as usize, 1 << (slot % u64::BITS));
            if self.bits[word] & bit != 0 {
                self.bits[word] ^= bit;
                self.count -= 1;
                return slot;
            }
        }
    }

    /// The same among the last. A slot that is `d` beyond the next is `d / skip` steps ahead, in the arithmetic of remainders.
    fn claim_of_last(&mut self, turns: &mut Turns) -> u32 {
        if self.last.is_empty() {
            let is_free = |slot: &u32| self.bits[(slot / u64::BITS) as usize] >> (slot % u64::BITS) & 1 != 0;
            self.last = (0..self.slots).filter(is_free).collect();
        }
        let slots = u64::from(self.slots);
        let per_skip = inverse(u64::from(turns.skip), slots);
        let steps = |slot: u32| (u64::from(slot) + slots - u64::from(turns.next)) * per_skip % slots;
        let nearest = (0..self.last.len()).min_by_key(|place| steps(self.last[*place]));
        let slot = self.last.swap_remove(nearest.unwrap_or_default());
        turns.next = self.after(slot, turns.skip);
        self.count -= 1;
        slot
    }

    fn after(&self, slot: u32, skip: u32) -> u32 {
        let next = slot + skip;
        // Below zero it would wrap around to a large number.
        next.min(next.wrapping_sub(self.slots))
    }
}

/// The number that times `n` leaves 1 when divided by the prime `p`: the power `p − 2` of `n`, after Fermat.
fn inverse(n: u64, p: u64) -> u64 {
    let (mut result, mut square, mut exponent) = (1, n, p - 2);
    while exponent > 0 {
        if exponent % 2 == 1 {
            result = result * square % p;
        }
        square = square * square % p;
        exponent /= 2;
    }
    result
}
