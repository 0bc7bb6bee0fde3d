//! Which nodes are left alone for a while, because calls to them fail.
//!
//! A [`Health`] judges the nodes of one service by the outcomes that were marked on their [`Load`]s. A node is *ejected* when
//!
//! - as many calls in a row failed as the configuration allows ([`HealthConfig::consecutive`]), at once;
//! - it failed far more often than the others in the last interval;
//! - nearly all of its calls in the last interval failed.
//!
//! The rules and their numbers are those of gRFC A50 and Envoy, with what these leave open closed: in a set of fewer than five
//! nodes, where deviation means nothing, the other two rules hold with fewer calls; a node must be worse than the mean by five
//! points, so that among perfect nodes a nearly perfect one is left alone.
//!
//! An ejection is a flag that picks see at once. It lasts longer each time, with jitter, so that clients do not come back in step.
//! Then the node is *probing*: it gets one call at a time, and the outcome of the first decides. After a success its share grows
//! slowly; after a failure it is ejected again, for longer.
//!
//! No more than a tenth of the nodes are ejected at the same time, or one. When less than half of the nodes can be used, picks pay
//! no attention to verdicts at all ([`Slate::is_in_panic`](crate::select::Slate::is_in_panic)): if everything seems to be broken
//! it is more likely to be this client.
//!
//! What is known of a node survives its absence for ten minutes. Time is passed in; nothing here waits.

mod config;
mod event;
mod outliers;
mod record;

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

pub use self::config::HealthConfig;
pub use self::event::{HealthEvent, Reason, Verdict};
use self::record::{Record, State};
use crate::{model::NodeKey, select::Load};

/// How long a node that is gone is remembered.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Judges the nodes of one service.
///
/// ```
/// use std::time::Duration;
/// use callsign_core::{Node, health::{Health, HealthConfig, Verdict}, select::{Load, Outcome}};
/// use tokio::time::Instant;
///
/// let now = Instant::now();
/// let nodes = ["a", "b"].map(|id| Node::builder("greeter", id, "127.0.0.1:1").build().unwrap().key());
/// let loads = [Load::new(), Load::new()];
/// let mut health = Health::new(HealthConfig::default(), 7);
/// for (node, load) in nodes.iter().zip(&loads) {
///     health.enter(node.clone(), load.clone());
/// }
///
/// for _ in 0..5 {
///     loads[0].ticket().mark(Outcome::Failure, Duration::from_millis(1), now);
/// }
/// let events = health.review(now);
/// assert_eq!(events[0].node, nodes[0]);
/// assert!(matches!(health.verdict(&nodes[0]), Verdict::Ejected { .. }));
///
/// health.reset();
/// assert_eq!(health.verdict(&nodes[0]), Verdict::Ok);
/// ```
#[derive(Debug)]
pub struct Health {
    config: HealthConfig,
    records: BTreeMap<NodeKey, Record>,
    /// When the interval ends.
    sweep: Option<Instant>,
    rng: fastrand::Rng,
}

// === impl Health ===

impl Health {
    /// Judges by `config`; `seed` is for jitter.
    #[must_use]
    pub fn new(config: HealthConfig, seed: u64) -> Self {
        Self { config, records: BTreeMap::new(), sweep: None, rng: fastrand::Rng::with_seed(seed) }
    }

    /// A node is there, or has a new load. What is known of it goes on.
    pub fn enter(&mut self, node: NodeKey, load: Load) {
        self.records.entry(node).or_default().enter(load, &self.config);
    }

    /// A node is gone. It is remembered for ten minutes.
    pub fn leave(&mut self, node: &NodeKey, now: Instant) {
        if let Some(record) = self.records.get_mut(node) {
            record.leave(now);
        }
    }

    /// Looks at what was marked, and at the time. To be called when a call has ended and its ticket
    /// [wants it](crate::select::Ticket::wants_review), and about once a second; it goes over all nodes.
    ///
    /// What it returns has taken effect already, but for a new slate, which is due if there is anything.
    pub fn review(&mut self, now: Instant) -> Vec<HealthEvent> {
        if self.config.is_off() {
            return self.review_blacklist(now);
        }
        let mut events = Vec::new();
        for (key, record) in &mut self.records {
            // Before we look: what happens from now on is for the next review.
            record.load().into_iter().for_each(Load::clear_alarm);
            if let Some(verdict) = record.proceed(&self.config, now, &mut self.rng) {
                events.push(HealthEvent { node: key.clone(), verdict });
            }
        }
        self.eject(outliers::by_streak(&self.records, &self.config), now, &mut events);
        let interval = self.config.interval;
        if now >= *self.sweep.get_or_insert(now + interval) {
            self.sweep = Some(now + interval);
            self.eject(outliers::by_statistics(&self.records, &self.config), now, &mut events);
            for (key, record) in &mut self.records {
                record.end_interval(events.iter().any(|event| event.node == *key));
            }
            self.records.retain(|_, record| record.gone_for(now) <= REMEMBERED);
        }
        self.set_expectations();
        events
    }

    /// Leaves a node alone for as long as said, whatever its calls were like and however many others are ejected. Afterwards it has
    /// to prove itself. `None` if the node is not known.
    pub fn blacklist(&mut self, node: &NodeKey, period: Duration, now: Instant) -> Option<HealthEvent> {
        let record = self.records.get_mut(node)?;
        // So far away that nobody will see the end of it.
        let until = now.checked_add(period).unwrap_or(now + Duration::from_secs(u64::from(u32::MAX)));
        let verdict = record.blacklist(until);
        Some(HealthEvent { node: node.clone(), verdict })
    }

    /// Forgets all verdicts, and what led to them.
    pub fn reset(&mut self) -> Vec<HealthEvent> {
        let reset = self.records.iter_mut().filter_map(|(key, record)| {
            record.reset().then(|| HealthEvent { node: key.clone(), verdict: Verdict::Ok })
        });
        reset.collect()
    }

    /// What is thought of a node. [`Verdict::Ok`] for one that is not known.
    #[must_use]
    pub fn verdict(&self, node: &NodeKey) -> Verdict {
        self.records.get(node).map_or(Verdict::Ok, Record::verdict)
    }

    /// Ejects, the worst first, as many as there may be.
    fn eject(&mut self, outliers: Vec<(NodeKey, Reason)>, now: Instant, events: &mut Vec<HealthEvent>) {
        let present = self.records.values().filter(|record| record.load().is_some()).count();
        let most = if present < 2 { 0 } else { (present * self.config.ejected_percent_max / 100).max(1) };
        let counts = |record: &&Record| record.counts_as_ejected();
        let mut ejected = self.records.values().filter(counts).count();
        for (key, reason) in outliers {
            if ejected >= most {
                return;
            }
            if let Some(record) = self.records.get_mut(&key) {
                let verdict = record.eject(reason, &self.config, now, &mut self.rng);
                events.push(HealthEvent { node: key, verdict });
                ejected += 1;
            }
        }
    }

    /// Without opinions of our own, what was said by hand still has its time.
    fn review_blacklist(&mut self, now: Instant) -> Vec<HealthEvent> {
        let over = self.records.iter_mut().filter_map(|(key, record)| {
            let over = matches!(record.state(), State::Ejected { until, .. } if *until <= now);
            (over && record.reset()).then(|| HealthEvent { node: key.clone(), verdict: Verdict::Ok })
        });
        over.collect()
    }

    /// Tells the loads what a call takes with the node in the middle.
    fn set_expectations(&self) {
        let loads = || self.records.values().filter_map(Record::load);
        let mut latencies: Vec<Duration> = loads().filter_map(Load::latency).collect();
        let middle = latencies.len() / 2;
        let typical = match latencies.is_empty() {
            true => Duration::ZERO,
            false => *latencies.select_nth_unstable(middle).1,
        };
        loads().for_each(|load| load.expect(self.config.consecutive, typical));
    }
}

#[cfg(test)]
mod tests;
