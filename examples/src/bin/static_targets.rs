//! Calling nodes whose addresses are written down, with no registry at all: the same channel, the same selection.
//!
//!     cargo run -p callsign-examples --bin static_targets
//!
//! The second of the three addresses has nobody behind it: no call fails for that.

#![expect(clippy::print_stdout, reason = "what an example has to show, it prints")]

use callsign::{Channel, Server};
use callsign_examples::greeter::{
    HelloReply, HelloRequest,
    greeter_client::GreeterClient,
    greeter_server::{Greeter, GreeterServer},
};
use tonic::{Request, Response, Status};

struct Hello(&'static str);

#[tonic::async_trait]
impl Greeter for Hello {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let message = format!("Hello, {}! This is node {}.", request.into_inner().name, self.0);
        Ok(Response::new(HelloReply { message }))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server =
        |name| Server::builder("greeter").unregistered().add_service(GreeterServer::new(Hello(name))).build();
    let (one, two) = (server("one").await?, server("two").await?);
    let target = format!("static://{},127.0.0.1:9,{}", one.local_addr(), two.local_addr());
    println!("{target}");

    let handles = [one.handle(), two.handle()];
    let called = async {
        let mut client = GreeterClient::new(Channel::from_target(&target)?);
        for _ in 0..6 {
            let reply = client.hello(HelloRequest { name: "World".to_owned() }).await?;
            println!("{}", reply.into_inner().message);
        }
        handles.iter().for_each(callsign::server::Handle::shutdown);
        Ok::<_, Box<dyn std::error::Error>>(())
    };
    let never = std::future::pending;
    let (called, one, two) = tokio::join!(called, one.serve_until(never()), two.serve_until(never()));
    called?;
    Ok(one.and(two)?)
}
