//! Where clients of a scenario hear of the nodes, and what befalls that.

use serde::Deserialize;

use super::Span;

/// A registry, with the library's own registrations and directories on it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RegistryPlan {
    /// How long an entry outlives its node, or a registry that is away.
    pub(crate) ttl: Span,
    /// One after the other.
    #[serde(default)]
    pub(crate) trouble: Vec<RegistryTrouble>,
}

/// Something that befalls the registry.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum RegistryTrouble {
    /// It cannot be reached, by nodes and clients alike.
    Away { at: Span, to: Span },
    /// It forgets all entries.
    Wiped { at: Span },
}

/// What a client believes of what the registry says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Discovery {
    /// What Callsign's directory does.
    #[default]
    Directory,
    /// All of it, at once.
    AtItsWord,
}

// === impl RegistryTrouble ===

impl RegistryTrouble {
    /// When it begins.
    pub(crate) fn at(&self) -> Span {
        match self {
            Self::Away { at, .. } | Self::Wiped { at } => *at,
        }
    }

    /// When it is over.
    pub(crate) fn end(&self) -> Span {
        match self {
            Self::Away { to, .. } => *to,
            Self::Wiped { at } => *at,
        }
    }
}
