//! What each client hears of the nodes, and when: from the library's own directory, which follows a registry that fails.
//!
//! The nodes are kept registered by the library's `Registrar`, in its in-memory registry, and every client has a `Directory` of its own,
//! all on a clock that is moved by hand. What a client hears does not depend on how its calls go, so all of it is known before the first
//! call. (In a channel one thing does: a node in doubt is dropped when it turns out to be dead. Here none is dead.)
//!
//! Beside it there is a client that takes the registry at its word: what a listing does not show is gone.

use std::{sync::Arc, time::Duration};

use callsign_core::{
    Node, Registry, ServiceName, WatchEvent,
    directory::{Directory, DirectoryConfig},
    memory::MemoryRegistry,
    registration::{Registrar, Registration},
    registry::{RegisterOptions, WatchOptions},
};
use fastrand::Rng;
use tokio::{runtime, sync::mpsc, task::JoinSet, time::Instant};

use crate::{
    clock::Nanos,
    random::{Seeds, Stream},
    scenario::{Discovery, RegistryTrouble, Scenario},
};

/// One client's nodes from some moment on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct News {
    pub(crate) at: Nanos,
    pub(crate) client: usize,
    pub(crate) members: Vec<usize>,
}

/// Room for what clients have heard and nobody has written down yet.
const WAITING_MAX: usize = 1024;

const SERVICE: &str = "service";

/// All that the clients of a scenario hear, in the order of time.
pub(crate) fn all(scenario: &Scenario, seeds: Seeds) -> Result<Vec<News>, String> {
    let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.map_err(|error| format!("cannot make a clock: {error}"))?.block_on(hear(scenario, seeds))
}

async fn hear(scenario: &Scenario, seeds: Seeds) -> Result<Vec<News>, String> {
    let (start, registry) = (Instant::now(), MemoryRegistry::new());
    let discovery = scenario.policy[0].discovery;
    let ttl = scenario.registry.as_ref().map_or_else(Duration::default, |registry| registry.ttl.duration());
    let mut nodes = Vec::new();
    for number in 0..scenario.fleet.count {
        nodes.push(register(&registry, number, ttl, seeds).await?);
    }
    let (heard, mut waiting) = mpsc::channel(WAITING_MAX);
    let mut tasks = JoinSet::new();
    for client in 0..scenario.clients.count {
        let (registry, heard) = (Arc::new(registry.peer()), heard.clone());
        let tell =
            move |members| (News { at: start.elapsed().as_nanos() as Nanos, client, members }, heard.clone());
        let rng = seeds.stream(Stream::Registry, scenario.fleet.count + client);
        match discovery {
            Discovery::Directory => tasks.spawn(follow(registry, rng, tell)),
            Discovery::AtItsWord => tasks.spawn(believe(registry, tell)),
        };
    }
    drop(heard);
    tasks.spawn(trouble(scenario.clone(), registry, nodes, start));
    let mut news = Vec::new();
    let end = start + scenario.duration.duration();
    // Nothing else is waited for by then: `timeout_at` ends the writing down.
    while let Ok(Some(one)) = tokio::time::timeout_at(end, waiting.recv()).await {
        news.push(one);
    }
    tasks.shutdown().await;
    // Who is woken first at one moment is the runtime's affair, and not the same each time.
    news.sort_by_key(|news| (news.at, news.client));
    Ok(news)
}

/// Puts a node into the registry, where it stays for as long as the guard lives and the registry allows.
async fn register(
    registry: &MemoryRegistry,
    number: usize,
    ttl: Duration,
    seeds: Seeds,
) -> Result<(Registrar, Registration), String> {
    let rng = seeds.stream(Stream::Registry, number);
    let registrar = Registrar::with_rng(Arc::new(registry.peer()), rng);
    let node = Node::builder(SERVICE, format!("node-{number}"), "127.0.0.1:1").build();
    let node = node.map_err(|error| error.to_string())?;
    let registration = registrar.register(node, RegisterOptions::default().with_ttl(ttl));
    registration.registered().await.map_err(|error| error.to_string())?;
    Ok((registrar, registration))
}

/// Does to the registry what the scenario says.
async fn trouble(
    scenario: Scenario,
    registry: MemoryRegistry,
    nodes: Vec<(Registrar, Registration)>,
    start: Instant,
) {
    let troubles = scenario.registry.iter().flat_map(|registry| &registry.trouble);
    for trouble in troubles {
        tokio::time::sleep_until(start + trouble.at().duration()).await;
        match trouble {
            RegistryTrouble::Away { .. } => {
                registry.set_away(true);
                tokio::time::sleep_until(start + trouble.end().duration()).await;
                registry.set_away(false);
            }
            RegistryTrouble::Wiped { .. } => registry.wipe(),
        }
    }
    tokio::time::sleep_until(start + scenario.duration.duration()).await;
    drop(nodes);
}

type Told = (News, mpsc::Sender<News>);

/// A client of the library.
async fn follow(registry: Arc<MemoryRegistry>, rng: Rng, tell: impl Fn(Vec<usize>) -> Told) {
    let directory = Directory::with_rng(registry, DirectoryConfig::default(), rng);
    let mut subscription = directory.subscribe(&service());
    let mut before = None;
    loop {
        let answer = subscription.answer();
        if !answer.is_pending() {
            let nodes = answer.view().map(|view| view.nodes().clone());
            let members = nodes.iter().flat_map(|nodes| nodes.iter()).map(|node| number(node)).collect();
            before = say_if_new(before, members, &tell).await;
        }
        if subscription.changed().await.is_err() {
            return;
        }
    }
}

/// A client that takes each picture for the truth.
async fn believe(registry: Arc<MemoryRegistry>, tell: impl Fn(Vec<usize>) -> Told) {
    let Ok(mut watch) = registry.watch(&WatchOptions::default().of(service())).await else { return };
    let (mut members, mut whole, mut before) = (Vec::new(), false, None);
    while let Some(event) = watch.next().await {
        match event {
            WatchEvent::SnapshotStart => (members, whole) = (Vec::new(), false),
            WatchEvent::Node(node) => members.push(number(&node)),
            WatchEvent::SnapshotDone(_) => whole = true,
            WatchEvent::Upsert(node, _) => {
                members.retain(|member| *member != number(&node));
                members.push(number(&node));
            }
            WatchEvent::Remove(key, ..) => {
                members.retain(|member| key.id.as_str() != format!("node-{member}"))
            }
            // That the registry is away says nothing of the nodes: so far everybody agrees.
            WatchEvent::Error(_) => continue,
        }
        if whole {
            before = say_if_new(before, members.clone(), &tell).await;
        }
    }
}

async fn say_if_new(
    before: Option<Vec<usize>>,
    mut members: Vec<usize>,
    tell: &impl Fn(Vec<usize>) -> Told,
) -> Option<Vec<usize>> {
    members.sort_unstable();
    if before.as_ref() != Some(&members) {
        let (news, heard) = tell(members.clone());
        // Whoever writes it down may have come to the end.
        let _ = heard.send(news).await;
    }
    Some(members)
}

fn service() -> ServiceName {
    SERVICE.parse().expect("a valid name")
}

/// The number that a node was registered under.
fn number(node: &Node) -> usize {
    node.id().as_str().trim_start_matches("node-").parse().expect("all are registered by their number")
}

#[cfg(test)]
mod tests;
