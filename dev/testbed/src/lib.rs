//! What tests stand on that is not ours: a real etcd, alone or three of them, the network between, certificates, and with the
//! feature `collector` a collector of traces.
//!
//! Everything here is real: processes, sockets, files. A process is killed with its guard, and also when the test's own
//! process dies without having dropped it. What goes wrong in here is no result of a test, so it panics and says what is missing.

pub mod certs;
mod cluster;
#[cfg(feature = "collector")]
pub mod collector;
mod etcd;
mod gateway;
mod handshake;
mod ports;
mod proxy;
pub mod room;
mod supervised;

use std::time::Duration;

pub use self::cluster::EtcdCluster;
pub use self::etcd::{Data, EtcdBuilder, EtcdServer};
pub use self::gateway::Entry;
pub use self::proxy::Proxy;

/// How long anything here may take on a busy machine before it counts as broken.
const PATIENCE: Duration = Duration::from_secs(60);
