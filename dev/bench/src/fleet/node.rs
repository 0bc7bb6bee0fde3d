//! A node: a server of Callsign's in a process of its own, that counts what its handlers do and can be made bad.

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicU64, Ordering},
    },
    time::Duration,
};

use callsign::{
    CallOptions, Channel, Server,
    registry::RegistryUrl,
    server::{ConcurrencyLimit, DrainConfig},
};
use callsign_core::{Node as Entry, retry::RetryBudget};
use futures_util::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::sleep;
use tonic::{Code, Request, Response, Status};

use super::{
    child::{Child, obey},
    runtime,
    work::{Spread, Work},
};
use crate::calls::pb::{
    FlowRequest, Payload,
    bench_client::BenchClient,
    bench_server::{Bench, BenchServer},
};

/// The first argument of a node's process.
pub(crate) const ROLE: &str = "--fleet-node";

/// What a node is to be.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Options {
    /// Where it registers, if it does.
    pub(super) registry: Option<String>,
    /// How long a call takes.
    pub(super) latency: Duration,
    pub(super) spread: Spread,
    /// How many calls it can work on at a time, if that is bounded.
    pub(super) workers: Option<usize>,
    /// Whether it lets in as many calls as there are.
    pub(super) unlimited: bool,
    /// Where its handlers write the number of each call that they run, so that it outlives the process.
    pub(super) record: Option<PathBuf>,
    /// Whom it calls for each call, if anybody.
    pub(super) next: Vec<String>,
    /// Whether it repeats those calls as often as it can: without a budget, and as if they were made for nobody.
    pub(super) naive: bool,
}

/// A node's process, seen from outside.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) child: Child,
    pub(super) address: String,
}

/// The handlers.
#[derive(Debug, Clone)]
struct Handlers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    work: Work,
    /// The status of every answer; zero for a good one.
    code: AtomicI32,
    calls: AtomicU64,
    cancelled: AtomicU64,
    record: Option<File>,
    next: Option<BenchClient<Channel>>,
    naive: bool,
}

/// Work that counts as cancelled if it is dropped before it has been finished.
struct Unfinished<'a>(&'a AtomicU64);

// === impl Node ===

impl Node {
    /// Starts a node, and waits until it can be called.
    pub(super) async fn start(options: &Options) -> Self {
        let child = Child::start(ROLE, options).await;
        let address = child.ready.as_str().expect("an address").to_owned();
        Self { child, address }
    }

    /// How many calls its handlers have had.
    pub(super) async fn calls(&mut self) -> f64 {
        self.child.number("calls").await
    }

    /// How many of them were dropped before they had ended.
    pub(super) async fn cancelled(&mut self) -> f64 {
        self.child.number("cancelled").await
    }

    /// From now on a call takes this long.
    pub(super) async fn slow(&mut self, latency: Duration) {
        self.child.ask(&format!("latency {}", latency.as_micros())).await;
    }

    /// From now on each call is answered at once, with this status if it is not OK.
    pub(super) async fn fail(&mut self, code: Code) {
        self.child.ask(&format!("fail {}", code as i32)).await;
    }
}

/// Several nodes alike.
pub(super) async fn start(count: usize, options: &Options) -> Vec<Node> {
    futures_util::future::join_all((0..count).map(|_| Node::start(options))).await
}

/// The calls that each has had.
pub(super) async fn calls(nodes: &mut [Node]) -> Vec<f64> {
    futures_util::future::join_all(nodes.iter_mut().map(Node::calls)).await
}

/// A message that brings a call's number along.
pub(super) fn numbered(number: u64) -> Payload {
    Payload { data: number.to_be_bytes().to_vec() }
}

/// How many runs of handlers are in the record, of calls that `of` chooses, and how many of them were not the first for their call.
pub(super) fn runs(record: &Path, of: impl Fn(u64) -> bool) -> (usize, usize) {
    let record = std::fs::read(record).expect("a record");
    let (numbers, rest) = record.as_chunks::<8>();
    assert!(rest.is_empty(), "numbers are written whole");
    let chosen: Vec<u64> =
        numbers.iter().map(|number| u64::from_be_bytes(*number)).filter(|n| of(*n)).collect();
    let calls: HashSet<u64> = chosen.iter().copied().collect();
    (chosen.len(), chosen.len() - calls.len())
}

// === the process ===

/// What a node's process does until it is told to leave or its input ends.
pub(crate) fn main(options: &str) {
    let options: Options = serde_json::from_str(options).expect("options");
    // Many nodes share this machine, and each has little to do.
    let runtime = runtime(1);
    runtime.block_on(async {
        let next = (!options.next.is_empty()).then(|| BenchClient::new(channel_to_next(&options)));
        let handlers = Handlers(Arc::new(Inner {
            work: Work::new(options.latency, options.spread, options.workers),
            code: AtomicI32::new(0),
            calls: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            record: options.record.as_ref().map(|path| {
                // Nodes share it: what is appended at once stays together.
                OpenOptions::new().append(true).create(true).open(path).expect("a file to write to")
            }),
            next,
            naive: options.naive,
        }));
        let limit = if options.unlimited { ConcurrencyLimit::none() } else { ConcurrencyLimit::default() };
        let server = Server::builder("bench").drain(drain()).concurrency_limit(limit);
        let server = server.add_service(BenchServer::new(handlers.clone()));
        let registered = options.registry.is_some();
        let server = match options.registry {
            Some(url) => {
                let url: RegistryUrl = url.parse().expect("a registry's address");
                server.registry(callsign::registry::open(&url).expect("a registry"))
            }
            None => server.unregistered(),
        };
        let server = server.build().await.expect("a server");
        let handle = server.handle();
        let obeying = async {
            if registered {
                handle.registered().await.expect("a registry that takes it");
            }
            obey(json!(handle.local_addr()), async |order, argument| handlers.obey(order, argument)).await;
        };
        tokio::select! {
            biased;
            // An error says how many calls were cut at the deadline; those who made them say more of that.
            _ = server.run() => {}
            () = obeying => {}
        }
    });
    // A thread waits for further orders, and would keep us.
    runtime.shutdown_background();
}

/// Short, so that a hundred restarts do not take an hour: clients that watch a registry know within milliseconds.
fn drain() -> DrainConfig {
    DrainConfig::default()
        .with_deregister(Duration::from_millis(500))
        .with_propagation(Duration::from_millis(500))
        .with_quiet(Duration::from_millis(100))
        .with_deadline(Duration::from_millis(1500))
}

fn channel_to_next(options: &Options) -> Channel {
    let nodes = options.next.iter().map(|address| Entry::builder("next", address, address).build());
    let channel = Channel::builder("next").nodes(nodes.map(|node| node.expect("a node")));
    let channel = if options.naive { channel.retry_budget(without_bounds()) } else { channel };
    channel.build().expect("a channel")
}

/// A budget that never says no: what retries were before there were budgets.
pub(super) fn without_bounds() -> RetryBudget {
    RetryBudget::new(10.0, 1000).expect("within its range")
}

// === impl Handlers ===

impl Handlers {
    fn obey(&self, order: &str, argument: &str) -> serde_json::Value {
        let inner = &self.0;
        match order {
            "calls" => json!(inner.calls.load(Ordering::Relaxed)),
            "cancelled" => json!(inner.cancelled.load(Ordering::Relaxed)),
            "latency" => {
                let micros = argument.parse().expect("microseconds");
                json!(inner.work.set_latency(Duration::from_micros(micros)))
            }
            "fail" => json!(inner.code.swap(argument.parse().expect("a code"), Ordering::Relaxed)),
            _ => panic!("a node does not know how to `{order}`"),
        }
    }
}

#[tonic::async_trait]
impl Bench for Handlers {
    async fn echo(&self, request: Request<Payload>) -> Result<Response<Payload>, Status> {
        let Inner { work, code, calls, cancelled, record, next, naive } = &*self.0;
        let options = CallOptions::new().idempotent(true);
        let options = if *naive { options } else { options.within(request.extensions()) };
        let payload = request.into_inner();
        calls.fetch_add(1, Ordering::Relaxed);
        if let Some(mut record) = record.as_ref() {
            record.write_all(&payload.data).expect("room on the disk");
        }
        match Code::from_i32(code.load(Ordering::Relaxed)) {
            Code::Ok => {}
            bad => return Err(Status::new(bad, "told to fail")),
        }
        let unfinished = Unfinished(cancelled);
        work.run().await;
        unfinished.finish();
        let Some(next) = next else { return Ok(Response::new(payload)) };
        let mut onward = Request::new(payload);
        onward.extensions_mut().insert(options);
        let answer = next.clone().echo(onward).await;
        // The code and the message are the whole status: that it was repeated enough is not handed on.
        if *naive { answer.map_err(|status| Status::new(status.code(), status.message())) } else { answer }
    }

    type FlowStream = Pin<Box<dyn Stream<Item = Result<Payload, Status>> + Send>>;

    async fn flow(&self, request: Request<FlowRequest>) -> Result<Response<Self::FlowStream>, Status> {
        let FlowRequest { messages, bytes, pause_ms } = request.into_inner();
        let payloads = stream::iter(0..messages).then(move |_| async move {
            sleep(Duration::from_millis(pause_ms.into())).await;
            Ok(Payload { data: vec![b'x'; bytes as usize] })
        });
        Ok(Response::new(Box::pin(payloads)))
    }
}

// === impl Unfinished ===

impl Unfinished<'_> {
    fn finish(self) {
        std::mem::forget(self);
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
