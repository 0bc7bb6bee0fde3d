//! The numbers of one server.

use super::{client::flag, page::Page, table};
use crate::server::{Handle, Phase};

pub(super) fn write(page: &mut Page, handle: &Handle) {
    let node = handle.node();
    let labels = [("service", node.service().as_str()), ("node", node.id().as_str())];
    let calls = handle.call_meter();
    page.add(&table::SERVER_CALLS, &labels, calls.started() as f64);
    page.add(&table::SERVER_INFLIGHT, &labels, handle.calls_in_flight() as f64);
    if let Some(limit) = calls.limit() {
        page.most(&table::LIMIT, &labels, f64::from(limit));
    }
    page.add(&table::REFUSED, &labels, calls.refused() as f64);
    page.add(&table::EXPIRED, &labels, calls.expired() as f64);
    page.add(&table::UNBEGUN, &labels, calls.expired_unbegun() as f64);
    page.add(&table::ABANDONED, &labels, calls.abandoned() as f64);
    page.most(&table::SERVING, &labels, flag(handle.phase() == Phase::Serving));
    if let Some(registrations) = handle.registration_meter() {
        let registered = handle.registration().is_some_and(|state| state.is_registered());
        page.most(&table::REGISTERED, &labels, flag(registered));
        page.add(&table::REGISTRATIONS, &labels, registrations.registered() as f64);
        page.add(&table::REGISTRATIONS_LOST, &labels, registrations.lost() as f64);
        page.add(&table::REGISTRATIONS_FAILED, &labels, registrations.failed() as f64);
    }
}
