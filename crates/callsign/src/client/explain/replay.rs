//! A choice made again from what was noted of it: what it saw of the nodes that it looked at.

use std::{fmt, time::Duration};

use callsign_core::{
    NodeId,
    select::{Look, PassedOver, PickRequest},
};
use serde::{Serialize, Serializer, ser::SerializeStruct as _};

use super::call::whole_micros;
use crate::client::{
    decisions::{Choice, Record},
    roster::State,
    timeout::Readable,
};

/// What a choice saw of a node that it looked at. What it did not look for is none: strategies go by different things.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct NodeSeen {
    /// Which.
    pub node: NodeId,
    /// Whether it is the one that was chosen.
    pub chosen: bool,
    /// What the adaptive strategy expected a call to it to cost, with nothing else in flight there.
    pub cost: Option<Duration>,
    /// This client's calls in flight there, without this one.
    pub inflight: Option<u32>,
    /// Why it could not be taken, if so.
    pub against: Option<PassedOver>,
}

/// A choice that was made again, or why it was not.
pub(super) struct ReplayedChoice {
    looks: Vec<Look>,
    pub(super) seen: Vec<NodeSeen>,
    pub(super) failure: Option<String>,
}

// === impl NodeSeen ===

impl NodeSeen {
    /// What the adaptive strategy expected one more call to it to cost, the calls in flight there counted in. It compares nodes by this,
    /// and takes costs for equal that differ by less than half.
    #[must_use]
    pub fn expected(&self) -> Option<Duration> {
        self.cost.map(|cost| cost.saturating_mul(self.inflight.unwrap_or(0).saturating_add(1)))
    }
}

impl fmt::Display for NodeSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.node)?;
        match (self.cost, self.inflight) {
            (Some(cost), Some(inflight)) => {
                write!(f, ": a call costs {}, {inflight} in flight", Readable(cost))?
            }
            (None, Some(inflight)) => write!(f, ": {inflight} in flight")?,
            (Some(cost), None) => write!(f, ": a call costs {}", Readable(cost))?,
            (None, None) => {}
        }
        match &self.against {
            Some(against) => write!(f, ": {against}"),
            None => Ok(()),
        }
    }
}

/// For people and programs: times are whole microseconds.
impl Serialize for NodeSeen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("NodeSeen", 6)?;
        fields.serialize_field("node", self.node.as_str())?;
        fields.serialize_field("chosen", &self.chosen)?;
        fields.serialize_field("cost_us", &self.cost.map(whole_micros))?;
        fields.serialize_field("inflight", &self.inflight)?;
        fields.serialize_field("expected_us", &self.expected().map(whole_micros))?;
        fields.serialize_field("against", &self.against.as_ref().map(ToString::to_string))?;
        fields.end()
    }
}

// === impl ReplayedChoice ===

impl ReplayedChoice {
    /// By the snapshot that it was made by, if that is kept.
    pub(super) fn new(record: &Record, choice: &Choice, state: Option<&State>) -> Self {
        Self::replay(record, choice, state).unwrap_or_else(|failure| Self {
            looks: Vec::new(),
            seen: Vec::new(),
            failure: Some(failure),
        })
    }

    pub(super) fn looks(&self) -> &[Look] {
        &self.looks
    }

    fn replay(record: &Record, choice: &Choice, state: Option<&State>) -> Result<Self, String> {
        let notes = choice.notes.as_ref().ok_or("the call says itself where it goes")?;
        let state = state.ok_or("the snapshot that it was made by is kept no more")?;
        let asked = &record.asked;
        let request =
            PickRequest { filters: Some(&asked.filters), exclude: choice.exclude(), hash: asked.hash };
        let replay = state.slate.replay(&request, notes).map_err(|why| why.to_string())?;
        let members = state.slate.members();
        let id = |index: usize| members[index].node.id();
        let chosen = choice.taken.as_ref().map(|taken| &taken.id);
        if replay.picked.map(id) != chosen {
            let name = |id: Option<&NodeId>| id.map_or("nobody".to_owned(), ToString::to_string);
            let (leads, went) = (name(replay.picked.map(id)), name(chosen));
            return Err(format!(
                "it leads to {leads} and not to {went}, so a filter of one's own has changed its mind"
            ));
        }
        let tried = |index| choice.exclude().contains(id(index)).then_some(PassedOver::Tried);
        let seen = |look: &Look| NodeSeen {
            node: id(look.member).clone(),
            chosen: replay.picked == Some(look.member),
            cost: choice.at.and_then(|at| look.cost(at)),
            inflight: look.inflight,
            against: look.against.clone().or_else(|| tried(look.member)),
        };
        Ok(Self { seen: replay.looks.iter().map(seen).collect(), looks: replay.looks, failure: None })
    }
}
