//! A server that registers itself as `greeter`: clients find it by that name, wherever it listens.
//!
//!     cargo run -p callsign-examples --bin greeter_server
//!
//! Start it several times: each is one more node of the service, on a free port. Ctrl-C lets it leave without losing a call.

#![expect(clippy::print_stdout, reason = "what an example has to show, it prints")]

use callsign_examples::greeter::{
    FILE_DESCRIPTOR_SET, HelloReply, HelloRequest,
    greeter_server::{Greeter, GreeterServer},
};
use tonic::{Request, Response, Status};

struct Hello;

#[tonic::async_trait]
impl Greeter for Hello {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let message = format!("Hello, {}!", request.into_inner().name);
        Ok(Response::new(HelloReply { message }))
    }
}

#[tokio::main]
async fn main() -> callsign::Result<()> {
    let greeter = callsign::Server::builder("greeter").add_service(GreeterServer::new(Hello));
    let server = greeter.descriptors(FILE_DESCRIPTOR_SET).build().await?;
    println!("{} listens on {}", server.node().id(), server.local_addr());
    server.run().await
}
