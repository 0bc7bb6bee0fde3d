//! The numbers of one channel.

use callsign_core::health::Verdict;
use tokio::time::Instant;

use super::{page::Page, table};
use crate::{
    Channel,
    client::{NodeState, NodeStatus},
};

pub(super) fn write(page: &mut Page, channel: &Channel, now: Instant) {
    let of_service = [("service", channel.service().as_str())];
    let nodes = channel.nodes();
    page.add(&table::NODES, &of_service, nodes.len() as f64);
    page.add(&table::EJECTIONS, &of_service, channel.meter().ejections() as f64);
    page.add(&table::RETRIES, &of_service, channel.meter().retries() as f64);
    page.add(&table::FALLBACKS, &of_service, channel.fallbacks() as f64);
    page.most(&table::PANIC, &of_service, flag(channel.is_in_panic()));
    if let Some(age) = channel.view_age(now) {
        page.most(&table::VIEW_AGE, &of_service, age.as_secs_f64());
    }
    for NodeStatus { node, state, verdict, inflight, calls, failures, latency, connections } in nodes {
        let labels = [of_service[0], ("node", node.id().as_str())];
        page.add(&table::CALLS, &labels, calls as f64);
        page.add(&table::FAILURES, &labels, f64::from(failures));
        page.add(&table::INFLIGHT, &labels, f64::from(inflight));
        page.add(&table::CONNECTIONS, &labels, connections as f64);
        page.most(&table::READY, &labels, flag(state == NodeState::Ready));
        page.most(&table::EJECTED, &labels, flag(verdict != Verdict::Ok));
        if let Some(latency) = latency {
            page.most(&table::LATENCY, &labels, latency.as_secs_f64());
        }
    }
}

pub(super) fn flag(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}
