//! Nodes that say that they leave.

use super::*;

#[test]
fn a_node_that_leaves_is_picked_only_where_no_other_can_be() {
    for strategy in strategies() {
        let nodes = members(3);
        let loads: Vec<Load> = nodes.iter().map(|member| member.load.clone()).collect();
        let slate = slate(&strategy, nodes);
        // At once, and without a new slate.
        loads[1].set_leaving(true);
        let counts = shares(&slate, 300);
        assert_eq!(counts[1], 0, "{strategy}: {counts:?}");

        loads[0].set_leaving(true);
        loads[2].set_ready(false);
        let counts = shares(&slate, 300);
        assert!(counts[0] > 0 && counts[1] > 0 && counts[2] == 0, "{strategy}: {counts:?}");

        loads[1].set_leaving(false);
        assert_eq!(shares(&slate, 300), [0, 300, 0], "{strategy}");
    }
}

#[test]
fn where_a_filter_leaves_no_other_it_is_picked() {
    let nodes = vec![member("n0", |node| node.group("blue")), member("n1", |node| node.group("green"))];
    nodes[0].load.set_leaving(true);
    let slate = slate(&Strategy::default(), nodes);
    let blue = Filters::default().and(Filter::group("blue"));
    let request = PickRequest { filters: Some(&blue), ..PickRequest::default() };
    assert_eq!(slate.pick(&request, &mut rng()).unwrap().index, 0);
}

#[test]
fn those_that_leave_count_neither_for_panic_nor_against_it() {
    let slate_of = |leaving: usize, ejected: usize, all: usize| {
        let nodes = members(all);
        nodes[..leaving].iter().for_each(|member| member.load.set_leaving(true));
        nodes[leaving..leaving + ejected].iter().for_each(|member| member.load.eject());
        slate(&Strategy::default(), nodes)
    };
    // Three leave, one of four others is ejected: no panic, although most cannot be used.
    assert!(!slate_of(3, 1, 7).is_in_panic());
    // Of the four that stay, three are ejected.
    let slate = slate_of(3, 3, 7);
    assert!(slate.is_in_panic());
    let counts = shares(&slate, 500);
    assert_eq!(counts[..3], [0, 0, 0], "what is a fact holds in panic too: {counts:?}");
    assert!(counts[3..].iter().all(|&count| count > 0), "{counts:?}");
}
