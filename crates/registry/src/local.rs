//! The registry that needs nothing installed: one file a node in a folder of this user.
//!
//! # How it works
//!
//! A node's entry is a file in one flat folder (`LocalConfig`), named after its key, that holds the node as every registry
//! does. Its owner keeps the file open, under the file's exclusive lock, for as long as it lives. The kernel lets go of that
//! lock when the owner ends, however it ends: so whoever can take the lock of an entry knows that its owner is dead, and
//! removes it. There is no time to live, and nothing to renew.
//!
//! Three rules make it sound.
//!
//! 1. An entry is written and locked under another name, and then renamed into its place in one step. No name ever leads to
//!    half a file, or to a file that its living owner does not hold.
//! 2. Whoever takes a name away from a file, or gives it to another, holds the exclusive lock of the file that has it: its
//!    owner does anyway, a reader who found it dead takes it first, and then makes sure that the name still leads there. A
//!    free name is taken without replacing anything. So of two owners just one gets a name, and nobody removes the entry of
//!    a living one by mistake. [`Registry::deregister`] breaks this rule on purpose; the owner notices.
//! 3. Readers share the lock, and only for a moment: they cannot be taken for an owner, nor keep each other from seeing that
//!    there is none.
//!
//! The lock is on the data file itself, not on a file beside it: a second file would have a life of its own, and the two
//! could disagree. Replacing the file by renaming over it is sound because the new file is locked before it has the name,
//! and the old one is let go of after it lost it.
//!
//! # How changes are seen
//!
//! The kernel reports what happens to names in the folder, and that the last holder of a file let go of it, which is how a
//! killed process is seen at once. A look through the whole folder every 30 s is the safety net.
//!
//! | The kernel says | It means |
//! |---|---|
//! | renamed into the folder | a node was registered, or its entry replaced |
//! | renamed out of it | deregistered on purpose |
//! | closed after writing | its owner is dead |
//! | unlinked | a dead owner's entry was cleaned up; or somebody deleted a living one's, who will put it back |
//!
//! A process that is stopped, or swapped out, keeps its lock and stays registered; clocks play no part at all. A child that
//! a process forks off without running another program shares its locks, and keeps its entries alive for as long as it runs.

mod config;
mod entry;
mod events;
mod fault;
mod folder;
mod lease;
mod name;
mod scan;
mod scanner;
mod table;
#[cfg(test)]
mod tests;
mod watch;
mod work;

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use callsign_core::{
    Node, NodeKey, ServiceName, Tasks,
    error::{Error, ErrorKind, Result},
    model::{Domain, wire},
    registry::{GetOptions, Lease, ListOptions, Listing, RegisterOptions, Registry, Watch, WatchOptions},
};
use rustix::io::Errno;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

pub use self::config::LocalConfig;
use self::{
    folder::{Draft, Folder, Placing},
    lease::{Holding, Holdings, LocalLease},
    scan::Scan,
    scanner::Request,
    work::{WORK_MAX, Wanted, blocking, slow},
};

/// How often a name is tried for that somebody has, and how long is waited in between. A reader that looks at a dead
/// owner's entry, or removes it, is done long before the end; whoever still has it then is its owner.
const CLAIM_WAITS_MS: [u64; 6] = [1, 2, 4, 8, 16, 32];

/// The registry in a folder of this user's. Clones are the same handle.
///
/// A handle starts one task when it is first used, and belongs to the runtime in which that happens.
///
/// ```
/// use std::sync::Arc;
/// use callsign_core::{Node, Registry, registry::RegistryExt};
/// use callsign_registry::local::{LocalConfig, LocalRegistry};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> callsign_core::Result<()> {
/// # let folder = tempfile::tempdir().expect("a folder");
/// # let folder = folder.path().join("callsign");
/// let registry = LocalRegistry::open(LocalConfig::new(&folder))?;
/// let node = Arc::new(Node::builder("greeter", "greeter-1", "127.0.0.1:4000").build()?);
/// let lease = registry.register(&node, &Default::default()).await?;
///
/// let other = LocalRegistry::open(LocalConfig::new(&folder))?;
/// assert_eq!(other.service("greeter").await?.nodes(), [node]);
///
/// lease.release().await?;
/// assert!(other.service("greeter").await.unwrap_err().is_not_found());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct LocalRegistry(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    config: LocalConfig,
    folder: Arc<Folder>,
    holdings: Arc<Holdings>,
    scanner: OnceLock<mpsc::Sender<Request>>,
    /// Held while a name is given to an entry or taken away, so that what is asked first is done first.
    names: Mutex<()>,
    tasks: Tasks,
}

// === impl LocalRegistry ===

impl LocalRegistry {
    /// Opens the registry in the folder of `config`, which is made, for this user alone, when it is not there.
    ///
    /// # Errors
    ///
    /// [`PermissionDenied`](ErrorKind::PermissionDenied) when the folder belongs to somebody else, when others can write in
    /// it, or when it is a symbolic link; otherwise why it cannot be made.
    pub fn open(config: LocalConfig) -> Result<Self> {
        let folder = Folder::new(config.folder.clone());
        folder.enter_or_make("open local registry")?;
        Ok(Self(Arc::new(Handle {
            config,
            folder: Arc::new(folder),
            holdings: Arc::default(),
            scanner: OnceLock::new(),
            names: Mutex::new(()),
            tasks: Tasks::new(),
        })))
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.0.folder.path()
    }

    /// Closes the handle: watches end, and entries are no longer looked after. They stay until their leases are dropped.
    pub async fn close(&self) {
        self.0.tasks.close().await;
    }
}

#[async_trait]
impl Registry for LocalRegistry {
    async fn register(&self, node: &Arc<Node>, _options: &RegisterOptions) -> Result<Box<dyn Lease>> {
        const OP: &str = "register node";
        let handle = self.0.clone();
        if handle.scanner().is_closed() {
            return Err(scanner::closed(OP));
        }
        let mut draft = None;
        let mut waits = CLAIM_WAITS_MS.into_iter();
        loop {
            let (handle, node) = (handle.clone(), node.clone());
            match blocking(OP, move |wanted| handle.claim(OP, &node, draft, wanted)).await? {
                Claim::Ours(lease) => return Ok(Box::new(lease)),
                Claim::Taken { draft: again, error } => {
                    let Some(wait) = waits.next() else { return Err(error) };
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                    draft = Some(again);
                }
            }
        }
    }

    async fn deregister(&self, key: &NodeKey) -> Result<()> {
        const OP: &str = "deregister node";
        let (handle, key) = (self.0.clone(), key.clone());
        blocking(OP, move |wanted| handle.withdraw(OP, &key, wanted)).await
    }

    async fn get(&self, service: &ServiceName, options: &GetOptions) -> Result<Listing> {
        self.0.listing("get service", options.domain.clone(), Some(service.clone())).await
    }

    async fn list(&self, options: &ListOptions) -> Result<Listing> {
        self.0.listing("list services", options.domain.clone(), None).await
    }

    async fn watch(&self, options: &WatchOptions) -> Result<Watch> {
        Ok(watch::follow(options.clone(), self.0.scanner().clone()))
    }
}

impl fmt::Display for LocalRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "local:{}", self.0.folder.path().display())
    }
}

// === impl Handle ===

/// What became of one try to register.
enum Claim {
    Ours(LocalLease),
    /// Somebody has the name; if that does not change, the error says who.
    Taken {
        draft: Draft,
        error: Error,
    },
}

impl Handle {
    /// The scanner, started if this is the first use of the handle.
    fn scanner(&self) -> &mpsc::Sender<Request> {
        self.scanner.get_or_init(|| {
            let (requests, inbox) = mpsc::channel(scanner::REQUESTS_MAX);
            let opened = if self.config.kernel_events { events::open() } else { Err(Errno::NOSYS) };
            let (queue, ready, rescan) = match opened {
                Ok((queue, ready)) => (Some(queue), Some(ready), self.config.rescan),
                Err(errno) => {
                    let rescan = self.config.rescan.min(LocalConfig::RESCAN_WITHOUT_EVENTS);
                    if errno == Errno::NOSYS {
                        tracing::debug!(?rescan, "no kernel events; looking through the folder instead");
                    } else {
                        tracing::warn!(
                            error = %errno, ?rescan,
                            "no kernel events (see fs.inotify.max_user_instances); looking through the folder instead"
                        );
                    }
                    (None, None, rescan)
                }
            };
            let scan = Scan::new(self.folder.clone(), self.holdings.clone(), queue, rescan, Instant::now());
            self.tasks.spawn("local registry scanner", scanner::run(scan, ready, inbox));
            requests
        })
    }

    /// Returns when the scanner has ended.
    async fn scanner_gone(&self) {
        self.scanner().closed().await;
    }

    async fn listing(
        &self,
        op: &'static str,
        domain: Domain,
        service: Option<ServiceName>,
    ) -> Result<Listing> {
        let ask = async {
            let (reply, answer) = oneshot::channel();
            self.scanner().send(Request { domain, service, reply }).await.map_err(|_| scanner::closed(op))?;
            answer.await.map_err(|_| scanner::closed(op))?.listing
        };
        tokio::time::timeout(WORK_MAX, ask).await.unwrap_or_else(|_| Err(slow(op)))
    }

    /// Tries once to put the entry of `node` in place.
    fn claim(
        self: &Arc<Self>,
        op: &'static str,
        node: &Node,
        draft: Option<Draft>,
        wanted: &Wanted,
    ) -> Result<Claim> {
        let _order = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.check(op)?;
        let dir = self.folder.enter_or_make(op)?;
        let draft = match draft {
            Some(draft) => draft,
            None => Draft::write(op, &dir, &entry::encode(node, std::process::id()))?,
        };
        let key = node.key();
        let name = name::file_name(&key);
        let older = self.holdings.hand_over(&name).filter(|older| dir.leads_to(&name, older.stamp));
        let placing = match older {
            // The older file is let go of at the end of this arm, when the name leads to the new one.
            Some(_older) => Placing::Placed(draft.replace(op, &dir, &name)?),
            None => draft.place(op, &dir, &name)?,
        };
        let (draft, error) = match placing {
            Placing::Placed(placed) => {
                let holding = Arc::new(Holding::new(key, self.folder.clone(), placed));
                self.holdings.insert(&holding);
                // Whatever happened to it before the scanner knew of it has to be noticed here.
                holding.check(&dir);
                return Ok(Claim::Ours(LocalLease { handle: self.clone(), holding }));
            }
            Placing::Busy(draft) => (draft, busy(op, &key)),
            Placing::Held(draft, content) => (draft, taken(op, &key, &name, &content)),
        };
        Ok(Claim::Taken { draft, error })
    }

    /// Takes an entry away, whoever owns it.
    fn withdraw(&self, op: &'static str, key: &NodeKey, wanted: &Wanted) -> Result<()> {
        let _order = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.check(op)?;
        match self.folder.enter(op) {
            Ok(dir) => dir.withdraw(op, &name::file_name(key)),
            // Without the folder there is no entry.
            Err(error) if error.kind() == ErrorKind::Unavailable => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn busy(op: &'static str, key: &NodeKey) -> Error {
    let message = format!("other processes keep looking at what a dead owner left of {key}");
    Error::new(ErrorKind::Unavailable, op, message).with_hint("try again")
}

fn taken(op: &'static str, key: &NodeKey, name: &str, content: &[u8]) -> Error {
    let (who, hint) = match entry::decode(name, content, &mut wire::Decoder::default()) {
        Ok(entry) => (
            format!("the live process {} holds {key} already, at {}", entry.pid, entry.node.address()),
            format!("give each node an id of its own, or end the other one (`kill {}`)", entry.pid),
        ),
        Err(_) => (
            format!("a live process holds {key} already"),
            "give each node an id of its own, or leave the id out to get a random one".to_owned(),
        ),
    };
    Error::new(ErrorKind::Conflict, op, who).with_hint(hint)
}
