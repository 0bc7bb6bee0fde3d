//! Which node takes a call.
//!
//! Selection knows no registry and no connection. It is given nodes, what is known of their load, the time and a source of
//! randomness, and it answers with a node:
//!
//! 1. A [`Slate`] is one immutable snapshot of everything that must agree: the [`Member`]s, their weights, and the tables of
//!    the [`Strategy`]. Whoever watches the nodes makes a new one when they change; callers share it without a lock.
//! 2. [`Slate::pick`] narrows the members down to those that pass the [`Filters`], lets the strategy choose among them, and
//!    returns the member with a [`Ticket`].
//! 3. The ticket is the call's place in the node's in-flight count until it is dropped. [`Ticket::mark`] tells how the call
//!    went; strategies learn from that.
//!
//! What is learnt lives in the node's [`Load`]. It belongs to the node's identity and goes from slate to slate, so a change of
//! membership, weight or metadata forgets nothing.
//!
//! A pick takes no lock, allocates nothing, and reads no clock. (The first pick with a set of filters that the slate has not
//! seen computes their view; later picks find it.)
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use callsign_core::{Node, select::{Filter, Filters, Load, Member, Outcome, PickRequest, Slate, Strategy}};
//! use tokio::time::Instant;
//!
//! let mut rng = fastrand::Rng::with_seed(1);
//! let strategy: Strategy = "least-request".parse()?;
//! let mut members = Vec::new();
//! for (id, group) in [("a", "blue"), ("b", "blue"), ("c", "green")] {
//!     let node = Node::builder("greeter", id, "127.0.0.1:4000").group(group).build()?;
//!     let load = strategy.new_load();
//!     load.set_ready(true);
//!     members.push(Member { node: Arc::new(node), load, handle: () });
//! }
//! let slate = Slate::new(&strategy, &Filters::default(), members, None, &mut rng);
//!
//! let green = Filters::from(Filter::group("green"));
//! let request = PickRequest { filters: Some(&green), ..PickRequest::default() };
//! let picked = slate.pick(&request, &mut rng)?;
//! assert_eq!(picked.member.node.id(), "c");
//! assert_eq!(picked.member.load.inflight(), 1);
//!
//! picked.ticket.mark(Outcome::Success, Duration::from_millis(3), Instant::now());
//! drop(picked.ticket);
//! assert_eq!(slate.members()[2].load.inflight(), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod assume;
mod cost;
mod density;
mod error;
mod explain;
mod filter;
mod key;
mod load;
mod pace;
mod plan;
mod policy;
mod probe;
mod report;
mod sample;
mod shape;
mod slate;
mod strategy;
mod subset;
mod view;
mod views;
mod weights;
mod witness;

/// Randomness, as picks are given it.
#[doc(no_inline)]
pub use fastrand::Rng;

pub use self::error::{NoPick, Rejection};
pub use self::explain::{PassedOver, Standing};
pub use self::filter::{CustomFilter, Filter, Filters};
pub use self::key::hash_key;
pub use self::load::{Load, Outcome, Ticket};
pub use self::pace::{MethodId, Paces};
pub use self::policy::{Candidates, CustomStrategy};
pub use self::probe::{PrequalConfig, Probe};
pub use self::report::{LoadReport, ReportConfig};
pub use self::shape::Shape;
pub use self::slate::{Look, Member, NoReplay, Notes, PickRequest, Picked, Replay, Slate};
pub use self::strategy::{AdaptiveConfig, Aperture, Choices, HashConfig, Strategy};
pub use self::subset::subset;
use self::witness::Witness;
