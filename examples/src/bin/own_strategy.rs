//! A strategy and a filter of your own: calls go to the youngest node that is not under maintenance.
//!
//!     cargo run -p callsign-examples --bin own_strategy
//!
//! Three nodes in one program. All calls go to `second`: it is the youngest but for `third`, and that says in its metadata that it
//! is under maintenance.

#![expect(clippy::print_stdout, reason = "what an example has to show, it prints")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use callsign::{
    CallOptions, CallReport, Channel, Server,
    core::{
        Node,
        memory::MemoryRegistry,
        select::{Candidates, CustomFilter, CustomStrategy, Filter, PickRequest, Rng, Strategy},
    },
    server::Handle,
};
use callsign_examples::greeter::{
    HelloReply, HelloRequest,
    greeter_client::GreeterClient,
    greeter_server::{Greeter, GreeterServer},
};
use tonic::{Request, Response, Status};

#[derive(Debug)]
struct Youngest;

impl CustomStrategy for Youngest {
    fn name(&self) -> &str {
        "youngest"
    }

    /// Runs within every call: it should not lock, allocate or wait.
    fn pick(&self, nodes: &Candidates<'_>, _: &PickRequest<'_>, _: &mut Rng) -> Option<usize> {
        (0..nodes.len()).max_by_key(|position| nodes.node(*position).metadata().get("born"))
    }
}

#[derive(Debug)]
struct InService;

impl CustomFilter for InService {
    fn name(&self) -> &str {
        "in service"
    }

    /// Called when nodes change, never within a call.
    fn passes(&self, node: &Node) -> bool {
        node.metadata().get("maintenance") != Some("yes")
    }
}

struct Hello;

#[tonic::async_trait]
impl Greeter for Hello {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        Ok(Response::new(HelloReply { message: format!("Hello, {}!", request.into_inner().name) }))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let registry = Arc::new(MemoryRegistry::new());
    let (mut nodes, mut served): (Vec<Handle>, Vec<_>) = (Vec::new(), Vec::new());
    for (id, born, maintenance) in [("first", "1", "no"), ("second", "2", "no"), ("third", "3", "yes")] {
        let server = Server::builder("greeter")
            .id(id)
            .metadata("born", born)
            .metadata("maintenance", maintenance)
            .registry(registry.clone())
            .add_service(GreeterServer::new(Hello))
            .build()
            .await?;
        nodes.push(server.handle());
        served.push(server.serve_until(std::future::pending()));
    }
    let called = async {
        for node in &nodes {
            node.registered().await?;
        }
        let channel = Channel::builder("greeter")
            .registry(registry)
            .strategy(Strategy::Custom(Arc::new(Youngest)))
            .filter(Filter::Custom(Arc::new(InService)))
            .build()?;
        let called = call(channel).await;
        nodes.iter().for_each(Handle::shutdown);
        called
    };
    let (called, served) = tokio::join!(called, futures_util::future::try_join_all(served));
    called?;
    served?;
    Ok(())
}

async fn call(channel: Channel) -> Result<(), Box<dyn std::error::Error>> {
    // Until all are connected the strategy chooses among those that are.
    if !channel.settled(Duration::from_secs(10)).await {
        return Err("not all nodes could be reached in time".into());
    }
    let mut client = GreeterClient::new(channel);
    let mut calls: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..100 {
        let mut request = Request::new(HelloRequest { name: "World".to_owned() });
        request.extensions_mut().insert(CallOptions::new().report(true));
        let reply = client.hello(request).await?;
        let report =
            reply.extensions().get::<CallReport>().ok_or("no report came, though it was asked for")?;
        *calls.entry(report.node.id().to_string()).or_default() += 1;
    }
    println!("of 100 calls:");
    for (node, calls) in calls {
        println!("  {node:9} {calls:3}");
    }
    Ok(())
}
