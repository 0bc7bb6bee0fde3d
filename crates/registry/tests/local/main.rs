//! The local registry with real files, real processes and real signals; most of it through the events of Linux.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests, helpers included; children talk to their parent on stdout"
)]

mod claims;
mod crash;
mod faults;
mod folder;
mod process;
mod users;

use std::{path::Path, sync::Arc, time::Duration};

use callsign_core::{
    Node, Registry, WatchEvent,
    registry::{ListOptions, Removal, Watch},
};
use callsign_registry::local::{LocalConfig, LocalRegistry};

/// Long enough for anything here on a busy machine; never waited for in full unless the test fails.
const PATIENCE: Duration = Duration::from_secs(20);
/// A rescan that does not come: what is seen, is seen through the kernel's events.
const NEVER: Duration = Duration::from_secs(3600);

fn open(folder: &Path) -> LocalRegistry {
    LocalRegistry::open(LocalConfig::new(folder).with_rescan(NEVER)).unwrap()
}

fn node(id: &str) -> Arc<Node> {
    Arc::new(Node::builder("greeter", id, "127.0.0.1:4000").build().unwrap())
}

async fn ids(registry: &dyn Registry) -> Vec<String> {
    let listing = registry.list(&ListOptions::default()).await.unwrap();
    let mut ids: Vec<_> = listing.nodes.iter().map(|node| node.id().to_string()).collect();
    ids.sort();
    ids
}

/// A watch that has seen its snapshot.
async fn watch(registry: &dyn Registry) -> Watch {
    let mut watch = registry.watch(&Default::default()).await.unwrap();
    while !matches!(next(&mut watch).await, WatchEvent::SnapshotDone(_)) {}
    watch
}

async fn next(watch: &mut Watch) -> WatchEvent {
    tokio::time::timeout(PATIENCE, watch.next())
        .await
        .expect("an event in time")
        .expect("a watch that goes on")
}

async fn next_upsert(watch: &mut Watch) -> Arc<Node> {
    match next(watch).await {
        WatchEvent::Upsert(node, _) => node,
        other => panic!("{other:?} instead of an upsert"),
    }
}

async fn next_removal(watch: &mut Watch) -> (String, Removal) {
    match next(watch).await {
        WatchEvent::Remove(key, removal, _) => (key.id.to_string(), removal),
        other => panic!("{other:?} instead of a removal"),
    }
}

/// The entries that are files in the folder.
fn files(folder: &Path) -> Vec<String> {
    let names =
        std::fs::read_dir(folder).unwrap().map(|found| found.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}
