//! The four shapes of a call, server and client in one program.
//!
//!     cargo run -p callsign-examples --bin streaming

#![expect(clippy::print_stdout, reason = "what an example has to show, it prints")]

use std::{pin::Pin, sync::Arc};

use callsign::{Channel, Server, core::memory::MemoryRegistry};
use callsign_examples::greeter::{
    HelloReply, HelloRequest,
    conversation_client::ConversationClient,
    conversation_server::{Conversation, ConversationServer},
};
use futures_util::{Stream, StreamExt as _, stream};
use tonic::{Request, Response, Status, Streaming};

struct Talker;

type Replies = Pin<Box<dyn Stream<Item = Result<HelloReply, Status>> + Send>>;

fn hello(greeting: &str, name: &str) -> HelloReply {
    HelloReply { message: format!("{greeting}, {name}!") }
}

#[tonic::async_trait]
impl Conversation for Talker {
    async fn ask(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        Ok(Response::new(hello("Hello", &request.into_inner().name)))
    }

    type ListenStream = Replies;

    async fn listen(&self, request: Request<HelloRequest>) -> Result<Response<Replies>, Status> {
        let name = request.into_inner().name;
        let replies = ["Hello", "Bonjour", "Hallo"].map(|greeting| Ok(hello(greeting, &name)));
        Ok(Response::new(Box::pin(stream::iter(replies))))
    }

    async fn tell(&self, request: Request<Streaming<HelloRequest>>) -> Result<Response<HelloReply>, Status> {
        let mut requests = request.into_inner();
        let mut names = Vec::new();
        while let Some(request) = requests.message().await? {
            names.push(request.name);
        }
        Ok(Response::new(hello("Hello", &names.join(" and "))))
    }

    type ChatStream = Replies;

    async fn chat(&self, request: Request<Streaming<HelloRequest>>) -> Result<Response<Replies>, Status> {
        let replies = request.into_inner().map(|request| Ok(hello("Hello", &request?.name)));
        Ok(Response::new(Box::pin(replies)))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Registered in this process only, so that the example needs nothing and leaves nothing.
    let registry = Arc::new(MemoryRegistry::new());
    let server = Server::builder("conversation")
        .registry(registry.clone())
        .add_service(ConversationServer::new(Talker))
        .build()
        .await?;
    let handle = server.handle();
    let (served, called) = tokio::join!(server.serve_until(std::future::pending()), async {
        handle.registered().await?;
        let called = call(Channel::builder("conversation").registry(registry).build()?).await;
        handle.shutdown();
        called
    });
    called?;
    Ok(served?)
}

async fn call(channel: Channel) -> Result<(), Box<dyn std::error::Error>> {
    let mut client = ConversationClient::new(channel);
    let name = |name: &str| HelloRequest { name: name.to_owned() };

    println!("one request, one reply:");
    println!("  {}", client.ask(name("Ann")).await?.into_inner().message);

    println!("one request, many replies:");
    let mut replies = client.listen(name("Ann")).await?.into_inner();
    while let Some(reply) = replies.message().await? {
        println!("  {}", reply.message);
    }

    println!("many requests, one reply:");
    let names = stream::iter([name("Ann"), name("Bob")]);
    println!("  {}", client.tell(names).await?.into_inner().message);

    println!("many requests, a reply to each as it comes:");
    let names = stream::iter([name("Ann"), name("Bob"), name("Cid")]);
    let mut replies = client.chat(names).await?.into_inner();
    while let Some(reply) = replies.message().await? {
        println!("  {}", reply.message);
    }
    Ok(())
}
