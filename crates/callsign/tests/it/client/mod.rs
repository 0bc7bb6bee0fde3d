//! The client's side of things.

mod broken_networks;
mod calls;
mod dead_nodes;
mod decisions;
mod draining;
mod explain;
mod goaway;
mod hashing;
mod health;
mod health_checks;
mod hedging;
mod identities;
mod idle;
mod leaks;
mod leaving;
mod load_reports;
mod misbehaving_peers;
mod paces;
pub mod peer;
mod policies;
mod prequal;
mod processes;
mod registry_away;
mod restarts;
mod retries;
mod shape;
mod stream_limits;
mod timeouts;
mod within;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use callsign::{
    CallOptions, Channel,
    client::{ChannelBuilder, NodeState, NodeStatus},
    core::{
        Node,
        memory::MemoryRegistry,
        model::NodeBuilder,
        registry::{Lease, RegisterOptions, Registry as _},
    },
};
use callsign_examples::greeter::{HelloRequest, greeter_client::GreeterClient};
use futures_util::{StreamExt as _, stream};
use tonic::{Request, Status};

use crate::support::{PATIENCE, Running, hello, run, soon};

/// A channel to `greeter` in `registry`, with the same random choices in every run.
pub fn builder(registry: &MemoryRegistry) -> ChannelBuilder {
    Channel::builder("greeter").registry(Arc::new(registry.clone())).seed(7)
}

/// The same as a generated client.
pub fn greeter(registry: &MemoryRegistry) -> GreeterClient<Channel> {
    GreeterClient::new(builder(registry).build().unwrap())
}

/// A channel to exactly these nodes.
pub fn fixed<'a>(nodes: impl IntoIterator<Item = (&'a str, SocketAddr)>) -> ChannelBuilder {
    let nodes: Vec<_> = nodes.into_iter().map(|(id, address)| node(id, address)).collect();
    Channel::builder("greeter").nodes(nodes).seed(7)
}

pub fn node(id: &str, address: SocketAddr) -> Node {
    Node::builder("greeter", id, address.to_string()).build().unwrap()
}

/// A server that its test registers, as it likes.
pub async fn server() -> Running {
    run(&MemoryRegistry::new(), |builder| builder.unregistered()).await
}

/// Registers the server under this id, changed as said, for as long as the lease is held.
pub async fn register(
    registry: &MemoryRegistry,
    server: &Running,
    id: &str,
    change: impl FnOnce(NodeBuilder) -> NodeBuilder,
) -> Box<dyn Lease> {
    let address = server.handle.local_addr().to_string();
    let node = change(Node::builder("greeter", id, address)).build().unwrap();
    registry.register(&Arc::new(node), &RegisterOptions::default()).await.unwrap()
}

/// The channel, once it has tried each node.
pub async fn settled(builder: ChannelBuilder) -> Channel {
    let channel = builder.build().unwrap();
    assert!(channel.settled(PATIENCE).await, "{}", channel.explain(&CallOptions::new()));
    channel
}

/// An address where nothing listens: all of 127/8 is this machine, and nobody binds this one.
pub fn nowhere(n: u16) -> SocketAddr {
    let [a, b] = n.to_be_bytes();
    SocketAddr::from(([127, 9, a, b], 9))
}

/// Settings that find a fault soon.
pub fn quick() -> callsign_net::Config {
    let mut config = callsign_net::Config::default();
    config.connect_timeout = Duration::from_millis(500);
    config.probe_timeout = Duration::from_millis(500);
    config
}

pub fn with(options: CallOptions, name: &str) -> Request<HelloRequest> {
    let mut request = Request::new(hello(name));
    request.extensions_mut().insert(options);
    request
}

/// Makes `total` calls, some at a time, and gives those that failed.
pub async fn failures(channel: &Channel, options: &CallOptions, total: usize) -> Vec<Status> {
    let made = stream::iter(0..total).map(|_| {
        let mut client = GreeterClient::new(channel.clone());
        let request = with(options.clone(), "World");
        async move { client.hello(request).await }
    });
    let all: Vec<_> = soon("all calls end", made.buffer_unordered(16).collect()).await;
    all.into_iter().filter_map(Result::err).collect()
}

/// Waits until `holds`; for what a channel shows, of which it gives no notice.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    soon(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

pub fn status(channel: &Channel, id: &str) -> NodeStatus {
    channel.nodes().into_iter().find(|status| status.node.id() == id).expect("a node of that id")
}

pub async fn until_ready(channel: &Channel, id: &str) {
    until("the node is ready", || state(channel, id) == Some(NodeState::Ready)).await;
}

/// The node's state, once the channel knows the node.
pub fn state(channel: &Channel, id: &str) -> Option<NodeState> {
    channel.nodes().into_iter().find(|status| status.node.id() == id).map(|status| status.state)
}

/// Why the node cannot be called, if it has been tried and is waiting to be tried again.
pub fn refusal(channel: &Channel, id: &str) -> Option<String> {
    match state(channel, id)? {
        NodeState::Backoff { error, .. } => Some(error),
        _ => None,
    }
}

pub fn inflight(channel: &Channel) -> u32 {
    channel.nodes().iter().map(|node| node.inflight).sum()
}

/// A number that tasks share.
#[derive(Debug, Clone, Default)]
pub struct Count(Arc<AtomicUsize>);

impl Count {
    pub fn add(&self) -> usize {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    pub fn sub(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}
