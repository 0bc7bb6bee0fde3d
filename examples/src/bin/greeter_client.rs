//! A client that knows a name and no address.
//!
//!     cargo run -p callsign-examples --bin greeter_client -- World
//!
//! Start one or more `greeter_server` first. The client finds them all, and each call goes to the node that suits best.

#![expect(clippy::print_stdout, reason = "what an example has to show, it prints")]

use callsign::Channel;
use callsign_examples::greeter::{HelloRequest, greeter_client::GreeterClient};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::args().nth(1).unwrap_or_else(|| "World".to_owned());
    let channel = Channel::connect("registry://greeter").await?;
    let mut client = GreeterClient::new(channel);

    let reply = client.hello(HelloRequest { name }).await?;
    println!("{}", reply.into_inner().message);
    Ok(())
}
