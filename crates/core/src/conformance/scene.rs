//! What the cases have in common: names of their own, handles, entries kept alive, and looks at the registry that fail
//! with the name of the case.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{Harness, Replica};
use crate::{
    error::Error,
    model::{Domain, Node, NodeBuilder, NodeKey, ServiceName},
    registry::{GetOptions, Lease, ListOptions, Listing, RegisterOptions, Registry, WatchOptions},
    tasks::Tasks,
};

/// Longer than any case takes.
const UNHELD_TTL: Duration = Duration::from_secs(120);

/// One case under way.
pub(super) struct Scene<'a> {
    pub(super) harness: &'a dyn Harness,
    pub(super) case: &'static str,
    /// How the case registers its nodes.
    pub(super) options: RegisterOptions,
    tasks: Tasks,
    lost: Arc<Mutex<Vec<(NodeKey, Error)>>>,
}

// === impl Scene ===

impl<'a> Scene<'a> {
    /// A case that has nothing to do with time: entries stay for long, even while nobody holds them.
    pub(super) fn new(harness: &'a dyn Harness, case: &'static str) -> Self {
        let options = harness.registration_options().with_ttl(UNHELD_TTL);
        Self { harness, case, options, tasks: Tasks::new(), lost: Arc::default() }
    }

    /// A case in which entries live as the harness says.
    pub(super) fn brief(harness: &'a dyn Harness, case: &'static str) -> Self {
        Self { options: harness.registration_options(), ..Self::new(harness, case) }
    }

    /// A service that no other case knows.
    pub(super) fn service(&self) -> ServiceName {
        let name = format!("{}.{}", self.harness.prefix(), self.case);
        ServiceName::new(name).expect("a prefix that makes names")
    }

    /// A domain that no other case knows.
    pub(super) fn domain(&self, name: &str) -> Domain {
        Domain::new(format!("{}.{name}", self.harness.prefix())).expect("a prefix that makes names")
    }

    /// A node of the case's service.
    pub(super) fn node(&self, id: &str) -> NodeBuilder {
        Node::builder(self.service(), id, "127.0.0.1:4000")
    }

    pub(super) async fn register(&self, registry: &dyn Registry, node: &Arc<Node>) -> Box<dyn Lease> {
        let options = &self.options;
        self.ok(&format!("register {}", node.key()), registry.register(node, options).await)
    }

    /// Keeps an entry alive until the case ends; it must not be lost.
    pub(super) fn keep(&self, key: NodeKey, mut lease: Box<dyn Lease>) {
        let lost = self.lost.clone();
        self.tasks.spawn("keep", async move {
            let error = lease.hold().await;
            lost.lock().expect("nothing panics under this lock").push((key, error));
        });
    }

    pub(super) async fn register_and_keep(&self, registry: &dyn Registry, node: &Arc<Node>) {
        let lease = self.register(registry, node).await;
        self.keep(node.key(), lease);
    }

    /// Does so in the background.
    pub(super) fn register_and_keep_soon(&self, registry: &Arc<dyn Registry>, node: &Arc<Node>) {
        let (registry, node, lost) = (registry.clone(), node.clone(), self.lost.clone());
        let options = self.options.clone();
        self.tasks.spawn("keep", async move {
            let error = match registry.register(&node, &options).await {
                Ok(mut lease) => lease.hold().await,
                Err(error) => error,
            };
            lost.lock().expect("nothing panics under this lock").push((node.key(), error));
        });
    }

    /// Runs a part of the case beside the rest of it.
    pub(super) fn spawn(&self, part: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn("part", part);
    }

    pub(super) async fn follow(&self, registry: &dyn Registry, options: &WatchOptions) -> Replica {
        let watch = self.ok("watch", registry.watch(options).await);
        Replica::new(watch, self.case, self.harness.settle())
    }

    pub(super) async fn follow_service(&self, registry: &dyn Registry) -> Replica {
        self.follow(registry, &WatchOptions::default().of(self.service())).await
    }

    /// Waits until a watch shows exactly `expected`, and then looks whether `get` and `list` of the same handle agree.
    pub(super) async fn shows(&self, registry: &dyn Registry, replica: &mut Replica, expected: &[Arc<Node>]) {
        let wanted: BTreeMap<_, _> = expected.iter().map(|node| (node.key(), node.clone())).collect();
        let keys: Vec<_> = wanted.keys().map(ToString::to_string).take(16).collect();
        replica
            .until(&format!("there are exactly {} nodes {keys:?}", wanted.len()), |nodes| *nodes == wanted)
            .await;
        let got = self.get(registry, &GetOptions::default()).await;
        self.same("get", &got, replica, &wanted);
        let mut listed = self.ok("list", registry.list(&ListOptions::default()).await);
        listed.nodes.retain(|node| *node.service() == self.service());
        self.same("list", &listed, replica, &wanted);
    }

    pub(super) async fn get(&self, registry: &dyn Registry, options: &GetOptions) -> Listing {
        self.ok("get", registry.get(&self.service(), options).await)
    }

    fn same(&self, what: &str, listing: &Listing, replica: &Replica, wanted: &BTreeMap<NodeKey, Arc<Node>>) {
        let case = self.case;
        let nodes: BTreeMap<_, _> = listing.nodes.iter().map(|node| (node.key(), node.clone())).collect();
        assert_eq!(nodes.len(), listing.nodes.len(), "{case}: {what} has a key twice");
        assert_eq!(&nodes, wanted, "{case}: {what} differs from what the watch showed before");
        assert!(
            listing.revision >= replica.revision(),
            "{case}: {what} is at revision {}, older than the watch's {}",
            listing.revision,
            replica.revision()
        );
    }

    #[track_caller]
    pub(super) fn ok<T>(&self, what: &str, result: Result<T, Error>) -> T {
        result.unwrap_or_else(|error| panic!("{}: {what} failed: {}", self.case, error.chain()))
    }

    /// Waits for what must come within the time to live and the time it takes to be seen.
    pub(super) async fn soon<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        let limit = self.lifetime() + self.harness.settle();
        match tokio::time::timeout(limit, work).await {
            Ok(output) => output,
            Err(_) => panic!("{}: {what} took longer than {limit:?}", self.case),
        }
    }

    pub(super) fn lifetime(&self) -> Duration {
        self.options.ttl
    }

    /// Ends the case: what it kept is let go of, and must have been there to the end.
    pub(super) async fn end(self) {
        self.tasks.close().await;
        let lost = std::mem::take(&mut *self.lost.lock().expect("nothing panics under this lock"));
        assert!(lost.is_empty(), "{}: entries were lost: {lost:?}", self.case);
    }
}
