//! The part of the environment that has a say.

use std::{collections::BTreeMap, path::PathBuf};

/// A copy of the environment variables that matter, so that a test can bring its own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Env(BTreeMap<String, String>);

// === impl Env ===

impl Env {
    /// Reads the process's environment. What is not Unicode cannot be a setting of ours.
    pub(crate) fn read() -> Self {
        Self(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
        )
    }

    /// A variable's value. An empty one counts as not set, as `NAME= command` means it.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The user's folder for configuration.
    pub(crate) fn config_dir(&self) -> Option<PathBuf> {
        let base = match self.get("XDG_CONFIG_HOME") {
            Some(base) => PathBuf::from(base),
            None => PathBuf::from(self.get("HOME")?).join(".config"),
        };
        Some(base.join("callsign"))
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Env {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }
}
