//! The same user to the same node, whoever asks.

use std::collections::HashSet;

use callsign::{
    CallOptions, CallReport, Channel,
    core::{ErrorKind, memory::MemoryRegistry},
};
use callsign_examples::greeter::greeter_client::GreeterClient;
use tonic::Request;

use super::builder;
use crate::support::{self, hello, soon};

/// The node that answers a call with these headers and options.
async fn node(channel: &Channel, user: Option<&'static str>, options: CallOptions) -> String {
    let mut request = Request::new(hello("x"));
    request.extensions_mut().insert(options.report(true));
    if let Some(user) = user {
        request.metadata_mut().insert("x-user", user.parse().unwrap());
    }
    let reply = soon("the reply", GreeterClient::new(channel.clone()).hello(request)).await.unwrap();
    reply.extensions().get::<CallReport>().unwrap().node.id().to_string()
}

#[tokio::test]
async fn clients_agree_on_the_node_of_a_user_and_a_key_of_the_call_counts_more() {
    let registry = MemoryRegistry::new();
    let mut nodes = Vec::new();
    for _ in 0..5 {
        nodes.push(support::run(&registry, |b| b).await);
    }
    for strategy in ["ring-hash", "maglev", "rendezvous"] {
        let channel = || {
            let strategy = strategy.parse().unwrap();
            builder(&registry).strategy(strategy).hash_by("header:x-user".parse().unwrap()).build().unwrap()
        };
        let (one, other) = (channel(), channel());
        for channel in [&one, &other] {
            while channel.nodes().iter().filter(|node| node.connections > 0).count() < 5 {
                node(channel, None, CallOptions::new()).await;
            }
        }
        let mut homes = HashSet::new();
        for user in ["ada", "bob", "cy", "dan", "eve", "fay", "gus", "hal"] {
            let home = node(&one, Some(user), CallOptions::new()).await;
            for _ in 0..3 {
                assert_eq!(node(&other, Some(user), CallOptions::new()).await, home, "{strategy}, {user}");
                let keyed = CallOptions::new().hash_key(user.as_bytes());
                assert_eq!(node(&other, Some("nobody"), keyed).await, home, "{strategy}, {user}");
            }
            homes.insert(home);
        }
        assert!(homes.len() > 1, "{strategy}: {homes:?}");
    }
}

#[tokio::test]
async fn a_hash_that_no_strategy_looks_at_is_refused() {
    let error = builder(&MemoryRegistry::new()).hash_by("method".parse().unwrap()).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("adaptive does not look at that"), "{error}");
}
