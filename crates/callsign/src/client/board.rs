//! Getting aboard: a node that is ready, and room for one more call on it.

use std::sync::Arc;

use callsign_core::{
    Node,
    select::{NoPick, PickRequest},
};
use callsign_net::{Connection, Slot};
use tokio::time::Instant;

use super::{
    attempt::Berth,
    channel::Channel,
    explain,
    failure::Failure,
    journey::{Journey, Phase},
    link::{Link, Way},
    options::{CallOptions, Place},
    roster::Roster,
};

/// Nodes at their stream limit that are passed over before the call queues at one.
const FULL_MAX: usize = 3;

impl Journey {
    /// Finds a node with room for a stream, waiting for one if that may help.
    pub(super) async fn board(
        &mut self,
        channel: &Channel,
        options: &CallOptions,
    ) -> Result<(Arc<Connection>, Slot), Failure> {
        let roster = channel.roster();
        let failed = self.exclude.len();
        let mut full = 0;
        let mut published = None;
        // The call has just begun.
        let mut since = (self.attempts == 0).then_some(self.since);
        loop {
            // Each time: the links may have been told to rest while we waited.
            roster.stir();
            match self.pick(roster, options, since.take().unwrap_or_else(Instant::now)) {
                Ok(berth) => {
                    match berth.link.way() {
                        Way::Open(connection, slot) => {
                            self.exclude.truncate(failed);
                            self.berth = Some(berth);
                            return Ok((connection, slot));
                        }
                        Way::Closed => continue,
                        Way::Full if full < FULL_MAX && options.place.is_none() => {
                            full += 1;
                            self.exclude.push(berth.link.id.clone());
                            continue;
                        }
                        Way::Full if self.exclude.len() > failed => {
                            // One that is full is better than one that has failed.
                            self.exclude.truncate(failed);
                            continue;
                        }
                        Way::Full => {
                            self.phase = Phase::Room;
                            let link = berth.link.clone();
                            self.berth = Some(berth);
                            let found = link.room().await;
                            let (Some(found), Some(berth)) = (found, &mut self.berth) else { continue };
                            berth.since = Instant::now();
                            return Ok(found);
                        }
                    }
                }
                Err(shortage) => {
                    if channel.tasks().stopped().is_cancelled() {
                        return Err(self.closed(roster));
                    }
                    let waits = options.wait_for_ready.unwrap_or(channel.settings().wait_for_ready);
                    if !shortage.hopeful && !waits {
                        return Err(Failure::unavailable(self.with_history(shortage.message)));
                    }
                    self.phase = Phase::Node(shortage.message);
                }
            }
            // Subscribe first, look again, and only then wait: nothing published in between is missed.
            match &mut published {
                None => published = Some(roster.published()),
                Some(published) => {
                    let stopped = channel.tasks().stopped();
                    let _ = stopped.run_until_cancelled(published.changed()).await;
                }
            }
        }
    }

    fn pick(
        &self,
        roster: &Roster,
        options: &CallOptions,
        since: Instant,
    ) -> Result<Berth, explain::Shortage> {
        let state = roster.state();
        let for_report = |node: &Arc<Node>| options.report.then(|| node.clone());
        let mut instead = None;
        let found = match &options.place {
            None => {
                let request = PickRequest {
                    filters: Some(&options.filters),
                    exclude: &self.exclude,
                    hash: options.hash,
                };
                state.slate.pick(&request, &mut roster.rng()).map(|picked| {
                    instead = picked.instead;
                    (for_report(&picked.member.node), picked.member.handle.clone(), picked.ticket)
                })
            }
            Some(Place::Node(id)) => {
                match state.slate.members().iter().find(|member| member.node.id() == id) {
                    Some(member) if member.load.is_ready() => {
                        Ok((for_report(&member.node), member.handle.clone(), member.load.ticket()))
                    }
                    Some(member) => return Err(unready(&member.handle)),
                    None if state.slate.members().is_empty() => Err(NoPick::Empty),
                    None => {
                        return Err(explain::Shortage {
                            hopeful: false,
                            message: format!("{} has no node {id}", roster.service),
                        });
                    }
                }
            }
            Some(Place::Address(address)) => match roster.pin(address) {
                Some((node, link)) if link.load.is_ready() => {
                    let ticket = link.load.ticket();
                    Ok((for_report(&node), link, ticket))
                }
                Some((_, link)) => return Err(unready(&link)),
                None => Err(NoPick::Empty),
            },
        };
        match found {
            Ok((node, link, ticket)) => Ok(Berth { node, link, ticket, instead, since, connection: None }),
            Err(why) => Err(explain::shortage(roster, &state, &options.filters, &why)),
        }
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
