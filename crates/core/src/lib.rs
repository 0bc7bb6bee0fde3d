//! What a service registry, a live view of it, and a node selection *are*.
//!
//! This crate is the stable thing that authors of registry backends and of selection strategies depend on. It opens no
//! socket and reads no clock or random source of its own: time comes from `tokio::time` (which tests pause), randomness
//! and tasks are passed in.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`model`] | service names, nodes, endpoints, and the go-micro JSON they travel in |
//! | [`registry`] | the [`Registry`] trait for backends, [`RegistryExt`](registry::RegistryExt) for callers, watch events, leases |
//! | [`registration`] | nodes kept registered, whatever the registry does |
//! | [`memory`] | the registry that is always there |
//! | [`directory`] | a client's live, cached view of one registry |
//! | [`select`] | filters, strategies, and the outcome of calls fed back into them |
//! | [`health`] | which nodes are left alone for a while, because calls to them fail |
//! | [`retry`] | the only backoff and the only retry budget of the workspace |
//! | `conformance` | the suite that every backend passes; behind the feature of that name |
//! | [`tasks`] | owned background tasks |

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod directory;
pub mod error;
pub mod health;
pub mod memory;
pub mod model;
pub mod registration;
pub mod registry;
pub mod retry;
pub mod select;
pub mod tasks;

pub use self::error::{Error, ErrorKind, Result};
pub use self::model::{Domain, Endpoint, Node, NodeId, NodeKey, Service, ServiceName, Value};
pub use self::registry::{Registry, WatchEvent};
pub use self::tasks::{Tasks, WeakTasks};
