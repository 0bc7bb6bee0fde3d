//! Call services by name: a server registers itself, a client calls it by its name, and the best live node answers.
//!
//! | Feature | Default | What it adds |
//! |---|---|---|
//! | `local` | yes | the registry of one user on one machine, which servers and clients use when they are told of no other |
//! | `etcd` | no | the registry in an etcd cluster, shared with go-micro fleets |
//! | `mdns` | no | the registry without a server: nodes answer for themselves on their link, as go-micro's do |
//! | `tls` | no | TLS and mutual TLS between clients and servers: rustls, a dozen crates, one of which compiles C |
//! | `otlp` | no | the spans of calls to an OpenTelemetry collector, and its ids in the headers of calls |

pub mod client;
mod deadline;
mod draining;
mod frame;
mod grpc_timeout;
pub mod metrics;
mod operator;
mod orca;
mod previous_attempts;
mod probe;
pub mod server;
pub mod trace;

/// TLS and mutual TLS: whom to trust, what to show, from PEM text or from files that are read again when they change.
///
/// A server is given a [`ServerTls`](tls::ServerTls) by [`Builder::tls`](server::Builder::tls) and publishes that it speaks TLS. A
/// client is given a [`TlsConfig`](tls::TlsConfig) by [`ChannelBuilder::tls`](client::ChannelBuilder::tls).
///
/// ```no_run
/// use callsign::{Channel, tls::TlsConfig};
///
/// # fn f() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = TlsConfig::builder()
///     .roots_file("/etc/shop/ca.pem")
///     .identity_files("/etc/shop/billing.pem", "/etc/shop/billing.key")
///     .server_name("greeter")
///     .build()?;
/// let channel = Channel::builder("greeter").tls(tls).build()?;
/// # Ok(()) }
/// ```
#[cfg(feature = "tls")]
pub mod tls {
    pub use callsign_net::tls::{ClientCertificates, ServerTls, ServerTlsBuilder, TlsBuilder, TlsConfig};
}

pub use callsign_core as core;
pub use callsign_core::{Error, ErrorKind, Result};
pub use callsign_registry as registry;

#[doc(inline)]
pub use self::client::{CallOptions, CallReport, Channel};
pub use self::deadline::Deadline;
pub use self::operator::{Operator, Standing};
pub use self::previous_attempts::PreviousAttempts;
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
