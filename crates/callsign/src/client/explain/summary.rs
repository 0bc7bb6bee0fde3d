//! The one sentence that says where a call goes, or why it goes nowhere.

use std::collections::BTreeMap;

use callsign_core::select::PickRequest;

use super::{NodeExplanation, Obstacle, shortage::shortage};
use crate::client::{
    CallOptions,
    options::Place,
    roster::{Roster, State},
};

/// Candidates named in the sentence; the others are in the list.
const NAMED_MAX: usize = 3;

/// The sentence for `nodes`.
pub(super) fn summary(
    roster: &Roster,
    state: &State,
    options: &CallOptions,
    nodes: &[NodeExplanation],
) -> String {
    let takers: Vec<_> = nodes.iter().filter(|node| node.is_candidate()).collect();
    if takers.is_empty() {
        return nobody(roster, state, options, nodes);
    }
    let names =
        || takers.iter().take(NAMED_MAX).map(|node| node.node.id().as_str()).collect::<Vec<_>>().join(", ");
    let mut text = match (takers.len(), nodes.len()) {
        (1, 1) => format!("{} takes the next call: it is the only node", names()),
        (1, all) => format!("{} of {all} nodes takes the next call", names()),
        (some, all) if some == all => format!("any of {all} nodes may take the next call"),
        (some, all) if some <= NAMED_MAX => format!("{} of {all} nodes may take the next call", names()),
        (some, all) => format!("{some} of {all} nodes may take the next call"),
    };
    if let Some(remark) = takers.iter().find_map(|node| node.remark()) {
        text.push_str(&format!(", since {remark}"));
    }
    text + &passed_over(nodes, "does not")
}

/// Names the node that is passed over for what most are, and the reason: it `does` not take the call, or did not. Nothing if there is none.
pub(super) fn passed_over(nodes: &[NodeExplanation], does: &str) -> String {
    let Some((node, same, others)) = foremost(nodes) else { return String::new() };
    let more = match (same, others) {
        (0, 0) => String::new(),
        (same, 0) => format!(" (and {same} more for the like)"),
        (0, others) => format!(" (and {others} for other reasons)"),
        (same, others) => format!(" (and {same} more for the like, {others} for other reasons)"),
    };
    format!("; {} {does}: {}{more}", node.node.id(), node.remark().unwrap_or_default())
}

/// The node that is passed over for what most are, how many more are for the like, and how many for something else.
fn foremost(nodes: &[NodeExplanation]) -> Option<(&NodeExplanation, usize, usize)> {
    let code = |node: &NodeExplanation| node.obstacle.as_ref().map_or("", Obstacle::code);
    // Where the call has been is told apart from that.
    let passed = || nodes.iter().filter(|node| !node.is_candidate() && code(node) != "tried");
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    passed().for_each(|node| *counts.entry(code(node)).or_default() += 1);
    let (most, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    let node = passed().find(|node| code(node) == most)?;
    Some((node, count - 1, passed().count() - count))
}

/// What a call would be told.
fn nobody(roster: &Roster, state: &State, options: &CallOptions, nodes: &[NodeExplanation]) -> String {
    let service = &roster.service;
    let one = |node: &NodeExplanation| {
        format!("{} does not take the next call: {}", node.node.id(), node.remark().unwrap_or_default())
    };
    let meant = |node: &&NodeExplanation| node.obstacle != Some(Obstacle::NotMeant);
    match (options.place(), nodes.iter().find(meant)) {
        (Some(_), Some(node)) => return one(node),
        (Some(Place::Node(id)), None) => return format!("{service} has no node {id}"),
        (Some(Place::Address(address)), None) => {
            return format!("the next call goes to {address}, where no node of {service} is registered");
        }
        (None, _) => {}
    }
    let request = PickRequest { filters: Some(&options.filters), exclude: &[], hash: options.hash };
    match state.slate.pick(&request, &mut roster.rng()) {
        Err(why) => shortage(roster, state, &options.filters, &why).message,
        Ok(_) => format!("a node of {service} has become ready this moment"),
    }
}
