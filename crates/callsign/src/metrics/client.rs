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
    let attempts = channel.attempts();
    page.add(&table::ATTEMPTS, &of_service, attempts.ended as f64);
    page.add(&table::ATTEMPTS_FAILED, &of_service, attempts.failed as f64);
    page.add(&table::EJECTIONS, &of_service, channel.meter().ejections() as f64);
    page.add(&table::RETRIES, &of_service, channel.meter().retries() as f64);
    page.add(&table::RETRY_BUDGET, &of_service, channel.retry_budget(now) as f64);
    page.add(&table::HEDGES, &of_service, channel.meter().hedges() as f64);
    page.add(&table::HEDGES_WON, &of_service, channel.meter().hedges_won() as f64);
    page.add(&table::HELD_BACK, &of_service, channel.meter().held_back() as f64);
    page.most(&table::HELD_BACK_RATIO, &of_service, channel.held_back(now));
    page.add(&table::FALLBACKS, &of_service, channel.fallbacks() as f64);
    page.add(&table::SPILLS, &of_service, channel.spills() as f64);
    page.most(&table::PANIC, &of_service, flag(channel.is_in_panic()));
    if let Some(age) = channel.view_age(now) {
        page.most(&table::VIEW_AGE, &of_service, age.as_secs_f64());
    }
    for status in nodes {
        let NodeStatus { node, state, verdict, inflight, calls, failures, latency, latencies, connections } =
            status;
        let labels = [of_service[0], ("node", node.id().as_str())];
        page.add(&table::CALLS, &labels, calls as f64);
        page.add(&table::FAILURES, &labels, f64::from(failures));
        page.add(&table::INFLIGHT, &labels, f64::from(inflight));
        page.add(&table::CONNECTIONS, &labels, connections as f64);
        page.most(&table::READY, &labels, flag(state == NodeState::Ready));
        page.most(&table::EJECTED, &labels, flag(verdict != Verdict::Ok));
        page.add_counts(&table::DURATION, &labels, &latencies);
        if let Some(latency) = latency {
            page.most(&table::LATENCY, &labels, latency.as_secs_f64());
        }
    }
}

pub(super) fn flag(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}
