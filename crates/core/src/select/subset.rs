//! Few nodes of many, for clients that are not to connect to all of them.
//!
//! Every client takes those nodes that come first in an order of its own: rendezvous hashing, with the client in the place of the
//! key. When a node comes or goes, a client exchanges one node at most. Over many clients each node is taken about as often; how far
//! that is off is chance (with `k` of `S` nodes and `C` clients a deviation of `√((1 − k/S) / (C·k/S))`), so a strategy that minds the
//! load should choose within a subset.

use super::key::{hash_key, spread};
use crate::model::Node;

/// The indices of the `size` nodes that `client` keeps to, in the client's order; of all nodes, if there are no more.
///
/// The same client gets the same nodes, in every process and whatever their order.
///
/// ```
/// use callsign_core::{Node, select::subset};
///
/// let nodes: Vec<_> = (0..10)
///     .map(|n| Node::builder("greeter", format!("greeter-{n}"), "127.0.0.1:4000").build())
///     .collect::<Result<_, _>>()?;
/// let mine = subset(&nodes, 7, 3);
/// assert_eq!(mine.len(), 3);
/// assert_eq!(subset(&nodes[..9], 7, 10).len(), 9);
/// # Ok::<(), callsign_core::Error>(())
/// ```
#[must_use]
pub fn subset<'a>(nodes: impl IntoIterator<Item = &'a Node>, client: u64, size: usize) -> Vec<usize> {
    let place = |(index, node): (usize, &'a Node)| {
        let id = node.id();
        (spread(hash_key(id.as_str().as_bytes()), client), id, index)
    };
    let mut order: Vec<_> = nodes.into_iter().enumerate().map(place).collect();
    order.sort_unstable();
    order.into_iter().take(size).map(|(.., index)| index).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn nodes(count: usize) -> Vec<Node> {
        (0..count)
            .map(|n| Node::builder("greeter", format!("n{n}"), "127.0.0.1:1").build().unwrap())
            .collect()
    }

    fn ids(nodes: &[Node], client: u64, size: usize) -> BTreeSet<String> {
        subset(nodes, client, size).into_iter().map(|index| nodes[index].id().to_string()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_client_keeps_its_nodes_and_exchanges_one_at_most(
            count in 2usize..60, size in 1usize..20, gone in 0usize..60, client: u64, seed: u64,
        ) {
            let all = nodes(count);
            let before = ids(&all, client, size);
            prop_assert_eq!(before.len(), size.min(count));
            let mut fewer = all.clone();
            let gone = fewer.remove(gone % count);
            fastrand::Rng::with_seed(seed).shuffle(&mut fewer);
            let after = ids(&fewer, client, size);
            prop_assert_eq!(after.len(), size.min(count - 1));
            let lost: Vec<_> = before.difference(&after).collect();
            prop_assert!(lost.iter().all(|id| **id == gone.id().as_str()), "{lost:?}");
        }
    }

    #[test]
    fn over_many_clients_nodes_are_taken_about_as_often_as_chance_has_it() {
        let (nodes, clients, size) = (nodes(100), 1000, 12);
        let mut taken = vec![0_u32; nodes.len()];
        (0..clients).for_each(|client| subset(&nodes, client, size).into_iter().for_each(|n| taken[n] += 1));
        let mean = clients as f64 * size as f64 / nodes.len() as f64;
        let share = size as f64 / nodes.len() as f64;
        let expected = ((1.0 - share) / (clients as f64 * share)).sqrt();
        let squares = taken.iter().map(|taken| (f64::from(*taken) / mean - 1.0).powi(2)).sum::<f64>();
        let deviation = (squares / nodes.len() as f64).sqrt();
        assert!((0.6..1.5).contains(&(deviation / expected)), "{deviation}, {expected} expected");
    }
}
