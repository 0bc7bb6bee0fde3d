//! What is assumed of a node from what is known of its peers, where the node itself has not said enough.
//!
//! Of a new node nothing is known, and of one that has not been heard of for a while hardly anything: its estimate has decayed, by
//! which it would soon look better than all that answer. A client that believes that sends it the next calls, and all clients do so
//! at once when a zone comes back. So both are taken for what their peers are in the middle: tried, and preferred to nobody.

use tokio::time::Instant;

use super::{Load, Member};

/// Lets nodes of which nothing is known begin at the median of the others: neither in front, where every client would send its
/// next call, nor at the end.
pub(super) fn for_new<T>(members: &[Member<T>]) {
    let unknown = || members.iter().map(|member| &member.load).filter(|load| load.known_g().is_none());
    if unknown().next().is_some()
        && let Some(median) = median(members.iter().filter_map(|member| member.load.known_g()))
    {
        unknown().for_each(|load| load.assume_g(median));
    }
}

/// Lets the estimates of nodes not heard of for a while decay to the median of those that were, and no further.
pub(super) fn for_stale<T>(members: &[Member<T>], now: Instant) {
    let stale = || members.iter().map(|member| &member.load).filter(|load| load.is_stale(now));
    let fresh = |load: &Load| load.known_g().filter(|_| !load.is_stale(now));
    if stale().next().is_some()
        && let Some(median) = median(members.iter().filter_map(|member| fresh(&member.load)))
    {
        stale().for_each(|load| load.hold_g(median));
    }
}

fn median(known: impl Iterator<Item = f64>) -> Option<f64> {
    let mut known: Vec<f64> = known.collect();
    let middle = known.len() / 2;
    (!known.is_empty()).then(|| *known.select_nth_unstable_by(middle, f64::total_cmp).1)
}
