//! The task around the machine: carries events and listings in, readings and answers out.

use std::{
    collections::{HashMap, VecDeque},
    future::pending,
    sync::Arc,
    time::Duration,
};

use fastrand::Rng;
use tokio::{
    select,
    task::{Id, JoinError, JoinSet},
    time::{Instant, sleep_until, timeout},
};

use super::{
    config::{DirectoryConfig, after},
    machine::{Action, Machine},
    names::Names,
    slots::{SWEEPS, Slot, Slots},
    source::{Source, slow},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::ServiceName,
    registry::{GetOptions, Listing, Registry, WatchOptions},
};

/// Most readings under way at once: a start with many cold names is not to knock the registry over.
const READINGS_MAX: usize = 32;

/// Shortest time between two looks for names that nobody asks for.
const SWEEP_MIN: Duration = Duration::from_millis(1);

/// Owns the machine, the watch and the readings. Dropping it ends all of them and tells the readers.
#[derive(Debug)]
pub(super) struct Driver {
    registry: Arc<dyn Registry>,
    config: DirectoryConfig,
    machine: Machine,
    slots: Arc<Slots>,
    /// The slots that the machine's answers go to.
    attached: HashMap<ServiceName, Arc<Slot>>,
    source: Source,
    readings: JoinSet<Result<Listing>>,
    /// What each reading under way is for.
    under_way: HashMap<Id, (ServiceName, u64)>,
    /// Readings of attached names that wait for one of those under way to end.
    waiting: VecDeque<(ServiceName, u64)>,
    sweep_at: Option<Instant>,
}

// === impl Driver ===

impl Driver {
    pub(super) fn new(
        registry: Arc<dyn Registry>,
        config: DirectoryConfig,
        slots: Arc<Slots>,
        names: Names,
        mut rng: Rng,
    ) -> Self {
        let options = WatchOptions::in_domain(config.domain.clone());
        let source = Source::new(registry.clone(), options, config.read_timeout, rng.fork());
        Self {
            machine: Machine::new(config.clone(), names, rng),
            sweep_at: None,
            registry,
            config,
            slots,
            attached: HashMap::new(),
            source,
            readings: JoinSet::new(),
            under_way: HashMap::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Runs until dropped.
    pub(super) async fn run(mut self) {
        self.sweep_at = self.next_sweep(Instant::now());
        loop {
            let due = [self.machine.next(), self.sweep_at].into_iter().flatten().min();
            select! {
                // In this order: what callers ask for is little and comes first, the watch may have events without end
                // and comes last, and none of the others can keep it from its turn.
                biased;
                () = self.slots.woken() => self.sync(),
                Some(reading) = self.readings.join_next_with_id() => self.end_reading(reading),
                () = until(due) => self.sweep_if_due(),
                events = self.source.next() => {
                    let now = Instant::now();
                    for event in events {
                        self.machine.on_event(event, now);
                    }
                }
            }
            self.machine.tick(Instant::now());
            self.act();
        }
    }

    /// Brings what the machine follows in step with the table.
    fn sync(&mut self) {
        let (table, now) = (self.slots.table(), Instant::now());
        for node in self.slots.take_refuted() {
            self.machine.refute(node, now);
        }
        let gone: Vec<_> =
            self.machine.followed().filter(|name| !table.contains_key(*name)).cloned().collect();
        if !gone.is_empty() {
            for name in gone {
                self.machine.forget(&name);
                self.attached.remove(&name);
            }
            self.waiting.retain(|(name, _)| self.attached.contains_key(name));
        }
        for (name, slot) in &*table {
            if self.attached.get(name).is_some_and(|attached| Arc::ptr_eq(attached, slot)) {
                continue;
            }
            self.attached.insert(name.clone(), slot.clone());
            match self.machine.answer(name) {
                // The name was let go and asked for again before anybody looked.
                Some(answer) if !answer.is_pending() => slot.publish(answer),
                _ => self.machine.ask(name, now),
            }
        }
    }

    fn act(&mut self) {
        for action in self.machine.take_actions() {
            match action {
                Action::Publish { name, answer } => {
                    if let Some(slot) = self.attached.get(&name) {
                        tracing::trace!(%name, ?answer, "publish");
                        slot.publish(answer);
                    }
                }
                Action::Read { name, ticket } => self.waiting.push_back((name, ticket)),
                Action::Freshness(freshness) => self.slots.set_freshness(freshness),
                Action::Reopen(wait) => self.source.reopen(wait),
            }
        }
        while self.readings.len() < READINGS_MAX
            && let Some((name, ticket)) = self.waiting.pop_front()
        {
            self.begin_reading(name, ticket);
        }
    }

    fn begin_reading(&mut self, name: ServiceName, ticket: u64) {
        let (registry, service, patience) = (self.registry.clone(), name.clone(), self.config.read_timeout);
        let options = GetOptions::in_domain(self.config.domain.clone());
        let reading = self.readings.spawn(async move {
            match timeout(patience, registry.get(&service, &options)).await {
                Ok(result) => result,
                Err(_) => Err(slow(&*registry, "read service", patience)),
            }
        });
        self.under_way.insert(reading.id(), (name, ticket));
    }

    fn end_reading(&mut self, reading: Result<(Id, Result<Listing>), JoinError>) {
        let (id, result) = match reading {
            Ok(done) => done,
            Err(error) => {
                let message = format!("{} failed in an unforeseen way", self.registry);
                (error.id(), Err(Error::new(ErrorKind::Internal, "read service", message).with_source(error)))
            }
        };
        if let Some((name, ticket)) = self.under_way.remove(&id) {
            self.machine.on_listing(&name, ticket, result, Instant::now());
        }
    }

    fn sweep_if_due(&mut self) {
        let now = Instant::now();
        if self.sweep_at.is_some_and(|at| at <= now) {
            if self.slots.sweep() {
                self.sync();
            }
            self.sweep_at = self.next_sweep(now);
        }
    }

    fn next_sweep(&self, now: Instant) -> Option<Instant> {
        after(now, (self.config.evict_after / SWEEPS).max(SWEEP_MIN))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(registry = %self.registry, "following the registry failed in an unforeseen way");
        }
        self.slots.close();
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}
