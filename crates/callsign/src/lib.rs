//! Call services by name: a server registers itself, a client calls it by its name, and the best live node answers.
//!
//! | Feature | Default | What it adds |
//! |---|---|---|
//! | `local` | yes | the registry of one user on one machine, which servers and clients use when they are told of no other |
//! | `etcd` | no | the registry in an etcd cluster, shared with go-micro fleets |
//! | `mdns` | no | the registry without a server: nodes answer for themselves on their link, as go-micro's do |

pub mod client;
mod deadline;
mod grpc_timeout;
mod orca;
pub mod server;

pub use callsign_core as core;
pub use callsign_core::{Error, ErrorKind, Result};
pub use callsign_registry as registry;

#[doc(inline)]
pub use self::client::{CallOptions, CallReport, Channel};
pub use self::deadline::Deadline;
#[doc(inline)]
pub use self::server::Server;

/// Any error, where a trait asks for no more than that.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Takes in the code that `callsign-build` generated for a protobuf package: messages, clients, servers and
/// `FILE_DESCRIPTOR_SET`.
///
/// ```text
/// pub mod greeter {
///     callsign::include_proto!("greeter");
/// }
/// ```
#[macro_export]
macro_rules! include_proto {
    ($package:literal) => {
        include!(concat!(env!("OUT_DIR"), "/", $package, ".rs"));
    };
}
