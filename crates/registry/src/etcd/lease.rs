//! An entry that is ours: kept alive by its lease, and watched, so that its loss is noticed.
//!
//! Two things can be lost: the lease (expired, revoked), which a renewal tells, and the key (deleted, overwritten), which a watch
//! on it tells. Both are looked after while [`Lease::hold`] is polled. When etcd is away both go on trying; only when no
//! renewal has come through for as long as the time to live is the entry given up for lost.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use callsign_core::{
    Node, NodeKey,
    error::{Error, ErrorKind, Result},
    registry::{Lease, RegisterOptions},
    retry::Backoff,
};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::{
    Handle,
    claim::{self, Condition},
    client::{End, Fault, Range, api},
    entry, keys,
    list::Key,
};

/// How soon a renewal is tried again that did not come through.
const RENEW_AGAIN: Duration = Duration::from_millis(500);
/// How long the lease of an entry that was removed is left to live: whoever sees the key go asks whether its lease still lives,
/// to tell a node that left from one that died.
pub(super) const REVOKE_AFTER: Duration = Duration::from_secs(2);
/// For how much longer than its time to live a lease that was lost may be met again.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);
/// How often a key is looked at again that others keep changing.
const CLAIMS_MAX: usize = 8;

/// The lease on an entry.
pub(super) struct EtcdLease {
    handle: Arc<Handle>,
    node: NodeKey,
    key: Bytes,
    /// etcd's lease; 0 for an entry that never expires.
    id: i64,
    ttl: Duration,
    interval: Duration,
    /// When the last renewal that came through was asked for.
    renewed: Instant,
    /// What we wrote, or may have written when the writing was cut short.
    values: Vec<Bytes>,
    /// The revision of the last writing that we know of.
    written_at: i64,
    standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Held,
    /// The entry is gone, or somebody else's, or soon to expire.
    Lost,
    Released,
}

/// A lease of etcd's without an entry yet. Ended when dropped.
struct Granted {
    handle: Arc<Handle>,
    id: i64,
    ttl: Duration,
}

/// Puts a node's entry in place.
pub(super) async fn register(
    handle: &Arc<Handle>,
    node: &Node,
    options: &RegisterOptions,
) -> Result<EtcdLease> {
    const OP: &str = "register node";
    let value: Bytes = entry::encode(OP, node)?.into();
    let (name, deadline) = (node.key(), handle.client.deadline());
    let key = keys::key(&name);
    let fault = |fault: Fault| fault.into_error(OP);
    let (mut there, _) = handle.look(&key, deadline).await.map_err(fault)?;
    let mut granted = None;
    for _ in 0..CLAIMS_MAX {
        let condition = claim::judge(node, there.as_ref(), &handle.reader, |id| handle.leases.has(id))?;
        if granted.is_none() {
            granted = Some(Granted::get(handle, options.ttl, deadline).await.map_err(fault)?);
        }
        let asked = Instant::now();
        let id = granted.as_ref().map_or(0, |granted| granted.id);
        match handle.put_if(condition, &key, &value, id, deadline).await.map_err(fault)? {
            Ok(written_at) => {
                let ttl = granted.take().map_or(Duration::ZERO, Granted::keep);
                return Ok(EtcdLease {
                    handle: handle.clone(),
                    node: name,
                    key,
                    id,
                    ttl,
                    interval: interval(ttl, options.interval),
                    renewed: asked,
                    values: vec![value],
                    written_at,
                    standing: Standing::Held,
                });
            }
            Err(now_there) => there = now_there,
        }
    }
    Err(Error::new(ErrorKind::Unavailable, OP, format!("others keep changing the entry {name}")))
}

/// Removes an entry, whoever owns it.
pub(super) async fn deregister(handle: &Handle, node: &NodeKey) -> Result<()> {
    const OP: &str = "deregister node";
    let (key, deadline) = (keys::key(node), handle.client.deadline());
    for _ in 0..CLAIMS_MAX {
        let (there, _) = handle.look(&key, deadline).await.map_err(|fault| fault.into_error(OP))?;
        let Some(there) = there.filter(|there| claim::may_remove(node, there, &handle.reader)) else {
            return Ok(());
        };
        let condition = Condition::Unchanged(there.mod_revision);
        if handle.delete_if(condition, &key, deadline).await.map_err(|fault| fault.into_error(OP))? {
            return Ok(());
        }
    }
    Err(Error::new(ErrorKind::Unavailable, OP, format!("others keep changing the entry {node}")))
}

/// How often to renew: often enough that one renewal may be missed.
fn interval(ttl: Duration, wanted: Duration) -> Duration {
    if wanted.is_zero() || wanted > ttl / 2 { ttl / 3 } else { wanted }
}

/// What etcd can be asked for: whole seconds, at least one.
fn seconds(ttl: Duration) -> i64 {
    let whole = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
    i64::try_from(whole.max(1)).unwrap_or(i64::MAX)
}

// === impl Granted ===

impl Granted {
    async fn get(handle: &Arc<Handle>, ttl: Duration, deadline: Instant) -> Result<Self, Fault> {
        let mut granted = Self { handle: handle.clone(), id: 0, ttl: Duration::ZERO };
        if ttl.is_zero() {
            return Ok(granted);
        }
        // A number of our own, known before it is asked for: whatever becomes of the answer, the lease can be ended.
        granted.id = handle.lease_number();
        handle.leases.insert(granted.id);
        let ttl = handle.client.grant(granted.id, seconds(ttl), deadline).await?;
        granted.ttl = Duration::from_secs(ttl.max(1).unsigned_abs());
        Ok(granted)
    }

    /// It has an entry now, which looks after it; gives its time to live.
    fn keep(mut self) -> Duration {
        self.id = 0;
        self.ttl
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        if self.id != 0 {
            self.handle.later(Duration::ZERO, self.id);
        }
    }
}

// === impl EtcdLease ===

impl EtcdLease {
    fn condition(&self) -> Condition {
        Condition::HeldBy(self.id)
    }
}

#[async_trait]
impl Lease for EtcdLease {
    async fn hold(&mut self) -> Error {
        let Self { handle, node, key, id, ttl, interval, renewed, values, written_at, standing } = self;
        let ours = Ours { handle, node, key, id: *id, values };
        let stopped = handle.stopped();
        let error = tokio::select! {
            // Whoever closed the handle gives up all of it. And what happened to the key says more than that its lease is gone.
            biased;
            () = stopped.cancelled() => Fault::Closed.into_error("hold registration"),
            error = ours.follow(written_at) => error,
            error = ours.renew(*ttl, *interval, renewed) => error,
        };
        *standing = Standing::Lost;
        tracing::debug!(%node, error = error.chain(), "entry lost");
        error
    }

    async fn update(&mut self, node: &Arc<Node>) -> Result<()> {
        const OP: &str = "update registration";
        if node.key() != self.node {
            return Err(Error::invalid(
                OP,
                format!("the entry is {}, and cannot become {}", self.node, node.key()),
            ));
        }
        let value: Bytes = entry::encode(OP, node)?.into();
        // Noted before it is asked for: if the future is dropped half-way, it may have been written.
        self.values.push(value.clone());
        let deadline = self.handle.client.deadline();
        let put = self.handle.put_if(self.condition(), &self.key, &value, self.id, deadline).await;
        match put.map_err(|fault| fault.into_error(OP))? {
            Ok(written_at) => {
                (self.values, self.written_at) = (vec![value], written_at);
                Ok(())
            }
            Err(there) => {
                let ours = Ours {
                    handle: &self.handle,
                    node: &self.node,
                    key: &self.key,
                    id: self.id,
                    values: &self.values,
                };
                Err(ours.lost_to(OP, there.as_ref()))
            }
        }
    }

    async fn release(mut self: Box<Self>) -> Result<()> {
        if self.standing == Standing::Lost {
            // Nothing of ours is left, or it could not be reached for longer than it lives.
            return Ok(());
        }
        let deadline = self.handle.client.deadline();
        let deleted = self.handle.delete_if(self.condition(), &self.key, deadline).await;
        deleted.map_err(|fault| fault.into_error("deregister node"))?;
        self.standing = Standing::Released;
        self.handle.later(REVOKE_AFTER, self.id);
        Ok(())
    }
}

impl Drop for EtcdLease {
    fn drop(&mut self) {
        match self.standing {
            Standing::Held => {
                let (key, id) = (self.key.clone(), self.id);
                self.handle.in_background("etcd deregistration", async move |handle| {
                    let deadline = handle.client.deadline();
                    if let Err(fault) = handle.delete_if(Condition::HeldBy(id), &key, deadline).await {
                        tracing::debug!(key = %Key(&key), %fault, "entry not removed; it will expire");
                    }
                    handle.later(REVOKE_AFTER, id);
                });
            }
            // Its lease is left to expire: the next registration takes the key over without a gap. An etcd that was away gives
            // its leases all of their time once more.
            Standing::Lost => self.handle.leases.ends(self.id, Instant::now() + self.ttl + LEFT_BEHIND),
            Standing::Released => {}
        }
    }
}

impl fmt::Debug for EtcdLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdLease")
            .field("node", &self.node)
            .field("id", &format_args!("{:x}", self.id))
            .field("standing", &self.standing)
            .finish_non_exhaustive()
    }
}

/// What makes an entry ours.
struct Ours<'a> {
    handle: &'a Handle,
    node: &'a NodeKey,
    key: &'a Bytes,
    id: i64,
    values: &'a [Bytes],
}

// === impl Ours ===

impl Ours<'_> {
    fn is(&self, kv: &api::KeyValue) -> bool {
        kv.lease == self.id && self.values.contains(&kv.value)
    }

    /// Renews the lease until that cannot be done any more.
    async fn renew(&self, ttl: Duration, interval: Duration, renewed: &mut Instant) -> Error {
        if self.id == 0 {
            return std::future::pending().await;
        }
        let mut next = *renewed + interval;
        // An entry that nobody held for long may still be there: one attempt is made in any case.
        let one_attempt = next.max(Instant::now()) + RENEW_AGAIN;
        let mut last_fault = None;
        loop {
            sleep_until(next).await;
            let asked = Instant::now();
            let expires = (*renewed + ttl).max(one_attempt);
            let renewal = timeout_at(expires, self.handle.keep_alives.renew(self.id)).await;
            match renewal {
                Ok(Ok(Some(_))) => {
                    *renewed = asked;
                    next = asked + interval;
                    last_fault = None;
                    continue;
                }
                Ok(Ok(None)) => {
                    let why = "its lease expired, or was revoked";
                    return self.lost("hold registration", ErrorKind::NotFound, why);
                }
                Ok(Err(fault)) => {
                    tracing::debug!(node = %self.node, %fault, "lease not renewed");
                    last_fault = Some(fault);
                }
                Err(_) => return self.unheard(ttl, last_fault),
            }
            next = (Instant::now() + RENEW_AGAIN.min(interval)).min(expires);
        }
    }

    /// Watches the key until it is no longer as we wrote it. Whatever ends the watch, the key is looked at before the next.
    async fn follow(&self, written_at: &mut i64) -> Error {
        let mut backoff = Backoff::calls();
        let mut looked = false;
        loop {
            match self.follow_from(*written_at, looked).await {
                Ok(lost) => return lost,
                Err(End::Lagged | End::Compacted) => {}
                Err(End::Failed(fault)) => {
                    tracing::debug!(node = %self.node, %fault, "watch on our own entry ended; looking at it");
                }
            }
            looked = loop {
                match self.handle.look(self.key, self.handle.client.deadline()).await {
                    Ok((Some(there), revision)) if self.is(&there) => {
                        *written_at = revision;
                        break true;
                    }
                    Ok((there, _)) => return self.lost_to("hold registration", there.as_ref()),
                    Err(_) => sleep(self.handle.jitter(&mut backoff)).await,
                }
            };
            // A watch that keeps ending must not make us busy.
            sleep(self.handle.jitter(&mut backoff)).await;
        }
    }

    async fn follow_from(&self, written_at: i64, looked: bool) -> Result<Error, End> {
        let range = Range { key: self.key.clone(), end: Bytes::new() };
        let deadline = self.handle.client.deadline();
        let mut feed =
            self.handle.watches.open(&range, written_at + 1, deadline).await.map_err(End::Failed)?;
        if feed.made_at < written_at && !looked {
            // A member that lags, or a store that begins anew: a look tells.
            return Err(End::Compacted);
        }
        loop {
            for event in feed.next().await?.events {
                let put = event.r#type() == api::event::EventType::Put;
                let there = event.kv.filter(|_| put);
                if !there.as_ref().is_some_and(|there| self.is(there)) {
                    return Ok(self.lost_to("hold registration", there.as_ref()));
                }
            }
        }
    }

    /// What happened, judged by what is there instead.
    fn lost_to(&self, op: &'static str, there: Option<&api::KeyValue>) -> Error {
        match there.map(|there| there.lease) {
            None => self.lost(op, ErrorKind::NotFound, "it was removed, or its lease expired or was revoked"),
            Some(lease) if lease != 0 && lease != self.id => {
                self.lost(op, ErrorKind::Conflict, &format!("another lease holds it now ({lease:x})"))
            }
            Some(_) => self.lost(op, ErrorKind::Conflict, "somebody overwrote it"),
        }
    }

    fn lost(&self, op: &'static str, kind: ErrorKind, why: &str) -> Error {
        let message = format!("the entry {} is no longer in etcd as it was written: {why}", self.node);
        Error::new(kind, op, message).retryable(true)
    }

    fn unheard(&self, ttl: Duration, fault: Option<Fault>) -> Error {
        let message =
            format!("etcd did not renew the lease of {} for {ttl:?}; it must have expired", self.node);
        let error = Error::new(ErrorKind::Unavailable, "hold registration", message);
        match fault {
            Some(fault) => error.with_source(fault.into_error("renew lease")),
            None => error,
        }
    }
}
