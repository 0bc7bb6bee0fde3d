//! One name: what is answered for it, when that is published, and when the registry is read about it.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use tokio::time::Instant;

use super::{
    answer::{Answer, Freshness, View, says_same},
    config::{DirectoryConfig, after},
    members::{Change, Members, Picture, Source},
};
use crate::{
    error::{Error, ErrorKind, Result},
    registry::{Listing, Revision},
    retry::Backoff,
};

/// What is held of one name.
#[derive(Debug)]
pub(super) struct Entry {
    stage: Stage,
    members: Members,
    confirmed: Instant,
    reading: Reading,
    backoff: Backoff,
    /// When nodes were last put in doubt, and how many readings have been answered since.
    doubt: Option<(Instant, usize)>,
    published: Option<Instant>,
    due: Option<Instant>,
    /// For the machine: the time that this entry is listed under among its timers.
    pub(super) timer: Option<Instant>,
}

/// What an entry decides by, beside what it holds.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) config: &'a DirectoryConfig,
    /// Whether the watch is heard.
    pub(super) registry: &'a Freshness,
    pub(super) rng: &'a mut Rng,
    pub(super) now: Instant,
}

#[derive(Debug)]
enum Stage {
    Pending,
    Failed(Error),
    /// The registry has answered; `ever` when it has shown something of that name.
    Answered {
        ever: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Idle,
    Due(Instant),
    /// Its answer is waited for under this ticket.
    InFlight(u64),
    /// The same, but nodes were put in doubt after it began: what it says of them is no later word.
    Overtaken(u64),
}

// === impl Entry ===

impl Entry {
    /// A name asked for at `now`, when the watch had shown everything up to `seen`.
    pub(super) fn new(seen: Revision, now: Instant) -> Self {
        Self {
            stage: Stage::Pending,
            members: Members::new(seen),
            confirmed: now,
            reading: Reading::Due(now),
            backoff: Backoff::connections(),
            doubt: None,
            published: None,
            due: None,
            timer: None,
        }
    }

    /// What is to be answered now.
    pub(super) fn answer(&self, registry: &Freshness) -> Answer {
        match &self.stage {
            Stage::Pending => return Answer::Pending,
            Stage::Failed(error) => return Answer::Failed(error.clone()),
            Stage::Answered { ever: false } => return Answer::Absent,
            Stage::Answered { ever: true } => {}
        }
        let freshness = match registry {
            Freshness::Fresh => Freshness::Fresh,
            Freshness::Stale { since, error } => {
                Freshness::Stale { since: self.confirmed.max(*since), error: error.clone() }
            }
        };
        let (nodes, suspects) = self.members.show();
        let revision = self.members.revision();
        Answer::Known(Arc::new(View::new(nodes, suspects, revision, freshness, self.confirmed)))
    }

    /// Whether it is certain that the name has no node.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.stage, Stage::Answered { .. }) && self.members.is_empty()
    }

    /// Applies an event to the members.
    pub(super) fn on_event(&mut self, apply: impl FnOnce(&mut Members) -> Change, cx: &mut Context<'_>) {
        let was_empty = self.members.is_empty();
        let change = apply(&mut self.members);
        self.confirmed = cx.now;
        self.changed(hasten(change, was_empty), cx);
    }

    /// Takes what a snapshot of the watch shows of this name.
    pub(super) fn on_snapshot(&mut self, picture: Picture, cx: &mut Context<'_>) {
        if picture.at >= self.members.floor() {
            self.take_picture(picture, false, cx);
        }
    }

    /// Takes the registry's answer to the reading `ticket`. Says whether that reading was still waited for.
    pub(super) fn on_listing(&mut self, ticket: u64, result: Result<Listing>, cx: &mut Context<'_>) -> bool {
        let is_later_word = match self.reading {
            Reading::InFlight(waited_for) if waited_for == ticket => true,
            Reading::Overtaken(waited_for) if waited_for == ticket => false,
            _ => return false,
        };
        self.reading = Reading::Idle;
        match result.and_then(|listing| self.check_age(listing)) {
            Ok(Listing { nodes, revision: at, poisoned }) => {
                let source = match cx.registry {
                    Freshness::Stale { .. } => Source::WhileAway,
                    Freshness::Fresh if is_later_word && poisoned == 0 => Source::Confirming,
                    Freshness::Fresh => Source::Regular,
                };
                match &mut self.doubt {
                    Some((_, answered)) if is_later_word => *answered += 1,
                    Some(_) => {}
                    None => self.backoff.reset(),
                }
                self.take_picture(Picture { nodes, at, source }, poisoned > 0, cx);
            }
            Err(error) => self.on_failure(error, cx),
        }
        true
    }

    /// The registry went away, or came back.
    pub(super) fn on_freshness(&mut self, cx: &mut Context<'_>) {
        if !cx.registry.is_stale() {
            self.members.restart_doubts(cx.now);
            self.plan_reading(cx);
        }
        if matches!(self.stage, Stage::Answered { ever: true }) {
            self.due = Some(cx.now);
        }
    }

    /// The registry counts its states anew.
    pub(super) fn renumber(&mut self) {
        self.members.renumber();
    }

    /// When something is to be done next.
    pub(super) fn next(&self, registry: &Freshness, config: &DirectoryConfig) -> Option<Instant> {
        let read = match self.reading {
            Reading::Due(at) => Some(at),
            Reading::Idle | Reading::InFlight(_) | Reading::Overtaken(_) => None,
        };
        let grace = if registry.is_stale() { None } else { self.members.grace_ends(config.grace) };
        [self.due, read, grace].into_iter().flatten().min()
    }

    /// Ends the grace of suspects, unless nobody is there to say that they are back.
    pub(super) fn end_grace(&mut self, cx: &mut Context<'_>) {
        if !cx.registry.is_stale() {
            let change = self.members.end_grace(cx.now, cx.config.grace);
            self.changed(change, cx);
        }
    }

    /// Whether a reading is to begin now; if so it is taken as begun under `ticket`.
    pub(super) fn begin_reading(&mut self, ticket: u64, now: Instant) -> bool {
        let begins = matches!(self.reading, Reading::Due(at) if at <= now);
        if begins {
            self.reading = Reading::InFlight(ticket);
        }
        begins
    }

    /// Whether the answer is to be published now; if so it is taken as published.
    pub(super) fn begin_publication(&mut self, now: Instant) -> bool {
        let begins = self.due.is_some_and(|due| due <= now);
        if begins {
            self.due = None;
            self.published = Some(now);
        }
        begins
    }

    /// `unread`: the registry holds something of that name which it could not read.
    fn take_picture(&mut self, picture: Picture, unread: bool, cx: &mut Context<'_>) {
        let was_empty = self.members.is_empty();
        let change = self.members.reconcile(picture, cx.now, cx.config.sudden);
        self.confirmed = cx.now;
        if !matches!(self.stage, Stage::Answered { .. }) {
            self.stage = Stage::Answered { ever: false };
            if matches!(self.reading, Reading::Due(_)) {
                self.reading = Reading::Idle;
            }
            self.due = Some(cx.now);
        }
        if let Stage::Answered { ever } = &mut self.stage {
            *ever |= unread;
        }
        self.changed(hasten(change, was_empty), cx);
    }

    fn changed(&mut self, change: Change, cx: &mut Context<'_>) {
        let Stage::Answered { ever } = &mut self.stage else {
            return;
        };
        *ever |= !self.members.is_empty();
        let due = match (change, self.published) {
            (Change::None, _) => None,
            (Change::AtOnce, _) | (Change::Merge, None) => Some(cx.now),
            (Change::Merge, Some(published)) => after(published, cx.config.merge).map(|due| due.max(cx.now)),
        };
        self.due = [self.due, due].into_iter().flatten().min();
        self.plan_reading(cx);
    }

    /// Plans the readings that settle a doubt; without one there is nothing to read.
    fn plan_reading(&mut self, cx: &mut Context<'_>) {
        if !matches!(self.stage, Stage::Answered { .. }) {
            return;
        }
        let Some(since) = self.members.doubted_since() else {
            self.doubt = None;
            if matches!(self.reading, Reading::Due(_)) {
                self.reading = Reading::Idle;
            }
            return;
        };
        let answered = match self.doubt {
            Some((at, answered)) if at == since => answered,
            _ => {
                self.doubt = Some((since, 0));
                self.backoff.reset();
                self.reading = match self.reading {
                    Reading::Idle | Reading::Due(_) => Reading::Idle,
                    Reading::InFlight(ticket) | Reading::Overtaken(ticket) => Reading::Overtaken(ticket),
                };
                0
            }
        };
        if self.reading == Reading::Idle {
            let due = match cx.config.rereads.get(answered) {
                Some(wait) => after(since, spread(*wait, cx.rng)).map(|due| due.max(cx.now)),
                None => after(cx.now, self.backoff.next(cx.rng)),
            };
            self.reading = due.map_or(Reading::Idle, Reading::Due);
        }
    }

    fn on_failure(&mut self, error: Error, cx: &mut Context<'_>) {
        let is_news = match &self.stage {
            Stage::Pending => true,
            Stage::Failed(before) => !says_same(before, &error),
            Stage::Answered { .. } => false,
        };
        if !matches!(self.stage, Stage::Answered { .. }) {
            self.stage = Stage::Failed(error);
        }
        if is_news {
            self.due = Some(cx.now);
        }
        self.reading = after(cx.now, self.backoff.next(cx.rng)).map_or(Reading::Idle, Reading::Due);
        self.plan_reading(cx);
    }

    fn check_age(&self, listing: Listing) -> Result<Listing> {
        let (shown, floor) = (listing.revision, self.members.floor());
        if shown >= floor {
            return Ok(listing);
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            "read service",
            format!(
                "the registry answered with its state {shown}, older than {floor} which it had shown already"
            ),
        ))
    }
}

/// A first node is what callers may be waiting for.
fn hasten(change: Change, was_empty: bool) -> Change {
    match change {
        Change::Merge if was_empty => Change::AtOnce,
        Change::None | Change::Merge | Change::AtOnce => change,
    }
}

/// `wait` or up to a fifth more: many clients have the same doubt at the same moment, and are not to ask all at once.
fn spread(wait: Duration, rng: &mut Rng) -> Duration {
    wait.checked_add((wait / 5).mul_f64(rng.f64())).unwrap_or(Duration::MAX)
}
