//! Which registry the environment names. Together with what the backends say they read in their own `from_env`, the only place
//! of this crate that looks at it.

use std::{ffi::OsString, sync::Arc};

use callsign_core::{
    error::{Error, Result},
    registry::Registry,
};

use crate::{open::open, url::RegistryUrl};

const OP: &str = "read the registry from the environment";

/// The variables that name a registry and its address, the stronger first. The `MICRO_` ones are those that go-micro reads.
const REGISTRY: [&str; 2] = ["CALLSIGN_REGISTRY", "MICRO_REGISTRY"];
const ADDRESS: [&str; 2] = ["CALLSIGN_REGISTRY_ADDRESS", "MICRO_REGISTRY_ADDRESS"];

/// The registry when the environment names none.
const BUILT_IN: &str = "local";

/// Opens the registry that the environment names, `local:` if it names none: what servers and channels use when they are
/// given no registry, so that where a program registers can be decided where it is started.
///
/// | Variable | Holds |
/// |---|---|
/// | `CALLSIGN_REGISTRY`, else `MICRO_REGISTRY` | a kind (`etcd`), or a whole URL (`etcd://10.0.0.1:2379`) |
/// | `CALLSIGN_REGISTRY_ADDRESS`, else `MICRO_REGISTRY_ADDRESS` | the address of a kind; several with commas between them |
///
/// What else is read depends on the registry: see [`open`](crate::open).
///
/// # Errors
///
/// Variables that make no sense or contradict each other, and what [`open`](crate::open) says.
pub fn from_env() -> Result<Arc<dyn Registry>> {
    open(&RegistryUrl::from_env()?)
}

// === impl RegistryUrl ===

impl RegistryUrl {
    /// What the environment names, by the variables of [`from_env`]; `local:` if it names nothing.
    ///
    /// # Errors
    ///
    /// Variables that make no sense or contradict each other.
    pub fn from_env() -> Result<Self> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        // The place in the list tells how strong a variable is.
        let first = |names: [&'static str; 2]| {
            let found = names.into_iter().enumerate().find_map(|(rank, name)| {
                Some((rank, name, variable(name).filter(|value| !value.is_empty())?))
            });
            found
                .map(|(rank, name, value)| match value.into_string() {
                    Ok(value) => Ok((rank, name, value)),
                    Err(_) => {
                        Err(Error::invalid(OP, format!("the environment variable {name} is not UTF-8")))
                    }
                })
                .transpose()
        };
        let registry = first(REGISTRY)?;
        let blamed = |error: Error| match &registry {
            Some((_, name, _)) => blame(error, name),
            None => error,
        };
        let (rank, text) =
            registry.as_ref().map_or((usize::MAX, BUILT_IN), |(rank, _, text)| (*rank, text.as_str()));
        let url: Self = text.parse().map_err(blamed)?;
        match first(ADDRESS)? {
            None => Ok(url),
            Some((address_rank, _, _)) if rank < address_rank && url.needs_no_address() => Ok(url),
            Some((_, name, address)) => url.with_address(&address).map_err(|error| blame(error, name)),
        }
    }
}

/// Says in which variable the cause lies.
fn blame(error: Error, name: &str) -> Error {
    let hint = error.hint().map_or_else(|| "correct it".to_owned(), str::to_owned);
    Error::invalid(OP, format!("the environment variable {name} makes no sense"))
        .with_hint(hint)
        .with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(variables: &[(&str, &str)]) -> Result<String, String> {
        let url = RegistryUrl::from_variables(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        });
        url.map(|url| url.to_string()).map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn nothing_named_is_local() {
        assert_eq!(named(&[]).unwrap(), "local:");
        assert_eq!(named(&[("CALLSIGN_REGISTRY", "")]).unwrap(), "local:");
    }

    #[test]
    fn go_micros_variables_are_read_and_ours_win() {
        let theirs = [("MICRO_REGISTRY", "etcd"), ("MICRO_REGISTRY_ADDRESS", "10.0.0.1:2379, 10.0.0.2")];
        assert_eq!(named(&theirs).unwrap(), "etcd://10.0.0.1:2379,10.0.0.2");
        assert_eq!(
            named(&[&theirs[..], &[("CALLSIGN_REGISTRY", "etcd://a:1")]].concat()).unwrap(),
            "etcd://a:1"
        );
        assert_eq!(
            named(&[&theirs[..], &[("CALLSIGN_REGISTRY_ADDRESS", "https://a:1")]].concat()).unwrap(),
            "etcd://https://a:1"
        );
        // An address that was meant for another registry.
        for alone in ["local", "mdns"] {
            let ours = [("CALLSIGN_REGISTRY", alone)];
            assert_eq!(named(&[&theirs[..], &ours].concat()).unwrap(), format!("{alone}:"));
        }
    }

    #[test]
    fn what_makes_no_sense_is_blamed_on_its_variable() {
        for (variables, said) in [
            (&[("CALLSIGN_REGISTRY", "://x")][..], &["CALLSIGN_REGISTRY makes no sense"][..]),
            (
                &[("MICRO_REGISTRY_ADDRESS", "10.0.0.1:2379")],
                &["MICRO_REGISTRY_ADDRESS makes no sense", "local registry has no host", "`etcd`"],
            ),
            (
                &[("MICRO_REGISTRY", "etcd://a:1"), ("MICRO_REGISTRY_ADDRESS", "b:2")],
                &["MICRO_REGISTRY_ADDRESS makes no sense", "given twice: etcd://a:1 and b:2"],
            ),
        ] {
            let error = named(variables).unwrap_err();
            for said in said {
                assert!(error.contains(said), "{said:?} is not in {error}");
            }
        }
    }
}
