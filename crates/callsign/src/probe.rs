//! A probe of a node, as it goes over the wire between a channel and a server of ours: how busy are you?
//!
//! One unary gRPC call without a request. A service of its own, so that servers without it say so.

use std::time::Duration;

use callsign_core::select::Probe;
use http::Response;
use tonic::body::Body;

use crate::frame::reply;

/// The service's one method.
pub(crate) const PATH: &str = "/callsign.probe.v1.Probe/Ask";

/// The answer.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Answer {
    #[prost(uint32, tag = "1")]
    inflight: u32,
    /// In microseconds; zero while it is not known.
    #[prost(uint64, tag = "2")]
    latency: u64,
}

/// The request, which says nothing.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Question {}

/// The response of a server.
pub(crate) fn response(probe: Probe) -> Response<Body> {
    reply(&Answer::from(probe))
}

// === impl Answer ===

impl From<Probe> for Answer {
    fn from(probe: Probe) -> Self {
        let latency =
            probe.latency.map_or(0, |latency| latency.as_micros().clamp(1, u128::from(u64::MAX)) as u64);
        Self { inflight: probe.inflight, latency }
    }
}

impl From<Answer> for Probe {
    fn from(answer: Answer) -> Self {
        let latency = (answer.latency > 0).then(|| Duration::from_micros(answer.latency));
        Self { inflight: answer.inflight, latency }
    }
}
