//! A registry that does what a test tells it to, around one that works.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use async_trait::async_trait;
use futures_core::Stream;
use tokio::sync::Semaphore;

use super::*;
use crate::{
    memory::MemoryRegistry,
    registry::{GetOptions, Lease, ListOptions, RegisterOptions, Registry, Watch, WatchOptions},
};

/// A memory registry whose readings are counted, and can be held up or made to go wrong.
#[derive(Debug)]
pub(super) struct Scripted {
    pub(super) memory: MemoryRegistry,
    pub(super) gets: AtomicUsize,
    pub(super) under_way: AtomicUsize,
    pub(super) under_way_max: AtomicUsize,
    /// When each watch was opened.
    pub(super) watches: Mutex<Vec<Instant>>,
    /// What the next watches show before they end, or fall silent if told so; afterwards the memory registry's.
    pub(super) script: Mutex<VecDeque<Played>>,
    /// Readings wait for a permit each.
    pub(super) gate: Semaphore,
    pub(super) fault: Mutex<Option<Fault>>,
    pub(super) watch_ends: AtomicBool,
}

/// A watch with a text of its own.
#[derive(Debug, Default)]
pub(super) struct Played {
    events: VecDeque<WatchEvent>,
    stays: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    Panic,
    Hang,
}

impl Scripted {
    pub(super) fn new(permits: usize) -> Arc<Self> {
        Arc::new(Self {
            memory: MemoryRegistry::new(),
            gets: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
            under_way_max: AtomicUsize::new(0),
            watches: Mutex::default(),
            script: Mutex::default(),
            gate: Semaphore::new(permits),
            fault: Mutex::new(None),
            watch_ends: AtomicBool::new(false),
        })
    }

    pub(super) fn gets(&self) -> usize {
        self.gets.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Registry for Scripted {
    async fn register(&self, node: &Arc<Node>, options: &RegisterOptions) -> Result<Box<dyn Lease>> {
        self.memory.register(node, options).await
    }

    async fn deregister(&self, key: &NodeKey) -> Result<()> {
        self.memory.deregister(key).await
    }

    async fn get(&self, service: &ServiceName, options: &GetOptions) -> Result<Listing> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        let under_way = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        self.under_way_max.fetch_max(under_way, Ordering::Relaxed);
        let fault = *self.fault.lock().unwrap();
        match fault {
            Some(Fault::Panic) => panic!("the registry was told to panic"),
            Some(Fault::Hang) => std::future::pending().await,
            None => {}
        }
        self.gate.acquire().await.unwrap().forget();
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        self.memory.get(service, options).await
    }

    async fn list(&self, options: &ListOptions) -> Result<Listing> {
        self.memory.list(options).await
    }

    async fn watch(&self, options: &WatchOptions) -> Result<Watch> {
        self.watches.lock().unwrap().push(Instant::now());
        if let Some(played) = self.script.lock().unwrap().pop_front() {
            return Ok(Watch::new(played));
        }
        if self.watch_ends.load(Ordering::Relaxed) {
            return Ok(Watch::new(Played::default()));
        }
        self.memory.watch(options).await
    }
}

impl std::fmt::Display for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("scripted")
    }
}

// === impl Played ===

impl Played {
    /// A snapshot of these nodes of `greeter`.
    pub(super) fn snapshot(mut self, ids: &[&str], at: u64) -> Self {
        self.events.push_back(WatchEvent::SnapshotStart);
        self.events.extend(nodes(ids).into_iter().map(WatchEvent::Node));
        self.events.push_back(WatchEvent::SnapshotDone(Revision(at)));
        self
    }

    pub(super) fn then_silence(self) -> Self {
        Self { stays: true, ..self }
    }
}

impl Stream for Played {
    type Item = WatchEvent;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        match self.events.pop_front() {
            None if self.stays => Poll::Pending,
            next => Poll::Ready(next),
        }
    }
}
