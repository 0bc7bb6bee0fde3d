//! A thin client of etcd's v3 API: the calls that a registry makes, over one connection that fails over.
//!
//! It is written on `callsign-net`, with messages generated ahead of time, so that its users need no protoc. What it promises:
//! every call ends by its deadline; a call that was not acted upon is made again elsewhere, and one that only reads is made
//! again in any case; a token that has expired is renewed without anybody noticing; a member that does not answer, or that has
//! no leader, is left for another.

mod call;
mod endpoint;
mod fault;
mod grpc;
mod keep_alive;
mod link;
mod watches;

#[rustfmt::skip]
#[allow(clippy::all, missing_docs, unreachable_pub, dead_code, reason = "generated")]
pub(crate) mod api;

use std::{sync::Arc, time::Duration};

use callsign_core::{Tasks, WeakTasks};
use tokio::time::{Instant, timeout_at};

use self::link::{Link, Live};
pub(crate) use self::{
    call::Call,
    endpoint::{Endpoint, Scheme},
    fault::Fault,
    keep_alive::KeepAlives,
    watches::{Batch, End, Feed, Range, Watches},
};
use super::config::EtcdConfig;

/// Of most answers: a page of a list may be asked for again with fewer entries in it.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// How often a call is made at most, over its deadline's time.
const ATTEMPTS_MAX: usize = 4;

/// What a handle's calls are made with. Clones share the connection.
#[derive(Debug, Clone)]
pub(crate) struct Client(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    link: Link,
    tasks: WeakTasks,
    request_timeout: Duration,
    has_credentials: bool,
}

/// A method of etcd's.
#[derive(Debug, Clone, Copy)]
struct Method {
    path: &'static str,
    /// Whether it may be called again although it may have been acted upon.
    again: bool,
}

const RANGE: Method = Method { path: "/etcdserverpb.KV/Range", again: true };
const TXN: Method = Method { path: "/etcdserverpb.KV/Txn", again: false };
// With a number of our own choice: the second grant finds the first.
const LEASE_GRANT: Method = Method { path: "/etcdserverpb.Lease/LeaseGrant", again: true };
const LEASE_REVOKE: Method = Method { path: "/etcdserverpb.Lease/LeaseRevoke", again: true };
const LEASE_TIME_TO_LIVE: Method = Method { path: "/etcdserverpb.Lease/LeaseTimeToLive", again: true };
const STATUS: Method = Method { path: "/etcdserverpb.Maintenance/Status", again: true };
const WATCH: &str = "/etcdserverpb.Watch/Watch";
const LEASE_KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";

// === impl Client ===

impl Client {
    /// A client; its connection is made at the first call.
    pub(crate) fn new(config: EtcdConfig, tasks: &Tasks, rng: fastrand::Rng) -> Self {
        let EtcdConfig { endpoints, credentials, tls, connect_timeout, request_timeout } = config;
        let mut net = callsign_net::Config::default();
        (net.tls, net.connect_timeout) = (tls, connect_timeout);
        // The shortest that gRPC's servers put up with; a watch has no other way to see that its peer is gone.
        net.keep_alive_interval = Duration::from_secs(10);
        net.keep_alive_timeout = Duration::from_secs(3);
        let has_credentials = credentials.is_some();
        let (link, dialler) = Link::new(endpoints, credentials, net, tasks.downgrade(), rng);
        tasks.spawn("etcd dialler", dialler.run());
        Self(Arc::new(Shared { link, tasks: tasks.downgrade(), request_timeout, has_credentials }))
    }

    /// When a call made now is to have ended.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.0.request_timeout
    }

    pub(crate) async fn range(
        &self,
        request: &api::RangeRequest,
        deadline: Instant,
    ) -> Result<api::RangeResponse, Fault> {
        self.call(RANGE, request, deadline).await
    }

    /// Compares one key and changes it.
    pub(crate) async fn txn(
        &self,
        request: &api::TxnRequest,
        deadline: Instant,
    ) -> Result<api::TxnResponse, Fault> {
        self.call(TXN, request, deadline).await
    }

    /// The same where twice is as good as once.
    pub(crate) async fn txn_again(
        &self,
        request: &api::TxnRequest,
        deadline: Instant,
    ) -> Result<api::TxnResponse, Fault> {
        self.call(Method { again: true, ..TXN }, request, deadline).await
    }

    /// Reads several ranges of one state.
    pub(crate) async fn read(
        &self,
        requests: impl IntoIterator<Item = api::RangeRequest>,
        deadline: Instant,
    ) -> Result<api::TxnResponse, Fault> {
        let ops = requests
            .into_iter()
            .map(|request| api::RequestOp { request: Some(api::request_op::Request::RequestRange(request)) });
        let request = api::TxnRequest { success: ops.collect(), ..Default::default() };
        self.txn_again(&request, deadline).await
    }

    /// Makes a lease with a number of the caller's choice, and says what time to live it got.
    pub(crate) async fn grant(&self, id: i64, ttl: i64, deadline: Instant) -> Result<i64, Fault> {
        let request = api::LeaseGrantRequest { ttl, id };
        match self.call::<_, api::LeaseGrantResponse>(LEASE_GRANT, &request, deadline).await {
            Ok(granted) => Ok(granted.ttl),
            // The first attempt did it, and its answer was lost.
            Err(fault) if fault.is_lease_taken() => Ok(ttl),
            Err(fault) => Err(fault),
        }
    }

    /// Ends a lease, if it is there.
    pub(crate) async fn revoke(&self, id: i64, deadline: Instant) -> Result<(), Fault> {
        let request = api::LeaseRevokeRequest { id };
        match self.call::<_, api::LeaseRevokeResponse>(LEASE_REVOKE, &request, deadline).await {
            Ok(_) => Ok(()),
            Err(fault) if fault.is_no_lease() => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// Whether the lease is alive.
    pub(crate) async fn is_alive(&self, id: i64, deadline: Instant) -> Result<bool, Fault> {
        let request = api::LeaseTimeToLiveRequest { id };
        let answer: api::LeaseTimeToLiveResponse = self.call(LEASE_TIME_TO_LIVE, &request, deadline).await?;
        Ok(answer.ttl > 0)
    }

    /// How one member is.
    pub(crate) async fn status(&self, deadline: Instant) -> Result<api::StatusResponse, Fault> {
        self.call(STATUS, &api::StatusRequest {}, deadline).await
    }

    async fn call<Q, R>(&self, method: Method, request: &Q, deadline: Instant) -> Result<R, Fault>
    where
        Q: prost::Message,
        R: prost::Message + Default,
    {
        let Method { path, again } = method;
        let link = &self.0.link;
        let mut renewed = false;
        for attempt in 1.. {
            let live = link.connected(deadline).await?;
            // One silent member must not use up the time of all.
            let left = deadline.saturating_duration_since(Instant::now());
            let limit = if again { left / 2 } else { left };
            let until = Instant::now() + limit;
            let asked = call::unary(&live, path, request, until, MESSAGE_BYTES_MAX);
            let fault = match timeout_at(until, asked).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(fault)) => fault,
                Err(_) => Fault::Late { endpoints: live.endpoint().to_owned(), limit },
            };
            tracing::debug!(path, attempt, %fault, "etcd call failed");
            if fault.wants_token() && self.0.has_credentials && !renewed {
                renewed = true;
                link.token_refused(&live);
                continue;
            }
            if fault.is_passing() {
                link.suspect(&live);
            }
            let repeat = fault.is_unprocessed() || again && fault.is_passing();
            if !repeat || attempt >= ATTEMPTS_MAX || Instant::now() >= deadline {
                return Err(fault);
            }
        }
        Err(Fault::Closed)
    }

    /// Opens a stream.
    async fn stream<R>(&self, path: &'static str) -> Result<Call<R>, Fault>
    where
        R: prost::Message + Default,
    {
        let deadline = self.deadline();
        let live = self.0.link.connected(deadline).await?;
        match timeout_at(deadline, Call::open(&live, path, None, watches::MESSAGE_BYTES_MAX)).await {
            Ok(opened) => opened,
            Err(_) => {
                let (endpoints, limit) = (live.endpoint().to_owned(), self.0.request_timeout);
                Err(Fault::Late { endpoints, limit })
            }
        }
    }

    /// What happened to a stream on `live` casts a doubt on the connection.
    fn stream_failed(&self, live: &Live, fault: &Fault) {
        if fault.is_passing() {
            self.0.link.suspect(live);
        }
    }

    pub(crate) fn endpoints(&self) -> &str {
        self.0.link.endpoints()
    }
}
