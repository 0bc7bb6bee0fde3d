//! Where readers find the answers: one slot per name, in a table that is read without a lock.
//!
//! Readers never wait for the driver and the driver never waits for readers. Writers of the table (a new name, an eviction)
//! take turns and swap the whole table, which is small; the answers inside the slots are swapped one by one.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use super::answer::{Answer, Freshness};
use crate::{
    error::{Error, ErrorKind},
    model::{NodeKey, ServiceName},
};

/// How many sweeps a name survives that nobody asks for.
pub(super) const SWEEPS: u32 = 4;

/// Most refutations waiting for the driver; they are advice, so what is beyond is dropped.
const REFUTED_MAX: usize = 1024;

/// The table of slots, shared by the readers and the driver.
#[derive(Debug)]
pub(super) struct Slots {
    table: ArcSwap<HashMap<ServiceName, Arc<Slot>>>,
    /// Held by whoever changes the table.
    gate: Mutex<Gate>,
    capacity: usize,
    /// Counts the sweeps.
    sweep: AtomicU32,
    wake: Notify,
    freshness: ArcSwap<Freshness>,
}

/// One name's answer and what is known of its readers.
#[derive(Debug)]
pub(super) struct Slot {
    name: ServiceName,
    answer: ArcSwap<Answer>,
    signal: watch::Sender<Signal>,
    subscribers: AtomicUsize,
    /// The sweep in which somebody last asked.
    asked: AtomicU32,
}

/// What subscribers wait for a change of.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Signal {
    pub(super) publications: u64,
    /// No more publications will come.
    pub(super) is_over: bool,
}

#[derive(Debug, Default)]
struct Gate {
    is_closed: bool,
    refuted: Vec<NodeKey>,
}

// === impl Slots ===

impl Slots {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            table: ArcSwap::default(),
            gate: Mutex::default(),
            capacity: capacity.max(1),
            sweep: AtomicU32::new(0),
            wake: Notify::new(),
            freshness: ArcSwap::from_pointee(Freshness::Fresh),
        }
    }

    /// What is known of `name` now. If it is not held, it will be.
    pub(super) fn answer(&self, name: &ServiceName) -> Answer {
        let sweep = self.sweep.load(Ordering::Relaxed);
        if let Some(slot) = self.table.load().get(name) {
            slot.touch(sweep);
            return slot.answer();
        }
        self.hold(name, &mut self.lock()).answer()
    }

    /// The slot of `name`, counted as subscribed to until [`Slot::unsubscribe`].
    pub(super) fn subscribe(&self, name: &ServiceName) -> Arc<Slot> {
        let mut gate = self.lock();
        let slot = self.hold(name, &mut gate);
        slot.subscribers.fetch_add(1, Ordering::Relaxed);
        slot
    }

    /// Leaves word that a suspect was found dead.
    pub(super) fn refute(&self, node: NodeKey) {
        let mut gate = self.lock();
        if gate.refuted.len() < REFUTED_MAX {
            gate.refuted.push(node);
            self.wake.notify_one();
        }
    }

    pub(super) fn take_refuted(&self) -> Vec<NodeKey> {
        std::mem::take(&mut self.lock().refuted)
    }

    /// Waits until the table holds names that the driver has not seen, or something was refuted.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a wake-up is not lost.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// The table as it is now.
    pub(super) fn table(&self) -> Arc<HashMap<ServiceName, Arc<Slot>>> {
        self.table.load_full()
    }

    /// Lets go of the names that nobody has asked for during the last [`SWEEPS`] sweeps. Says whether there were any.
    pub(super) fn sweep(&self) -> bool {
        let _gate = self.lock();
        let sweep = self.sweep.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let table = self.table.load();
        let kept: HashMap<_, _> = table
            .iter()
            .filter(|(_, slot)| slot.is_wanted(sweep))
            .map(|(name, slot)| (name.clone(), slot.clone()))
            .collect();
        let evicts = kept.len() < table.len();
        if evicts {
            self.table.store(Arc::new(kept));
        }
        evicts
    }

    pub(super) fn freshness(&self) -> Freshness {
        Freshness::clone(&self.freshness.load())
    }

    pub(super) fn set_freshness(&self, freshness: Freshness) {
        self.freshness.store(Arc::new(freshness));
    }

    /// The driver has ended: answers stay as they are, those who wait for one are told, and nothing new is held.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        for slot in self.table.load().values() {
            if slot.answer().is_pending() {
                slot.answer.store(Arc::new(Answer::Failed(closed())));
            }
            slot.signal.send_modify(|signal| signal.is_over = true);
        }
    }

    /// The slot of `name`, made if need be: in place of the one asked for longest ago if there is no room.
    fn hold(&self, name: &ServiceName, gate: &mut Gate) -> Arc<Slot> {
        let sweep = self.sweep.load(Ordering::Relaxed);
        let table = self.table.load();
        if let Some(slot) = table.get(name) {
            slot.touch(sweep);
            return slot.clone();
        }
        if gate.is_closed {
            return Slot::dead(name, closed());
        }
        let mut table = HashMap::clone(&table);
        if table.len() >= self.capacity {
            let idle = table.values().filter(|slot| slot.subscribers.load(Ordering::Relaxed) == 0);
            let Some(idle) = idle.max_by_key(|slot| slot.idle_for(sweep)).map(|slot| slot.name.clone())
            else {
                return Slot::dead(name, full(self.capacity));
            };
            table.remove(&idle);
        }
        let slot = Arc::new(Slot::new(name, Answer::Pending, sweep));
        table.insert(name.clone(), slot.clone());
        self.table.store(Arc::new(table));
        self.wake.notify_one();
        slot
    }

    fn lock(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Slot ===

impl Slot {
    fn new(name: &ServiceName, answer: Answer, sweep: u32) -> Self {
        Self {
            name: name.clone(),
            answer: ArcSwap::from_pointee(answer),
            signal: watch::Sender::new(Signal::default()),
            subscribers: AtomicUsize::new(0),
            asked: AtomicU32::new(sweep),
        }
    }

    /// A slot outside of the table, whose answer will never change.
    fn dead(name: &ServiceName, error: Error) -> Arc<Self> {
        let slot = Self::new(name, Answer::Failed(error), 0);
        slot.signal.send_modify(|signal| signal.is_over = true);
        Arc::new(slot)
    }

    pub(super) fn name(&self) -> &ServiceName {
        &self.name
    }

    pub(super) fn answer(&self) -> Answer {
        Answer::clone(&self.answer.load())
    }

    pub(super) fn publish(&self, answer: Answer) {
        self.answer.store(Arc::new(answer));
        self.signal.send_modify(|signal| signal.publications += 1);
    }

    pub(super) fn signal(&self) -> watch::Receiver<Signal> {
        self.signal.subscribe()
    }

    pub(super) fn unsubscribe(&self) {
        self.subscribers.fetch_sub(1, Ordering::Relaxed);
    }

    /// Notes that somebody asked. Written once per sweep, so that readers do not fight over the line.
    fn touch(&self, sweep: u32) {
        if self.asked.load(Ordering::Relaxed) != sweep {
            self.asked.store(sweep, Ordering::Relaxed);
        }
    }

    fn idle_for(&self, sweep: u32) -> u32 {
        sweep.wrapping_sub(self.asked.load(Ordering::Relaxed))
    }

    fn is_wanted(&self, sweep: u32) -> bool {
        if self.subscribers.load(Ordering::Relaxed) > 0 {
            self.touch(sweep);
        }
        self.idle_for(sweep) <= SWEEPS
    }
}

/// What whoever waits on a closed directory is told.
pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "look up service", "the directory was closed")
}

fn full(capacity: usize) -> Error {
    Error::new(
        ErrorKind::ResourceExhausted,
        "look up service",
        format!("the directory holds {capacity} names, the most it may, and each of them is subscribed to"),
    )
    .with_hint("raise the directory's capacity")
}
