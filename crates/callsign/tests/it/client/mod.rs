//! The client's side of things.

mod calls;

use std::sync::Arc;

use callsign::{Channel, client::ChannelBuilder, core::memory::MemoryRegistry};
use callsign_examples::greeter::greeter_client::GreeterClient;

/// A channel to `greeter` in `registry`, with the same random choices in every run.
pub fn builder(registry: &MemoryRegistry) -> ChannelBuilder {
    Channel::builder("greeter").registry(Arc::new(registry.clone())).seed(7)
}

/// The same as a generated client.
pub fn greeter(registry: &MemoryRegistry) -> GreeterClient<Channel> {
    GreeterClient::new(builder(registry).build().unwrap())
}
