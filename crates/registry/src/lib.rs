//! Registry backends for Callsign, one feature-gated module each.

mod open;
mod url;

pub use self::open::open;
pub use self::url::RegistryUrl;
