//! The same to the same node: ring hash, Maglev and rendezvous.
//!
//! All three lead from a key to its *home*, and go on to the same second, third and further choices in every process. A node
//! that cannot take the call keeps its place in the tables and is passed over, so its keys come back to it with it; only a
//! change of the candidates themselves makes new tables. Tables follow from the nodes' ids and weights alone.
//!
//! With a bound on the load, a home that has too many calls in flight is passed over as well; the next choice is then another
//! place altogether, since the neighbour on a ring would be overrun next (Chen, Coleman and Shrivastava, "Revisiting Consistent
//! Hashing with Bounded Loads").

mod bound;
mod maglev;
mod ring;

use self::{
    bound::{Bound, Now},
    maglev::Maglev,
    ring::Ring,
};
use super::{Candidate, PickRequest, Witness};
use crate::select::{
    HashConfig, Strategy,
    key::{hash_key, spread},
};

/// Places that a key is led to before all candidates are compared.
const PLACES_MAX: u64 = 8;

/// A hash strategy with its tables.
#[derive(Debug)]
pub(in crate::select) struct Hashed {
    /// In the order of their hashes, which is the same in every process.
    nodes: Box<[Hash]>,
    table: Table,
    bound: Option<Bound>,
    /// Whether any weight differs from the others.
    weighted: bool,
}

/// One candidate, as the tables see it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Hash {
    hash: u64,
    weight: f64,
    /// Where it stands among the candidates.
    position: u32,
}

#[derive(Debug)]
enum Table {
    Ring(Ring),
    Maglev(Maglev),
    /// Rendezvous goes without.
    None,
}

// === impl Hashed ===

impl Hashed {
    /// The tables over all `candidates`. What can be taken over from `previous` is.
    pub(super) fn new(
        strategy: &Strategy,
        config: &HashConfig,
        candidates: &[Candidate],
        previous: Option<&Self>,
    ) -> Self {
        let nodes = in_order(candidates);
        let table = match strategy {
            Strategy::RingHash(_) => {
                let previous = previous.and_then(|previous| match &previous.table {
                    Table::Ring(ring) => Some((ring, &*previous.nodes)),
                    Table::Maglev(_) | Table::None => None,
                });
                Table::Ring(Ring::new(&nodes, previous))
            }
            Strategy::Maglev(_) => Table::Maglev(Maglev::new(&nodes)),
            _ => Table::None,
        };
        let bound = config.max_load.map(|factor| Bound::new(factor, &nodes));
        let weighted = nodes.windows(2).any(|pair| pair[0].weight != pair[1].weight);
        Self { nodes, table, bound, weighted }
    }

    /// The first in the key's order that may be taken, and has room if there is a bound. A request without a key gets one by
    /// chance.
    ///
    /// Not in place: what a loop over draws would keep for it would cost all other strategies more.
    #[inline(never)]
    pub(super) fn pick<W: Witness>(
        &self,
        candidates: &[Candidate],
        request: &PickRequest<'_>,
        witness: &mut W,
    ) -> Option<usize> {
        let key = request.hash.unwrap_or_else(|| witness.rng().u64(..));
        let bound = self.bound.as_ref().map(|bound| bound.now(candidates, witness));
        for place in 0..PLACES_MAX {
            let home = match &self.table {
                Table::Ring(ring) => ring.home(spread(key, place), |node| {
                    candidates[self.position(node)].may_take(request, witness)
                }),
                Table::Maglev(maglev) => Some(maglev.home(spread(key, place))),
                Table::None => break,
            };
            if let Some(position) = home.map(|node| self.position(node))
                && candidates[position].may_take(request, witness)
                && has_room(&candidates[position], bound, witness)
            {
                return Some(position);
            }
        }
        self.foremost(key, candidates, request, bound, witness)
            .or_else(|| least_filled(candidates, request, witness))
    }

    /// The first in the key's rendezvous order: the node whose hash together with the key's is the largest, with weights as in
    /// Schindelhauer and Schomaker.
    #[inline(never)]
    fn foremost<W: Witness>(
        &self,
        key: u64,
        candidates: &[Candidate],
        request: &PickRequest<'_>,
        bound: Option<Now>,
        witness: &mut W,
    ) -> Option<usize> {
        let allowed = |node: &&Hash| {
            let candidate = &candidates[node.position as usize];
            candidate.may_take(request, witness) && has_room(candidate, bound, witness)
        };
        let nodes = self.nodes.iter().filter(allowed);
        let best = if self.weighted {
            nodes.max_by(|a, b| score(a, key).total_cmp(&score(b, key)))
        } else {
            nodes.max_by_key(|node| spread(node.hash, key))
        };
        best.map(|node| node.position as usize)
    }

    #[inline]
    fn position(&self, node: u32) -> usize {
        self.nodes[node as usize].position as usize
    }
}

#[inline]
fn has_room<W: Witness>(candidate: &Candidate, bound: Option<Now>, witness: &mut W) -> bool {
    bound.is_none_or(|now| now.has_room(witness.inflight(candidate), candidate.weight))
}

/// The one with the fewest calls for its weight. Where there is a bound somebody has room, unless calls have ended or begun since it
/// was drawn.
#[inline(never)]
fn least_filled<W: Witness>(
    candidates: &[Candidate],
    request: &PickRequest<'_>,
    witness: &mut W,
) -> Option<usize> {
    let filled = |(position, candidate): (usize, &Candidate)| {
        let may_take = candidate.may_take(request, witness);
        may_take.then(|| (f64::from(witness.inflight(candidate)) / candidate.weight, position))
    };
    let filled = candidates.iter().enumerate().filter_map(filled);
    filled.min_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, position)| position)
}

/// `−w / ln u`, where `u` between zero and one belongs to the key and the node.
fn score(node: &Hash, key: u64) -> f64 {
    let uniform = (spread(node.hash, key) as f64 + 0.5) * (1.0 / 18_446_744_073_709_551_616.0);
    -node.weight / uniform.ln()
}

/// The candidates by hash. Nodes of one id, in two domains say, are told apart by their order.
fn in_order(candidates: &[Candidate]) -> Box<[Hash]> {
    let one = |(position, candidate): (usize, &Candidate)| Hash {
        hash: hash_key(candidate.node.id().as_str().as_bytes()),
        weight: candidate.weight,
        position: position as u32,
    };
    let mut nodes: Box<[Hash]> = candidates.iter().enumerate().map(one).collect();
    nodes.sort_unstable_by(|a, b| {
        let full = |node: &Hash| {
            let node = &candidates[node.position as usize].node;
            (node.domain(), node.id(), node.address())
        };
        a.hash.cmp(&b.hash).then_with(|| full(a).cmp(&full(b)))
    });
    let mut run = 0;
    for at in 1..nodes.len() {
        run = if nodes[at].hash == nodes[at - 1 - run as usize].hash { run + 1 } else { 0 };
        if run > 0 {
            nodes[at].hash = spread(nodes[at].hash, run);
        }
    }
    // Those that were told apart have new places.
    nodes.sort_unstable_by_key(|node| node.hash);
    nodes
}

#[cfg(test)]
mod tests;
