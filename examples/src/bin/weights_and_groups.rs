//! Who gets how many calls: weights that nodes register with, and a group that a caller asks for.
//!
//!     cargo run -p callsign-examples --bin weights_and_groups
//!
//! Three nodes in one program: two in the group `blue` with the weights 30 and 10, one in `green` with the weight 10.

#![expect(clippy::print_stdout, reason = "what an example has to show, it prints")]

use std::{collections::BTreeMap, sync::Arc};

use callsign::{
    CallOptions, CallReport, Channel, Server,
    core::{memory::MemoryRegistry, select::Strategy},
    server::Handle,
};
use callsign_examples::greeter::{
    HelloReply, HelloRequest,
    greeter_client::GreeterClient,
    greeter_server::{Greeter, GreeterServer},
};
use tonic::{Request, Response, Status};

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
    let mut nodes: Vec<Handle> = Vec::new();
    let mut served = Vec::new();
    for (id, group, weight) in [("blue-30", "blue", 30), ("blue-10", "blue", 10), ("green-10", "green", 10)] {
        let server = Server::builder("greeter")
            .id(id)
            .group(group)
            .weight(weight)
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
        let channel =
            Channel::builder("greeter").registry(registry).strategy(Strategy::WeightedRoundRobin).build()?;
        let called = call(GreeterClient::new(channel)).await;
        nodes.iter().for_each(Handle::shutdown);
        called
    };
    let (called, served) = tokio::join!(called, futures_util::future::try_join_all(served));
    called?;
    served?;
    Ok(())
}

async fn call(mut client: GreeterClient<Channel>) -> Result<(), Box<dyn std::error::Error>> {
    for group in [None, Some("blue")] {
        let mut calls: BTreeMap<String, u32> = BTreeMap::new();
        for _ in 0..200 {
            let mut options = CallOptions::new().report(true);
            if let Some(group) = group {
                options = options.group(group);
            }
            let mut request = Request::new(HelloRequest { name: "World".to_owned() });
            request.extensions_mut().insert(options);
            let reply = client.hello(request).await?;
            let report =
                reply.extensions().get::<CallReport>().ok_or("no report came, though it was asked for")?;
            *calls.entry(report.node.id().to_string()).or_default() += 1;
        }
        println!("of 200 calls to {}:", group.unwrap_or("any group"));
        for (node, calls) in calls {
            println!("  {node:9} {calls:3}");
        }
    }
    Ok(())
}
