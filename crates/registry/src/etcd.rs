//! The registry of a fleet: etcd, shared with go-micro.
//!
//! # How it works
//!
//! A node's entry is one key with go-micro's JSON in it, under a lease of its own. The owner renews the lease and watches the key;
//! when it dies, etcd removes the entry at the end of the time to live. Entries are written and deleted one at a time, since
//! go-micro's watchers read no more than the first change of each revision.
//!
//! Whoever reads does so at one revision, in pages, and follows the changes from there on; after any gap it reads anew. Nothing
//! is cached here.
//!
//! # What belongs to whom
//!
//! A handle knows its own entries by their leases. A key that another lease holds is another owner's, with one exception: an
//! entry of the same id *and* the same address is the node itself before it was restarted, and is taken over at once. What
//! has no lease, or cannot be understood, belongs to nobody and is replaced.
//!
//! # What it refuses to do
//!
//! It writes no key but those of its own nodes, and never several at once. It does not retry a registration and judges nothing:
//! a [`Registrar`](callsign_core::registration::Registrar) and a [`Directory`](callsign_core::directory::Directory) do that,
//! the same way over every registry.

mod claim;
mod client;
mod clock;
mod config;
mod entry;
mod keys;
mod lease;
mod list;
mod pages;
mod watch;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use callsign_core::{
    Node, NodeKey, ServiceName, Tasks,
    error::Result,
    registry::{GetOptions, Lease, ListOptions, Listing, RegisterOptions, Registry, Watch, WatchOptions},
    retry::Backoff,
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

pub use callsign_net::tls::TlsConfig;

pub use self::config::EtcdConfig;
use self::{
    claim::{Condition, Leases},
    client::{Client, Fault, KeepAlives, Watches, api},
    clock::Clock,
    entry::Reader,
    list::{Picture, Scope, Witness},
};

/// The registry in an etcd cluster. Clones are the same handle.
///
/// Opening it connects to nothing: that happens when it is first used, and an etcd that is away is an error of each call, never
/// of opening. A handle starts a task at once, and belongs to the runtime in which that happens.
///
/// ```no_run
/// use std::sync::Arc;
/// use callsign_core::{Node, Registry, registry::RegistryExt};
/// use callsign_registry::etcd::{EtcdConfig, EtcdRegistry};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> callsign_core::Result<()> {
/// let registry = EtcdRegistry::open(EtcdConfig::new("127.0.0.1:2379")?);
/// let node = Arc::new(Node::builder("greeter", "greeter-1", "127.0.0.1:4000").build()?);
/// let lease = registry.register(&node, &Default::default()).await?;
/// assert_eq!(registry.service("greeter").await?.nodes(), [node]);
/// lease.release().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct EtcdRegistry(Arc<Handle>);

/// What a member says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EtcdStatus {
    /// Its version.
    pub version: String,
    /// Whether its cluster has a leader.
    pub has_leader: bool,
    /// Bytes that its data takes.
    pub db_bytes: u64,
    /// What it complains of.
    pub alarms: Vec<String>,
}

struct Handle {
    name: String,
    client: Client,
    watches: Watches,
    keep_alives: KeepAlives,
    clock: Clock,
    reader: Reader,
    leases: Leases,
    rng: Mutex<fastrand::Rng>,
    tasks: Tasks,
}

// === impl EtcdRegistry ===

impl EtcdRegistry {
    /// A handle on the cluster of `config`.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn open(config: EtcdConfig) -> Self {
        Self::with_rng(config, fastrand::Rng::new())
    }

    /// A handle whose choice of members, jitter and lease numbers come from `rng`.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn with_rng(config: EtcdConfig, mut rng: fastrand::Rng) -> Self {
        let (tasks, name) = (Tasks::new(), config.to_string());
        let client = Client::new(config, &tasks, rng.fork());
        Self(Arc::new(Handle {
            name,
            watches: Watches::new(client.clone()),
            keep_alives: KeepAlives::new(client.clone()),
            client,
            clock: Clock::default(),
            reader: Reader::default(),
            leases: Leases::default(),
            rng: Mutex::new(rng),
            tasks,
        }))
    }

    /// Asks the member that this handle is connected to how it is.
    ///
    /// # Errors
    ///
    /// Why it did not answer.
    pub async fn status(&self) -> Result<EtcdStatus> {
        let client = &self.0.client;
        let status =
            client.status(client.deadline()).await.map_err(|fault| fault.into_error("ask etcd's status"))?;
        Ok(EtcdStatus {
            version: status.version,
            has_leader: status.leader != 0,
            db_bytes: status.db_size.max(0).unsigned_abs(),
            alarms: status.errors,
        })
    }

    /// Closes the handle: watches end, and entries are no longer kept alive. They expire.
    pub async fn close(&self) {
        self.0.tasks.close().await;
    }
}

#[async_trait]
impl Registry for EtcdRegistry {
    async fn register(&self, node: &Arc<Node>, options: &RegisterOptions) -> Result<Box<dyn Lease>> {
        Ok(Box::new(lease::register(&self.0, node, options).await?))
    }

    async fn deregister(&self, key: &NodeKey) -> Result<()> {
        lease::deregister(&self.0, key).await
    }

    async fn get(&self, service: &ServiceName, options: &GetOptions) -> Result<Listing> {
        let scope = Scope { domain: options.domain.clone(), service: Some(service.clone()) };
        Ok(self.0.picture("get service", &scope).await?.into())
    }

    async fn list(&self, options: &ListOptions) -> Result<Listing> {
        let scope = Scope { domain: options.domain.clone(), service: None };
        Ok(self.0.picture("list services", &scope).await?.into())
    }

    async fn watch(&self, options: &WatchOptions) -> Result<Watch> {
        let scope = Scope { domain: options.domain.clone(), service: options.service.clone() };
        Ok(watch::follow(self.0.clone(), scope))
    }
}

impl fmt::Display for EtcdRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.name)
    }
}

impl From<Picture> for Listing {
    fn from(picture: Picture) -> Self {
        let Picture { nodes, poisoned, moment, has_strays: _, witness: _ } = picture;
        Self { nodes, revision: moment.ours, poisoned }
    }
}

// === impl Handle ===

impl Handle {
    /// What is under a key, and the revision at which it was.
    async fn look(&self, key: &Bytes, deadline: Instant) -> Result<(Option<api::KeyValue>, i64), Fault> {
        let request = api::RangeRequest { key: key.clone(), ..Default::default() };
        let answer = self.client.range(&request, deadline).await?;
        Ok((answer.kvs.into_iter().next(), answer.header.map_or(0, |header| header.revision)))
    }

    /// Whether the store that answers now is the one in whose history this is, as it was at `revision`.
    async fn remembers(&self, witness: &Witness, revision: i64, deadline: Instant) -> Result<bool, Fault> {
        let request = api::RangeRequest { key: witness.key.clone(), revision, ..Default::default() };
        match self.client.range(&request, deadline).await {
            Ok(answer) => Ok(answer.kvs.first().is_some_and(|there| Witness::of(there) == *witness)),
            Err(fault) if fault.is_other_revision() => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// Writes a key under a condition: the revision, or what is there instead.
    async fn put_if(
        &self,
        condition: Condition,
        key: &Bytes,
        value: &Bytes,
        lease: i64,
        deadline: Instant,
    ) -> Result<Result<i64, Option<api::KeyValue>>, Fault> {
        use api::{request_op::Request, response_op::Response};
        let put = api::PutRequest { key: key.clone(), value: value.clone(), lease };
        let look = api::RangeRequest { key: key.clone(), ..Default::default() };
        let request = api::TxnRequest {
            compare: vec![condition.on(key)],
            success: vec![api::RequestOp { request: Some(Request::RequestPut(put)) }],
            failure: vec![api::RequestOp { request: Some(Request::RequestRange(look)) }],
        };
        let answer = self.client.txn(&request, deadline).await?;
        if answer.succeeded {
            return Ok(Ok(answer.header.map_or(0, |header| header.revision)));
        }
        let there = answer.responses.into_iter().find_map(|response| match response.response {
            Some(Response::ResponseRange(range)) => range.kvs.into_iter().next(),
            _ => None,
        });
        Ok(Err(there))
    }

    /// Deletes a key under a condition, and says whether that was met.
    async fn delete_if(&self, condition: Condition, key: &Bytes, deadline: Instant) -> Result<bool, Fault> {
        let delete = api::DeleteRangeRequest { key: key.clone() };
        let request = api::TxnRequest {
            compare: vec![condition.on(key)],
            success: vec![api::RequestOp {
                request: Some(api::request_op::Request::RequestDeleteRange(delete)),
            }],
            failure: Vec::new(),
        };
        Ok(self.client.txn_again(&request, deadline).await?.succeeded)
    }

    /// Ends a lease after a while. If the process ends sooner, it expires.
    fn later(self: &Arc<Self>, wait: Duration, lease: i64) {
        if lease == 0 {
            return;
        }
        self.in_background("etcd lease end", async move |handle| {
            tokio::select! {
                // Whoever closes the handle does not wait for this.
                biased;
                () = handle.stopped().cancelled_owned() => return,
                () = sleep(wait) => {}
            }
            match handle.client.revoke(lease, handle.client.deadline()).await {
                Ok(()) => handle.leases.remove(lease),
                Err(fault) => tracing::debug!(%fault, "lease not ended; it will expire"),
            }
        });
    }

    /// Runs something that outlives whoever asked for it; it keeps the handle until it is done. Outside of a runtime nothing can
    /// be done any more.
    fn in_background<F>(self: &Arc<Self>, name: &'static str, work: impl FnOnce(Arc<Self>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if tokio::runtime::Handle::try_current().is_ok() {
            self.tasks.spawn_orderly(name, work(self.clone()));
        }
    }

    fn lease_number(&self) -> i64 {
        // Above zero, as etcd's own are.
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).i64(1..)
    }

    fn jitter(&self, backoff: &mut Backoff) -> Duration {
        backoff.next(&mut self.rng.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn stopped(&self) -> CancellationToken {
        self.tasks.stopped()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdRegistry").field("name", &self.name).finish_non_exhaustive()
    }
}
