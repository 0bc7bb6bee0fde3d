//! The etcd registry, beside what etcd itself takes on the same machine.
//!
//! A real etcd runs for each benchmark, on loopback. Entries are as go-micro's servers write them, with one endpoint.

mod bare;

use std::{any::Any, cell::RefCell, ops::Range, sync::Arc, time::Duration};

use callsign_core::{
    Endpoint, Node, Registry, ServiceName, Value, WatchEvent,
    directory::{Directory, DirectoryConfig},
    model::wire,
    registry::{ListOptions, Watch, WatchOptions},
};
use callsign_registry::etcd::{EtcdConfig, EtcdRegistry};
use callsign_testbed::EtcdServer;
use stats_alloc::Region;
use tokio::{
    runtime::Runtime,
    time::{Instant, MissedTickBehavior, interval},
};
use tonic::Streaming;

use self::bare::{Bare, WatchResponse};
use crate::{
    ALLOCATOR,
    frame::{Comparison, Metric, Report, Settings},
};

/// Nodes of one service.
const NODES_EACH: usize = 10;
/// Changes a second, in the benchmark that makes them without end.
const CHANGES_PER_SECOND: u32 = 1000;

/// An etcd, and a client of it without any comfort.
struct Scene {
    runtime: Runtime,
    server: EtcdServer,
    bare: Bare,
}

/// Microseconds from the beginning of a put until a watch shows it: a bare watch, and the registry's of another handle.
pub(crate) fn seen(settings: &Settings) -> Report {
    let metrics = ["p50 us", "p99 us", "most us"].map(|name| Metric { name, digits: 0 });
    let mut comparison = Comparison::new("etcd: us from a put until a watch shows it", metrics);
    let puts = if settings.repeats < 5 { 50 } else { 200 };
    // Without the previous value nobody can tell which node a deletion was of; go-micro asks for it, too.
    for (name, prev_kv) in [("bare watch, keys alone", false), ("bare watch", true)] {
        let mut scene = Scene::new(1000);
        let mut watch = scene.runtime.block_on(scene.bare.clone().watch(prev_kv));
        let mut done = 0;
        comparison.case(name, move || {
            let Scene { runtime, bare, .. } = &mut scene;
            done += puts;
            runtime.block_on(times(bare, done - puts..done, async || bare_put(&mut watch).await))
        });
    }
    let mut scene = Scene::new(1000);
    let mut watch = scene.runtime.block_on(synced(&scene.registry()));
    let mut done = 0;
    comparison.case("registry watch", move || {
        let Scene { runtime, bare, .. } = &mut scene;
        done += puts;
        runtime.block_on(times(bare, done - puts..done, async || next_upsert(&mut watch).await))
    });
    comparison.run(settings)
}

/// Milliseconds until a stranger has everything that is there.
pub(crate) fn list(settings: &Settings) -> Report {
    let nodes = if settings.repeats < 5 { 10_000 } else { 100_000 };
    let scene = Scene::new(nodes);
    let metrics = [Metric { name: "ms", digits: 0 }, Metric { name: "most MB", digits: 0 }];
    let mut comparison =
        Comparison::new("etcd: ms for a cold list of 100,000 nodes (10,000 with --quick)", metrics);
    comparison.case("bare range", || {
        scene.timed(async |mut bare: Bare| assert_eq!(bare.range().await.kvs.len(), nodes))
    });
    comparison.case("bare range, JSON decoded", || {
        scene.timed(async |mut bare: Bare| {
            let range = bare.range().await;
            let read = range.kvs.iter().map(|kv| serde_json::from_slice::<bare::Service>(&kv.value));
            assert_eq!(read.collect::<Result<Vec<_>, _>>().expect("entries").len(), nodes);
        })
    });
    comparison.case("bare range, our decoder", || {
        scene.timed(async |mut bare: Bare| {
            let range = bare.range().await;
            let mut decoder = wire::Decoder::default();
            let domain = Default::default();
            let read = range.kvs.iter().map(|kv| decoder.decode(&kv.value, &domain));
            assert_eq!(read.collect::<Result<Vec<_>, _>>().expect("entries").len(), nodes);
        })
    });
    comparison.case("registry list", || {
        scene.timed(async |_: Bare| {
            let listing = scene.registry().list(&ListOptions::default()).await.expect("a list");
            assert_eq!(listing.nodes.len(), nodes);
        })
    });
    comparison.run(settings)
}

/// Bytes that a node takes in a list, and in a directory of which every name is asked for.
pub(crate) fn size(settings: &Settings) -> Report {
    let nodes = if settings.repeats < 5 { 1_000 } else { 100_000 };
    let scene = Scene::new(nodes);
    let kept = RefCell::<Vec<Box<dyn Any>>>::default();
    let metrics = [Metric { name: "B/node", digits: 0 }];
    let mut comparison = Comparison::new("etcd: memory held for each node", metrics);
    // What an earlier run holds is kept to the end: freed late, it would be counted in a later one.
    let held = |region: &Region<'_, std::alloc::System>| {
        let change = region.change();
        vec![(change.bytes_allocated as f64 - change.bytes_deallocated as f64) / nodes as f64]
    };
    comparison.case("list", || {
        scene.runtime.block_on(async {
            let registry = scene.registry();
            let region = Region::new(ALLOCATOR);
            let listing = registry.list(&ListOptions::default()).await.expect("a list");
            assert_eq!(listing.nodes.len(), nodes);
            let held = held(&region);
            kept.borrow_mut().push(Box::new((registry, listing)));
            held
        })
    });
    comparison.case("directory of every name", || {
        scene.runtime.block_on(async {
            let registry = scene.registry();
            let region = Region::new(ALLOCATOR);
            let config = DirectoryConfig::default().with_capacity(nodes);
            let directory = Directory::new(Arc::new(registry), config);
            for service in 0..nodes / NODES_EACH {
                let name = ServiceName::new(service_name(service)).expect("a name");
                let answer = directory.resolve(&name).await;
                assert_eq!(answer.view().map(|view| view.nodes().len()), Some(NODES_EACH));
            }
            let held = held(&region);
            kept.borrow_mut().push(Box::new(directory));
            held
        })
    });
    comparison.run(&Settings { repeats: settings.repeats.min(3), ..*settings })
}

/// A thousand changes a second, seen by a directory: how far behind it is at the end, and what that takes.
pub(crate) fn churn(settings: &Settings) -> Report {
    let metrics = [("changes", 0), ("behind ms", 1), ("cpu share %", 1)];
    let metrics = metrics.map(|(name, digits)| Metric { name, digits });
    let mut comparison =
        Comparison::new("etcd: 1,000 changes a second for a minute, followed by a directory", metrics);
    let seconds = if settings.repeats < 5 { 2 } else { 60 };
    let nodes = 1000;
    let mut scene = Scene::new(nodes);
    let mut round = 0;
    // Its share of the processor is that of the whole program: what puts the changes is in it, and alone in the first case.
    comparison.case("puts alone", {
        let mut scene = Scene::new(nodes);
        move || {
            let Scene { runtime, bare, .. } = &mut scene;
            let cpu = cpu_time();
            let (changes, _) = runtime.block_on(change(bare, nodes, seconds, 1));
            vec![f64::from(changes), f64::NAN, share(cpu, seconds)]
        }
    });
    comparison.case("with a directory", move || {
        round += 1;
        let registry = Arc::new(scene.registry());
        let Scene { runtime, bare, .. } = &mut scene;
        let (changes, behind, cpu) = runtime.block_on(async {
            let directory = Directory::new(registry, DirectoryConfig::default());
            let names: Vec<_> =
                (0..nodes / NODES_EACH).map(|n| ServiceName::new(service_name(n)).expect("a name")).collect();
            let mut subscriptions = Vec::new();
            for name in &names {
                directory.resolve(name).await;
                subscriptions.push(directory.subscribe(name));
            }
            let cpu = cpu_time();
            let (changes, last) = change(bare, nodes, seconds, round).await;
            let cpu = share(cpu, seconds);
            let end = Instant::now();
            for subscription in &mut subscriptions {
                let is_exact = |answer: &callsign_core::directory::Answer| {
                    answer.view().is_some_and(|view| view.nodes().iter().all(|node| node.version() == last))
                };
                while !is_exact(&subscription.answer()) {
                    subscription.changed().await.expect("a directory");
                }
            }
            (changes, end.elapsed(), cpu)
        });
        vec![f64::from(changes), behind.as_secs_f64() * 1e3, cpu]
    });
    comparison.run(&Settings { repeats: 1, ..*settings })
}

/// Puts every node anew, again and again, for so long; gives how many puts that were, and the version that all have in the end.
async fn change(bare: &mut Bare, nodes: usize, seconds: u32, round: usize) -> (u32, String) {
    let rounds = (seconds * CHANGES_PER_SECOND) as usize / nodes;
    let mut ticks = interval(Duration::from_secs(1) / CHANGES_PER_SECOND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let version = |n: usize| format!("{round}.{n}");
    let mut changes = 0;
    for n in 0..rounds {
        for number in 0..nodes {
            ticks.tick().await;
            let (key, value) = entry(number, &version(n));
            bare.put(&key, value).await;
            changes += 1;
        }
    }
    (changes, version(rounds - 1))
}

// === impl Scene ===

impl Scene {
    /// An etcd with so many entries.
    fn new(nodes: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let (server, bare) = runtime.block_on(async {
            let server = EtcdServer::start().await;
            let mut bare = Bare::connect(server.url()).await;
            bare.put_all((0..nodes).map(|number| entry(number, "latest"))).await;
            (server, bare)
        });
        Self { runtime, server, bare }
    }

    fn registry(&self) -> EtcdRegistry {
        let _inside = self.runtime.enter();
        EtcdRegistry::open(EtcdConfig::new(&self.server.endpoint()).expect("an address"))
    }

    /// How many milliseconds it takes, and how many megabytes it allocates in all.
    fn timed(&self, work: impl AsyncFnOnce(Bare)) -> Vec<f64> {
        let bare = self.bare.clone();
        let region = Region::new(ALLOCATOR);
        let start = Instant::now();
        self.runtime.block_on(work(bare));
        vec![start.elapsed().as_secs_f64() * 1e3, region.change().bytes_allocated as f64 / 1e6]
    }
}

/// Puts one entry after the other, each with a version that it never had: what changes nothing is not shown.
async fn times(bare: &mut Bare, versions: Range<usize>, mut seen: impl AsyncFnMut()) -> Vec<f64> {
    let mut times = Vec::with_capacity(versions.len());
    for version in versions {
        let (key, value) = entry(version % 1000, &version.to_string());
        let start = Instant::now();
        let ((), shown) = tokio::join!(bare.put(&key, value), async {
            seen().await;
            start.elapsed().as_secs_f64() * 1e6
        });
        times.push(shown);
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() as f64 * share) as usize).min(times.len() - 1)];
    vec![at(0.5), at(0.99), at(1.0)]
}

async fn bare_put(watch: &mut Streaming<WatchResponse>) {
    let response = watch.message().await.expect("a watch").expect("a watch that goes on");
    let kv = response.events.first().and_then(|event| event.kv.as_ref()).expect("a put");
    serde_json::from_slice::<bare::Service>(&kv.value).expect("an entry");
}

async fn synced(registry: &EtcdRegistry) -> Watch {
    let mut watch = registry.watch(&WatchOptions::default()).await.expect("a watch");
    while !matches!(watch.next().await, Some(WatchEvent::SnapshotDone(_))) {}
    watch
}

async fn next_upsert(watch: &mut Watch) {
    let event = watch.next().await;
    assert!(matches!(event, Some(WatchEvent::Upsert(..))), "{event:?}");
}

fn service_name(number: usize) -> String {
    format!("go.micro.srv.service-{number}")
}

/// A key and a value as go-micro's servers write them.
fn entry(number: usize, version: &str) -> (String, String) {
    let service = service_name(number / NODES_EACH);
    let id = format!("{service}-{number:08x}-0000-4000-8000-000000000000");
    let field = Value { name: "name".into(), kind: "string".into(), values: vec![] };
    let message = |name: &str| Value { name: name.into(), kind: name.into(), values: vec![field.clone()] };
    let endpoint = Endpoint {
        name: "Greeter.Hello".into(),
        request: Some(message("HelloRequest")),
        response: Some(message("HelloResponse")),
        ..Endpoint::default()
    };
    let node = Node::builder(service, id, format!("10.0.{}.{}:4000", number / 256 % 256, number % 256))
        .version(version)
        .metadata("broker", "http")
        .metadata("protocol", "mucp")
        .metadata("registry", "etcd")
        .metadata("server", "mucp")
        .metadata("transport", "http")
        .endpoints([endpoint])
        .build()
        .expect("a valid node");
    (format!("{}{}/{}", bare::PREFIX, node.service(), node.id()), wire::encode(&node))
}

fn cpu_time() -> Duration {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).expect("our usage");
    let total = usage.user_time() + usage.system_time();
    Duration::from_micros(u64::try_from(total.tv_sec() * 1_000_000 + total.tv_usec()).unwrap_or_default())
}

fn share(before: Duration, seconds: u32) -> f64 {
    (cpu_time() - before).as_secs_f64() / f64::from(seconds) * 100.0
}
