//! What a directory costs: time to the first answer over a large service (and how much of it is the making of the nodes),
//! memory per node (alone, and with what the directory holds beside it), time of one look (subscribed, and by name).
//!
//! ```text
//! cargo run --release -p callsign-core --example directory_cost
//! ```

use std::{fmt, fs, hint::black_box, pin::Pin, sync::Arc, task};

use async_trait::async_trait;
use callsign_core::{
    Error, ErrorKind, Node, NodeKey, Registry, Result, ServiceName, WatchEvent,
    directory::{Directory, DirectoryConfig},
    registry::{GetOptions, Lease, ListOptions, Listing, RegisterOptions, Revision, Watch, WatchOptions},
};
use futures_core::Stream;
use tokio::time::Instant;

/// A registry that makes its nodes anew for each reader, as one does that reads them from outside.
#[derive(Debug, Clone, Copy)]
struct Made(usize);

/// The snapshot, and then silence.
struct Snapshot {
    next: usize,
    count: usize,
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "the figures are what it is for")]
async fn main() -> Result<()> {
    println!("   nodes    made in  first list  node bytes  held bytes  one look");
    for count in [1_000, 10_000, 100_000] {
        let name = ServiceName::new("greeter")?;
        let (bare, start) = (resident(), Instant::now());
        let nodes: Vec<_> = (0..count).map(node).collect();
        let (made, per_node) = (start.elapsed(), (resident() - bare) / count);
        black_box(&nodes);

        let before = resident();
        let start = Instant::now();
        let directory = Directory::new(Arc::new(Made(count)), DirectoryConfig::default());
        let greeter = directory.subscribe(&name);
        let answer = directory.resolve(&name).await;
        let first = start.elapsed();
        assert_eq!(answer.view().map(|view| view.nodes().len()), Some(count));
        drop(answer);
        let held = (resident() - before) / count;

        let looks = 10_000_000;
        let start = Instant::now();
        for _ in 0..looks {
            black_box(greeter.answer());
        }
        let subscribed = start.elapsed() / looks;
        let start = Instant::now();
        for _ in 0..looks {
            black_box(directory.answer(&name));
        }
        let by_name = start.elapsed() / looks;
        println!(
            "{count:>8} {made:>10.1?} {first:>11.1?} {per_node:>11} {held:>11}  {subscribed:?} / {by_name:?}"
        );
        directory.close().await;
        drop(nodes);
    }
    Ok(())
}

fn node(n: usize) -> Arc<Node> {
    let address = format!("10.{}.{}.{}:4000", n >> 16 & 255, n >> 8 & 255, n & 255);
    let node = Node::builder("greeter", format!("greeter-7f3c1c1e-0d5b-4a57-9a5e-{n:012x}"), address)
        .version("1.2.0")
        .metadata("protocol", "grpc")
        .metadata("zone", "eu-1a")
        .build();
    Arc::new(node.expect("a good node"))
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    pages * 4096
}

fn unsupported<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Unsupported, "use registry", "it is for reading only"))
}

#[async_trait]
impl Registry for Made {
    async fn register(&self, _: &Arc<Node>, _: &RegisterOptions) -> Result<Box<dyn Lease>> {
        unsupported()
    }

    async fn deregister(&self, _: &NodeKey) -> Result<()> {
        unsupported()
    }

    async fn get(&self, _: &ServiceName, _: &GetOptions) -> Result<Listing> {
        // The watch answers; a second set of nodes would only blur what is measured.
        std::future::pending().await
    }

    async fn list(&self, _: &ListOptions) -> Result<Listing> {
        unsupported()
    }

    async fn watch(&self, _: &WatchOptions) -> Result<Watch> {
        Ok(Watch::new(Snapshot { next: 0, count: self.0 }))
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("made")
    }
}

impl Stream for Snapshot {
    type Item = WatchEvent;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut task::Context<'_>) -> task::Poll<Option<WatchEvent>> {
        let (at, count) = (self.next, self.count);
        self.next += 1;
        match at {
            0 => task::Poll::Ready(Some(WatchEvent::SnapshotStart)),
            at if at <= count => task::Poll::Ready(Some(WatchEvent::Node(node(at - 1)))),
            at if at == count + 1 => task::Poll::Ready(Some(WatchEvent::SnapshotDone(Revision(1)))),
            _ => task::Poll::Pending,
        }
    }
}
