//! From settings to an open registry.

use std::sync::Arc;

use callsign::{
    core::{Error, Registry},
    registry::{Access, RegistryUrl, open_with},
};

use super::{Setting, Settings, Source};
use crate::error::Result;

/// Opens the registry that the settings name.
///
/// # Errors
///
/// Two settings that contradict each other, or what the registry's own opening says; with the place of the setting.
pub(crate) fn open_registry(settings: &Settings) -> Result<Arc<dyn Registry>> {
    let url = registry_url(settings)?;
    // Half a password is no concern of a folder.
    let access = if url.is_hostless() { Access::new() } else { settings.access.access()? };
    open_with(&url, &access).map_err(|error| settings.registry.blame(error.into()))
}

/// Which registry the settings name.
///
/// # Errors
///
/// Two settings that contradict each other, with the place of the setting.
pub(crate) fn registry_url(settings: &Settings) -> Result<RegistryUrl> {
    url(&settings.registry, settings.registry_address.as_ref())
}

/// Puts the registry and its address together. An address from a weaker place than a registry that is whole by itself is
/// meant for another one.
fn url(registry: &Setting<String>, address: Option<&Setting<String>>) -> Result<RegistryUrl> {
    let url: RegistryUrl = registry.value.parse().map_err(|error: Error| registry.blame(error.into()))?;
    match address {
        None => Ok(url),
        Some(address) if registry.source.rank() < address.source.rank() && url.needs_no_address() => Ok(url),
        Some(address) => {
            url.with_address(&address.value).map_err(|error| address.blame(registry.blame(error.into())))
        }
    }
}

// === impl Source ===

impl Source {
    /// Smaller wins.
    fn rank(&self) -> u8 {
        match self {
            Self::Flag(_) => 0,
            Self::Env(name) if name.starts_with("CALLSIGN_") => 1,
            Self::Env(_) => 2,
            Self::File(_) => 3,
            Self::BuiltIn => 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Paint;

    const FLAG: Source = Source::Flag("--registry");
    const OURS: Source = Source::Env("CALLSIGN_REGISTRY_ADDRESS");
    const THEIRS: Source = Source::Env("MICRO_REGISTRY_ADDRESS");

    fn together(registry: (&str, Source), address: (&str, Source)) -> Result<String, String> {
        let set = |(value, source): (&str, Source)| Setting { value: value.to_owned(), source };
        url(&set(registry), Some(&set(address)))
            .map(|url| url.to_string())
            .map_err(|error| error.render(Paint::OFF))
    }

    #[test]
    fn a_kind_and_an_address_make_a_registry() {
        assert_eq!(together(("etcd", FLAG), ("10.0.0.5:2379", THEIRS)).unwrap(), "etcd://10.0.0.5:2379");
        assert_eq!(
            together(("etcd", THEIRS), ("10.0.0.5, https://10.0.0.6:2379/", THEIRS)).unwrap(),
            "etcd://10.0.0.5,https://10.0.0.6:2379"
        );
        assert_eq!(together(("local", OURS), ("/run/shop", OURS)).unwrap(), "local:///run/shop");
    }

    #[test]
    fn an_address_meant_for_another_registry_is_left_alone() {
        assert_eq!(together(("etcd://a:1", FLAG), ("b:2", THEIRS)).unwrap(), "etcd://a:1");
        for kind in ["local", "mdns"] {
            assert_eq!(together((kind, FLAG), ("10.0.0.5:2379", THEIRS)).unwrap(), format!("{kind}:"));
        }
    }

    #[test]
    fn an_address_without_a_registry_that_has_one_says_so() {
        let error = together(("local", Source::BuiltIn), ("10.0.0.5:2379", THEIRS)).unwrap_err();
        assert!(error.contains("MICRO_REGISTRY_ADDRESS") && error.contains("`etcd`"), "{error}");
    }

    #[test]
    fn two_addresses_are_a_contradiction() {
        let error = together(("etcd://a:1", THEIRS), ("b:2", OURS)).unwrap_err();
        assert!(error.contains("given twice: etcd://a:1 and b:2"), "{error}");
        assert!(error.contains("CALLSIGN_REGISTRY_ADDRESS"), "{error}");
    }
}
