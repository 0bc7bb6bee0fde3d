//! The ways to call that are compared.

use std::{fmt, str::FromStr, sync::Arc};

use callsign::client::ChannelBuilder;
use callsign_core::{Node, memory::MemoryRegistry, registration::Registrar, registry::RegisterOptions};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tonic::{
    body::Body,
    transport::{Channel, Endpoint},
};

/// A way to call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Callsign's channel, by name over all nodes, with its default strategy: adaptive.
    Callsign,
    /// The same with another strategy: fewest calls in flight of two.
    CallsignLeastRequest,
    /// The same with another strategy: each node in turn.
    CallsignRoundRobin,
    /// The first without the memory of its calls.
    CallsignForgetful,
    /// tonic's channel over all nodes.
    TonicBalanced,
    /// tonic's channel to one node.
    TonicOne,
    /// A generated client on hyper's own connection to one node.
    HyperOne,
    /// `h2` without anything on it, in turn over all nodes: the floor.
    H2,
}

const WAYS: [(Way, &str); 8] = [
    (Way::Callsign, "callsign"),
    (Way::CallsignLeastRequest, "callsign, least-request"),
    (Way::CallsignRoundRobin, "callsign, round-robin"),
    (Way::CallsignForgetful, "callsign, no calls remembered"),
    (Way::TonicBalanced, "tonic balance_list"),
    (Way::TonicOne, "tonic, one node"),
    (Way::HyperOne, "hyper connection, one node"),
    (Way::H2, "bare h2"),
];

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, name) = WAYS.iter().find(|(way, _)| way == self).expect("every way is in the list");
        f.pad(name)
    }
}

impl FromStr for Way {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = WAYS.iter().find(|(_, name)| *name == text);
        found.map(|(way, _)| *way).ok_or_else(|| format!("no way is called {text:?}"))
    }
}

/// Callsign's channel to a name under which all addresses are registered.
pub(crate) async fn callsign(
    addresses: &[String],
    set: impl FnOnce(ChannelBuilder) -> ChannelBuilder,
) -> (callsign::Channel, Registrar) {
    let registry = Arc::new(MemoryRegistry::new());
    let registrar = Registrar::new(registry.clone());
    for address in addresses {
        let node = Node::builder("bench", address, address).build().expect("a node");
        let registration = registrar.register(node, RegisterOptions::default());
        registration.registered().await.expect("the registry is in this process");
        // It is to live as long as the process.
        std::mem::forget(registration);
    }
    let channel = set(callsign::Channel::builder("bench").registry(registry)).build().expect("a channel");
    channel.ready(std::time::Duration::from_secs(10)).await.expect("a node");
    (channel, registrar)
}

/// tonic's channel over all addresses.
pub(crate) fn tonic_balanced(addresses: &[String]) -> Channel {
    Channel::balance_list(addresses.iter().map(|address| endpoint(address)))
}

/// tonic's channel to the first address.
pub(crate) async fn tonic_one(addresses: &[String]) -> Channel {
    endpoint(&addresses[0]).connect().await.expect("a connection")
}

fn endpoint(address: &str) -> Endpoint {
    // The same windows as Callsign's, so that large messages are compared fairly.
    Endpoint::try_from(format!("http://{address}"))
        .expect("an endpoint")
        .tcp_nodelay(true)
        .initial_stream_window_size(2 << 20)
        .initial_connection_window_size(8 << 20)
}

/// hyper's connection to the first address, as a service.
#[derive(Debug, Clone)]
pub(crate) struct HyperOne {
    sender: hyper::client::conn::http2::SendRequest<Body>,
    origin: http::uri::Authority,
}

impl HyperOne {
    pub(crate) async fn connect(addresses: &[String]) -> Self {
        let socket = TcpStream::connect(&addresses[0]).await.expect("a connection");
        socket.set_nodelay(true).expect("an option");
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket))
                .await
                .expect("a handshake");
        tokio::spawn(connection);
        Self { sender, origin: addresses[0].parse().expect("an authority") }
    }
}

impl tower::Service<http::Request<Body>> for HyperOne {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), hyper::Error>> {
        self.sender.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(http::uri::Scheme::HTTP);
        parts.authority = Some(self.origin.clone());
        *request.uri_mut() = http::Uri::from_parts(parts).expect("a whole address");
        Box::pin(self.sender.send_request(request))
    }
}
