//! The mDNS registry on hosts of the tests' own, with cables that can be pulled, and with other processes that are killed.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests, helpers included; children talk to their parent on stdout"
)]

#[path = "../support/host.rs"]
mod host;
mod namespaced;
mod process;
mod station;

use std::{sync::Arc, time::Duration};

use callsign_core::{Node, WatchEvent, registry::Watch};

/// Long enough for anything here on a busy machine; never waited for in full unless the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

fn node(id: &str, address: &str) -> Arc<Node> {
    Arc::new(Node::builder("greeter", id, address).build().unwrap())
}

async fn next(watch: &mut Watch) -> WatchEvent {
    let event = tokio::time::timeout(PATIENCE, watch.next()).await;
    event.expect("an event in time").expect("a watch that goes on")
}

/// An event in a few words; none for what only frames a snapshot.
fn in_words(event: &WatchEvent) -> Option<String> {
    Some(match event {
        WatchEvent::Node(node) | WatchEvent::Upsert(node, _) => {
            let weight = node.weight().map_or_else(String::new, |weight| format!(" {weight}"));
            format!("came {} at {}{weight}", node.id(), node.address())
        }
        WatchEvent::Remove(key, removal, _) => format!("went {} {removal:?}", key.id),
        WatchEvent::Error(error) => format!("error {}", error.chain()),
        WatchEvent::SnapshotDone(_) => "ready".to_owned(),
        WatchEvent::SnapshotStart => return None,
    })
}
