//! The registry without a server: every node answers for itself, by multicast DNS, on one link.
//!
//! It speaks what go-micro's mDNS registry speaks, so that nodes and clients of both find each other. That is DNS-SD in
//! spirit (RFC 6762, RFC 6763) and not to the letter: go-micro's clients pass over answers that do not repeat the question,
//! lose addresses that come before their host, and read one node of a packet.
//!
//! # How it works
//!
//! Whoever registers a node asks for its name three times, and takes it if nobody objects. Then it says so, unasked, and
//! answers whoever asks for the node or its service. Whoever wants to know of a service asks, keeps what it hears, and asks
//! again, for ever. A node that leaves says so. One that dies does not, and is found out by its silence: nodes that somebody
//! is interested in are asked for every ten seconds, and one that does not answer is asked for five times more. So a
//! registration's time to live has no part in it, and there is nothing to renew.
//!
//! Packets get lost, doubled, and overtake each other; each goes out on every interface, over IPv4 and IPv6. What our own
//! nodes say therefore carries a stamp: who said it, and a number that grows. It travels in a field of the entry that
//! go-micro passes over, and keeps an old word from being taken for a new one.
//!
//! Nothing is stored anywhere, so there is nothing to be unreachable but the link itself. While there is no interface to use,
//! calls fail and watches say so; what was known stays.
//!
//! # Why not on a crate for mDNS
//!
//! `mdns-sd` follows the RFCs: it repeats the question only for those who ask from another port than 5353 and as the RFC
//! has it, puts all of a service's nodes into one packet, insists on names that end in `_tcp` or `_udp`, and shows no
//! records to whoever would put them in order. None of that can be turned off. A crate for DNS messages alone
//! (`simple-dns`, `hickory-proto`) shortens names in other places than go-micro does; its packets would differ by some
//! bytes, and be right. The part of DNS that is needed here has six types of records, so it is in `dns`, checked against
//! packets that go-micro sent, and against any bytes at all.
//!
//! # What it does not do
//!
//! It trusts the link: whoever is on it can say anything, as with all of mDNS. Packets from other networks are passed over.
//! It does not know of nodes behind a router, and mostly not of those in another container.

mod browser;
mod cache;
mod config;
mod dns;
mod driver;
mod entry;
mod fault;
mod lease;
mod link;
mod machine;
mod names;
mod responder;
mod sockets;
#[cfg(test)]
mod tests;
mod text;
mod watch;

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use callsign_core::{
    Node, NodeKey, ServiceName, Tasks,
    error::{Error, ErrorKind, Result},
    registry::{GetOptions, Lease, ListOptions, Listing, RegisterOptions, Registry, Watch, WatchOptions},
};
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    time::Instant,
};

pub use self::config::MdnsConfig;
use self::{
    dns::Name,
    driver::Driver,
    lease::MdnsLease,
    machine::{Batch, Look, Machine, Request},
};

/// How many requests wait, at most.
const REQUESTS_MAX: usize = 64;
/// How far a watch may fall behind before it is given a new snapshot.
const BATCHES_MAX: usize = 512;
/// The longest that any call takes.
const CALL_MAX: Duration = Duration::from_secs(5);

/// The registry on the link. Clones are the same handle.
///
/// A handle starts one task, and opens its sockets, when it is first used, and belongs to the runtime in which that happens.
///
/// ```
/// use std::sync::Arc;
/// use callsign_core::{Node, Registry, registry::RegistryExt};
/// use callsign_registry::mdns::{MdnsConfig, MdnsRegistry};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> callsign_core::Result<()> {
/// // Not the usual port, so that the example disturbs nobody.
/// let registry = MdnsRegistry::open(MdnsConfig::new().with_interfaces(["lo"]).with_port(15353))?;
/// let node = Arc::new(Node::builder("greeter", "greeter-1", "127.0.0.1:4000").build()?);
/// let lease = registry.register(&node, &Default::default()).await?;
/// assert_eq!(registry.service("greeter").await?.nodes(), [node]);
///
/// lease.release().await?;
/// registry.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MdnsRegistry(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    config: MdnsConfig,
    requests: OnceLock<mpsc::Sender<Request>>,
    batches: broadcast::Sender<Arc<Batch>>,
    tasks: Tasks,
}

// === impl MdnsRegistry ===

impl MdnsRegistry {
    /// Opens a handle. The link is not touched before it is used, and need not be there: calls say so when it is not.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) when the configuration leaves nothing to work with.
    pub fn open(config: MdnsConfig) -> Result<Self> {
        if config.port == 0 {
            return Err(Error::invalid("open mDNS registry", "port 0 is no port that others could know")
                .with_hint("leave the port out: it is 5353"));
        }
        let (requests, batches) = (OnceLock::new(), broadcast::Sender::new(BATCHES_MAX));
        Ok(Self(Arc::new(Handle { config, requests, batches, tasks: Tasks::new() })))
    }

    /// Closes the handle: its nodes leave, and watches end.
    pub async fn close(&self) {
        self.0.tasks.close().await;
    }
}

#[async_trait]
impl Registry for MdnsRegistry {
    async fn register(&self, node: &Arc<Node>, _options: &RegisterOptions) -> Result<Box<dyn Lease>> {
        let (handle, node) = (self.0.clone(), node.clone());
        let registered = handle.ask("register node", |reply| Request::Register { node, reply }).await??;
        Ok(Box::new(MdnsLease { handle, registered }))
    }

    async fn deregister(&self, key: &NodeKey) -> Result<()> {
        const OP: &str = "deregister node";
        // Goodbye is said in its own words, so they have to be known.
        self.0.look(OP, &GetOptions::in_domain(key.domain.clone()).domain, Some(&key.service), false).await?;
        let key = key.clone();
        self.0.ask(OP, |reply| Request::Deregister { key, reply }).await?
    }

    async fn get(&self, service: &ServiceName, options: &GetOptions) -> Result<Listing> {
        self.0.look("get service", &options.domain, Some(service), true).await
    }

    async fn list(&self, options: &ListOptions) -> Result<Listing> {
        self.0.look("list services", &options.domain, None, false).await
    }

    async fn watch(&self, options: &WatchOptions) -> Result<Watch> {
        Ok(watch::follow(options.clone(), self.0.requests().clone(), self.0.batches.subscribe()))
    }
}

impl fmt::Display for MdnsRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mdns")
    }
}

// === impl Handle ===

impl Handle {
    /// Where requests go; what serves them is started if this is the first use of the handle.
    fn requests(&self) -> &mpsc::Sender<Request> {
        self.requests.get_or_init(|| {
            let (sender, requests) = mpsc::channel(REQUESTS_MAX);
            let rng = self.config.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
            let machine = Machine::new(self.config.timing, host(), rng, Instant::now());
            let (config, batches, stop) = (self.config.clone(), self.batches.clone(), self.tasks.stopped());
            let driver = Driver { config, machine, requests, batches, stop };
            self.tasks.spawn_orderly("mdns registry", driver.run());
            sender
        })
    }

    async fn ask<T>(
        &self,
        op: &'static str,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let ask = async {
            self.requests().send(request(reply)).await.map_err(|_| closed(op))?;
            answer.await.map_err(|_| closed(op))
        };
        let slow = || Error::new(ErrorKind::DeadlineExceeded, op, format!("it took more than {CALL_MAX:?}"));
        tokio::time::timeout(CALL_MAX, ask).await.unwrap_or_else(|_| Err(slow()))
    }

    async fn look(
        &self,
        op: &'static str,
        domain: &callsign_core::Domain,
        service: Option<&ServiceName>,
        hasty: bool,
    ) -> Result<Listing> {
        let (domain, service) = (domain.clone(), service.cloned());
        self.ask(op, |reply| Request::Look(Look { domain, service, hasty, watch: None, reply })).await?
    }
}

// === free functions ===

/// The host's name, under which its address stands. A name that the DNS cannot hold would not be found anyway.
fn host() -> Name {
    let name = rustix::system::uname();
    let labels = || name.nodename().to_bytes().split(|byte| *byte == b'.');
    let named = Name::of(labels()).filter(|name| name.wire().len() <= 128);
    named.or_else(|| Name::of([&b"host"[..]])).unwrap_or_else(|| unreachable!("a good label"))
}

fn closed(op: &'static str) -> Error {
    Error::new(ErrorKind::Closed, op, "the registry's handle was closed")
}
