//! How evenly clients that keep to some of the nodes lie over all of them.

use std::collections::BTreeSet;

use callsign_core::{Node, select::subset};
use fastrand::Rng;

use super::{Findings, Study, table};
use crate::random::mix;

pub(super) const STUDY: Study = Study {
    name: "subsets",
    title: "Few nodes of many for each client",
    source: include_str!("subsets.rs"),
    about: "
Each of many clients keeps connections to some of the nodes. How many clients does each node have, at most and at least, as multiples
of the mean, and with which relative deviation? Then one node goes: how many nodes does a client exchange on average, the lost one included?
",
    published: "
`subset` is Callsign's, by the highest random weight (as gRFC A68 has it); its deviation must be within a tenth of √((1 − k/S) / (C·k/S)),
which is chance, and is. Counts of random subsets elsewhere were 1.26 and 0.75 for 90 of 300, 1.50 and 0.55 for 30, 1.99 and 0.23 for ten. The SRE book's deterministic subsets are exactly even where everything divides, such as ten of 300 for 300 clients;
the price is that clients must be numbered without gaps and that one node fewer deals out nearly all anew. An uneven
subset is no good balancer by itself: within it, choose by load. Then a node that many clients know is avoided by all of them.
",
    run,
};

/// Which of `nodes` nodes each client keeps to.
type Deal = fn(clients: usize, nodes: &[usize], size: usize) -> Vec<Vec<usize>>;

fn run() -> Findings {
    let mut findings = Findings::default();
    let mut rows = Vec::new();
    let deals: [(&str, Deal); 2] = [("subset", by_subset), ("SRE, deterministic", by_sre)];
    for (name, deal) in deals {
        for (clients, nodes, size) in
            [(300, 300, 90), (300, 300, 30), (300, 300, 10), (300, 300, 7), (100, 100, 12), (1000, 1000, 12)]
        {
            let all: Vec<usize> = (0..nodes).collect();
            let before = deal(clients, &all, size);
            let mut counts = vec![0_u32; nodes];
            before.iter().flatten().for_each(|node| counts[*node] += 1);
            let mean = (clients * size) as f64 / nodes as f64;
            let variance =
                counts.iter().map(|count| (f64::from(*count) - mean).powi(2)).sum::<f64>() / nodes as f64;
            let deviation = variance.sqrt() / mean;
            let chance = ((1.0 - size as f64 / nodes as f64) / mean).sqrt();
            let left: Vec<usize> = all.iter().copied().filter(|node| *node != nodes / 3).collect();
            let after = deal(clients, &left, size);
            let moved = before.iter().zip(&after).map(|(before, after)| exchanged(before, after));
            let (most_moved, moved) =
                (moved.clone().max().unwrap_or_default(), moved.sum::<usize>() as f64 / clients as f64);
            let of_mean = |count: Option<&u32>| f64::from(*count.unwrap_or(&0)) / mean;
            let (most, least) = (of_mean(counts.iter().max()), of_mean(counts.iter().min()));
            if name == "subset" {
                findings.expect((deviation / chance - 1.0).abs() < 0.1, || {
                    format!("{clients} clients, {size} of {nodes}: a deviation of {deviation}, and chance has {chance}")
                });
                findings.expect(most_moved <= 1, || format!("a client exchanged {most_moved} nodes for one"));
            } else if clients == 300 && size == 10 {
                findings.expect(deviation == 0.0, || format!("what divides is uneven by {deviation}"));
            }
            rows.push(vec![
                format!("{name}: {clients} clients, {size} of {nodes}"),
                format!("{most:.2}"),
                format!("{least:.2}"),
                format!("{deviation:.3}"),
                if name == "subset" { format!("{chance:.3}") } else { "-".to_owned() },
                format!("{moved:.2}"),
            ]);
        }
    }
    findings.tables.push(table(
        "",
        &["", "most / mean", "least / mean", "deviation", "by chance", "exchanged"],
        rows,
    ));
    findings
}

/// Nodes of before that a client has no more.
fn exchanged(before: &[usize], after: &[usize]) -> usize {
    let after: BTreeSet<_> = after.iter().collect();
    before.iter().filter(|node| !after.contains(node)).count()
}

/// The library's.
fn by_subset(clients: usize, nodes: &[usize], size: usize) -> Vec<Vec<usize>> {
    let named = |node: &usize| Node::builder("service", format!("node-{node}"), "127.0.0.1:1").build();
    let all: Vec<Node> = nodes.iter().map(|node| named(node).expect("a number makes a valid name")).collect();
    (0..clients)
        .map(|client| subset(&all, mix(client as u64), size).into_iter().map(|index| nodes[index]).collect())
        .collect()
}

/// The SRE book's: in each round the nodes are shuffled anew, and dealt out to as many clients as there are subsets.
fn by_sre(clients: usize, nodes: &[usize], size: usize) -> Vec<Vec<usize>> {
    let per_round = nodes.len() / size;
    let one = |client: usize| {
        let mut shuffled = nodes.to_vec();
        Rng::with_seed((client / per_round) as u64).shuffle(&mut shuffled);
        shuffled[client % per_round * size..][..size].to_vec()
    };
    (0..clients).map(one).collect()
}
