//! A host with a program of ours on it: a runtime whose threads live there.

use std::{future::Future, sync::Arc};

use callsign_core::{
    Domain, Node, Registry, Result,
    registry::{Lease, ListOptions, RegisterOptions, Watch, WatchOptions},
};
use callsign_registry::mdns::{MdnsConfig, MdnsRegistry};
use tokio::runtime::Runtime;

use super::{host::Host, in_words, next};

/// A host and the runtime on it.
pub(crate) struct Station {
    pub(crate) host: Arc<Host>,
    runtime: Option<Runtime>,
}

/// A registry on a host. What it is asked, it does there.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) registry: MdnsRegistry,
    runtime: tokio::runtime::Handle,
}

/// What a watch shows, in words.
pub(crate) struct Report(Watch);

// === impl Station ===

impl Station {
    pub(crate) fn on(host: Host) -> Self {
        let host = Arc::new(host);
        let there = host.clone();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .on_thread_start(move || there.enter())
            .build()
            .unwrap();
        Self { host, runtime: Some(runtime) }
    }

    /// Two of them, with a cable in between.
    pub(crate) fn pair() -> [Self; 2] {
        Host::pair().map(Self::on)
    }

    pub(crate) fn open(&self, config: MdnsConfig) -> Handle {
        let runtime = self.runtime.as_ref().unwrap().handle().clone();
        Handle { registry: MdnsRegistry::open(config).unwrap(), runtime }
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        // Tests are asynchronous, and in there nobody waits for a runtime to end.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

// === impl Handle ===

impl Handle {
    /// Does something on the host.
    pub(crate) async fn there<T, F>(&self, work: impl FnOnce(MdnsRegistry) -> F) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.runtime.spawn(work(self.registry.clone())).await.unwrap()
    }

    pub(crate) async fn register(&self, node: &Arc<Node>) -> Result<Box<dyn Lease>> {
        let node = node.clone();
        self.there(|registry| async move { registry.register(&node, &RegisterOptions::default()).await })
            .await
    }

    /// The ids of the nodes of `greeter`.
    pub(crate) async fn get(&self) -> Result<Vec<String>> {
        let got =
            self.there(|registry| async move {
                registry.get(&"greeter".parse().unwrap(), &Default::default()).await
            })
            .await?;
        let mut ids: Vec<_> = got.nodes.iter().map(|node| node.id().to_string()).collect();
        ids.sort();
        Ok(ids)
    }

    /// The ids of all nodes.
    pub(crate) async fn list(&self) -> Result<Vec<String>> {
        let got = self.there(|registry| async move { registry.list(&ListOptions::default()).await }).await?;
        let mut ids: Vec<_> = got.nodes.iter().map(|node| node.id().to_string()).collect();
        ids.sort();
        Ok(ids)
    }

    /// A watch of everything in the default domain.
    pub(crate) async fn watch(&self) -> Report {
        let options = WatchOptions::in_domain(Domain::default());
        Report(self.there(|registry| async move { registry.watch(&options).await.unwrap() }).await)
    }
}

// === impl Report ===

impl Report {
    /// The next thing that it says.
    pub(crate) async fn heard(&mut self) -> String {
        loop {
            if let Some(words) = in_words(&next(&mut self.0).await) {
                return words;
            }
        }
    }

    /// Passes over everything until it says `words`.
    pub(crate) async fn until(&mut self, words: &str) {
        while self.heard().await != words {}
    }
}
