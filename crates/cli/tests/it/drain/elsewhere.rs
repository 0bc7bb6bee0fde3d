//! The same over etcd and over mDNS, and while they are away.

use callsign::{
    CallOptions, CallReport, Channel,
    client::{NodeState, NodeStatus},
    registry::open,
};
use callsign_testbed::{Data, EtcdServer};
use tokio::{
    runtime::Runtime,
    time::{Duration, timeout},
};
use tonic::{Request, client::Grpc, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;

use super::{candidates, drains, takes_back};
use crate::{harness::World, host::Host};

/// A client that is there all the time, and the runtime that it lives in.
struct Client {
    runtime: Runtime,
    channel: Channel,
}

/// gRPC's question whether all is well, which every node answers.
#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Question {}

// === impl Client ===

impl Client {
    fn new(runtime: Runtime, registry: &str) -> Self {
        let channel = runtime.block_on(async {
            let registry = open(&registry.parse().unwrap()).unwrap();
            Channel::builder("greeter").registry(registry).strategy("round-robin".parse().unwrap()).build()
        });
        Self { runtime, channel: channel.unwrap() }
    }

    /// Who answers a call.
    fn answerer(&self) -> String {
        let mut request = Request::new(Question {});
        request.extensions_mut().insert(CallOptions::new().report(true));
        let mut grpc = Grpc::new(self.channel.clone());
        let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
        let response = self.runtime.block_on(async {
            grpc.ready().await.unwrap();
            grpc.unary(request, path, ProstCodec::<Question, Question>::default()).await
        });
        response.unwrap().extensions().get::<CallReport>().unwrap().node.id().to_string()
    }

    /// Waits until the channel sees a node as wanted. Nothing tells of a change of state, so calls pass the time.
    fn until(&self, id: &str, wanted: impl Fn(&NodeStatus) -> bool) {
        let seen = async {
            loop {
                let nodes = self.channel.nodes();
                if nodes.iter().any(|status| status.node.id().as_str() == id && wanted(status)) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let seen = self.runtime.block_on(async { timeout(Duration::from_secs(30), seen).await });
        assert!(seen.is_ok(), "{id} never stood as wanted: {:?}", self.channel.nodes());
    }

    /// Calls until it sees a node leave by its replies.
    fn hears(&self, id: &str) {
        let leaves =
            |status: &NodeStatus| status.node.id().as_str() == id && status.state == NodeState::Leaving;
        while !self.channel.nodes().iter().any(leaves) {
            self.answerer();
        }
    }

    fn until_both_answer(&self) {
        for id in ["a", "b"] {
            self.until(id, |status| status.state == NodeState::Ready);
            while self.answerer() != id {}
        }
    }

    /// Whether a node gets a call of many.
    fn chooses(&self, id: &str) -> bool {
        (0..50).any(|_| self.answerer() == id)
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// The weight that the registry shows of a node.
fn weight(world: &World, id: &str) -> serde_json::Value {
    let nodes = world.run(&["ls", "nodes", "-o", "json"]).json();
    let node = nodes.as_array().unwrap().iter().find(|node| node["id"] == id);
    node.unwrap_or_else(|| panic!("{id} is not registered: {nodes}"))["weight"].clone()
}

/// What is to happen in every registry.
fn goes_and_comes_back(world: &World, client: &Client) {
    let (_a, _b) = (world.node("a", "1.0.0", "blue"), world.node("b", "1.0.0", "blue"));
    client.until_both_answer();
    drains(world, "a");
    assert_eq!((weight(world, "a"), candidates(world).as_str()), (0.into(), "b\n"));
    client.until("a", |status| status.node.weight() == Some(0));
    assert!(!client.chooses("a"));

    // Said twice is not said wrong.
    drains(world, "a");

    takes_back(world, "a");
    assert_eq!((weight(world, "a"), candidates(world).as_str()), (serde_json::Value::Null, "a\nb\n"));
    while client.answerer() != "a" {}

    let ran = world.run(&["drain", "greeter", "a", "--unlist"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(world.run(&["ls", "nodes", "-o", "name"]).stdout, "greeter/b\n");
}

/// Where a node listens.
fn address(world: &World, id: &str) -> String {
    let output = world.command(&["ls", "nodes", "-o", "json"]).output().unwrap();
    let nodes: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let node = nodes.as_array().unwrap().iter().find(|node| node["id"] == id).unwrap();
    node["address"].as_str().unwrap().to_owned()
}

#[test]
fn over_etcd_a_drained_node_gets_no_calls_until_it_is_undrained() {
    let runtime = runtime();
    let etcd = runtime.block_on(EtcdServer::start());
    let registry = format!("etcd://{}", etcd.endpoint());
    goes_and_comes_back(&World::on(&registry), &Client::new(runtime, &registry));
}

#[test]
fn while_etcd_is_away_clients_hear_of_a_drain_from_the_node_and_etcd_is_told_later() {
    let runtime = runtime();
    let mut etcd = runtime.block_on(EtcdServer::start());
    let registry = format!("etcd://{}", etcd.endpoint());
    let (world, client) = (World::on(&registry), Client::new(runtime, &registry));
    let (_a, _b) = (world.node("a", "1.0.0", "blue"), world.node("b", "1.0.0", "blue"));
    client.until_both_answer();
    let a = address(&world, "a");

    client.runtime.block_on(etcd.kill());
    world.run(&["drain", "greeter", "a"]).fails(3, &["no answer from etcd", "by its address, HOST:PORT"]);
    let ran = world.run(&["drain", "greeter", &a, "--timeout", "1s"]);
    ran.fails(6, &["the node knows", "the registry does not show it of a yet", "goes on trying"]);
    client.hears("a");
    assert!(!client.chooses("a"));

    // One that has lost everything is told the same.
    client.runtime.block_on(etcd.restart(Data::Lost));
    assert_eq!(world.run(&["drain", "greeter", &a]).code, Some(0));
    assert_eq!(weight(&world, "a"), 0);

    // What cannot be taken out now is not said to be.
    client.runtime.block_on(etcd.kill());
    world.run(&["drain", "greeter", &a, "--unlist", "--timeout", "1s"]).fails(6, &["does not show it of a"]);
    client.runtime.block_on(etcd.restart(Data::Kept));
    assert_eq!(world.run(&["drain", "greeter", &a, "--unlist"]).code, Some(0));
    let listed = world.run(&["ls", "nodes", "-o", "name"]).stdout;
    assert!(!listed.contains("greeter/a"), "{listed}");

    assert_eq!(world.run(&["undrain", "greeter", &a]).code, Some(0));
    assert_eq!(weight(&world, "a"), serde_json::Value::Null);
    while client.answerer() != "a" {}
}

/// What needs network namespaces, and therefore root.
mod namespaced {
    use super::*;

    /// Hosts on one cable, on the first of which this thread is; processes that it starts are there too.
    fn hosts() -> [Host; 2] {
        let hosts = Host::pair();
        hosts[0].enter();
        hosts
    }

    #[test]
    fn over_mdns_a_drained_node_gets_no_calls_until_it_is_undrained() {
        let _hosts = hosts();
        goes_and_comes_back(&World::on("mdns:"), &Client::new(runtime(), "mdns:"));
    }

    #[test]
    fn while_the_network_is_away_clients_hear_of_a_drain_from_the_node_and_later_over_mdns() {
        let [host, _other] = hosts();
        let (world, client) = (World::on("mdns://eth0"), Client::new(runtime(), "mdns://eth0"));
        let (_a, _b) = (world.node("a", "1.0.0", "blue"), world.node("b", "1.0.0", "blue"));
        client.until_both_answer();
        let a = address(&world, "a");
        host.ip("link set eth0 down");
        world.run(&["drain", "greeter", "a"]).fails(3, &["eth0", "by its address, HOST:PORT"]);
        // A node's entry is the node's own word here, so there is nobody else to wait for.
        assert_eq!(world.run(&["drain", "greeter", &a]).code, Some(0));
        client.hears("a");
        assert!(!client.chooses("a"));
        host.ip("link set eth0 up");
        host.wait_for("eth0");
        assert_eq!(world.run(&["drain", "greeter", &a]).code, Some(0));
        assert_eq!(weight(&world, "a"), 0);
    }
}
