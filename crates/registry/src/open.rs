//! From a registry's name to the registry: one `match`.

use std::sync::Arc;

use callsign_core::{
    error::{Error, ErrorKind, Result},
    memory::MemoryRegistry,
    registry::Registry,
};

#[cfg(feature = "local")]
use crate::local::{LocalConfig, LocalRegistry};
use crate::url::{RegistryUrl, malformed};

const OP: &str = "open registry";

/// What this version can do, compiled in or not.
const AVAILABLE: [&str; 2] = ["local", "memory"];

/// What is known by name, and not there yet.
const KNOWN: [&str; 9] =
    ["consul", "dns", "etcd", "kubernetes", "mdns", "nats", "postgres", "sqlite", "zookeeper"];

/// Opens the registry that `url` names.
///
/// `local:` is the folder of `LocalConfig::from_env`, `local:///path` another one.
/// `memory:` is a new registry of this process alone.
///
/// ```
/// let registry = callsign_registry::open(&"memory:".parse()?)?;
/// assert_eq!(registry.to_string(), "memory");
///
/// let error = callsign_registry::open(&"locl:".parse()?).unwrap_err();
/// assert!(error.hint().is_some_and(|hint| hint.contains("`local`")));
/// # Ok::<(), callsign_core::Error>(())
/// ```
///
/// # Errors
///
/// [`Unsupported`](ErrorKind::Unsupported) when this build has no such registry, though there is one of that name;
/// [`InvalidInput`](ErrorKind::InvalidInput) when there is none, or when the registry has no use for the rest of the URL;
/// otherwise why the registry itself cannot be opened.
pub fn open(url: &RegistryUrl) -> Result<Arc<dyn Registry>> {
    match url.scheme() {
        "memory" => memory(url),
        #[cfg(feature = "local")]
        "local" => local(url),
        name if AVAILABLE.contains(&name) => Err(Error::new(
            ErrorKind::Unsupported,
            OP,
            format!("the registry {name} is not compiled into this build"),
        )
        .with_hint(format!("enable the feature `{name}` of the crate callsign, or use `memory:`"))),
        name if KNOWN.contains(&name) => Err(Error::new(
            ErrorKind::Unsupported,
            OP,
            format!("the registry {name} is not available in this version of Callsign"),
        )
        .with_hint("use `local:`, which needs nothing installed")),
        name => Err(unknown(name)),
    }
}

fn memory(url: &RegistryUrl) -> Result<Arc<dyn Registry>> {
    if url.authority().is_empty() && url.path().is_empty() {
        Ok(Arc::new(MemoryRegistry::new()))
    } else {
        Err(malformed(
            &url.to_string(),
            "the memory registry is nowhere but in this process; write `memory:`",
        ))
    }
}

#[cfg(feature = "local")]
fn local(url: &RegistryUrl) -> Result<Arc<dyn Registry>> {
    if !url.authority().is_empty() {
        let path = format!("local:///{}{}", url.authority(), url.path());
        let problem = format!("the local registry has no host; for a folder write three slashes: `{path}`");
        return Err(malformed(&url.to_string(), &problem));
    }
    let config = if url.path().is_empty() { LocalConfig::from_env() } else { LocalConfig::new(url.path()) };
    Ok(Arc::new(LocalRegistry::open(config)?))
}

fn unknown(name: &str) -> Error {
    let names = || AVAILABLE.iter().chain(&KNOWN).copied();
    let near = names().map(|known| (strsim::damerau_levenshtein(name, known), known)).min();
    let hint = match near {
        Some((distance, known)) if distance <= 2 => format!("did you mean `{known}`?"),
        _ => format!("known are {}", names().collect::<Vec<_>>().join(", ")),
    };
    Error::invalid(OP, format!("there is no registry called {name:?}")).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> Error {
        open(&url.parse().unwrap()).unwrap_err()
    }

    #[test]
    fn unknown_unavailable_and_malformed_are_three_different_errors() {
        let unknown = refused("ectd://a");
        assert_eq!(unknown.kind(), ErrorKind::InvalidInput);
        assert!(unknown.to_string().contains("no registry called"), "{unknown}");
        assert_eq!(unknown.hint(), Some("did you mean `etcd`?"));
        assert!(refused("gopher:").hint().unwrap().contains("consul, dns"));

        let unavailable = refused("etcd://a");
        assert_eq!(unavailable.kind(), ErrorKind::Unsupported);
        assert!(unavailable.to_string().contains("not available"), "{unavailable}");

        let malformed = refused("local://run/shop");
        assert_eq!(malformed.kind(), ErrorKind::InvalidInput);
        assert!(malformed.to_string().contains("`local:///run/shop`"), "{malformed}");
        assert!(refused("memory://here").to_string().contains("write `memory:`"));
    }

    #[cfg(feature = "local")]
    #[test]
    fn a_path_names_the_folder() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("call sign");
        let url = format!("local://{}", folder.display().to_string().replace(' ', "%20"));
        let registry = open(&url.parse().unwrap()).unwrap();
        assert_eq!(registry.to_string(), format!("local:{}", folder.display()));
        assert!(folder.is_dir());
    }
}
