//! A registry that does what a test tells it to, around one that works.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use async_trait::async_trait;
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
    pub(super) watches: AtomicUsize,
    /// Readings wait for a permit each.
    pub(super) gate: Semaphore,
    pub(super) fault: Mutex<Option<Fault>>,
    pub(super) watch_ends: AtomicBool,
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
            watches: AtomicUsize::new(0),
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
        self.watches.fetch_add(1, Ordering::Relaxed);
        if self.watch_ends.load(Ordering::Relaxed) {
            return Ok(Watch::new(ended()));
        }
        self.memory.watch(options).await
    }
}

impl std::fmt::Display for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("scripted")
    }
}

/// A stream that has ended.
fn ended() -> impl futures_core::Stream<Item = WatchEvent> + Send + 'static {
    struct Ended;
    impl futures_core::Stream for Ended {
        type Item = WatchEvent;

        fn poll_next(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<WatchEvent>> {
            std::task::Poll::Ready(None)
        }
    }
    Ended
}
