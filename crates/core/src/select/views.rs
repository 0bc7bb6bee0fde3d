//! The views of one slate, found by their filters without a lock.
//!
//! A table of slots that are filled once and never emptied: the slate's life is short, and the next one begins with those views
//! that were in use. A reader walks from the slot its hash points at until it finds its filters or an empty slot.

use std::{
    ops::Deref,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use super::{Filters, plan::Plan};

/// Slots in the table.
const SLOTS: usize = 64;
/// Slots looked at for one set of filters. Sets that find none free have their view made anew for each pick.
const PROBES: usize = 8;
/// Slates a view is kept for without having been used.
const IDLE_MAX: u8 = 8;

#[derive(Debug)]
pub(super) struct Views(Box<[OnceLock<Box<Entry>>]>);

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) filters: Filters,
    pub(super) plan: Plan,
    used: AtomicBool,
    idle: u8,
}

/// A view that the table keeps, or one that found no room in it.
pub(super) enum Found<'a> {
    Kept(&'a Plan),
    Single(Box<Plan>),
}

// === impl Views ===

impl Views {
    pub(super) fn new() -> Self {
        Self((0..SLOTS).map(|_| OnceLock::new()).collect())
    }

    /// The view for `filters`, made by `make` if there is none yet.
    pub(super) fn find(&self, filters: &Filters, make: impl FnOnce() -> Plan) -> Found<'_> {
        for slot in self.walk(filters) {
            match slot.get() {
                Some(entry) if entry.filters == *filters => return entry.take(),
                Some(_) => {}
                None => return self.fill(filters, make()),
            }
        }
        Found::Single(Box::new(make()))
    }

    /// The view for `filters`, if it is kept.
    pub(super) fn get(&self, filters: &Filters) -> Option<&Plan> {
        let mut entries = self.walk(filters).map_while(OnceLock::get);
        entries.find(|entry| entry.filters == *filters).map(|entry| &entry.plan)
    }

    /// Those that are worth making again for the next slate, with the number of slates they have been idle for.
    pub(super) fn worth_keeping(&self) -> impl Iterator<Item = (&Entry, u8)> {
        self.0.iter().filter_map(OnceLock::get).filter_map(|entry| {
            let entry = &**entry;
            let idle = if entry.used.load(Relaxed) { 0 } else { entry.idle + 1 };
            (idle < IDLE_MAX).then_some((entry, idle))
        })
    }

    /// All plans in the table.
    pub(super) fn plans(&self) -> impl Iterator<Item = &Plan> {
        self.0.iter().filter_map(OnceLock::get).map(|entry| &entry.plan)
    }

    /// Keeps a view made from one of an earlier slate.
    pub(super) fn keep(&self, filters: &Filters, plan: Plan, idle: u8) {
        let mut entry = Entry::new(filters, plan, false, idle);
        for slot in self.walk(filters) {
            match slot.set(entry) {
                Ok(()) => return,
                Err(back) => entry = back,
            }
        }
    }

    /// Puts a new view into the first free slot, unless another thread was faster with the same filters.
    fn fill(&self, filters: &Filters, view: Plan) -> Found<'_> {
        let mut entry = Entry::new(filters, view, true, 0);
        for slot in self.walk(filters) {
            match slot.set(entry) {
                Ok(()) => {
                    return slot.wait().take();
                }
                Err(back) => entry = back,
            }
            if let Some(found) = slot.get()
                && found.filters == *filters
            {
                return found.take();
            }
        }
        Found::Single(Box::new(entry.plan))
    }

    fn walk(&self, filters: &Filters) -> impl Iterator<Item = &OnceLock<Box<Entry>>> {
        let start = filters.cached_hash() as usize;
        (0..PROBES).map(move |probe| &self.0[(start.wrapping_add(probe)) % SLOTS])
    }
}

// === impl Entry ===

impl Entry {
    fn new(filters: &Filters, plan: Plan, used: bool, idle: u8) -> Box<Self> {
        Box::new(Self { filters: filters.clone(), plan, used: AtomicBool::new(used), idle })
    }

    fn take(&self) -> Found<'_> {
        // Written once, so that readers on other cores keep their copy of the line.
        if !self.used.load(Relaxed) {
            self.used.store(true, Relaxed);
        }
        Found::Kept(&self.plan)
    }
}

// === impl Found ===

impl Deref for Found<'_> {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        match self {
            Self::Kept(plan) => plan,
            Self::Single(plan) => plan,
        }
    }
}
