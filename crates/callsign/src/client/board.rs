//! Getting aboard: a node that is ready, and room for one more call on it.

use std::{borrow::Cow, mem, sync::Arc};

use callsign_core::{
    Node, NodeId,
    select::{Member, NoPick, Notes, PickRequest, Rng},
};
use callsign_net::{Connection, Slot};
use tokio::time::Instant;

use super::{
    attempt::{Aside, Berth, Told},
    decisions::{Choice, Fate, Rare, Taken, Why},
    explain,
    failure::Failure,
    journey::{Journey, Phase},
    link::{Link, Way},
    options::Place,
    plan::Plan,
    roster::State,
};

/// Nodes at their stream limit that are passed over before the call queues at one.
const FULL_MAX: usize = 3;

/// What is said of a node that has no room.
const FULL: &str = "it had as many calls as it allows";

/// One search for a place on a node.
struct Search {
    /// How many of the excluded nodes are so because they failed. The others are full.
    failed: usize,
    full: usize,
    /// The call has not looked for a node before.
    is_first: bool,
}

/// What one look around has led to.
enum Step {
    Aboard(Arc<Connection>, Slot),
    /// Another look may find more.
    Again,
    /// Other calls on the node are to end first.
    Room(Arc<Link>),
    /// No node can be called before the next state is published.
    Wait,
}

impl Journey {
    /// Finds a node with room for a stream, waiting for one if that may help.
    ///
    /// The waits are boxed: in place they would make the future of every call larger, and hardly any call waits.
    pub(super) async fn board(&mut self, plan: &Plan) -> Result<(Arc<Connection>, Slot), Failure> {
        let mut search = Search { failed: self.exclude().len(), full: 0, is_first: self.attempts == 0 };
        let channel = &plan.channel;
        let mut published = None;
        loop {
            match self.look(plan, &mut search)? {
                Step::Aboard(connection, slot) => return Ok((connection, slot)),
                Step::Again => {}
                Step::Room(link) => {
                    let found = Box::pin(link.room()).await;
                    let (Some(found), Some(berth)) = (found, &mut self.berth) else { continue };
                    berth.since = Instant::now();
                    return Ok(found);
                }
                // Subscribe first, look again, and only then wait: nothing published in between is missed.
                Step::Wait => match &mut published {
                    None => published = Some(channel.roster().published()),
                    Some(published) => {
                        let stopped = channel.tasks().stopped();
                        let _ = Box::pin(stopped.run_until_cancelled(published.changed())).await;
                    }
                },
            }
        }
    }

    /// Picks a node, and takes a place on it if there is one.
    fn look(&mut self, plan: &Plan, search: &mut Search) -> Result<Step, Failure> {
        let Plan { channel, options, .. } = plan;
        let roster = channel.roster();
        // Each time: the links may have been told to rest while we waited.
        roster.stir();
        let why = if self.attempts == 0 { Why::First } else { Why::Retry };
        let (since, seed) = match mem::take(&mut search.is_first) {
            true => (plan.since, roster.seed_of(plan.call)),
            false => (Instant::now(), roster.draw_seed()),
        };
        let berth = match self.pick(plan, since, seed, why) {
            Ok(berth) => berth,
            Err(shortage) => {
                if channel.tasks().stopped().is_cancelled() {
                    return Err(self.closed(roster));
                }
                let waits = options.wait_for_ready.unwrap_or(channel.settings().wait_for_ready);
                if !shortage.hopeful && !waits {
                    return Err(Failure::unavailable(self.with_history(shortage.message)));
                }
                self.phase = Phase::Node(shortage.message);
                return Ok(Step::Wait);
            }
        };
        let crowded = self.exclude().len() > search.failed;
        let step = match berth.link.way() {
            Way::Open(connection, slot) => Step::Aboard(connection, slot),
            Way::Closed => {
                plan.settle(berth.choice, Fate::Unused("its connection had just ended"));
                return Ok(Step::Again);
            }
            Way::Full if search.full < FULL_MAX && options.place().is_none() => {
                search.full += 1;
                plan.settle(berth.choice, Fate::Unused(FULL));
                self.past_mut().exclude.push(berth.link.id.clone());
                return Ok(Step::Again);
            }
            Way::Full if !crowded => {
                self.phase = Phase::Room;
                Step::Room(berth.link.clone())
            }
            // One that is full is better than one that has failed.
            Way::Full => {
                plan.settle(berth.choice, Fate::Unused(FULL));
                Step::Again
            }
        };
        if crowded {
            self.past_mut().exclude.truncate(search.failed);
        }
        if !matches!(step, Step::Again) {
            self.berth = Some(berth);
        }
        Ok(step)
    }

    /// Picks a node, and writes down which, or why there was none.
    pub(super) fn pick(
        &self,
        plan: &Plan,
        since: Instant,
        seed: u64,
        why: Why,
    ) -> Result<Berth, explain::Shortage> {
        let (roster, options) = (plan.channel.roster(), &plan.options);
        let state = roster.state();
        let exclude = match options.place() {
            None => self.shunned(&state),
            Some(_) => Cow::Borrowed(&[][..]),
        };
        let request = PickRequest { filters: Some(&options.filters), exclude: &exclude, hash: options.hash };
        let mut notes = (roster.decisions.remembers() && options.place().is_none()).then(Notes::default);
        let mut found = find(plan, &state, &request, seed, since, notes.as_mut());
        if let Some(mut record) = plan.record() {
            let (number, choice) = record.add();
            let Choice { fate, taken, state: by, at, why: wanted, rare, notes: noted } = choice;
            *fate = Fate::UnderWay;
            *by = state.number;
            *at = Some(since);
            *wanted = why;
            *noted = notes;
            *rare = rarities(&found, &exclude);
            *taken = match &mut found {
                Ok((berth, _)) => {
                    berth.choice = number;
                    Some(Taken { id: berth.link.id.clone(), inflight: berth.link.load.inflight() })
                }
                Err(_) => None,
            };
        }
        found.map(|(berth, _)| berth)
    }
}

/// What is to be written down of a choice that few have.
#[inline]
fn rarities(
    found: &Result<(Berth, Option<Arc<str>>), explain::Shortage>,
    exclude: &[NodeId],
) -> Option<Box<Rare>> {
    match found {
        Ok((_, None)) if exclude.is_empty() => None,
        Ok((_, instead)) => Some(Rare::boxed(exclude, instead.clone(), "")),
        Err(shortage) => Some(Rare::boxed(exclude, None, &shortage.message)),
    }
}

/// A node for the call, by one snapshot; and why it is another one than the shape asks for.
fn find(
    plan: &Plan,
    state: &State,
    request: &PickRequest<'_>,
    seed: u64,
    since: Instant,
    notes: Option<&mut Notes>,
) -> Result<(Berth, Option<Arc<str>>), explain::Shortage> {
    let (roster, options) = (plan.channel.roster(), &plan.options);
    let berth = |node: &Arc<Node>, link, ticket, instead: Option<Arc<str>>| {
        let told = options.report.then(|| Told { node: node.clone(), instead: instead.clone() });
        let aside = told.map(|told| Box::new(Aside { told: Some(told), span: None }));
        (
            Berth { aside, link, ticket, method: plan.options.method, since, choice: 0, connection: None },
            instead,
        )
    };
    let pick = || {
        let mut rng = Rng::with_seed(seed);
        match notes {
            Some(notes) => state.slate.pick_noting(request, &mut rng, notes),
            None => state.slate.pick(request, &mut rng),
        }
    };
    let found = match options.place() {
        None => pick().map(|picked| {
            let Member { node, handle, .. } = picked.member;
            berth(node, handle.clone(), picked.ticket, picked.instead)
        }),
        Some(Place::Node(id)) => match state.slate.members().iter().find(|member| member.node.id() == id) {
            Some(Member { node, load, handle }) if load.is_ready() => {
                Ok(berth(node, handle.clone(), load.ticket(), None))
            }
            Some(member) => return Err(unready(&member.handle)),
            None if state.slate.members().is_empty() => Err(NoPick::Empty),
            None => {
                return Err(explain::Shortage {
                    hopeful: false,
                    message: format!("{} has no node {id}", roster.service),
                });
            }
        },
        Some(Place::Address(address)) => match roster.pin(address) {
            Some((node, link)) if link.load.is_ready() => {
                let ticket = link.load.ticket();
                Ok(berth(&node, link, ticket, None))
            }
            Some((_, link)) => return Err(unready(&link)),
            None => Err(NoPick::Empty),
        },
    };
    found.map_err(|why| explain::shortage(roster, state, &options.filters, &why))
}

impl Journey {
    /// Nodes that are not to be taken again; on the second repetition also those in their zones, if that leaves any: what ails two
    /// nodes of a zone may ail all.
    fn shunned(&self, state: &State) -> Cow<'_, [NodeId]> {
        let exclude = self.exclude();
        if self.repeats() != 2 {
            return Cow::Borrowed(exclude);
        }
        let members = state.slate.members();
        let tried = members.iter().filter(|member| exclude.contains(member.node.id()));
        let zones: Vec<&str> = tried.filter_map(|member| member.node.zone()).collect();
        let near = |member: &&Member<Arc<Link>>| {
            let zone = member.node.zone();
            exclude.contains(member.node.id()) || zone.is_some_and(|zone| zones.contains(&zone))
        };
        if !members.iter().any(|member| member.load.is_ready() && !near(&member)) {
            return Cow::Borrowed(exclude);
        }
        Cow::Owned(members.iter().filter(near).map(|member| member.node.id().clone()).collect())
    }
}

fn unready(link: &Link) -> explain::Shortage {
    match link.refusal() {
        Some(why) => {
            let how = if link.error().is_some() { "reached" } else { "called" };
            explain::Shortage { hopeful: false, message: format!("{link} cannot be {how}: {why}") }
        }
        None => explain::Shortage { hopeful: true, message: format!("{link} is being connected") },
    }
}
