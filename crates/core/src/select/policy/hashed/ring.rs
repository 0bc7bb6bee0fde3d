//! A ring of points, and each key to the next point.
//!
//! A node has as many points as its weight asks for, at the numbers that its hash begins. How many that is depends on no other
//! node but by a power of two, so keys move only to a node that comes and from a node that goes.

use super::{Hash, spread};

/// Points of a node of mean weight, at least: shares then deviate by about 8 %. The 1024 points of the whole ring that gRPC has
/// by default give one of a hundred nodes nearly twice its share.
const POINTS_MIN: f64 = 160.0;
/// Points of the whole ring, at most, while every node can have one.
const RING_MAX: u64 = 1 << 18;
/// Points passed over because their nodes may not take the call, before the key is led somewhere else.
const STEPS_MAX: usize = 32;

const NOBODY: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Ring {
    /// Where the points are, in order, and whose they are.
    hashes: Box<[u64]>,
    owners: Box<[u32]>,
    /// How many points each node has.
    counts: Box<[u32]>,
}

// === impl Ring ===

impl Ring {
    /// The points of `nodes`. Those of an earlier ring are taken over, which is much cheaper than to sort them again.
    pub(super) fn new(nodes: &[Hash], previous: Option<(&Self, &[Hash])>) -> Self {
        let counts = counts(nodes);
        let (mut kept, mut present) = (Vec::new(), vec![false; nodes.len()]);
        if let Some((ring, before)) = previous {
            let now = successors(before, &ring.counts, nodes, &counts);
            now.iter().filter(|node| **node != NOBODY).for_each(|node| present[*node as usize] = true);
            kept.reserve(ring.hashes.len());
            let points = ring.hashes.iter().zip(&*ring.owners);
            kept.extend(points.map(|(hash, owner)| (*hash, now[*owner as usize])));
            kept.retain(|(_, owner)| *owner != NOBODY);
        }
        let mut added = Vec::new();
        for (owner, node) in nodes.iter().enumerate().filter(|(owner, _)| !present[*owner]) {
            added.extend((0..counts[owner]).map(|n| (spread(node.hash, u64::from(n)), owner as u32)));
        }
        added.sort_unstable();
        let (hashes, owners) = merge(&kept, &added).into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
        Self { hashes: hashes.into(), owners: owners.into(), counts: counts.into() }
    }

    /// The node of the first point from `key` on that may take the call.
    #[inline]
    pub(super) fn home(&self, key: u64, mut may_take: impl FnMut(u32) -> bool) -> Option<u32> {
        let start = self.hashes.partition_point(|hash| *hash < key);
        let (after, before) = (&self.owners[start..], &self.owners[..start]);
        let mut passed = NOBODY;
        for &owner in after.iter().chain(before).take(STEPS_MAX) {
            if owner != passed && may_take(owner) {
                return Some(owner);
            }
            passed = owner;
        }
        None
    }
}

/// How many points each node has. The unit is a power of two, so that it seldom changes with the nodes.
fn counts(nodes: &[Hash]) -> Vec<u32> {
    let mean = nodes.iter().map(|node| node.weight).sum::<f64>() / nodes.len().max(1) as f64;
    let mut unit = mean.log2().floor().exp2();
    loop {
        let count = |node: &Hash| (node.weight / unit * POINTS_MIN).round().max(1.0) as u32;
        let counts: Vec<_> = nodes.iter().map(count).collect();
        let sum: u64 = counts.iter().map(|count| u64::from(*count)).sum();
        if sum <= RING_MAX.max(nodes.len() as u64) || nodes.is_empty() {
            return counts;
        }
        unit *= 2.0;
    }
}

/// For each node of an earlier ring, where it is among those of today, if it has as many points as before.
fn successors(before: &[Hash], counts_before: &[u32], nodes: &[Hash], counts: &[u32]) -> Vec<u32> {
    let mut at = 0;
    let successor = |(node, count): (&Hash, &u32)| {
        while nodes.get(at).is_some_and(|other| other.hash < node.hash) {
            at += 1;
        }
        let same = nodes.get(at).is_some_and(|other| other.hash == node.hash && counts[at] == *count);
        if same { at as u32 } else { NOBODY }
    };
    before.iter().zip(counts_before).map(successor).collect()
}

fn merge(a: &[(u64, u32)], b: &[(u64, u32)]) -> Vec<(u64, u32)> {
    let mut merged = Vec::with_capacity(a.len() + b.len());
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        if a[i] <= b[j] {
            merged.push(a[i]);
            i += 1;
        } else {
            merged.push(b[j]);
            j += 1;
        }
    }
    merged.extend_from_slice(&a[i..]);
    merged.extend_from_slice(&b[j..]);
    merged
}
