//! Why no node was picked.

use std::{fmt, sync::Arc};

use super::Filter;

/// Values named in a message; more would not help.
const NAMED_MAX: usize = 5;

/// Why no node was picked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoPick {
    /// There is no node at all.
    Empty,
    /// There are nodes, and none passes all filters.
    Filtered {
        /// How many nodes there are.
        nodes: usize,
        /// What each filter has turned down.
        rejections: Arc<[Rejection]>,
    },
    /// Nodes pass the filters, and none can be called now.
    NotReady {
        /// How many pass.
        candidates: usize,
    },
}

/// What one filter has turned down, taken by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The filter.
    pub filter: Filter,
    /// How many nodes do not pass it.
    pub rejected: usize,
    /// What nodes have where the filter looks: the first few values, sorted.
    pub present: Vec<String>,
}

// === impl NoPick ===

impl fmt::Display for NoPick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there is no node"),
            Self::NotReady { candidates: 1 } => f.write_str("the one node cannot be called now"),
            Self::NotReady { candidates } => write!(f, "none of {candidates} nodes can be called now"),
            Self::Filtered { nodes, rejections } => {
                write!(f, "none of {nodes} nodes passes ")?;
                for (n, rejection) in rejections.iter().enumerate() {
                    if n > 0 {
                        f.write_str(" and ")?;
                    }
                    rejection.fmt(f)?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for NoPick {}

// === impl Rejection ===

impl Rejection {
    pub(super) fn new(filter: &Filter, nodes: &[&crate::Node]) -> Self {
        let mut present: Vec<_> = nodes.iter().filter_map(|node| filter.found_in(node)).collect();
        present.sort_unstable();
        present.dedup();
        present.truncate(NAMED_MAX);
        Self {
            filter: filter.clone(),
            rejected: nodes.iter().filter(|node| !filter.passes(node)).count(),
            present: present.into_iter().map(str::to_owned).collect(),
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} do not", self.filter, self.rejected)?;
        if !self.present.is_empty() {
            write!(f, "; there is {}", self.present.join(", "))?;
        }
        f.write_str(")")
    }
}
