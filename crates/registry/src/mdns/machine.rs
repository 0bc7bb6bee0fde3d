//! Everything that an mDNS registry decides: requests and packets in, packets and answers out. It has no socket and no clock,
//! and all that it draws at random comes from the seed that it is given.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use callsign_core::{
    Domain, Node, NodeKey, ServiceName, WatchEvent,
    error::{Error, Result},
    model::wire,
    registry::Listing,
};
use tokio::{sync::oneshot, time::Instant};

use super::{
    browser::Browser,
    cache::Cache,
    dns::{self, Name},
    entry::{self, Heard, HeardNode, Telling},
    names,
    responder::{Change, Dropped, Reach, Registered, Responder},
};

/// How often it is looked for what is out of date.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// How long everybody has to say that they are there, after nobody could be heard; and the time of two checks beside.
const EXCUSED_FOR: Duration = Duration::from_secs(10);
/// The most packets that wait to be sent. What is lost is asked for again.
const OUTBOX_MAX: usize = 16_384;

/// How quick things are. None of it is waited for where an answer is there earlier.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    /// How long a first answer is waited for.
    pub(super) lookup: Duration,
    /// How long more nodes are waited for after the first.
    pub(super) settle: Duration,
    /// How often known nodes are looked after.
    pub(super) check: Duration,
    /// How long a new node waits for an objection, three times.
    pub(super) probe: Duration,
}

/// What this handle is asked to do.
#[derive(Debug)]
pub(super) enum Request {
    Register {
        node: Arc<Node>,
        reply: oneshot::Sender<Result<Registered>>,
    },
    Update {
        serial: u64,
        node: Arc<Node>,
        reply: oneshot::Sender<Result<()>>,
    },
    Release {
        serial: u64,
        key: NodeKey,
        reply: oneshot::Sender<()>,
    },
    Deregister {
        key: NodeKey,
        reply: oneshot::Sender<Result<()>>,
    },
    Look(Look),
    #[cfg(test)]
    Abandon {
        key: NodeKey,
    },
    #[cfg(test)]
    IsAway {
        reply: oneshot::Sender<bool>,
    },
}

/// Somebody who wants to know of a service, or of all.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) domain: Domain,
    pub(super) service: Option<ServiceName>,
    /// Whether the first nodes will do.
    pub(super) hasty: bool,
    /// Alive for as long as somebody watches.
    pub(super) watch: Option<std::sync::Weak<()>>,
    pub(super) reply: oneshot::Sender<Result<Listing>>,
}

/// A packet to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) bytes: Vec<u8>,
    pub(super) to: To,
}

/// Where a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    /// To everybody, as a response.
    All(Reach),
    /// To everybody, as a question whose answers come back to who asks.
    Asking(Reach),
    One(SocketAddr),
}

/// Where a packet came from.
#[derive(Debug, Clone, Copy)]
pub(super) struct From<'a> {
    pub(super) address: SocketAddr,
    /// From this machine.
    pub(super) local: bool,
    /// The interface, where the address says it.
    pub(super) zone: Option<&'a str>,
}

/// What changed, for all watches.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) events: Vec<WatchEvent>,
    /// The link can be used again.
    pub(super) recovered: bool,
}

/// One handle on what is registered on the link.
#[derive(Debug)]
pub(super) struct Machine {
    timing: Timing,
    host: Name,
    rng: fastrand::Rng,
    cache: Cache,
    browser: Browser,
    responder: Responder,
    decoder: wire::Decoder,
    looks: Vec<Waiting>,
    /// Why the link cannot be used.
    away: Option<Error>,
    batch: Batch,
    sweep: Instant,
    outbox: Vec<Packet>,
    replies: Replies,
}

/// Answers that are given once everything that they tell of has been sent: who hears that a node is there, or is not any
/// more, may look from elsewhere.
#[derive(Default)]
pub(super) struct Replies(Vec<Box<dyn FnOnce() + Send>>);

/// Somebody whose answer is not ready.
#[derive(Debug)]
struct Waiting {
    look: Look,
    /// When the first node was there, if that will do.
    found: Option<Instant>,
}

// === impl Machine ===

impl Machine {
    pub(super) fn new(timing: Timing, host: Name, mut rng: fastrand::Rng, now: Instant) -> Self {
        let owner = rng.u64(..);
        Self {
            timing,
            host: host.clone(),
            cache: Cache::default(),
            browser: Browser::new(timing.lookup, timing.check, rng.fork()),
            responder: Responder::new(owner, host, timing.probe, rng.fork()),
            decoder: wire::Decoder::default(),
            looks: Vec::new(),
            away: None,
            batch: Batch::default(),
            sweep: now + SWEEP_EVERY,
            outbox: Vec::new(),
            replies: Replies::default(),
            rng,
        }
    }

    /// Does what is asked, or begins to.
    pub(super) fn ask(&mut self, request: Request, now: Instant) {
        // Who is not there to hear of it any more is not served.
        match request {
            Request::Register { node, reply } if !reply.is_closed() => match &self.away {
                Some(error) => drop(reply.send(Err(error.clone()))),
                None => {
                    // go-micro's nodes do not answer for their own names, and yet for their services'.
                    self.browser.interest(node.domain(), Some(node.service()), None, &mut self.cache, now);
                    self.responder.register(&node, reply, now);
                }
            },
            Request::Update { serial, node, reply } if !reply.is_closed() => {
                let updated = self.responder.update(serial, &node, now);
                self.replies.put(reply, updated);
            }
            Request::Release { serial, key, reply } => {
                self.responder.release(serial, &key, now);
                self.replies.put(reply, ());
            }
            Request::Deregister { key, reply } if !reply.is_closed() => {
                let deregistered = self.deregister(&key, now);
                self.replies.put(reply, deregistered);
            }
            Request::Look(look) if !look.reply.is_closed() => self.look(look, now),
            #[cfg(test)]
            Request::Abandon { key } => self.responder.abandon(&key),
            #[cfg(test)]
            Request::IsAway { reply } => drop(reply.send(self.away.is_some())),
            Request::Register { .. }
            | Request::Update { .. }
            | Request::Deregister { .. }
            | Request::Look(_) => {}
        }
        self.settle(now);
    }

    /// The registrations that nobody holds any more; they are let go of at the next [`poll`](Self::poll).
    pub(super) fn dropped(&self) -> Arc<Dropped> {
        self.responder.dropped().clone()
    }

    /// Takes in a packet. What is no DNS message, or says nothing of use, is passed over.
    pub(super) fn receive(&mut self, bytes: &[u8], from: From<'_>, now: Instant) {
        let message = match dns::read(bytes) {
            Ok(message) => message,
            Err(reason) => {
                tracing::trace!(from = %from.address, reason, "no DNS message; passed over");
                return;
            }
        };
        if message.is_response() {
            for heard in entry::heard(&message, from.zone, &mut self.decoder) {
                self.hear(heard, now);
            }
        } else {
            for bytes in self.responder.answer(&message, from.local, now) {
                self.send(bytes, To::One(from.address));
            }
        }
        self.settle(now);
    }

    /// The link can be used, or not and why.
    pub(super) fn set_away(&mut self, away: Option<Error>, now: Instant) {
        match (&self.away, &away) {
            (None, Some(error)) => {
                tracing::warn!(error = %error.chain(), "mDNS is away");
                self.batch.events.push(WatchEvent::Error(error.clone()));
                for waiting in self.looks.drain(..) {
                    let _ = waiting.look.reply.send(Err(error.clone()));
                }
            }
            (Some(_), None) => {
                tracing::info!("mDNS is back");
                self.batch.recovered = true;
                self.restart(now);
            }
            _ => {}
        }
        self.away = away;
    }

    /// The link has changed: everything is said and asked again.
    pub(super) fn restart(&mut self, now: Instant) {
        self.cache.excuse(now + EXCUSED_FOR + self.timing.check * 2);
        self.browser.restart(now);
        self.responder.restart(now);
    }

    /// Why the link cannot be used.
    pub(super) fn away(&self) -> Option<&Error> {
        self.away.as_ref()
    }

    /// Does what is due.
    pub(super) fn poll(&mut self, now: Instant) {
        self.responder.let_go(now);
        self.settle(now);
        if self.away.is_some() {
            // Nobody can be asked, so nobody is silent.
            self.sweep = now + SWEEP_EVERY;
            return;
        }
        let (rng, mut questions) = (&mut self.rng, Vec::new());
        self.browser.poll(&mut self.cache, now, |name, kind| {
            questions.push(entry::query(rng.u16(..), name, kind));
        });
        questions.into_iter().for_each(|bytes| self.send(bytes, To::Asking(Reach::Everybody)));
        self.responder.poll(now);
        self.settle(now);
        if self.sweep <= now {
            self.sweep = now + SWEEP_EVERY;
            self.cache.sweep(now);
            self.browser.sweep(&self.cache, now);
        }
        self.answer(now);
    }

    /// When there is something to do.
    pub(super) fn next(&self, now: Instant) -> Instant {
        if self.away.is_some() {
            return self.sweep;
        }
        let looks = self.looks.iter().map(|waiting| self.ready_at(waiting, now));
        let due = self.browser.next().into_iter().chain(self.responder.next()).chain(looks);
        due.min().map_or(self.sweep, |due| due.min(self.sweep))
    }

    /// Takes every node away.
    pub(super) fn close(&mut self, now: Instant) {
        self.responder.let_go(now);
        self.responder.close(now);
        self.settle(now);
    }

    /// What is to be sent.
    pub(super) fn take_packets(&mut self) -> Vec<Packet> {
        std::mem::take(&mut self.outbox)
    }

    /// Tells those who asked that it is done, now that everything has been sent.
    pub(super) fn reply(&mut self) {
        self.responder.replies.give();
        self.replies.give();
    }

    /// What changed, if anything did.
    pub(super) fn take_batch(&mut self) -> Option<Batch> {
        self.batch.events.extend(self.cache.take_changes());
        let is_empty = self.batch.events.is_empty() && !self.batch.recovered;
        (!is_empty).then(|| std::mem::take(&mut self.batch))
    }

    fn look(&mut self, look: Look, now: Instant) {
        if let Some(error) = &self.away {
            let _ = look.reply.send(Err(error.clone()));
            return;
        }
        let Look { domain, service, watch, .. } = &look;
        self.browser.interest(domain, service.as_ref(), watch.clone(), &mut self.cache, now);
        self.looks.push(Waiting { look, found: None });
        self.answer(now);
    }

    /// Answers those who need not wait any longer.
    fn answer(&mut self, now: Instant) {
        let looks = std::mem::take(&mut self.looks);
        for mut waiting in looks {
            if waiting.look.reply.is_closed() {
                continue;
            }
            let Look { domain, service, hasty, .. } = &waiting.look;
            if *hasty && waiting.found.is_none() {
                let listing = self.cache.listing(domain, service.as_ref());
                waiting.found = (!listing.nodes.is_empty()).then_some(now);
            }
            if self.ready_at(&waiting, now) > now {
                self.looks.push(waiting);
                continue;
            }
            let listing = self.cache.listing(domain, service.as_ref());
            let _ = waiting.look.reply.send(Ok(listing));
        }
    }

    fn ready_at(&self, waiting: &Waiting, now: Instant) -> Instant {
        let Look { domain, service, .. } = &waiting.look;
        let whole = self.browser.ready_at(domain, service.as_ref(), now);
        waiting.found.map_or(whole, |found| whole.min(found + self.timing.settle))
    }

    fn hear(&mut self, heard: Heard, now: Instant) {
        match heard {
            Heard::Node(heard) => self.hear_node(*heard, now),
            Heard::Listed { domain, service } => {
                self.browser.learn_service(&domain, &service, &mut self.cache, now);
            }
            Heard::Domain(domain) => self.browser.learn_domain(&domain, &mut self.cache, now),
            Heard::Garbled { instance, reason, lives } => {
                // Much else is said on this port, in the domain `local` above all.
                if self.browser.is_asked_for(&instance) {
                    self.cache.garble(instance, reason, lives, now);
                }
            }
        }
    }

    fn hear_node(&mut self, heard: HeardNode, now: Instant) {
        // What somebody said before it left is nothing to quarrel about.
        let is_old = self.cache.is_old(&heard.key, heard.stamp, now);
        if is_old || self.responder.hear(&heard, now) || self.responder.is_ours(heard.stamp) {
            return;
        }
        let (domain, service) = (names::domain(&heard.key.domain), heard.service.clone());
        if self.cache.hear(heard, now) {
            self.browser.learn_service(&domain, &service, &mut self.cache, now);
        }
    }

    fn deregister(&mut self, key: &NodeKey, now: Instant) -> Result<()> {
        if let Some(error) = &self.away {
            return Err(error.clone());
        }
        if self.responder.withdraw(key, now) {
            return Ok(());
        }
        let Some((node, stamp, _)) = self.cache.find(key) else { return Ok(()) };
        let telling = Telling::new("deregister node", node, &self.host, stamp)?;
        self.responder.dismiss(&telling, now);
        self.cache.withdraw(key, stamp, now);
        Ok(())
    }

    /// Carries over what the responder has done.
    fn settle(&mut self, now: Instant) {
        for change in std::mem::take(&mut self.responder.changes) {
            match change {
                Change::Told(key) => {
                    if let Some(telling) = self.responder.find(&key) {
                        self.cache.put_own(&telling.node, &telling.service, telling.stamp, now);
                        let (domain, service) = (names::domain(&key.domain), telling.service.clone());
                        self.browser.learn_service(&domain, &service, &mut self.cache, now);
                    }
                }
                Change::Gone(key, stamp) => self.cache.withdraw(&key, stamp, now),
            }
        }
        for (bytes, to) in std::mem::take(&mut self.responder.packets) {
            self.send(bytes, to);
        }
    }

    fn send(&mut self, bytes: Vec<u8>, to: To) {
        if self.outbox.len() < OUTBOX_MAX {
            self.outbox.push(Packet { bytes, to });
        } else {
            tracing::debug!("more packets wait than are kept; one dropped");
        }
    }
}

// === impl Replies ===

impl Replies {
    pub(super) fn put<T: Send + 'static>(&mut self, to: oneshot::Sender<T>, answer: T) {
        // If nobody is there to take it, it is dropped, and a registration is let go of.
        self.0.push(Box::new(move || drop(to.send(answer))));
    }

    fn give(&mut self) {
        self.0.drain(..).for_each(|reply| reply());
    }
}

impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Replies").field(&self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests;
