//! How one client chooses nodes: with Callsign's own selection, or as a peer does.
//!
//! Callsign's strategies are the library itself (`ours`). Peers' algorithms are written anew from their descriptions and their
//! documented defaults (`peers`), so that all meet the same calls on the same machines. They are told apart by name.

mod apart;
mod ours;
mod peers;

use std::time::Duration;

use callsign_core::select::{Outcome, Ticket};
use fastrand::Rng;

use self::{apart::Apart, ours::Ours};
use crate::{
    clock::{Clock, Nanos},
    fleet::Fleet,
    scenario::Policy,
};

/// A node that a client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) node: usize,
    /// Whether there is a connection.
    pub(crate) ready: bool,
    pub(crate) weight: Option<u16>,
    pub(crate) zone: usize,
}

/// One pick.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) now: Nanos,
    /// Nodes that this call has tried.
    pub(crate) exclude: &'a [usize],
    /// The call's work, which nobody but the oracle may know.
    pub(crate) work: f64,
    /// Whether it is one of the long ones, which is known where these are a method of their own.
    pub(crate) is_long: bool,
    /// The machines as they are, for the oracle and for rules that are defined by fresh knowledge.
    pub(crate) fleet: &'a Fleet,
}

/// The node chosen, and the place on it if it is Callsign's.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) node: usize,
    pub(crate) ticket: Option<Ticket>,
}

/// How a call went.
#[derive(Debug)]
pub(crate) struct Mark<'a> {
    pub(crate) node: usize,
    pub(crate) ticket: Option<Ticket>,
    pub(crate) is_long: bool,
    pub(crate) outcome: Outcome,
    pub(crate) elapsed: Duration,
    pub(crate) now: Nanos,
    /// The machines, of which a policy may read the report of the one that answered.
    pub(crate) fleet: &'a Fleet,
}

/// What a node says when it is probed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probe {
    pub(crate) node: usize,
    pub(crate) inflight: u32,
    /// How long calls took lately; nothing if there were none.
    pub(crate) latency: Option<Nanos>,
}

/// The choice of one client.
pub(crate) trait Balancer {
    /// The nodes have changed, or whether they can be reached.
    fn update(&mut self, seats: &[Seat], now: Nanos, rng: &mut Rng);

    /// None when no node can be reached.
    fn pick(&mut self, ask: &Ask<'_>, rng: &mut Rng) -> Option<Choice>;

    fn done(&mut self, mark: Mark<'_>);

    /// Once a second.
    fn tick(&mut self, _now: Nanos, _fleet: &Fleet, _rng: &mut Rng) {}

    /// Nodes to be probed now that a call was sent.
    fn probes(&mut self, _rng: &mut Rng, _probes: &mut Vec<usize>) {}

    fn probed(&mut self, _probe: Probe, _now: Nanos) {}
}

/// The balancer of one client, who lives in a zone, by the policy given.
pub(crate) fn new(policy: &Policy, home: usize, clock: Clock) -> Result<Box<dyn Balancer>, String> {
    let one = || -> Result<Box<dyn Balancer>, String> {
        match peers::new(policy) {
            Some(peer) => Ok(peer),
            None => Ok(Box::new(Ours::new(policy, home, clock)?)),
        }
    };
    if policy.apart { Ok(Box::new(Apart::new(one()?, one()?))) } else { one() }
}

/// Whether there is such a policy, with such settings.
pub(crate) fn check(policy: &Policy) -> Result<(), String> {
    if policy.near && peers::NAMES.contains(&&*policy.name) {
        return Err(format!("{} knows no zones: near is for Callsign's own strategies", policy.name));
    }
    if policy.methods && peers::NAMES.contains(&&*policy.name) {
        return Err(format!(
            "{} does not tell methods apart: methods is for Callsign's own strategies",
            policy.name
        ));
    }
    if policy.apart && ["prequal", "peer-prequal", "c3"].contains(&&*policy.name) {
        return Err(format!("{} cannot be apart: nobody would know for whom a probe is", policy.name));
    }
    new(policy, 0, Clock::new()).map(drop)
}

#[cfg(test)]
mod tests;
