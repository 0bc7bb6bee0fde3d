//! Calling a service by its name.
//!
//! A [`Channel`] takes HTTP requests and sends each to the best live node of its service. It is a [`tower_service::Service`]
//! that is always ready and cheap to clone, so generated tonic clients take it as it is:
//!
//! ```no_run
//! # async fn example() -> callsign::Result<()> {
//! let channel = callsign::Channel::from_target("registry://greeter?group=blue")?;
//! // let mut client = GreeterClient::new(channel);
//! # Ok(()) }
//! ```
//!
//! # How a call finds its way
//!
//! All waiting happens inside the call, under its one deadline: pick, connect, send, reply.
//!
//! 1. The nodes of the service are kept in one immutable snapshot (`roster`), made anew whenever the directory or a
//!    connection says so. A pick reads it: filters, then strategy, then node.
//! 2. Each node has a task of its own (`link`) that connects, keeps the connection alive, reconnects with backoff and lets a
//!    node that left finish its calls. Calls never wait for it unless no node is ready.
//! 3. The call drives its own HTTP/2 stream (`attempt`); nothing is queued between it and the connection.
//! 4. A request that never left, or that its node refused unread, goes to another node, whatever it does. One that may have been
//!    processed is repeated only if the call is [idempotent](CallOptions::idempotent) and the retry budget allows.
//! 5. The outcome is marked on the node, and the next picks take it into account.
//!
//! Failures that are Callsign's own are gRPC statuses for gRPC requests, and [`Error`](crate::Error)s for others. Both say what
//! was waited for and what was tried.

mod attempt;
mod board;
mod builder;
mod call;
mod channel;
mod code;
mod decisions;
mod explain;
mod failure;
mod frames;
mod hash_by;
mod health_check;
mod hedge;
mod histogram;
mod journey;
mod link;
mod meter;
mod methods;
mod names;
mod options;
mod plan;
mod policy;
mod pool;
mod prober;
mod pushback;
mod race;
mod repeat;
mod replay;
mod reports;
mod response;
mod roster;
mod service_config;
mod side_call;
mod source;
mod spans;
mod speech;
mod status;
mod target;
mod timeout;
mod verdict;

pub use self::builder::ChannelBuilder;
pub(crate) use self::channel::WeakChannel;
pub use self::channel::{Channel, ResponseFuture};
pub use self::code::Code;
pub use self::decisions::{CallId, CallRef, Why};
pub use self::explain::{
    AttemptExplanation, CallExplanation, CallOutcome, Explanation, NodeExplanation, NodeSeen, Obstacle,
};
pub use self::hash_by::HashBy;
pub use self::health_check::HealthCheck;
pub use self::histogram::LatencyCounts;
pub use self::meter::{AttemptCounts, ChannelMeter};
pub use self::options::{CallOptions, CallReport, Tried};
pub use self::policy::{HedgePolicy, MethodPolicy, RetryPolicy};
pub use self::response::ResponseBody;
pub use self::service_config::ServiceConfig;
pub use self::status::{NodeState, NodeStatus};
pub use self::target::Target;
