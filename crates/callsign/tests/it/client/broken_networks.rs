//! A client whose own network fails, while nodes and other clients are well.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use callsign::{CallOptions, Channel, Server};
use callsign_examples::greeter::{
    HelloReply, HelloRequest,
    greeter_client::GreeterClient,
    greeter_server::{Greeter, GreeterServer},
};
use callsign_testbed::Proxy;
use tokio::task::JoinSet;
use tonic::{Code, Request, Response, Status};

use super::{Count, failures, fixed, quick, until, until_ready};
use crate::support::{hello, soon};

/// Nodes behind proxies, and how often their handlers ran for each name.
struct Scene {
    proxies: Vec<Proxy>,
    runs: Runs,
    direct: Vec<std::net::SocketAddr>,
    _servers: JoinSet<callsign::Result<()>>,
}

#[derive(Debug, Clone, Default)]
struct Runs(Arc<Mutex<HashMap<String, u32>>>);

#[tonic::async_trait]
impl Greeter for Runs {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let name = request.into_inner().name;
        *self.0.lock().unwrap().entry(name.clone()).or_default() += 1;
        // Long enough for a reset to come between.
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        Ok(Response::new(HelloReply { message: name }))
    }
}

impl Scene {
    async fn new() -> Self {
        let mut scene =
            Self { proxies: Vec::new(), runs: Runs::default(), direct: Vec::new(), _servers: JoinSet::new() };
        for _ in 0..3 {
            let greeter = GreeterServer::new(scene.runs.clone());
            let server =
                Server::builder("greeter").unregistered().add_service(greeter).build().await.unwrap();
            scene.proxies.push(Proxy::start(server.local_addr()).await);
            scene.direct.push(server.local_addr());
            scene._servers.spawn(server.serve_until(std::future::pending()));
        }
        scene
    }

    /// A channel through the proxies.
    async fn channel(&self) -> Channel {
        channel(self.proxies.iter().map(Proxy::address)).await
    }
}

/// A channel that is connected to all of these.
async fn channel(addresses: impl Iterator<Item = std::net::SocketAddr>) -> Channel {
    let ids = ["a", "b", "c"];
    let channel = fixed(ids.into_iter().zip(addresses)).connection(quick()).build().unwrap();
    for id in ids {
        until_ready(&channel, id).await;
    }
    channel
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_never_runs_twice_for_a_call_that_may_not_be_repeated_however_often_connections_are_reset()
{
    const CALLS: usize = 3000;
    let scene = Scene::new().await;
    let channel = scene.channel().await;
    let (next, failed) = (Count::default(), Count::default());
    let mut workers = JoinSet::new();
    for _ in 0..32 {
        let (mut client, next, failed) = (GreeterClient::new(channel.clone()), next.clone(), failed.clone());
        workers.spawn(async move {
            loop {
                let number = next.add();
                if number >= CALLS {
                    return;
                }
                if let Err(status) = client.hello(hello(&number.to_string())).await {
                    assert_eq!(status.code(), Code::Unavailable, "{status}");
                    failed.add();
                }
            }
        });
    }
    for reset in 1..CALLS / 50 {
        until("fifty calls more", || next.get() >= reset * 50).await;
        scene.proxies[reset % 3].reset();
    }
    while let Some(ended) = soon("the workers end", workers.join_next()).await {
        ended.unwrap();
    }
    let runs = scene.runs.0.lock().unwrap();
    let twice: Vec<_> = runs.iter().filter(|(_, runs)| **runs > 1).collect();
    assert!(twice.is_empty(), "{} of {CALLS} calls ran more than once: {:?}", twice.len(), twice[0]);
    assert!(failed.get() > 0, "no reset has hit a call, and so nothing is shown");
}

#[tokio::test]
async fn a_client_that_was_cut_off_from_all_nodes_is_served_once_it_is_not_and_others_all_along() {
    let scene = Scene::new().await;
    let channels = (scene.channel().await, channel(scene.direct.iter().copied()).await);
    let (mine, others) = &channels;
    scene.proxies.iter().for_each(Proxy::cut);
    until("it is noticed", || mine.nodes().iter().all(|node| node.connections == 0)).await;
    let failed = failures(mine, &CallOptions::new(), 20).await;
    assert_eq!(failed.len(), 20);
    assert!(failed[0].message().contains("all 3 nodes of greeter cannot be reached"), "{}", failed[0]);
    assert!(failures(others, &CallOptions::new(), 100).await.is_empty());

    scene.proxies.iter().for_each(Proxy::restore);
    let patient = CallOptions::new().wait_for_ready(true);
    let failed = failures(mine, &patient, 100).await;
    assert!(failed.is_empty(), "{} of 100: {}", failed.len(), failed[0]);
}

#[tokio::test]
async fn a_client_that_was_cut_off_from_one_node_calls_the_others() {
    let scene = Scene::new().await;
    let mine = scene.channel().await;
    scene.proxies[0].cut();
    until("it is noticed", || super::status(&mine, "a").connections == 0).await;
    let failed = failures(&mine, &CallOptions::new(), 100).await;
    assert!(failed.is_empty(), "{} of 100: {}", failed.len(), failed[0]);
}
