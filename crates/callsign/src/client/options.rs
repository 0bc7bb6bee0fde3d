//! What a caller may say about one call, and what it may learn of it.

use std::{sync::Arc, time::Duration};

use callsign_core::{
    Node, NodeId,
    model::Address,
    select::{Filter, Filters, MethodId, hash_key},
};

use super::{CallId, RetryPolicy};
use crate::{Deadline, PreviousAttempts, trace::TraceContext};

/// Options of one call, put into the request's extensions.
///
/// ```
/// use std::time::Duration;
/// use callsign::client::CallOptions;
///
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(CallOptions::new().timeout(Duration::from_secs(2)).group("blue").idempotent(true));
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "options do nothing until they are in a request's extensions"]
pub struct CallOptions {
    pub(crate) timeout: Option<Duration>,
    pub(crate) filters: Filters,
    pub(crate) hash: Option<u64>,
    pub(crate) idempotent: Option<bool>,
    pub(crate) wait_for_ready: Option<bool>,
    pub(crate) report: bool,
    /// What is called, once it is known. Here, since there is room for it.
    pub(crate) method: MethodId,
    /// What few calls have: it would make the future of every call larger.
    rare: Option<Box<Rare>>,
}

#[derive(Debug, Clone, Default)]
struct Rare {
    place: Option<Place>,
    retry: Option<RetryPolicy>,
    /// Of the call that this one is made for.
    deadline: Option<Deadline>,
    previous_attempts: u32,
    trace: Option<TraceContext>,
}

/// A place that the caller has chosen itself.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Node(NodeId),
    Address(Address),
}

/// How a call was made, found in the response's extensions if [`CallOptions::report`] asked for it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CallReport {
    /// The call's id, for [`Channel::explain_call`](super::Channel::explain_call); none if the channel remembers no calls.
    pub id: Option<CallId>,
    /// The node that answered. For an address that is not registered, a node with that address as its id.
    pub node: Arc<Node>,
    /// The address that answered.
    pub address: String,
    /// The strategy's name.
    pub strategy: Arc<str>,
    /// Why it is another node than the channel's [shape](callsign_core::select::Shape) asks for, if it is.
    pub instead: Option<Arc<str>>,
    /// How often the request was sent, or nearly: 1 if nothing went wrong.
    pub attempts: u32,
    /// What went wrong before.
    pub tried: Vec<Tried>,
    /// From the call to the head of the response.
    pub elapsed: Duration,
}

/// An attempt that led to another one.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Tried {
    /// The node.
    pub node: NodeId,
    /// Its address.
    pub address: String,
    /// What happened.
    pub reason: String,
    /// When it was given up, from the start of the call.
    pub after: Duration,
}

// === impl CallOptions ===

impl CallOptions {
    /// No options.
    pub fn new() -> Self {
        Self::default()
    }

    /// The time for the whole call, reply stream included. It goes over the wire, so that the node knows it too.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Only nodes that meet this condition as well.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filters = self.filters.and(filter);
        self
    }

    /// Only nodes that meet all of these; a set made once and cloned for each call costs least.
    pub fn filters(mut self, filters: &Filters) -> Self {
        self.filters = self.filters.and_all(filters);
        self
    }

    /// Only nodes of this group.
    pub fn group(self, group: impl Into<String>) -> Self {
        self.filter(Filter::group(group))
    }

    /// Only this node.
    pub fn node(mut self, id: NodeId) -> Self {
        self.rare.get_or_insert_default().place = Some(Place::Node(id));
        self
    }

    /// Exactly this address, whether or not a node with it is registered.
    pub fn address(mut self, address: Address) -> Self {
        self.rare.get_or_insert_default().place = Some(Place::Address(address));
        self
    }

    /// What the call is about, for strategies that send the same to the same node
    /// ([`Strategy::uses_key`](callsign_core::select::Strategy::uses_key)). Counts more than what the channel reads from
    /// requests ([`HashBy`](super::HashBy)).
    pub fn hash_key(mut self, key: &[u8]) -> Self {
        self.hash = Some(hash_key(key));
        self
    }

    /// Whether the call may be repeated although it may have been processed. Unless said, it is what the channel knows of the
    /// method ([`ChannelBuilder::method`](super::ChannelBuilder::method)), and no if it knows nothing.
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = Some(idempotent);
        self
    }

    /// When the call is made again, instead of what the channel says for its method.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.rare.get_or_insert_default().retry = Some(policy);
        self
    }

    /// The call is made for another one, whose request had these extensions: it ends before that one's time is over, is not
    /// repeated if that one has been ([`PreviousAttempts`]), and belongs to the same [trace](TraceContext). Nothing happens if a server other than [`Server`](crate::Server) took it.
    ///
    /// With no time left, the call fails at once with DEADLINE_EXCEEDED.
    pub fn within(mut self, extensions: &http::Extensions) -> Self {
        if let Some(deadline) = extensions.get::<Deadline>() {
            self.rare.get_or_insert_default().deadline = Some(*deadline);
        }
        if let Some(attempts) = extensions.get::<PreviousAttempts>() {
            self.rare.get_or_insert_default().previous_attempts = attempts.count();
        }
        if let Some(trace) = extensions.get::<TraceContext>() {
            self.rare.get_or_insert_default().trace = Some(trace.clone());
        }
        self
    }

    /// Whether to wait, up to the deadline, for a node to be ready, instead of failing at once.
    pub fn wait_for_ready(mut self, wait: bool) -> Self {
        self.wait_for_ready = Some(wait);
        self
    }

    /// Whether the response is to carry a [`CallReport`].
    pub fn report(mut self, report: bool) -> Self {
        self.report = report;
        self
    }

    /// The place that the caller has chosen itself.
    pub(super) fn place(&self) -> Option<&Place> {
        self.rare.as_ref()?.place.as_ref()
    }

    pub(super) fn retry_policy(&self) -> Option<&RetryPolicy> {
        self.rare.as_ref()?.retry.as_ref()
    }

    /// When the time of the call is over that this one is made for.
    pub(super) fn outer_deadline(&self) -> Option<Deadline> {
        self.rare.as_ref()?.deadline
    }

    /// How often that call was made before.
    pub(super) fn previous_attempts(&self) -> u32 {
        self.rare.as_ref().map_or(0, |rare| rare.previous_attempts)
    }

    /// The trace that it belongs to.
    pub(super) fn trace(&self) -> Option<&TraceContext> {
        self.rare.as_ref()?.trace.as_ref()
    }
}
