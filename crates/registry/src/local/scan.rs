//! Bringing the table up to date with the folder.
//!
//! Only what the kernel reports is looked at, and only what is new is read. Everything is looked at when the folder is seen
//! for the first time, when events may have been missed, and every now and then in any case.
//!
//! Two things cannot be known at once, and are looked at again after a moment. A file whose last holder let go is reported
//! as closed a little before its lock is free. And a file that was unlinked by somebody who is not its owner may have an
//! owner who lives, notices, and puts it back: such an entry is believed for [`GRACE`] longer. So is every entry of a folder
//! that was deleted as a whole.

use std::{collections::HashMap, sync::Arc, time::Duration};

use callsign_core::{
    Domain, ServiceName, WatchEvent,
    error::{Error, Result},
    model::wire,
    registry::{Listing, Removal},
};
use tokio::time::Instant;

use super::{
    LocalConfig, entry,
    events::{Fate, Happened, Queue},
    folder::{Dir, Folder, Look},
    lease::Holdings,
    name,
    scanner::Batch,
    table::Table,
};

/// How long an entry is believed whose file is gone without a word.
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// The first wait before something doubtful is looked at again; each further one is twice as long.
const DOUBT_FIRST: Duration = Duration::from_millis(1);
/// After so many looks a closed file that is still locked is taken for a living owner's, who has another descriptor of it.
const DOUBT_LOOKS_MAX: u32 = 10;
/// How soon a folder that could not be read is tried again.
const TROUBLE_AGAIN: Duration = Duration::from_secs(1);
/// How often the folder is followed anew, within one look, when it changes under our hands.
const ARM_TRIES: usize = 4;

const OP: &str = "read registry folder";

/// The folder, and what is known of it.
#[derive(Debug)]
pub(super) struct Scan {
    folder: Arc<Folder>,
    holdings: Arc<Holdings>,
    queue: Option<Queue>,
    /// Which folder the queue follows, or was looked through last.
    armed: Option<(u64, u64)>,
    /// When it was last found to be another than before.
    replaced: Option<Instant>,
    table: Table,
    decoder: wire::Decoder,
    doubts: HashMap<String, Doubt>,
    /// Whether anybody asked what is in the folder; until then only our own entries are looked after.
    reading: bool,
    /// Whether everything has to be looked at.
    owed: bool,
    rescan: Duration,
    next_rescan: Instant,
    trouble: Option<Error>,
}

/// Something to be looked at again.
#[derive(Debug)]
struct Doubt {
    since: Instant,
    next: Instant,
    looks: u32,
    /// The file's last holder let go of it.
    closed: bool,
}

// === impl Scan ===

impl Scan {
    pub(super) fn new(
        folder: Arc<Folder>,
        holdings: Arc<Holdings>,
        queue: Option<Queue>,
        rescan: Duration,
        now: Instant,
    ) -> Self {
        Self {
            folder,
            holdings,
            queue,
            armed: None,
            replaced: None,
            table: Table::default(),
            decoder: wire::Decoder::default(),
            doubts: HashMap::new(),
            reading: false,
            owed: true,
            rescan,
            next_rescan: now,
            trouble: None,
        }
    }

    /// Brings everything up to date. What changed is in the order in which it was noticed.
    pub(super) fn sync(&mut self, now: Instant) -> Batch {
        let result = self.try_sync(now);
        let mut changes = Batch { events: self.table.take_changes(), recovered: false };
        match result {
            Ok(()) => {
                if let Some(error) = self.trouble.take() {
                    tracing::info!(folder = %self.folder.path().display(), after = %error, "folder readable again");
                    changes.recovered = true;
                }
            }
            Err(error) => {
                self.next_rescan = now + TROUBLE_AGAIN;
                if self.trouble.as_ref().is_none_or(|before| before.to_string() != error.to_string()) {
                    tracing::warn!(error = %error.chain(), "folder not readable");
                    changes.events.push(WatchEvent::Error(error.clone()));
                }
                self.trouble = Some(error);
            }
        }
        changes
    }

    /// From now on what is in the folder matters.
    pub(super) fn start_reading(&mut self) {
        self.owed |= !self.reading;
        self.reading = true;
    }

    /// What is in the folder, as of the last [`sync`](Self::sync).
    pub(super) fn listing(&self, domain: &Domain, service: Option<&ServiceName>) -> Result<Listing> {
        match &self.trouble {
            None => Ok(self.table.listing(domain, service)),
            Some(error) => Err(error.clone()),
        }
    }

    /// When the next look is due even if nothing happens.
    pub(super) fn next_look(&self) -> Instant {
        let doubts = self.doubts.values().map(|doubt| doubt.next);
        doubts.min().map_or(self.next_rescan, |doubt| doubt.min(self.next_rescan))
    }

    fn try_sync(&mut self, now: Instant) -> Result<()> {
        let folder = self.folder.clone();
        let (dir, happened) = self.arm(&folder, now)?;
        // Stays owed if what follows fails: the events are taken already.
        let all = std::mem::replace(&mut self.owed, true) || happened.missed || now >= self.next_rescan;
        if !self.reading {
            self.look_after_own(&dir, &happened, all);
        } else if all {
            self.look_at_all(&dir, &happened, now)?;
        } else {
            self.look_at_some(&dir, &happened, now)?;
        }
        self.owed = false;
        if all {
            self.next_rescan = now + self.rescan;
        }
        Ok(())
    }

    /// Enters the folder that the queue follows, making both new if need be, and takes what happened in it.
    fn arm<'a>(&mut self, folder: &'a Folder, now: Instant) -> Result<(Dir<'a>, Happened)> {
        for _ in 0..ARM_TRIES {
            let dir = folder.enter_or_make(OP)?;
            if self.armed.is_some_and(|armed| armed != dir.id) {
                self.replaced = Some(now);
            }
            let Some(queue) = &mut self.queue else {
                self.armed = Some(dir.id);
                return Ok((dir, Happened { missed: true, ..Happened::default() }));
            };
            let drained = queue.drain();
            if let Ok(happened) = drained
                && self.armed == Some(dir.id)
                && !happened.gone
            {
                return Ok((dir, happened));
            }
            self.owed = true;
            self.armed = Some(dir.id);
            if let Err(errno) = queue.arm(folder.path())
                && folder.enter(OP).is_ok_and(|again| again.id == dir.id)
            {
                let rescan = LocalConfig::RESCAN_WITHOUT_EVENTS;
                tracing::warn!(
                    folder = %folder.path().display(), error = %errno, ?rescan,
                    "no kernel events for the folder (see fs.inotify.max_user_watches); looking through it instead"
                );
                self.queue = None;
                self.rescan = self.rescan.min(rescan);
            }
        }
        // Somebody keeps replacing the folder. What it is now is looked through; the next look follows it.
        self.armed = None;
        Ok((folder.enter_or_make(OP)?, Happened { missed: true, ..Happened::default() }))
    }

    fn look_after_own(&self, dir: &Dir<'_>, happened: &Happened, all: bool) {
        if all {
            self.holdings.check_all(dir);
        } else {
            self.holdings.check(dir, happened.fates.keys().map(String::as_str));
        }
    }

    fn look_at_all(&mut self, dir: &Dir<'_>, happened: &Happened, now: Instant) -> Result<()> {
        self.holdings.check_all(dir);
        if let Err(errno) = dir.sweep() {
            tracing::debug!(error = %errno, "unfinished files not cleared away");
        }
        let mut names = dir.names(OP)?;
        names.extend(self.table.names().map(str::to_owned));
        names.sort_unstable();
        names.dedup();
        names.iter().try_for_each(|name| self.look(dir, name, happened.fates.get(name).copied(), now))
    }

    fn look_at_some(&mut self, dir: &Dir<'_>, happened: &Happened, now: Instant) -> Result<()> {
        self.holdings.check(dir, happened.fates.keys().map(String::as_str));
        for (name, fate) in &happened.fates {
            self.look(dir, name, Some(*fate), now)?;
        }
        let due: Vec<_> =
            self.doubts.iter().filter(|(_, doubt)| doubt.next <= now).map(|(name, _)| name.clone()).collect();
        due.iter().try_for_each(|name| self.look(dir, name, None, now))
    }

    /// Looks at one name and settles what is there.
    fn look(&mut self, dir: &Dir<'_>, name: &str, fate: Option<Fate>, now: Instant) -> Result<()> {
        if name::parse(name).is_none() {
            tracing::trace!(file = name, "no entry of ours; left alone");
            return Ok(());
        }
        let closed = fate == Some(Fate::Closed) || self.doubts.get(name).is_some_and(|doubt| doubt.closed);
        match dir.look(OP, name, self.table.stamp(name))? {
            Look::Absent => self.settle_absent(name, fate, closed, now),
            Look::Held { stamp, content } => {
                if let Some(content) = content {
                    match entry::decode(name, &content, &mut self.decoder) {
                        Ok(entry) => self.table.upsert(name, entry.node, stamp),
                        Err(error) => self.poison(name, error.chain()),
                    }
                }
                if !closed || !self.doubt(name, true, now) {
                    self.doubts.remove(name);
                }
            }
            Look::Dead { content, corpse } => {
                self.doubts.remove(name);
                match entry::decode(name, &content, &mut self.decoder) {
                    Ok(_) => {
                        if let Err(errno) = dir.bury(name, &corpse) {
                            tracing::debug!(file = name, error = %errno, "dead owner's entry not removed");
                        }
                        self.table.remove(name, Removal::Expired);
                    }
                    // What is not understood is not deleted: whose it is cannot be known.
                    Err(error) => self.poison(name, error.chain()),
                }
            }
            Look::Strange(reason) => {
                self.doubts.remove(name);
                self.poison(name, reason);
            }
        }
        Ok(())
    }

    fn settle_absent(&mut self, name: &str, fate: Option<Fate>, closed: bool, now: Instant) {
        let removal = if fate == Some(Fate::Withdrawn) {
            Removal::Deregistered
        } else if closed {
            Removal::Expired
        } else if self.may_come_back(name, now) && self.doubt(name, false, now) {
            return;
        } else {
            Removal::Unknown
        };
        self.doubts.remove(name);
        self.table.remove(name, removal);
    }

    /// Whether an entry that is gone without a word is to be believed for a while. Where the kernel says nothing, every
    /// entry goes without a word, and only a folder gone as a whole is a reason to wait.
    fn may_come_back(&self, name: &str, now: Instant) -> bool {
        let replaced = self.replaced.is_some_and(|since| now < since + GRACE);
        self.table.stamp(name).is_some()
            && (self.queue.is_some() || replaced || self.doubts.contains_key(name))
    }

    fn poison(&mut self, name: &str, reason: String) {
        if !self.table.is_poisoned(name, &reason) {
            self.table.poison(name, reason);
        }
    }

    /// Has `name` looked at again after a moment; false once that has been done long enough.
    fn doubt(&mut self, name: &str, closed: bool, now: Instant) -> bool {
        let doubt = match self.doubts.get_mut(name) {
            Some(doubt) if doubt.closed == closed => doubt,
            _ => {
                let doubt = Doubt { since: now, next: now, looks: 0, closed };
                self.doubts.entry(name.to_owned()).insert_entry(doubt).into_mut()
            }
        };
        if now < doubt.next {
            return true;
        }
        if (closed && doubt.looks >= DOUBT_LOOKS_MAX) || (!closed && now >= doubt.since + GRACE) {
            return false;
        }
        let again = now + DOUBT_FIRST * 2u32.pow(doubt.looks.min(DOUBT_LOOKS_MAX));
        doubt.next = if closed { again } else { again.min(doubt.since + GRACE) };
        doubt.looks += 1;
        true
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
