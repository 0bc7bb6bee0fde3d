//! Why a pick may return a node, and why not.

use std::{fmt, sync::Arc};

use super::{Filter, load};
use crate::model::{Node, NodeId};

/// How one node stands with the next pick: [`Slate::explain`](super::Slate::explain).
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// The pick may return it.
    Candidate {
        /// The share of calls that may go to it and to those like it, above 0 and up to 1. Less than 1 where a
        /// [`Shape`](super::Shape) divides them.
        share: f64,
        /// Why it gets calls that the shape has meant for others, if so.
        instead: Option<Arc<str>>,
        /// What is against it, if it is only taken since no other node can be.
        despite: Option<PassedOver>,
    },
    /// The pick does not return it, but for a draw of lots that fails: for this one reason.
    PassedOver(PassedOver),
}

/// Why a pick does not return a node. Displayed, it goes on from "it is passed over: ".
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PassedOver {
    /// It does not meet a condition.
    Filtered {
        /// The condition.
        filter: Filter,
        /// What the node has where the condition looks, if it has anything.
        found: Option<String>,
    },
    /// It meets none of the preferences, and no other node is to be called.
    NotPreferred,
    /// It is registered with a weight of zero: it wants no calls, most likely because it is draining.
    NoWeight,
    /// It cannot be called: not connected, or by its own word not serving.
    NotReady,
    /// It has said that it leaves.
    Leaving,
    /// It is left alone for a while ([health](crate::health)).
    Ejected,
    /// It was left alone, and has the one call already that it is to prove itself with.
    Probing,
    /// This call has tried it before.
    Tried,
    /// It is on a side of a split that the call does not fall on.
    OtherSide {
        /// What the nodes on its side have in common; none for those beside all splits.
        side: Option<String>,
        /// Whether it was the call's key that decided. If not, its side gets no calls.
        by_key: bool,
    },
    /// Nodes of another preference can be called.
    OtherPreference {
        /// Which; none for nodes that meet no preference.
        preferred: Option<String>,
    },
    /// Nodes in nearer zones can take all calls.
    OtherZone {
        /// The zones that do.
        nearer: Vec<String>,
        /// Whether it gets calls all the same while a nearer node is far busier: a zone of its own may, with strategies that compare.
        unless_busy: bool,
    },
    /// It became ready after the snapshot was made, and others can take the call. The next one has it.
    New,
    /// The strategy draws from fewer nodes than there are, the same for this client each time.
    OutsideAperture {
        /// From how many it draws.
        drawn_from: usize,
        /// Of how many.
        nodes: usize,
    },
    /// The call's key leads to another node.
    OtherKey {
        /// Which.
        home: NodeId,
    },
}

// === impl Standing ===

impl Standing {
    /// Whether the pick may return the node.
    #[must_use]
    pub fn is_candidate(&self) -> bool {
        matches!(self, Self::Candidate { .. })
    }
}

// === impl PassedOver ===

impl PassedOver {
    /// That `node` does not meet `filter`.
    #[must_use]
    pub fn filtered(filter: &Filter, node: &Node) -> Self {
        Self::Filtered { filter: filter.clone(), found: filter.found_in(node).map(str::to_owned) }
    }
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filtered { filter: Filter::Custom(custom), .. } => {
                write!(f, "turned down by the filter {}", custom.name())
            }
            Self::Filtered { filter: Filter::Endpoint(name), .. } => write!(f, "it does not offer {name}"),
            Self::Filtered { filter, found: Some(found) } => {
                write!(f, "{filter} is asked for, and it has {found}")
            }
            Self::Filtered { filter, found: None } => write!(f, "{filter} is asked for, and it has none"),
            Self::NotPreferred => f.write_str("it meets no preference, and no others are to be called"),
            Self::NoWeight => f.write_str("its weight is 0: it is draining, or wants no calls"),
            Self::NotReady => f.write_str("it is not ready"),
            Self::Leaving => f.write_str("it is leaving, by its own word"),
            Self::Ejected => f.write_str("it is ejected"),
            Self::Probing => f.write_str("it is probing, and has the one call that it may have"),
            Self::Tried => f.write_str("the call has tried it already"),
            Self::OtherSide { side: Some(side), by_key: true } => {
                write!(f, "the call's key does not fall on the share of {side}")
            }
            Self::OtherSide { side: None, by_key: true } => {
                f.write_str("the call's key falls on a split that it does not belong to")
            }
            Self::OtherSide { side: Some(side), by_key: false } => write!(f, "{side} gets 0 % of the calls"),
            Self::OtherSide { side: None, by_key: false } => f.write_str("the splits take all calls"),
            Self::OtherPreference { preferred: Some(preferred) } => {
                write!(f, "nodes of {preferred} are preferred, and can be called")
            }
            Self::OtherPreference { preferred: None } => {
                f.write_str("its preference holds again, and is returned to in a moment")
            }
            Self::OtherZone { nearer, .. } if nearer.is_empty() => {
                f.write_str("the nodes elsewhere take all calls")
            }
            Self::OtherZone { nearer, unless_busy } => {
                let how = if *unless_busy { "the calls unless they are far busier" } else { "all calls" };
                write!(f, "nearer nodes, in {}, take {how}", nearer.join(" and "))
            }
            Self::New => f.write_str("it has just become ready"),
            Self::OutsideAperture { drawn_from, nodes } => write!(
                f,
                "it is outside the aperture: this client compares {drawn_from} of the {nodes} nodes, always the same"
            ),
            Self::OtherKey { home } => write!(f, "the call's key leads to {home}"),
        }
    }
}

/// What is against a node of these flags, and of so many calls in flight.
pub(super) fn objection(flags: u8, mask: u8, inflight: impl FnOnce() -> u32) -> Option<PassedOver> {
    if load::is_usable(flags, mask, inflight) {
        None
    } else if !load::is_ready(flags) {
        Some(PassedOver::NotReady)
    } else if load::is_leaving(flags) {
        Some(PassedOver::Leaving)
    } else if load::is_ejected(flags) {
        Some(PassedOver::Ejected)
    } else {
        Some(PassedOver::Probing)
    }
}
