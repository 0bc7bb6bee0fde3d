//! How a node is written in a registry: go-micro's JSON of a service, with that one node in it.
//!
//! [`encode`] writes what go-micro (since v4.10.2) writes, byte for byte, so that a Go client reads a Rust node. [`decode`]
//! reads what any go-micro version ever wrote, and what people write by hand: fields in any order and any case, `null`,
//! missing or unknown ones, several nodes in one service, the separate integer `port` of very old fleets. A node that
//! cannot be understood is set aside with the reason and spoils none of its neighbours.
//!
//! Whoever reads many entries does so through one [`Decoder`], which keeps equal texts, metadata and endpoints once: the
//! entries of a service repeat each other in all but the node's id and address.

mod decode;
mod encode;
mod fields;
mod pool;
#[cfg(test)]
mod tests;

pub use self::decode::{Decoder, Entry, decode};
pub use self::encode::encode;
