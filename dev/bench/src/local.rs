//! The local registry: how soon a change is seen, and what many nodes cost.
//!
//! Whoever registers and whoever watches have handles of their own, so every change goes through the folder and the kernel.
//! Those who are killed, and those whose memory is measured, are processes of their own: this program again.

mod child;

use std::{future::Future, path::Path, sync::Arc};

use callsign_core::{
    Node, Registry, Result, WatchEvent,
    registry::{RegisterOptions, Watch},
};
use callsign_registry::local::{LocalConfig, LocalRegistry};
use tempfile::TempDir;
use tokio::{runtime::Runtime, time::Instant};

use self::child::Child;
pub(crate) use self::child::{CHILD, run as child};
use crate::frame::{Comparison, Metric, Report, Settings};

/// How many nodes one process of many holds: below the usual limit of 1,024 open files.
const HELD_BY_ONE: usize = 900;

/// A folder, somebody who registers in it, and somebody else who watches.
struct Scene {
    runtime: Runtime,
    folder: TempDir,
    owner: LocalRegistry,
    _watcher: LocalRegistry,
    watch: Watch,
}

/// Microseconds from the beginning of a call, or of a kill, until the watch of another handle shows what came of it.
pub(crate) fn seen(settings: &Settings) -> Report {
    let metrics = ["p50 us", "p99 us", "most us"].map(|name| Metric { name, digits: 0 });
    let mut comparison =
        Comparison::new("local: us until a change is seen by another handle's watch", metrics);
    let (many, few) = if settings.repeats < 5 { (20, 5) } else { (500, 100) };
    let mut scene = Scene::new();
    comparison.case("register", move || spread((0..many).map(|n| scene.life(n)[0]).collect()));
    let mut scene = Scene::new();
    comparison.case("update", move || spread((0..many).map(|n| scene.life(n)[1]).collect()));
    let mut scene = Scene::new();
    comparison.case("deregister", move || spread((0..many).map(|n| scene.life(n)[2]).collect()));
    let mut scene = Scene::new();
    comparison.case("SIGKILL", move || spread((0..few).map(|_| scene.kill()).collect()));
    comparison.run(settings)
}

/// What a reader who comes to a folder of many nodes has to wait for, and how much memory they take.
pub(crate) fn size(settings: &Settings) -> Report {
    let metrics = [
        ("first list ms", 1),
        ("list us", 0),
        ("get us", 0),
        ("rescan ms", 1),
        ("reader B/node", 0),
        ("owner B/node", 0),
    ];
    let metrics = metrics.map(|(name, digits)| Metric { name, digits });
    let mut comparison = Comparison::new("local: a folder of many nodes", metrics);
    for nodes in [1_000, 10_000] {
        let folder = tempfile::tempdir().expect("a folder");
        let owners: Vec<_> = (0..nodes)
            .step_by(HELD_BY_ONE)
            .map(|from| Child::start("hold", folder.path(), &[from, HELD_BY_ONE.min(nodes - from)]))
            .collect();
        // They register beside each other; each says so when it is done.
        let owners: Vec<_> = owners.into_iter().map(|mut owner| (owner.numbers()[0], owner)).collect();
        let owned: f64 = owners.iter().map(|(bytes, _)| bytes).sum();
        comparison.case(format!("{nodes} nodes"), move || {
            assert!(!owners.is_empty());
            let mut values = Child::start("read", folder.path(), &[nodes]).numbers();
            values.push(owned / nodes as f64);
            values
        });
    }
    comparison.run(settings)
}

// === impl Scene ===

impl Scene {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let folder = tempfile::tempdir().expect("a folder");
        let (owner, watcher) = (open(folder.path()), open(folder.path()));
        let watch = runtime.block_on(async {
            let mut watch = watcher.watch(&Default::default()).await.expect("a watch");
            while !matches!(watch.next().await, Some(WatchEvent::SnapshotDone(_))) {}
            watch
        });
        Self { runtime, folder, owner, _watcher: watcher, watch }
    }

    /// Registers, updates and deregisters a node; how long after the beginning of each the watch showed it.
    fn life(&mut self, number: usize) -> [f64; 3] {
        let Self { runtime, owner, watch, .. } = self;
        runtime.block_on(async {
            let (before, after) = (node(number, 1), node(number, 2));
            let options = RegisterOptions::default();
            let (lease, registered) = both(owner.register(&before, &options), watch).await;
            let mut lease = lease.expect("a free name");
            let (done, updated) = both(lease.update(&after), watch).await;
            done.expect("an entry of ours");
            let (done, released) = both(lease.release(), watch).await;
            done.expect("an entry of ours");
            [registered, updated, released]
        })
    }

    /// Kills a process that holds a node; how long after that the watch showed it.
    fn kill(&mut self) -> f64 {
        let mut child = Child::start("hold", self.folder.path(), &[0, 1]);
        let watch = &mut self.watch;
        self.runtime.block_on(async {
            child.numbers();
            let registered = watch.next().await;
            assert!(matches!(registered, Some(WatchEvent::Upsert(..))), "{registered:?}");
            let start = Instant::now();
            child.kill();
            let removed = watch.next().await;
            assert!(matches!(removed, Some(WatchEvent::Remove(..))), "{removed:?}");
            microseconds(start)
        })
    }
}

/// Makes a change and waits until it is seen, at the same time.
async fn both<T>(change: impl Future<Output = Result<T>>, watch: &mut Watch) -> (Result<T>, f64) {
    let start = Instant::now();
    tokio::join!(change, async {
        watch.next().await;
        microseconds(start)
    })
}

fn open(folder: &Path) -> LocalRegistry {
    LocalRegistry::open(LocalConfig::new(folder)).expect("a folder of ours")
}

/// A node as servers describe themselves.
fn node(number: usize, weight: u16) -> Arc<Node> {
    let service = format!("service-{}", number / 10);
    let id = format!("{service}-{number:08x}-0000-4000-8000-000000000000");
    let node = Node::builder(service, id, format!("10.0.{}.{}:4000", number / 256 % 256, number % 256))
        .version("1.2.0")
        .weight(weight)
        .zone("eu-1a")
        .metadata("protocol", "grpc")
        .metadata("transport", "grpc")
        .metadata("server", "grpc");
    Arc::new(node.build().expect("a valid node"))
}

fn microseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e6
}

/// The median, the 99th percentile, and the most.
fn spread(mut times: Vec<f64>) -> Vec<f64> {
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() as f64 * share) as usize).min(times.len() - 1)];
    vec![at(0.5), at(0.99), at(1.0)]
}
