//! Validated names. All of them are cheap to clone.

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, LazyLock},
};

use crate::error::{Error, Result};

/// Longest name in bytes; etcd keys, DNS-SD instances and file names set the limit, with room for escapes.
const NAME_BYTES_MAX: usize = 200;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and takes a name: 1 to 200 bytes, no control characters, no white space at either end.
            ///
            /// Slashes, dots, inner spaces and any script are fine; each backend escapes what it must.
            ///
            /// # Errors
            ///
            /// [`InvalidInput`](crate::ErrorKind::InvalidInput), saying which rule was broken.
            pub fn new(name: impl AsRef<str>) -> Result<Self> {
                let name = name.as_ref();
                check($what, name)?;
                Ok(Self(name.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(name: &str) -> Result<Self> {
                Self::new(name)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = Error;

            fn try_from(name: &str) -> Result<Self> {
                Self::new(name)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(name: String) -> Result<Self> {
                Self::new(name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                (*name.0).into()
            }
        }
    };
}

name! {
    /// The name a service registers under and is called by: `greeter`, `shop.cart`.
    ///
    /// ```
    /// use callsign_core::ServiceName;
    ///
    /// let name: ServiceName = "shop.cart".parse()?;
    /// assert_eq!(name, "shop.cart");
    /// let error = ServiceName::new(" cart").unwrap_err();
    /// assert!(error.to_string().ends_with("it begins or ends with white space: \" cart\""));
    /// # Ok::<(), callsign_core::Error>(())
    /// ```
    ServiceName, "service name"
}

name! {
    /// A node's identity within its service. Load statistics and health belong to it, not to an address.
    NodeId, "node id"
}

name! {
    /// A namespace of services. Nodes of one domain are not seen from another.
    ///
    /// ```
    /// use callsign_core::Domain;
    ///
    /// assert_eq!(Domain::default(), Domain::DEFAULT);
    /// let shop = Domain::new("shop")?;
    /// assert!(Domain::all().covers(&shop) && !Domain::default().covers(&shop));
    /// # Ok::<(), callsign_core::Error>(())
    /// ```
    Domain, "domain"
}

/// What identifies one entry of a registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeKey {
    /// The namespace.
    pub domain: Domain,
    /// The service.
    pub service: ServiceName,
    /// The node.
    pub id: NodeId,
}

// === impl ServiceName ===

impl ServiceName {
    /// Replaces the text by an equal one that is kept already.
    pub(super) fn share(&mut self, text: impl FnOnce(Arc<str>) -> Arc<str>) {
        self.0 = text(self.0.clone());
    }
}

// === impl Domain ===

impl Domain {
    /// The domain used when none is named; go-micro's.
    pub const DEFAULT: &str = "micro";
    /// Stands for all domains, where something is read or watched. Nothing can be registered in it.
    pub const ALL: &str = "*";

    /// All domains: for reading and watching only.
    #[must_use]
    pub fn all() -> Self {
        Self(Self::ALL.into())
    }

    /// Whether this stands for all domains.
    #[must_use]
    pub fn is_all(&self) -> bool {
        &*self.0 == Self::ALL
    }

    /// Whether an entry of the domain `other` belongs to what this one names.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.is_all() || self == other
    }
}

impl Default for Domain {
    /// [`Domain::DEFAULT`]. Shares one text, so that each of many nodes need not bring its own.
    fn default() -> Self {
        static SHARED: LazyLock<Domain> = LazyLock::new(|| Domain(Domain::DEFAULT.into()));
        SHARED.clone()
    }
}

// === impl NodeKey ===

impl fmt::Display for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.domain, self.service, self.id)
    }
}

fn check(what: &'static str, name: &str) -> Result<()> {
    let problem = if name.is_empty() {
        "it is empty".to_owned()
    } else if name.len() > NAME_BYTES_MAX {
        format!("it has {} bytes, and {NAME_BYTES_MAX} is the most", name.len())
    } else if let Some(control) = name.chars().find(|c| c.is_control()) {
        format!("it holds the control character {control:?}")
    } else if name.trim() != name {
        format!("it begins or ends with white space: {name:?}")
    } else {
        return Ok(());
    };
    Err(Error::invalid("read name", format!("that is not a {what}: {problem}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_but_usable_names_are_accepted() {
        for name in ["greeter", "shop.cart", "a/b", "héllo", "with space", "..", "日本", "a%2Fb", "*x"] {
            assert_eq!(ServiceName::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn each_broken_rule_is_named() {
        let long = "x".repeat(201);
        for (name, said) in
            [("", "empty"), (&*long, "201 bytes"), ("a\nb", "control character"), (" a", "white space")]
        {
            let error = ServiceName::new(name).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
            assert_eq!(error.kind(), crate::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn the_all_domain_covers_every_other() {
        let shop = Domain::new("shop").unwrap();
        assert!(Domain::all().covers(&shop));
        assert!(shop.covers(&shop));
        assert!(!shop.covers(&Domain::default()));
    }
}
