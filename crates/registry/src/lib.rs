//! Registry backends for Callsign, one feature-gated module each.
//!
//! | Feature | Registry | Where entries are |
//! |---|---|---|
//! | (always) | `memory:` | in this process |
//! | `local` (default) | `local:` | one file a node in a folder of this user |
//! | `etcd` | `etcd://host:2379` | one key a node in an etcd cluster, as go-micro writes it |
//! | `mdns` | `mdns:` | with the nodes themselves, which answer for them by multicast on their link |
//!
//! [`open`] leads from such a name to the registry, and [`from_env`] from what the environment names.

mod access;
mod env;
#[cfg(feature = "etcd")]
pub mod etcd;
#[cfg(any(feature = "local", feature = "mdns"))]
mod hash;
#[cfg(feature = "local")]
pub mod local;
#[cfg(feature = "mdns")]
pub mod mdns;
mod open;
mod url;

pub use self::access::Access;
pub use self::env::from_env;
pub use self::open::{open, open_with};
pub use self::url::RegistryUrl;
