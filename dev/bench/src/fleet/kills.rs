//! A random node is killed every two seconds. Exactly the calls that were in flight on it and not safe to repeat may fail.
//!
//! Calls that may be repeated and calls that may not have a channel each, so the count of the second channel's calls in flight on
//! the node, taken when it has just died, is how many may fail: no task runs between the kill and the count, since all of this is
//! one thread. In one case the node has been stopped a moment before. Then no answer can be on its way, and as many calls must fail
//! as were in flight; in the other those few whose answer had left the node succeed. Calls that are sent between the death and its
//! being seen are in flight there as well, and counted apart.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use callsign::{CallOptions, Channel};
use nix::sys::signal::Signal;
use tokio::{
    runtime::Builder,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status};

use super::{
    columns,
    load::pace,
    node::{self, Node, numbered},
    span, view,
};
use crate::{
    calls::pb::bench_client::BenchClient,
    frame::{Bound, Comparison, Report, Settings},
};

const NODES: usize = 3;
const PER_SECOND: u32 = 500;
/// Long enough for some calls to be in flight on a node whenever it is killed.
const LATENCY: Duration = Duration::from_millis(20);
const PERIOD: Duration = Duration::from_secs(2);
/// In which what a stopped node had sent reaches its callers.
const STOPPED: Duration = Duration::from_millis(50);

/// A call that failed.
#[derive(Debug)]
struct Failed {
    begun: Instant,
    status: Status,
    idempotent: bool,
}

/// A kill, and what was in flight on the node.
#[derive(Debug)]
struct Kill {
    at: Instant,
    /// When the channel had seen it, and began no more calls there.
    noticed: Instant,
    stopped: bool,
    address: String,
    /// Calls in flight there that may not be repeated.
    once: u32,
    /// Calls in flight there that may.
    again: u32,
}

/// The two channels.
#[derive(Debug, Clone)]
struct Channels {
    once: Channel,
    again: Channel,
}

/// SIGKILL of a random node every two seconds, at 500 calls a second of which every second one may be repeated.
pub(crate) fn kills(settings: &Settings) -> Report {
    let metrics = columns([
        ("kills", 0),
        ("calls", 0),
        ("in flight", 0),
        ("failed", 0),
        ("sent later", 0),
        ("unexplained", 0),
        ("repeatable", 0),
        ("its failed", 0),
        ("ran twice", 0),
    ]);
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut comparison = Comparison::new("A random node of three is killed every two seconds", metrics);
    for (name, stopped) in [("killed outright", false), ("stopped, then killed", true)] {
        let (runtime, span) = (&runtime, span(settings) * 6);
        comparison.case(name, move || runtime.block_on(run(stopped, span)));
    }
    comparison
        .run_cold(1)
        .hold("unexplained", Bound::Zero, |_| true)
        .hold("its failed", Bound::Zero, |_| true)
        .hold("ran twice", Bound::Zero, |_| true)
}

async fn run(stopped: bool, span: Duration) -> Vec<f64> {
    let (folder, record) =
        (tempfile::tempdir().expect("a folder"), tempfile::NamedTempFile::new().expect("a file"));
    let registry = format!("local://{}", folder.path().display());
    let options = node::Options {
        registry: Some(registry.clone()),
        latency: LATENCY,
        record: Some(record.path().to_owned()),
        ..Default::default()
    };
    let mut nodes = node::start(NODES, &options).await;
    let channels = Channels { once: view::channel(&registry), again: view::channel(&registry) };
    for node in &nodes {
        channels.know(&node.address).await;
    }

    let (failed, made) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU64::new(0)));
    let end = CancellationToken::new();
    let load = pace(PER_SECOND, end.clone().cancelled_owned(), |number, _| {
        made.fetch_add(1, Ordering::Relaxed);
        let (failed, idempotent) = (failed.clone(), may_be_repeated(number));
        let channel = if idempotent { &channels.again } else { &channels.once };
        let mut client = BenchClient::new(channel.clone());
        async move {
            let begun = Instant::now();
            let mut request = Request::new(numbered(number));
            request.extensions_mut().insert(CallOptions::new().idempotent(idempotent));
            if let Err(status) = client.echo(request).await {
                failed.lock().unwrap_or_else(PoisonError::into_inner).push(Failed {
                    begun,
                    status,
                    idempotent,
                });
            }
        }
    });
    let killing = async {
        let mut rng = fastrand::Rng::with_seed(7);
        let (until, mut kills) = (Instant::now() + span, Vec::new());
        while Instant::now() < until {
            let next = Instant::now() + PERIOD;
            let victim = rng.usize(..NODES);
            kills.push(kill(&mut nodes[victim], &channels, stopped).await);
            nodes[victim] = Node::start(&options).await;
            channels.know(&nodes[victim].address).await;
            sleep_until(next).await;
        }
        end.cancel();
        kills
    };
    let ((), kills) = tokio::join!(load, killing);
    let failed = std::mem::take(&mut *failed.lock().unwrap_or_else(PoisonError::into_inner));
    let (_, twice) = node::runs(record.path(), |number| !may_be_repeated(number));
    judge(&kills, &failed, made.load(Ordering::Relaxed), twice)
}

/// Every second call.
fn may_be_repeated(number: u64) -> bool {
    number % 2 == 1
}

/// Ends a node with all that it is doing, and says what that was.
async fn kill(node: &mut Node, channels: &Channels, stopped: bool) -> Kill {
    if stopped {
        node.child.signal(Signal::SIGSTOP);
        sleep(STOPPED).await;
    }
    node.child.kill();
    let once = view::inflight(&channels.once, &node.address);
    let again = view::inflight(&channels.again, &node.address);
    let at = Instant::now();
    view::until_gone(&channels.once, &node.address).await;
    node.child.ended().await;
    Kill { at, noticed: Instant::now(), stopped, address: node.address.clone(), once, again }
}

/// Holds every failure against the kills.
fn judge(kills: &[Kill], failed: &[Failed], calls: u64, twice: usize) -> Vec<f64> {
    let (again, once): (Vec<&Failed>, Vec<&Failed>) = failed.iter().partition(|failed| failed.idempotent);
    let (mut unexplained, mut later) = (once.len() as f64, 0.0);
    for kill in kills {
        let there = once.iter().filter(|failed| kill.explains(failed));
        let (before, after): (Vec<&&Failed>, Vec<&&Failed>) =
            there.partition(|failed| failed.begun <= kill.at);
        let (explained, expected) = (before.len() as f64, f64::from(kill.once));
        later += after.len() as f64;
        unexplained -= explained.min(expected) + after.len() as f64;
        if kill.stopped {
            // All of them: one that did not fail was sent again, which it may not be.
            unexplained += (expected - explained).max(0.0);
        }
    }
    let in_flight = |of: fn(&Kill) -> u32| f64::from(kills.iter().map(of).sum::<u32>());
    vec![
        kills.len() as f64,
        calls as f64,
        in_flight(|kill| kill.once),
        once.len() as f64,
        later,
        unexplained,
        in_flight(|kill| kill.again),
        again.len() as f64,
        twice as f64,
    ]
}

// === impl Kill ===

impl Kill {
    /// Whether this kill can be why that call failed: it was begun before the death was seen, and says that it was there.
    fn explains(&self, failed: &Failed) -> bool {
        failed.begun <= self.noticed
            && failed.status.code() == Code::Unavailable
            && failed.status.message().contains(&self.address)
    }
}

// === impl Channels ===

impl Channels {
    /// Waits until both can call this node.
    async fn know(&self, address: &str) {
        view::until_ready(&self.once, address).await;
        view::until_ready(&self.again, address).await;
    }
}
