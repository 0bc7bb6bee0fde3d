//! Choosing a node: a pick, and the end of the call it was made for.

use std::{
    future::{Future, Ready, ready},
    sync::{Arc, Barrier, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use callsign_core::{
    Node,
    select::{
        AdaptiveConfig, Choices, Filter, Filters, Load, Member, Outcome, PickRequest, Slate, Strategy, Ticket,
    },
};
use tokio::time::Instant;
use tower::{
    Service,
    balance::p2c::Balance,
    discover::ServiceList,
    load::{CompleteOnResponse, PendingRequests},
};

use crate::frame::{Comparison, Metric, Report, Settings, nanoseconds};

/// Nodes, threads, and the column's name.
const SHAPES: [(usize, usize, &str); 4] =
    [(100, 1, "100 nodes"), (100, 2, "100, 2 thr."), (1000, 1, "1000 nodes"), (1000, 2, "1000, 2 thr.")];

/// What is measured of a strategy.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Work {
    Pick,
    /// With a filter that three quarters of the nodes pass.
    Filtered,
    /// With the outcome of the call told at its end.
    Marked,
}

/// Always ready, answers at once: what is measured is the balancer.
#[derive(Debug)]
struct Nothing;

/// Nanoseconds per pick, the end of the call included.
pub(crate) fn run(settings: &Settings) -> Report {
    let metrics = SHAPES.map(|(_, _, name)| Metric { name, digits: 1 });
    let mut comparison = Comparison::new("ns of a thread's time per pick and end of the call", metrics);
    let adaptive = |choices| Strategy::Adaptive(AdaptiveConfig::default().choices(Choices::Fixed(choices)));
    let least = Strategy::LeastRequest { choices: 2 };
    let named = |name: &str| name.parse::<Strategy>().expect("the strategy is known");
    let bounded = named("maglev").with_max_load(1.25).expect("the bound is a good one");
    for (name, strategy, weights, work) in [
        ("random", Strategy::Random, false, Work::Pick),
        ("random, weighted", Strategy::Random, true, Work::Pick),
        ("round-robin", Strategy::RoundRobin, false, Work::Pick),
        ("weighted-round-robin", Strategy::WeightedRoundRobin, true, Work::Pick),
        ("least-request (p2c)", least.clone(), false, Work::Pick),
        ("least-request, weighted", least.clone(), true, Work::Pick),
        ("least-request, filtered", least, false, Work::Filtered),
        ("adaptive, d = 2", adaptive(2), false, Work::Pick),
        ("adaptive, d = 8", adaptive(8), false, Work::Pick),
        ("adaptive, d = 8, marked", adaptive(8), false, Work::Marked),
        ("ring-hash", named("ring-hash"), false, Work::Pick),
        ("maglev", named("maglev"), false, Work::Pick),
        ("maglev, max_load = 1.25", bounded, false, Work::Pick),
        ("rendezvous", named("rendezvous"), false, Work::Pick),
        ("rendezvous, weighted", named("rendezvous"), true, Work::Pick),
    ] {
        let slates = SHAPES.map(|(nodes, threads, _)| (slate(&strategy, nodes, weights), threads));
        comparison.case(name, move || {
            let of = |(slate, threads): &((Slate<()>, _), _)| picks(&slate.0, *threads, work, settings.span);
            slates.iter().map(of).collect()
        });
    }
    let balances = SHAPES.map(|(nodes, threads, _)| (balance(nodes), threads));
    comparison.case("tower p2c", move || {
        balances.iter().map(|(balance, threads)| tower_calls(balance, *threads, settings.span)).collect()
    });
    comparison.run(settings)
}

/// A slate in use: every node has answered before and has up to three calls in flight, which come back beside it.
fn slate(strategy: &Strategy, nodes: usize, weights: bool) -> (Slate<()>, Vec<Ticket>) {
    let mut tickets = Vec::new();
    let mut rng = fastrand::Rng::with_seed(1);
    let now = Instant::now();
    let members = (0..nodes).map(|n| {
        let mut node = Node::builder("greeter", format!("greeter-{n}"), "127.0.0.1:4000");
        node = node.group(if n % 4 == 0 { "green" } else { "blue" });
        if weights {
            node = node.weight(1 + n as u16 % 5);
        }
        let load = strategy.new_load();
        load.set_ready(true);
        tickets.extend(teach(&load, now, &mut rng));
        Member { node: Arc::new(node.build().expect("the node is well formed")), load, handle: () }
    });
    let members = members.collect();
    (Slate::new(strategy, &Filters::default(), members, None, &mut fastrand::Rng::with_seed(2)), tickets)
}

/// Lets a node answer twice, so that the adaptive strategy has something to compare, and leaves calls on it.
fn teach(load: &Load, now: Instant, rng: &mut fastrand::Rng) -> Vec<Ticket> {
    for _ in 0..2 {
        load.ticket().mark(Outcome::Success, Duration::from_micros(rng.u64(5_000..20_000)), now);
    }
    (0..rng.u32(0..4)).map(|_| load.ticket()).collect()
}

fn picks(slate: &Slate<()>, threads: usize, work: Work, span: Duration) -> f64 {
    let blue = Filters::from(Filter::group("blue"));
    let filters = (work == Work::Filtered).then_some(&blue);
    let request = PickRequest { filters, ..PickRequest::default() };
    let now = Instant::now();
    on_threads(threads, |thread| {
        let mut rng = fastrand::Rng::with_seed(thread as u64);
        nanoseconds(span, || {
            let picked = slate.pick(&request, &mut rng).expect("a node is ready");
            if work == Work::Marked {
                picked.ticket.mark(Outcome::Success, Duration::from_millis(9), now);
            }
            picked.index
        })
    })
}

type Tower = Mutex<Balance<ServiceList<Vec<PendingRequests<Nothing>>>, ()>>;

fn balance(nodes: usize) -> Tower {
    let one = |_| PendingRequests::new(Nothing, CompleteOnResponse::default());
    Mutex::new(Balance::new(ServiceList::new((0..nodes).map(one).collect::<Vec<_>>())))
}

/// What a call costs in tower's balancer. It needs exclusive access, which a mutex gives it here and a queue with a task of its
/// own in tonic; the time that threads wait for each other is not counted.
fn tower_calls(balance: &Tower, threads: usize, span: Duration) -> f64 {
    on_threads(threads, |_| {
        let mut context = Context::from_waker(Waker::noop());
        nanoseconds(span, || {
            let mut balance = balance.lock().unwrap_or_else(PoisonError::into_inner);
            // A node that was just called is not ready before the balancer has looked at it again.
            while balance.poll_ready(&mut context).is_pending() {}
            let mut call = std::pin::pin!(balance.call(()));
            assert!(call.as_mut().poll(&mut context).is_ready());
        })
    })
}

/// The mean over `threads` threads that begin together.
fn on_threads(threads: usize, work: impl Fn(usize) -> f64 + Sync) -> f64 {
    if threads == 1 {
        return work(0);
    }
    let (barrier, work) = (Barrier::new(threads), &work);
    let sum: f64 = thread::scope(|scope| {
        let start = |thread| {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                work(thread)
            })
        };
        let running: Vec<_> = (0..threads).map(start).collect();
        running.into_iter().map(|thread| thread.join().expect("the thread ends well")).sum()
    });
    sum / threads as f64
}

// === impl Nothing ===

impl Service<()> for Nothing {
    type Response = ();
    type Error = std::convert::Infallible;
    type Future = Ready<Result<(), Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Ok(()))
    }
}
