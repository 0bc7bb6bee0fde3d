//! Why there is no node for a call, in words that say what to do.

use callsign_core::{
    Error,
    select::{Filters, NoPick},
};

use crate::client::{
    roster::{Roster, State},
    source::Known,
};

/// Nodes named in a message; more would not help.
const NAMED_MAX: usize = 3;

/// Whether waiting may help, and what to say if one does not wait.
pub(crate) struct Shortage {
    /// A node is being connected for the first time, or the registry has not answered yet.
    pub(crate) hopeful: bool,
    pub(crate) message: String,
}

/// Explains why `state` has no node for a call that asked for `filters`.
pub(crate) fn shortage(roster: &Roster, state: &State, filters: &Filters, why: &NoPick) -> Shortage {
    let Roster { service, origin, .. } = roster;
    let hopeless = |message| Shortage { hopeful: false, message };
    match (why, &state.known) {
        (NoPick::Empty, Known::Pending) => {
            Shortage { hopeful: true, message: format!("{origin} has not answered yet who serves {service}") }
        }
        (NoPick::Empty, Known::Failed(error)) => {
            hopeless(format!("{origin} cannot be asked who serves {service}: {}", taught(error)))
        }
        (NoPick::Empty, Known::Absent) => hopeless(format!(
            "no node of {service} is known: none is registered in {origin}; `callsign ls` shows who is"
        )),
        (NoPick::Empty, Known::Nodes(_)) if !state.unfit.is_empty() => hopeless(format!(
            "none of the registered nodes of {service} can be called: {}",
            some(state.unfit.iter().cloned())
        )),
        (NoPick::Empty, Known::Nodes(nodes)) if nodes.is_empty() => {
            hopeless(format!("all nodes of {service} have left {origin}"))
        }
        // With a subset they do not come as far as a pick.
        (NoPick::Empty, Known::Nodes(nodes)) if !nodes.iter().any(|node| roster.filters.pass(node)) => {
            hopeless(format!("{service}: none of {} nodes passes {}", nodes.len(), roster.filters))
        }
        (NoPick::Empty, Known::Nodes(_)) => Shortage {
            hopeful: true,
            message: format!("the nodes of {service} are being looked at for the first time"),
        },
        (NoPick::NotReady { .. }, _) => not_ready(roster, state, filters),
        (why, _) => hopeless(format!("{service}: {why}")),
    }
}

/// Nodes there are, but none is connected.
fn not_ready(roster: &Roster, state: &State, filters: &Filters) -> Shortage {
    let asked = roster.filters.and_all(filters);
    let members = state.slate.members().iter().filter(|member| asked.pass(&member.node));
    let (mut waiting, mut refusing) = (Vec::new(), Vec::new());
    for member in members {
        match member.handle.refusal() {
            Some(why) => refusing.push((&member.handle, why)),
            None => waiting.push(&member.handle),
        }
    }
    if waiting.is_empty() {
        let nodes = match refusing.len() {
            1 => "the one node".to_owned(),
            n => format!("all {n} nodes"),
        };
        let reasons = refusing.iter().map(|(link, why)| format!("{}: {why}", link.id));
        let away = refusing.iter().all(|(link, _)| link.error().is_some());
        let how = if away { "reached" } else { "called" };
        let message = format!("{nodes} of {} cannot be {how}: {}", roster.service, some(reasons));
        return Shortage { hopeful: false, message };
    }
    let waiting = waiting.iter().map(ToString::to_string);
    Shortage {
        hopeful: true,
        message: format!("no node of {} is connected yet: {}", roster.service, some(waiting)),
    }
}

fn some(reasons: impl ExactSizeIterator<Item = String>) -> String {
    let more = reasons.len().saturating_sub(NAMED_MAX);
    // Only those that are named are put into words.
    let mut text = reasons.take(NAMED_MAX).collect::<Vec<_>>().join("; ");
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    text
}

fn taught(error: &Error) -> String {
    match error.hint() {
        Some(hint) => format!("{}; {hint}", error.chain()),
        None => error.chain(),
    }
}
