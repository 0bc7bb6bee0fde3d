//! Why a call goes where it goes, and why there is no node for one: all wording of that is here.
//!
//! What a pick would do is worked out by the slate ([`Slate::explain`](callsign_core::select::Slate::explain)). Here it is put
//! together with what only the channel knows: what each node's connection and health are like, and which registered nodes never
//! came as far as a pick.

mod call;
mod obstacle;
mod replay;
mod shortage;
mod summary;

use std::{fmt, sync::Arc, time::Duration};

use callsign_core::{
    Node,
    select::{Load, Look, Member, PassedOver, PickRequest, Standing},
};
use serde::{Serialize, Serializer, ser::SerializeStruct as _};
use tokio::time::Instant;

pub use self::call::{AttemptExplanation, CallExplanation, CallOutcome};
pub use self::obstacle::Obstacle;
pub use self::replay::NodeSeen;
use self::replay::ReplayedChoice;
pub(crate) use self::shortage::{Shortage, shortage};
use super::{
    CallOptions, CallRef, NodeStatus,
    decisions::Choice,
    link::Link,
    options::Place,
    roster::{Roster, State, fitness},
    source::Known,
};

/// Of which moment it is asked how the nodes stand.
#[derive(Clone, Copy)]
enum Moment<'a> {
    Now,
    /// When this choice was made, which has looked at these.
    Then {
        choice: &'a Choice,
        looks: &'a [Look],
    },
}

/// Where the next call may go, and why not elsewhere: [`Channel::explain`](super::Channel::explain). Displayed, it is the summary
/// and a line for each node.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Explanation {
    /// The one thing that matters, in a sentence: which nodes may take the call and what is against the others; or why none may.
    pub summary: String,
    /// The strategy's name.
    pub strategy: Arc<str>,
    /// So few nodes can be used that verdicts on their health are ignored.
    pub panic: bool,
    /// All nodes that are registered, in the order of their ids.
    pub nodes: Vec<NodeExplanation>,
}

/// How one node stands with the next call.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NodeExplanation {
    /// The node.
    pub node: Arc<Node>,
    /// The share of calls that may go to it and to those like it, from 0 to 1; zero if the next call does not go to it.
    pub share: f64,
    /// Why the call does not go to it. For a candidate, what is against it nevertheless: it is then taken only since no other node can
    /// be.
    pub obstacle: Option<Obstacle>,
    /// Why it gets calls that the channel's [shape](callsign_core::select::Shape) has meant for others, if so.
    pub instead: Option<Arc<str>>,
    /// What this channel knows of it; none for a node that it keeps away from.
    pub status: Option<NodeStatus>,
    /// What the adaptive strategy takes a call to it to cost, with nothing else in flight.
    pub cost: Option<Duration>,
}

// === impl Explanation ===

impl Explanation {
    /// The nodes that the next call may go to.
    pub fn candidates(&self) -> impl Iterator<Item = &NodeExplanation> {
        self.nodes.iter().filter(|node| node.is_candidate())
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary)?;
        self.nodes.iter().try_for_each(|node| write!(f, "\n  {node}"))
    }
}

// === impl Moment ===

impl Moment<'_> {
    /// Whether a node that the call names could be called.
    fn is_ready(self, load: &Load) -> bool {
        match self {
            Self::Now => load.is_ready(),
            Self::Then { choice, .. } => choice.taken.is_some(),
        }
    }
}

// === impl NodeExplanation ===

impl NodeExplanation {
    /// Whether the next call may go to it.
    #[must_use]
    pub fn is_candidate(&self) -> bool {
        self.share > 0.0
    }

    /// What is to be said of it, if there is anything.
    #[must_use]
    pub fn remark(&self) -> Option<String> {
        match (&self.obstacle, &self.instead) {
            (Some(obstacle), _) if self.is_candidate() => {
                Some(format!("no other node can be called, though {obstacle}"))
            }
            (Some(obstacle), _) => Some(obstacle.to_string()),
            (None, Some(instead)) => Some(instead.to_string()),
            (None, None) => None,
        }
    }
}

/// For people and programs: `because` is [`Obstacle::code`].
impl Serialize for NodeExplanation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let node = &self.node;
        let mut fields = serializer.serialize_struct("NodeExplanation", 9)?;
        fields.serialize_field("id", node.id().as_str())?;
        fields.serialize_field("address", node.address())?;
        fields.serialize_field("version", node.version())?;
        fields.serialize_field("weight", &node.weight())?;
        fields.serialize_field("group", &node.group())?;
        fields.serialize_field("zone", &node.zone())?;
        fields.serialize_field("candidate", &self.is_candidate())?;
        fields.serialize_field("because", &self.obstacle.as_ref().map(Obstacle::code))?;
        fields.serialize_field("reason", &self.remark())?;
        fields.end()
    }
}

impl fmt::Display for NodeExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.is_candidate() { '+' } else { '-' };
        write!(f, "{sign} {} ({})", self.node.id(), self.node.address())?;
        match self.remark() {
            Some(remark) => write!(f, ": {remark}"),
            None => Ok(()),
        }
    }
}

/// Says where the next call with `options` may go.
pub(crate) fn explain(roster: &Roster, options: &CallOptions, now: Instant) -> Explanation {
    let state = roster.state();
    let nodes = stand(roster, &state, options, Moment::Now, now);
    Explanation {
        summary: summary::summary(roster, &state, options, &nodes),
        strategy: roster.strategy.name().into(),
        panic: state.slate.is_in_panic(),
        nodes,
    }
}

/// Says why a call that was made went where it went.
pub(crate) fn explain_call(roster: &Roster, call: CallRef, now: Instant) -> Option<CallExplanation> {
    let record = roster.decisions.read(call)?;
    let state = |choice: &Choice| roster.decisions.state(choice.state);
    let replays =
        record.choices().map(|choice| ReplayedChoice::new(&record, choice, state(choice).as_deref()));
    let replays: Vec<_> = replays.collect();
    let last = record.choices().next_back().zip(replays.last());
    let nodes = match last.and_then(|(choice, replay)| Some((state(choice)?, choice, replay))) {
        Some((state, choice, replay)) => {
            let moment = Moment::Then { choice, looks: replay.looks() };
            stand(roster, &state, &record.asked.options(), moment, now)
        }
        None => Vec::new(),
    };
    CallExplanation::new(roster, &record, &replays, nodes)
}

/// How each node stands with a call, by one snapshot.
fn stand(
    roster: &Roster,
    state: &State,
    options: &CallOptions,
    moment: Moment<'_>,
    now: Instant,
) -> Vec<NodeExplanation> {
    let exclude = match moment {
        Moment::Now => &[][..],
        Moment::Then { choice, .. } => choice.exclude(),
    };
    let request = PickRequest { filters: Some(&options.filters), exclude, hash: options.hash };
    let standings = match moment {
        Moment::Now => state.slate.explain(&request, &mut roster.rng()),
        Moment::Then { looks, .. } => state.slate.explain_picked(&request, looks, &mut roster.rng()),
    };
    let members = state.slate.members().iter().zip(standings);
    let mut nodes: Vec<_> =
        members.map(|(member, standing)| seated(roster, options, member, standing, moment, now)).collect();
    nodes.extend(absent(roster, state, options));
    nodes.sort_by_key(|explained| explained.node.key());
    nodes
}

/// A node that picks know.
fn seated(
    roster: &Roster,
    options: &CallOptions,
    member: &Member<Arc<Link>>,
    standing: Standing,
    moment: Moment<'_>,
    now: Instant,
) -> NodeExplanation {
    let Member { node, load, handle } = member;
    let status = handle.status(node.clone(), roster.health().verdict(&node.key()), now);
    let against = |why| Obstacle::of(why, &status, now);
    let (share, instead, obstacle) = match options.place() {
        Some(place) if !is_meant(place, member) => (0.0, None, Some(Obstacle::NotMeant)),
        Some(_) if moment.is_ready(load) => (1.0, None, None),
        Some(_) => (0.0, None, Some(against(PassedOver::NotReady))),
        None => match standing {
            Standing::Candidate { share, instead, despite } => (share, instead, despite.map(against)),
            Standing::PassedOver(why) => (0.0, None, Some(against(why))),
        },
    };
    NodeExplanation {
        node: node.clone(),
        share,
        obstacle,
        instead,
        cost: load.cost(now),
        status: Some(status),
    }
}

fn is_meant(place: &Place, member: &Member<Arc<Link>>) -> bool {
    match place {
        Place::Node(id) => member.node.id() == id,
        Place::Address(address) => member.handle.address == *address,
    }
}

/// Nodes that are registered, and that picks do not know.
fn absent(roster: &Roster, state: &State, options: &CallOptions) -> Vec<NodeExplanation> {
    let Known::Nodes(nodes) = &state.known else { return Vec::new() };
    let own = roster.own(nodes);
    let asked = roster.filters.and_all(&options.filters);
    let is_seated = |node: &Node| state.slate.members().iter().any(|member| member.node.key() == node.key());
    let obstacle = |node: &Arc<Node>| match (asked.iter().find(|filter| !filter.passes(node)), fitness(node))
    {
        (Some(filter), _) => Obstacle::Selection(PassedOver::filtered(filter, node)),
        (None, Err(why)) => Obstacle::Unfit(why),
        (None, Ok(_)) if !own.iter().any(|own| Arc::ptr_eq(own, node)) => {
            Obstacle::OutsideSubset { size: own.len(), nodes: nodes.len() }
        }
        (None, Ok(_)) => Obstacle::InDoubt,
    };
    let explained = |node: &Arc<Node>| NodeExplanation {
        node: node.clone(),
        share: 0.0,
        obstacle: Some(obstacle(node)),
        instead: None,
        status: None,
        cost: None,
    };
    nodes.iter().filter(|node| !is_seated(node)).map(explained).collect()
}
