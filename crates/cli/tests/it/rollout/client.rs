//! A client in the test's own process, which calls all the time and shows its metrics on an admin address.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use callsign::{
    Channel,
    metrics::{Admin, Metrics},
    registry::open,
};
use tokio::{runtime::Runtime, task::JoinHandle, time::timeout};
use tonic::{Request, Status, client::Grpc, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;

use crate::harness::World;

/// How many calls are under way at the same time.
pub(super) const CALLERS: usize = 4;
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Callers on a channel of their own.
pub(super) struct Client {
    runtime: Runtime,
    channel: Channel,
    admin: Admin,
    stop: Arc<AtomicBool>,
    failed: Arc<AtomicUsize>,
    callers: Vec<JoinHandle<()>>,
}

/// gRPC's question whether all is well, which every node answers.
#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Question {}

// === impl Client ===

impl Client {
    /// One that calls the nodes of `greeter`, once it knows one.
    pub(super) fn calling(world: &World) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let registry = open(&format!("local://{}", world.registry().display()).parse().unwrap()).unwrap();
        let (channel, admin) = runtime.block_on(async {
            // By turns, so that calls go on to one that does not answer.
            let strategy = "round-robin".parse().unwrap();
            let channel = Channel::builder("greeter").registry(registry).strategy(strategy).build().unwrap();
            assert!(channel.settled(PATIENCE).await);
            let metrics = Metrics::new();
            metrics.add_channel(&channel);
            (channel, Admin::bind(([127, 0, 0, 1], 0).into(), None, metrics).await.unwrap())
        });
        let (stop, failed) = <(Arc<AtomicBool>, Arc<AtomicUsize>)>::default();
        let caller = || {
            let (channel, stop, failed) = (channel.clone(), stop.clone(), failed.clone());
            runtime.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    if call(&channel).await.is_err() {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        };
        let callers = (0..CALLERS).map(|_| caller()).collect();
        Self { runtime, channel, admin, stop, failed, callers }
    }

    /// Where its metrics are.
    pub(super) fn url(&self) -> String {
        format!("http://{}/metrics", self.admin.local_addr())
    }

    /// Waits until no caller can go on until this node does. Nothing tells of calls that begin, so it is looked.
    pub(super) fn until_all_wait_for(&self, id: &str) {
        let waiting = || {
            let nodes = self.channel.nodes();
            let node = nodes.iter().find(|status| status.node.id().as_str() == id);
            node.is_some_and(|status| status.inflight as usize == CALLERS)
        };
        let all = async {
            while !waiting() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let all = self.runtime.block_on(async { timeout(PATIENCE, all).await });
        assert!(all.is_ok(), "not all calls came to {id}: {:?}", self.channel.nodes());
    }

    /// Ends it, and gives how many calls have failed.
    pub(super) fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.runtime.block_on(async {
            for caller in self.callers {
                timeout(PATIENCE, caller).await.unwrap().unwrap();
            }
        });
        self.failed.load(Ordering::Relaxed)
    }
}

async fn call(channel: &Channel) -> Result<(), Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    grpc.unary(Request::new(Question {}), path, ProstCodec::<Question, Question>::default()).await.map(drop)
}
