//! A watch shows what happens: all of it, in order, and once.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::mpsc;

use super::{Harness, Replica, scene::Scene};
use crate::{
    model::{Node, NodeKey},
    registry::{GetOptions, Lease, Listing, RegisterOptions, Registry, WatchOptions},
};

/// How many owners change things at the same time, how many nodes each of them has, and how often it changes one.
const OWNERS: usize = 3;
const NODES_EACH: usize = 4;
const CHANGES_EACH: usize = 60;

/// How many listings are taken while things change.
const LISTINGS_MAX: usize = 40;

/// How far the slow watcher falls behind.
const UNSEEN_CHANGES: u16 = 1500;

/// A watch first gives the whole picture, be it empty or not.
pub async fn a_watch_begins_with_a_snapshot(harness: &dyn Harness) {
    let scene = Scene::new(harness, "snapshot");
    let registry = harness.open().await;
    let mut watch = scene.follow_service(&*registry).await;
    watch.until("an empty snapshot is done", BTreeMap::is_empty).await;
    let node = Arc::new(scene.node("1").build().expect("a node"));
    scene.register_and_keep(&*registry, &node).await;
    watch.until("the node is there", |nodes| nodes.len() == 1).await;
    let mut late = scene.follow_service(&*registry).await;
    // The first picture must be whole by itself: nothing happens any more that could complete it.
    while !late.is_synced() {
        scene.soon("the snapshot", late.step()).await;
    }
    assert_eq!(late.nodes().values().collect::<Vec<_>>(), [&node], "snapshot: not whole");
    scene.end().await;
}

/// What happens to other services is not seen, not even to those whose names begin alike.
pub async fn a_watch_of_one_service_shows_no_other(harness: &dyn Harness) {
    let scene = Scene::new(harness, "other");
    let registry = harness.open().await;
    let mut own = scene.follow_service(&*registry).await;
    let mut all = scene.follow(&*registry, &WatchOptions::default()).await;
    // Each with an id of its own: some stores have one place for names that differ in a slash, and then refuse the second.
    for (id, suffix) in ["2", ".b", "/b", "-b", " b"].iter().enumerate() {
        let name = format!("{}{suffix}", scene.service());
        let node = Node::builder(name, id.to_string(), "127.0.0.1:4000").build().expect("a node");
        scene.register_and_keep(&*registry, &Arc::new(node)).await;
    }
    let node = Arc::new(scene.node("1").build().expect("a node"));
    scene.register_and_keep(&*registry, &node).await;
    all.until("the watch of all shows the last node", |nodes| nodes.contains_key(&node.key())).await;
    own.until("the watch of one shows its node", |nodes| nodes.contains_key(&node.key())).await;
    assert_eq!(own.nodes().len(), 1, "other: {:?}", own.nodes().keys());
    scene.end().await;
}

/// A watcher that reads nothing for a long time costs the registry no more than a bounded buffer, and still ends up with
/// what is true.
pub async fn a_slow_watcher_ends_up_with_the_truth(harness: &dyn Harness) {
    let scene = Scene::new(harness, "slow");
    let (ours, theirs) = (harness.open().await, harness.open().await);
    let mut watch = scene.follow_service(&*theirs).await;
    watch.until("nothing is there yet", BTreeMap::is_empty).await;
    let node = |weight: u16| Arc::new(scene.node("1").weight(weight).build().expect("a node"));
    let mut lease = scene.register(&*ours, &node(0)).await;
    for weight in 1..=UNSEEN_CHANGES {
        scene.ok("update", lease.update(&node(weight)).await);
    }
    scene.keep(node(0).key(), lease);
    scene.shows(&*theirs, &mut watch, &[node(UNSEEN_CHANGES)]).await;
    scene.end().await;
}

/// While several owners register, update and remove nodes at once, a watch that was there before, one that came in between,
/// and every listing taken meanwhile all lead to the same end, through states that were, each of them once.
pub async fn a_watch_under_churn_misses_and_doubles_nothing(harness: &dyn Harness) {
    for seed in 1..=3 {
        churn(harness, seed).await;
    }
}

async fn churn(harness: &dyn Harness, seed: u64) {
    let scene = Scene::new(harness, "churn");
    let registry = harness.open().await;
    let mut early = scene.follow_service(&*registry).await;
    early.until("nothing is there yet", BTreeMap::is_empty).await;

    let (results, mut left) = mpsc::channel(OWNERS);
    for owner in 0..OWNERS {
        let nodes =
            (0..NODES_EACH).map(|n| Slot::new(scene.node(&format!("{owner}-{n}")).build().expect("a node")));
        let owner = Owner {
            registry: harness.open().await,
            options: scene.options.clone(),
            rng: fastrand::Rng::with_seed(seed * 100 + owner as u64),
            nodes: nodes.collect(),
        };
        let results = results.clone();
        scene.spawn(async move {
            // The case may have failed by now, and nobody listen.
            let _ = results.send(owner.run().await).await;
        });
    }
    drop(results);

    let (mut late, mut listings, mut expected) = (None, Vec::new(), Vec::new());
    loop {
        tokio::select! {
            // Events first: there are always some until the owners have ended.
            biased;
            () = early.step() => {
                if listings.len() < LISTINGS_MAX {
                    listings.push(scene.get(&*registry, &GetOptions::default()).await);
                }
                if late.is_none() && listings.len() > LISTINGS_MAX / 4 {
                    late = Some(scene.follow_service(&*registry).await);
                }
            }
            result = left.recv() => {
                let Some(result) = result else { break };
                for (node, lease) in scene.ok("change a node under churn", result) {
                    scene.keep(node.key(), lease);
                    expected.push(node);
                }
            }
        }
    }

    scene.shows(&*registry, &mut early, &expected).await;
    if let Some(mut late) = late {
        scene.shows(&*registry, &mut late, &expected).await;
        check_generations(&late);
    }
    check_generations(&early);
    let expected: BTreeMap<_, _> = expected.iter().map(|node| (node.key(), node.clone())).collect();
    for listing in &listings {
        check_order(&early, listing);
        let replayed = early.replayed_over(listing);
        assert_eq!(
            replayed, expected,
            "churn (seed {seed}): the listing at {} and the events after it",
            listing.revision
        );
    }
    scene.end().await;
    early.until("all have gone", BTreeMap::is_empty).await;
}

/// No description of a node is shown twice, or after a later one.
fn check_generations(replica: &Replica) {
    let mut shown: BTreeMap<NodeKey, Vec<Option<u16>>> = BTreeMap::new();
    for (node, _) in replica.descriptions() {
        shown.entry(node.key()).or_default().push(node.weight());
    }
    for (key, generations) in shown {
        assert!(generations.is_sorted_by(|a, b| a < b), "churn: {key} was shown as {generations:?}");
    }
}

/// What the watch shows up to a listing's revision is not newer than the listing, and what it shows after is not older.
fn check_order(replica: &Replica, listing: &Listing) {
    let listed: BTreeMap<_, _> = listing.nodes.iter().map(|node| (node.key(), node.weight())).collect();
    for (node, revision) in replica.descriptions() {
        let (key, weight) = (node.key(), node.weight());
        let Some(&there) = listed.get(&key) else { continue };
        let at = listing.revision;
        assert!(
            if revision <= at { weight <= there } else { weight >= there },
            "churn: {key} is listed with description {there:?} at {at}, and shown with {weight:?} at {revision}"
        );
    }
}

/// One owner's nodes, changed at random.
struct Owner {
    registry: Arc<dyn Registry>,
    options: RegisterOptions,
    rng: fastrand::Rng,
    nodes: Vec<Slot>,
}

/// A node, the number of its descriptions so far (as its weight), and its lease while it is registered.
struct Slot {
    node: Node,
    generation: u16,
    lease: Option<Box<dyn Lease>>,
}

// === impl Owner ===

impl Owner {
    async fn run(mut self) -> crate::Result<Vec<(Arc<Node>, Box<dyn Lease>)>> {
        for _ in 0..CHANGES_EACH {
            let slot = self.rng.choice(&mut self.nodes).expect("some nodes");
            let remove = self.rng.u8(..4) == 0;
            match slot.lease.take() {
                Some(lease) if remove => match self.rng.bool() {
                    true => lease.release().await?,
                    false => drop(lease),
                },
                Some(mut lease) => {
                    lease.update(&slot.next()).await?;
                    slot.lease = Some(lease);
                }
                None => slot.lease = Some(self.registry.register(&slot.next(), &self.options).await?),
            }
            // Others get a turn even where nothing has to be waited for.
            tokio::task::yield_now().await;
        }
        let left = self.nodes.into_iter().filter_map(|slot| Some((slot.current(), slot.lease?)));
        Ok(left.collect())
    }
}

// === impl Slot ===

impl Slot {
    fn new(node: Node) -> Self {
        Self { node, generation: 0, lease: None }
    }

    fn next(&mut self) -> Arc<Node> {
        self.generation += 1;
        self.current()
    }

    fn current(&self) -> Arc<Node> {
        Arc::new(self.node.to_builder().weight(self.generation).build().expect("a node"))
    }
}
