//! Colours: only where a person sees them, and never the only sign.

use std::fmt::Display;

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal that has not been told otherwise by `NO_COLOR` or `TERM=dumb`.
    Auto,
    /// Even into a pipe.
    Always,
    /// Nowhere.
    Never,
}

/// Adds colours, or leaves text as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paint {
    on: bool,
}

// === impl Paint ===

impl Paint {
    /// No colours.
    pub(crate) const OFF: Self = Self { on: false };

    /// Colours when `on`.
    pub(crate) fn new(on: bool) -> Self {
        Self { on }
    }

    pub(crate) fn bold(self, text: impl Display) -> String {
        self.wrap("1", text)
    }

    pub(crate) fn dim(self, text: impl Display) -> String {
        self.wrap("2", text)
    }

    pub(crate) fn good(self, text: impl Display) -> String {
        self.wrap("32", text)
    }

    pub(crate) fn warn(self, text: impl Display) -> String {
        self.wrap("33", text)
    }

    pub(crate) fn bad(self, text: impl Display) -> String {
        self.wrap("31", text)
    }

    pub(crate) fn error(self, text: impl Display) -> String {
        self.wrap("1;31", text)
    }

    pub(crate) fn accent(self, text: impl Display) -> String {
        self.wrap("36", text)
    }

    fn wrap(self, code: &str, text: impl Display) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }
}
