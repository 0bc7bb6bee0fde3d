//! The nodes that this handle speaks for: what it says of them unasked, and what it answers. No sockets here, and no clock.
//!
//! A new node is asked for first, three times; who has its name already answers, and then it is a conflict. If nobody does,
//! it is announced three times. Whoever asks is answered with one packet for each node. A change is announced as a new node
//! is; a node that goes says so, three times because packets get lost.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use callsign_core::{
    Node, NodeKey,
    error::{Error, ErrorKind, Result},
};
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};

mod held;

pub(super) use self::held::{Dropped, Registered};
use super::{
    dns::{Name, Question, Read, kind},
    entry::{self, HeardNode, Telling},
    machine::{Replies, To},
    names,
    text::Stamp,
};

/// How often a name is asked for before it is taken.
const PROBES: u8 = 3;
/// How long one of two who want a name at the same time holds back (RFC 6762, 8.2).
const HOLD_BACK: Duration = Duration::from_secs(1);
/// When a node is announced again after the first time.
const ANNOUNCED_AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];
/// The shortest time between two announcements of one node; changes in between are told together.
const ANNOUNCED_AT_MOST_EVERY: Duration = Duration::from_millis(100);
/// The shortest time between two defences of a node's name.
const DEFENDED_AT_MOST_EVERY: Duration = Duration::from_secs(1);
/// When a node's leaving is said again.
const LEAVING_AGAIN: [Duration; 2] = [Duration::from_millis(120), Duration::from_millis(500)];

/// Who hears a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    Everybody,
    /// Nobody but this machine.
    Loopback,
}

/// What the rest of the machine has to know.
#[derive(Debug)]
pub(super) enum Change {
    /// A node is there, or says something new.
    Told(NodeKey),
    /// It is no longer; with the last stamp that it had.
    Gone(NodeKey, Option<Stamp>),
}

/// The nodes of one handle.
#[derive(Debug)]
pub(super) struct Responder {
    owner: u64,
    host: Name,
    probe_every: Duration,
    rng: fastrand::Rng,
    last: u64,
    nodes: BTreeMap<NodeKey, Own>,
    /// The keys by what is asked for.
    by_instance: HashMap<Name, NodeKey>,
    leaving: Vec<Leaving>,
    dropped: Arc<Dropped>,
    pub(super) replies: Replies,
    pub(super) packets: Vec<(Vec<u8>, To)>,
    pub(super) changes: Vec<Change>,
}

#[derive(Debug)]
struct Own {
    serial: u64,
    telling: Telling,
    state: State,
    /// When there is something to say.
    next: Option<Instant>,
    said: Option<Instant>,
    lost: watch::Sender<Option<Error>>,
}

#[derive(Debug)]
enum State {
    /// Asked for so often.
    Probing { sent: u8, reply: oneshot::Sender<Result<Registered>> },
    /// There, and announced so often.
    There { announced: usize },
}

/// The last word of a node, still to be said a few times.
#[derive(Debug)]
struct Leaving {
    key: NodeKey,
    packet: Vec<u8>,
    reach: Reach,
    said: usize,
    next: Instant,
}

// === impl Responder ===

impl Responder {
    pub(super) fn new(owner: u64, host: Name, probe_every: Duration, rng: fastrand::Rng) -> Self {
        Self {
            owner,
            host,
            probe_every,
            rng,
            last: 0,
            nodes: BTreeMap::new(),
            by_instance: HashMap::new(),
            leaving: Vec::new(),
            dropped: Arc::default(),
            replies: Replies::default(),
            packets: Vec::new(),
            changes: Vec::new(),
        }
    }

    /// Takes a node in, or in place of what the same handle has under its key.
    pub(super) fn register(
        &mut self,
        node: &Arc<Node>,
        reply: oneshot::Sender<Result<Registered>>,
        now: Instant,
    ) {
        const OP: &str = "register node";
        let telling = match self.tell(OP, node) {
            Ok(telling) => telling,
            Err(error) => {
                let _ = reply.send(Err(error));
                return;
            }
        };
        let (key, serial) = (telling.key.clone(), self.last);
        let lost = watch::Sender::new(None);
        self.leaving.retain(|leaving| leaving.key != key);
        match self.nodes.remove(&key) {
            Some(Own { state: State::There { .. }, lost: older, said, .. }) => {
                let message = format!("the same process registered {key} again");
                older.send_replace(Some(Error::new(ErrorKind::Conflict, "hold registration", message)));
                let registered = self.registered(&key, serial, &lost);
                self.replies.put(reply, Ok(registered));
                self.changes.push(Change::Told(key.clone()));
                let state = State::There { announced: 0 };
                self.nodes
                    .insert(key, Own { serial, telling, state, next: Some(soon(said, now)), said, lost });
            }
            given_up => {
                if let Some(Own { state: State::Probing { reply, .. }, .. }) = given_up {
                    let message = format!("the same process registers {key} again meanwhile");
                    let _ = reply.send(Err(Error::new(ErrorKind::Conflict, OP, message)));
                }
                self.by_instance.insert(telling.instance.clone(), key.clone());
                let state = State::Probing { sent: 0, reply };
                self.nodes.insert(key, Own { serial, telling, state, next: Some(now), said: None, lost });
            }
        }
    }

    /// Says something new of a node.
    pub(super) fn update(&mut self, serial: u64, node: &Arc<Node>, now: Instant) -> Result<()> {
        const OP: &str = "update registration";
        let key = node.key();
        let is_own = |own: &Own| own.serial == serial && matches!(own.state, State::There { .. });
        if !self.nodes.get(&key).is_some_and(is_own) {
            return Err(match self.nodes.values().find(|own| own.serial == serial) {
                Some(own) => {
                    Error::invalid(OP, format!("the entry is {}, and cannot become {key}", own.telling.key))
                }
                None => gone(OP, &key, "it was removed, or registered again"),
            });
        }
        let telling = self.tell(OP, node)?;
        if let Some(own) = self.nodes.get_mut(&key) {
            (own.telling, own.state) = (telling, State::There { announced: 0 });
            own.next = Some(soon(own.said, now));
            self.changes.push(Change::Told(key));
        }
        Ok(())
    }

    /// Takes away the nodes that nobody holds any more.
    pub(super) fn let_go(&mut self, now: Instant) {
        for (serial, key) in self.dropped.take() {
            self.release(serial, &key, now);
        }
    }

    /// Takes a node away, if it is still this registration's.
    pub(super) fn release(&mut self, serial: u64, key: &NodeKey, now: Instant) {
        if self.nodes.get(key).is_some_and(|own| own.serial == serial) {
            self.leave(key, now);
        }
    }

    /// Forgets a node without a word, as when its process dies.
    #[cfg(test)]
    pub(super) fn abandon(&mut self, key: &NodeKey) {
        if let Some(own) = self.nodes.remove(key) {
            self.by_instance.remove(&own.telling.instance);
            self.changes.push(Change::Gone(key.clone(), own.telling.stamp));
        }
    }

    /// Takes away a node of this handle on somebody's request; `false` when it has none so called.
    pub(super) fn withdraw(&mut self, key: &NodeKey, now: Instant) -> bool {
        let there = self.nodes.get(key).is_some_and(|own| matches!(own.state, State::There { .. }));
        if there {
            if let Some(own) = self.nodes.get(key) {
                own.lost.send_replace(Some(gone("hold registration", key, "it was deregistered")));
            }
            self.leave(key, now);
        }
        there
    }

    /// Says goodbye for somebody else's node.
    pub(super) fn dismiss(&mut self, telling: &Telling, now: Instant) {
        self.say_goodbye(telling, now);
    }

    /// Whether this handle said it.
    pub(super) fn is_ours(&self, stamp: Option<Stamp>) -> bool {
        stamp.is_some_and(|stamp| stamp.owner == self.owner)
    }

    /// What is said of a node of this handle.
    pub(super) fn find(&self, key: &NodeKey) -> Option<&Telling> {
        self.nodes.get(key).map(|own| &own.telling)
    }

    /// Answers the questions of somebody; `local` when it is on this machine.
    pub(super) fn answer(&mut self, query: &Read, local: bool, now: Instant) -> Vec<Vec<u8>> {
        self.hold_back(query, now);
        let mut answers = Vec::new();
        for question in &query.questions {
            if question.wants(kind::PTR) {
                self.answer_lists(question, query.id, local, &mut answers);
            }
            let there = |own: &&Own| {
                matches!(own.state, State::There { .. }) && (local || !own.telling.is_loopback())
            };
            let own = self.nodes.values().filter(there).map(|own| &own.telling);
            let asked = own.filter(|telling| {
                // Others ask with a pointer's type for what is no pointer; that is how go-micro probes.
                question.name == telling.instance
                    || question.name == telling.service && question.wants(kind::PTR)
            });
            answers.extend(asked.map(|telling| telling.answer(question, query.id)));
        }
        answers
    }

    /// Somebody said something of a node, and nothing newer is known of it; `true` when it is one of this handle's.
    pub(super) fn hear(&mut self, heard: &HeardNode, now: Instant) -> bool {
        let ours = self.is_ours(heard.stamp);
        let Some(own) = self.nodes.get_mut(&heard.key) else { return false };
        match &own.state {
            State::Probing { .. } if ours || heard.lives.is_none() => {}
            State::Probing { .. } => self.refuse(heard),
            State::There { .. } if ours => {
                // Our own words come back, and mean nothing. But we never say this one of a node that is there.
                if heard.lives.is_none() {
                    self.lose(&heard.key, gone("hold registration", &heard.key, "somebody deregistered it"));
                }
            }
            State::There { .. } if heard.lives.is_none() => {}
            State::There { .. } => {
                let stronger = heard.stamp.is_some_and(|stamp| stamp.owner > self.owner);
                if stronger {
                    self.lose(&heard.key, conflict("hold registration", heard));
                } else if own.said.is_none_or(|said| now >= said + DEFENDED_AT_MOST_EVERY) {
                    own.next = Some(now);
                }
            }
        }
        true
    }

    /// The registrations that nobody holds any more.
    pub(super) fn dropped(&self) -> &Arc<Dropped> {
        &self.dropped
    }

    /// Says what is due.
    pub(super) fn poll(&mut self, now: Instant) {
        let due: Vec<_> = self
            .nodes
            .iter()
            .filter(|(_, own)| own.next.is_some_and(|next| next <= now))
            .map(|(key, _)| key.clone())
            .collect();
        for key in due {
            self.advance(&key, now);
            // A name that is ours now is announced now.
            if self.nodes.get(&key).is_some_and(|own| own.next == Some(now)) {
                self.advance(&key, now);
            }
        }
        for leaving in self.leaving.iter_mut().filter(|leaving| leaving.next <= now) {
            self.packets.push((leaving.packet.clone(), To::All(leaving.reach)));
            leaving.said += 1;
            leaving.next = now + LEAVING_AGAIN.get(leaving.said - 1).copied().unwrap_or_default();
        }
        self.leaving.retain(|leaving| leaving.said <= LEAVING_AGAIN.len());
    }

    /// When there is something to say.
    pub(super) fn next(&self) -> Option<Instant> {
        let nodes = self.nodes.values().filter_map(|own| own.next);
        nodes.chain(self.leaving.iter().map(|leaving| leaving.next)).min()
    }

    /// Announces everything again, as after the link has changed.
    pub(super) fn restart(&mut self, now: Instant) {
        for own in self.nodes.values_mut() {
            if let State::There { announced } = &mut own.state {
                *announced = 0;
                own.next = Some(now);
            }
        }
    }

    /// Takes every node away, and says all that is left to say at once.
    pub(super) fn close(&mut self, now: Instant) {
        let keys: Vec<_> = self.nodes.keys().cloned().collect();
        keys.iter().for_each(|key| self.leave(key, now));
        let left = self.leaving.drain(..).filter(|leaving| leaving.said <= LEAVING_AGAIN.len());
        self.packets.extend(left.map(|leaving| (leaving.packet, To::All(leaving.reach))));
    }

    fn registered(&self, key: &NodeKey, serial: u64, lost: &watch::Sender<Option<Error>>) -> Registered {
        Registered::new(key.clone(), serial, lost.subscribe(), self.dropped.clone())
    }

    fn tell(&mut self, op: &'static str, node: &Arc<Node>) -> Result<Telling> {
        self.last += 1;
        let stamp = Stamp { owner: self.owner, revision: self.last };
        Telling::new(op, node, &self.host, Some(stamp))
    }

    fn advance(&mut self, key: &NodeKey, now: Instant) {
        let probe_id = self.rng.u16(..);
        let Some(own) = self.nodes.get_mut(key) else { return };
        match &mut own.state {
            State::Probing { reply, .. } if reply.is_closed() => {
                self.by_instance.remove(&own.telling.instance);
                self.nodes.remove(key);
            }
            State::Probing { sent, .. } if *sent < PROBES => {
                *sent += 1;
                own.next = Some(now + self.probe_every);
                self.packets.push((own.telling.probe(probe_id), To::Asking(reach(&own.telling))));
            }
            State::Probing { .. } => {
                let there = State::There { announced: 0 };
                let State::Probing { reply, .. } = std::mem::replace(&mut own.state, there) else { return };
                own.next = Some(now);
                self.changes.push(Change::Told(key.clone()));
                let (serial, lost) = (own.serial, own.lost.clone());
                let registered = self.registered(key, serial, &lost);
                self.replies.put(reply, Ok(registered));
            }
            State::There { announced } => {
                own.next = ANNOUNCED_AGAIN.get(*announced).map(|wait| now + *wait);
                *announced += 1;
                own.said = Some(now);
                self.packets.push((own.telling.announcement(), To::All(reach(&own.telling))));
            }
        }
    }

    /// Of two who ask for one name at the same time, one waits until the other has it.
    fn hold_back(&mut self, query: &Read, now: Instant) {
        for question in &query.questions {
            let Some(key) = self.by_instance.get(&question.name) else { continue };
            let Some(own) = self.nodes.get_mut(key) else { continue };
            let Some(theirs) = entry::wanted(query, &question.name) else { continue };
            if let State::Probing { sent, .. } = &mut own.state
                && own.telling.contest() < theirs
            {
                *sent = 0;
                own.next = Some(now + HOLD_BACK);
            }
        }
    }

    fn answer_lists(&self, question: &Question, id: u16, local: bool, answers: &mut Vec<Vec<u8>>) {
        let mut services: BTreeMap<&Name, &NodeKey> = BTreeMap::new();
        for own in self.nodes.values() {
            let seen = local || !own.telling.is_loopback();
            if seen && matches!(own.state, State::There { .. }) {
                services.insert(&own.telling.service, &own.telling.key);
            }
        }
        let mut domains: Vec<_> = services.values().map(|key| &key.domain).collect();
        domains.dedup();
        if question.name == names::domains() {
            domains.sort();
            domains.dedup();
            answers.extend(domains.iter().map(|d| entry::named(question, id, &names::domain(d))));
            return;
        }
        for (service, key) in services {
            let domain = names::domain(&key.domain);
            if question.name == names::services(&domain) {
                answers.extend(entry::listed(question, id, service, &domain, &self.host));
            } else if question.name == names::dns_sd_services(&domain) {
                answers.push(entry::named(question, id, service));
            }
        }
    }

    /// Somebody else has the name that was asked for.
    fn refuse(&mut self, heard: &HeardNode) {
        let Some(own) = self.nodes.remove(&heard.key) else { return };
        self.by_instance.remove(&own.telling.instance);
        if let State::Probing { reply, .. } = own.state {
            let _ = reply.send(Err(conflict("register node", heard)));
        }
    }

    /// Gives up a node that is there, without a word of it.
    fn lose(&mut self, key: &NodeKey, error: Error) {
        let Some(own) = self.nodes.remove(key) else { return };
        tracing::debug!(node = %key, %error, "entry lost");
        self.by_instance.remove(&own.telling.instance);
        own.lost.send_replace(Some(error));
        self.changes.push(Change::Gone(key.clone(), own.telling.stamp));
    }

    /// Takes a node away, and says so.
    fn leave(&mut self, key: &NodeKey, now: Instant) {
        let Some(own) = self.nodes.remove(key) else { return };
        self.by_instance.remove(&own.telling.instance);
        if matches!(own.state, State::Probing { .. }) {
            return;
        }
        // It says nothing new, and so its text, one number longer at most, fits again.
        let telling = self.tell("deregister node", &own.telling.node).unwrap_or(own.telling);
        self.changes.push(Change::Gone(key.clone(), telling.stamp));
        self.say_goodbye(&telling, now);
    }

    fn say_goodbye(&mut self, telling: &Telling, now: Instant) {
        let (packet, reach) = (telling.goodbye(), reach(telling));
        self.packets.push((packet.clone(), To::All(reach)));
        let next = now + LEAVING_AGAIN[0];
        self.leaving.push(Leaving { key: telling.key.clone(), packet, reach, said: 1, next });
    }
}

// === free functions ===

/// What is said of nodes that only this machine can reach, only this machine hears.
fn reach(telling: &Telling) -> Reach {
    if telling.is_loopback() { Reach::Loopback } else { Reach::Everybody }
}

fn soon(said: Option<Instant>, now: Instant) -> Instant {
    said.map_or(now, |said| now.max(said + ANNOUNCED_AT_MOST_EVERY))
}

fn gone(op: &'static str, key: &NodeKey, why: &str) -> Error {
    Error::new(ErrorKind::NotFound, op, format!("the entry {key} is not there any more: {why}"))
        .retryable(true)
}

fn conflict(op: &'static str, heard: &HeardNode) -> Error {
    let (key, address) = (&heard.key, heard.node.address());
    Error::new(ErrorKind::Conflict, op, format!("somebody on this link has {key} already, at {address}"))
        .with_hint("give each node an id of its own, or end the other one")
}
