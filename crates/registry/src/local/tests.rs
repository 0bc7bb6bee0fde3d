//! The suite that every backend passes. Real processes, signals and disks are in `tests/local`.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use callsign_core::{
    Node, NodeKey, ServiceName,
    conformance::Harness,
    error::{Error, ErrorKind, Result},
    registry::{GetOptions, Lease, ListOptions, Listing, RegisterOptions, Registry, Watch, WatchOptions},
};

use super::{LocalConfig, LocalRegistry, lease::Holding, name, work::Wanted};

/// A folder, and owners in it that can be made to die.
struct Folder {
    folder: tempfile::TempDir,
    kernel_events: bool,
    dying: Arc<AtomicBool>,
}

/// A handle whose leases know when to die.
#[derive(Debug)]
struct Mortal {
    registry: LocalRegistry,
    dying: Arc<AtomicBool>,
}

#[derive(Debug)]
struct MortalLease {
    lease: Option<Box<dyn Lease>>,
    holding: Arc<Holding>,
    dying: Arc<AtomicBool>,
}

impl Folder {
    fn new(kernel_events: bool) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), kernel_events, dying: Arc::default() }
    }
}

#[async_trait]
impl Harness for Folder {
    async fn open(&self) -> Arc<dyn Registry> {
        let config = LocalConfig::new(self.folder.path());
        let config = if self.kernel_events {
            // Whatever is seen is seen through the kernel's events.
            config.with_rescan(Duration::from_secs(3600))
        } else {
            // Some cases make thousands of changes and await each.
            LocalConfig { rescan: Duration::from_millis(1), ..config.without_kernel_events() }
        };
        Arc::new(Mortal { registry: LocalRegistry::open(config).unwrap(), dying: self.dying.clone() })
    }

    async fn crash(&self, lease: Box<dyn Lease>) {
        self.dying.store(true, Ordering::Relaxed);
        drop(lease);
        self.dying.store(false, Ordering::Relaxed);
    }

    async fn wipe(&self) -> bool {
        for entry in std::fs::read_dir(self.folder.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                std::fs::remove_file(path).unwrap();
            }
        }
        true
    }

    async fn poison(&self, service: &ServiceName) -> bool {
        let mut poisoned = false;
        for (id, content) in [("empty", ""), ("garbage", "{\"name\":"), ("half", "{}\n{}\n")] {
            let node = Node::builder(service.as_str(), id, "127.0.0.1:1").build().unwrap();
            std::fs::write(self.folder.path().join(name::file_name(&node.key())), content).unwrap();
            poisoned = true;
        }
        poisoned
    }

    fn registration_options(&self) -> RegisterOptions {
        RegisterOptions::default().with_ttl(Duration::from_millis(500))
    }
}

#[async_trait]
impl Registry for Mortal {
    async fn register(&self, node: &Arc<Node>, options: &RegisterOptions) -> Result<Box<dyn Lease>> {
        let lease = self.registry.register(node, options).await?;
        let holding = self.registry.0.holdings.find(&name::file_name(&node.key())).unwrap();
        Ok(Box::new(MortalLease { lease: Some(lease), holding, dying: self.dying.clone() }))
    }

    async fn deregister(&self, key: &NodeKey) -> Result<()> {
        self.registry.deregister(key).await
    }

    async fn get(&self, service: &ServiceName, options: &GetOptions) -> Result<Listing> {
        self.registry.get(service, options).await
    }

    async fn list(&self, options: &ListOptions) -> Result<Listing> {
        self.registry.list(options).await
    }

    async fn watch(&self, options: &WatchOptions) -> Result<Watch> {
        self.registry.watch(options).await
    }
}

impl fmt::Display for Mortal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.registry.fmt(f)
    }
}

#[async_trait]
impl Lease for MortalLease {
    async fn hold(&mut self) -> Error {
        self.lease.as_mut().unwrap().hold().await
    }

    async fn update(&mut self, node: &Arc<Node>) -> Result<()> {
        self.lease.as_mut().unwrap().update(node).await
    }

    async fn release(mut self: Box<Self>) -> Result<()> {
        self.lease.take().unwrap().release().await
    }
}

impl Drop for MortalLease {
    fn drop(&mut self) {
        if self.dying.load(Ordering::Relaxed) {
            self.holding.abandon();
        }
    }
}

fn weighing(weight: u16) -> Arc<Node> {
    Arc::new(Node::builder("greeter", "n", "127.0.0.1:1").weight(weight).build().unwrap())
}

async fn weight(registry: &LocalRegistry) -> Option<u16> {
    let listing = registry.list(&Default::default()).await.unwrap();
    assert!(listing.nodes.len() < 2);
    listing.nodes.first().and_then(|node| node.weight())
}

#[tokio::test]
async fn a_call_that_was_given_up_does_nothing_when_its_turn_comes() {
    const OP: &str = "test";
    let folder = Folder::new(true);
    let registry = LocalRegistry::open(LocalConfig::new(folder.folder.path())).unwrap();
    let late = Wanted::by_nobody();
    assert!(registry.0.claim(OP, &weighing(1), None, &late).is_err());
    assert_eq!(weight(&registry).await, None);

    let lease = registry.register(&weighing(2), &RegisterOptions::default()).await.unwrap();
    assert!(registry.0.claim(OP, &weighing(1), None, &late).is_err());
    registry.0.withdraw(OP, &weighing(1).key(), &late).unwrap_err();
    let holding = registry.0.holdings.find(&name::file_name(&weighing(1).key())).unwrap();
    holding.rewrite(OP, &weighing(1), &late).unwrap_err();
    assert_eq!(weight(&registry).await, Some(2));
    lease.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_name_is_free_as_soon_as_the_readers_of_a_dead_entry_have_looked() {
    let folder = Folder::new(true);
    let registry = LocalRegistry::open(LocalConfig::new(folder.folder.path())).unwrap();
    let path = folder.folder.path().join(name::file_name(&weighing(1).key()));
    std::fs::write(&path, super::entry::encode(&weighing(1), 1)).unwrap();
    let reader = std::fs::File::open(&path).unwrap();
    rustix::fs::flock(&reader, rustix::fs::FlockOperation::LockShared).unwrap();
    // The clock goes on only while nobody works: after the first try, and before the second.
    let looked = async {
        tokio::time::sleep(Duration::from_micros(500)).await;
        drop(reader);
    };
    let (node, options) = (weighing(2), RegisterOptions::default());
    let (lease, ()) = tokio::join!(registry.register(&node, &options), looked);
    lease.unwrap().release().await.unwrap();
}

#[tokio::test]
async fn a_reader_who_looks_at_a_dead_entry_is_not_taken_for_its_owner() {
    let folder = Folder::new(true);
    let registry = LocalRegistry::open(LocalConfig::new(folder.folder.path())).unwrap();
    let path = folder.folder.path().join(name::file_name(&weighing(1).key()));
    std::fs::write(&path, super::entry::encode(&weighing(1), 1)).unwrap();
    let reader = std::fs::File::open(&path).unwrap();
    rustix::fs::flock(&reader, rustix::fs::FlockOperation::LockShared).unwrap();
    let options = RegisterOptions::default();
    let error = registry.register(&weighing(1), &options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    drop(reader);
    registry.register(&weighing(1), &options).await.unwrap();
}

mod with_kernel_events {
    use super::*;

    callsign_core::conformance_tests! {
        #[tokio::test]
        Folder::new(true)
    }
}

mod looking_through_the_folder {
    use super::*;

    callsign_core::conformance_tests! {
        #[tokio::test]
        Folder::new(false)
    }
}
