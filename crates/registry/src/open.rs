//! From a registry's name to the registry: one `match`.

#[cfg(feature = "etcd")]
mod etcd;

use std::sync::Arc;

use callsign_core::{
    error::{Error, ErrorKind, Result},
    memory::MemoryRegistry,
    registry::Registry,
};

#[cfg(feature = "local")]
use crate::local::{LocalConfig, LocalRegistry};
#[cfg(feature = "mdns")]
use crate::mdns::{MdnsConfig, MdnsRegistry};
use crate::{
    access::Access,
    url::{RegistryUrl, malformed},
};

const OP: &str = "open registry";

/// What this version can do, compiled in or not.
const AVAILABLE: [&str; 4] = ["etcd", "local", "mdns", "memory"];

/// What is known by name, and not there yet.
const KNOWN: [&str; 7] = ["consul", "dns", "kubernetes", "nats", "postgres", "sqlite", "zookeeper"];

/// Opens the registry that `url` names, as whom [`Access::from_env`] says.
///
/// `local:` is the folder of `LocalConfig::from_env`, `local:///path` another one.
/// `etcd:` is at 127.0.0.1:2379, `etcd://host:2379,host` the cluster of these members; with `https://` before them, or an
/// authority or certificate in the access, TLS is spoken. It is not connected to before it is used.
/// `mdns:` is the local network by all of its interfaces, `mdns://eth0,wlan0` by these.
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
///
/// # Panics
///
/// With `etcd:`, outside of a tokio runtime.
pub fn open(url: &RegistryUrl) -> Result<Arc<dyn Registry>> {
    open_by(url, Access::from_env)
}

/// Opens the registry that `url` names, as whom `access` says, whatever the environment holds.
///
/// # Errors
///
/// As [`open`].
///
/// # Panics
///
/// As [`open`].
pub fn open_with(url: &RegistryUrl, access: &Access) -> Result<Arc<dyn Registry>> {
    open_by(url, || Ok(access.clone()))
}

/// `access` is asked for by those who need it only: half a password is no concern of a folder.
#[cfg_attr(not(feature = "etcd"), expect(unused_variables, reason = "the others ask nobody who they are"))]
fn open_by(url: &RegistryUrl, access: impl FnOnce() -> Result<Access>) -> Result<Arc<dyn Registry>> {
    match url.scheme() {
        "memory" => memory(url),
        #[cfg(feature = "etcd")]
        "etcd" => Ok(Arc::new(etcd::open(url, &access()?)?)),
        #[cfg(feature = "mdns")]
        "mdns" => mdns(url),
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
        _ => Err(unknown(url)),
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

#[cfg(feature = "mdns")]
fn mdns(url: &RegistryUrl) -> Result<Arc<dyn Registry>> {
    if !matches!(url.path(), "" | "/") {
        let problem = "mDNS has no path; write `mdns:`, or `mdns://eth0` for one interface";
        return Err(malformed(&url.to_string(), problem));
    }
    let mut config = MdnsConfig::new();
    if !url.authority().is_empty() {
        config = config.with_interfaces(url.authority().split(','));
    }
    Ok(Arc::new(MdnsRegistry::open(config)?))
}

fn unknown(url: &RegistryUrl) -> Error {
    let name = url.scheme();
    let names = || AVAILABLE.iter().chain(&KNOWN).copied();
    let near = names().map(|known| (strsim::damerau_levenshtein(name, known), known)).min();
    let hint = match near {
        // For etcd, `http://` says nothing that an address without it would not.
        _ if name == "http" => format!("write `etcd://{}` if there is an etcd", url.authority()),
        _ if name == "https" => format!("write `etcd://https://{}` if there is an etcd", url.authority()),
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

        let unavailable = refused("consul://a");
        assert_eq!(unavailable.kind(), ErrorKind::Unsupported);
        assert!(unavailable.to_string().contains("not available"), "{unavailable}");
        assert!(refused("https://a:2379").hint().unwrap().contains("`etcd://https://a:2379`"));

        let malformed = refused("local://run/shop");
        assert_eq!(malformed.kind(), ErrorKind::InvalidInput);
        assert!(malformed.to_string().contains("`local:///run/shop`"), "{malformed}");
        assert!(refused("memory://here").to_string().contains("write `memory:`"));
    }

    #[cfg(not(feature = "etcd"))]
    #[test]
    fn what_is_left_out_of_this_build_is_told_with_its_feature() {
        let left_out = refused("etcd://a:2379");
        assert_eq!(left_out.kind(), ErrorKind::Unsupported);
        assert!(left_out.to_string().contains("not compiled into this build"), "{left_out}");
        assert!(left_out.hint().unwrap().contains("enable the feature `etcd`"), "{left_out:?}");
    }

    #[cfg(feature = "mdns")]
    #[test]
    fn the_local_network_has_interfaces_and_no_path() {
        open(&"mdns:".parse().unwrap()).unwrap();
        open(&"mdns://lo,eth0".parse().unwrap()).unwrap();
        assert!(refused("mdns:///greeter/x").to_string().contains("has no path"));
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
