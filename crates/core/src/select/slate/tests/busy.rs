//! Busy nodes, simulated: callers that call again as soon as they are answered, and nodes with a queue.
//!
//! The simulation goes from event to event, with a time and chances of its own, so that a seed gives the same figures always.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    ops::Range,
};

use super::*;

/// Mean time of work in a call, in seconds.
const WORK: f64 = 100e-6;

/// Calls between shares.
const WINDOW: usize = 5000;

/// What a fleet is like.
struct Fleet<'a> {
    nodes: usize,
    /// Time between the stalls of a node, and how long they last, on average, in seconds.
    stalls: (f64, f64),
    /// When the first node does nothing, besides.
    pause: Range<f64>,
    /// How many times longer than usual a node works on a call that begins at a time.
    slowness: &'a dyn Fn(usize, f64) -> f64,
    fails: &'a dyn Fn(usize, f64) -> bool,
}

/// One node: it works on its calls in turn, and sometimes on none.
struct Server {
    free_at: f64,
    stalls_at: f64,
    pause: Range<f64>,
}

struct Measured {
    /// In seconds, sorted.
    latencies: Vec<f64>,
    /// For each window, when it began and how many calls each node got.
    shares: Vec<(f64, Vec<usize>)>,
    failed: usize,
}

impl Default for Fleet<'_> {
    fn default() -> Self {
        Self { nodes: 3, stalls: (0.5, 0.005), pause: 0.0..0.0, slowness: &|_, _| 1.0, fails: &|_, _| false }
    }
}

impl Fleet<'_> {
    fn run(&self, strategy: &Strategy, callers: usize, calls: usize) -> Measured {
        let (slate, mut rng, mut world) = (slate(strategy, members(self.nodes)), rng(), rng());
        let start = Instant::now();
        let mut servers: Vec<Server> = (0..self.nodes)
            .map(|node| Server {
                free_at: 0.0,
                stalls_at: exponential(self.stalls.0, &mut world),
                pause: if node == 0 { self.pause.clone() } else { 0.0..0.0 },
            })
            .collect();
        let mut measured = Measured { latencies: Vec::new(), shares: Vec::new(), failed: 0 };
        // When each call ends, in nanoseconds, and which; the calls of callers that have not begun end at once.
        let mut ends: BinaryHeap<_> = (0..callers).map(|caller| Reverse((caller as u64, caller))).collect();
        let mut running: Vec<Option<(Ticket, f64, Outcome)>> = (0..callers).map(|_| None).collect();
        for call in 0..calls {
            let Reverse((end, caller)) = ends.pop().unwrap();
            let now = end as f64 / 1e9;
            if let Some((ticket, begun, outcome)) = running[caller].take() {
                let elapsed = Duration::from_secs_f64(now - begun);
                ticket.mark(outcome, elapsed, start + Duration::from_nanos(end));
                measured.latencies.push(now - begun);
            }
            let picked = slate.pick(&PickRequest::default(), &mut rng).unwrap();
            if call % WINDOW == 0 {
                measured.shares.push((now, vec![0; self.nodes]));
            }
            measured.shares.last_mut().unwrap().1[picked.index] += 1;
            let fails = (self.fails)(picked.index, now);
            measured.failed += usize::from(fails);
            let (ends_at, outcome) = match fails {
                true => (now + WORK, Outcome::Failure),
                false => {
                    let slowness = (self.slowness)(picked.index, now);
                    (servers[picked.index].work(now, slowness, self.stalls, &mut world), Outcome::Success)
                }
            };
            running[caller] = Some((picked.ticket, now, outcome));
            ends.push(Reverse(((ends_at * 1e9) as u64, caller)));
        }
        measured.latencies.sort_by(f64::total_cmp);
        measured
    }
}

impl Server {
    /// When a call that comes now will have been answered.
    fn work(&mut self, now: f64, slowness: f64, stalls: (f64, f64), world: &mut fastrand::Rng) -> f64 {
        let mut begins = self.free_at.max(now);
        while begins > self.stalls_at {
            let stalls_until = self.stalls_at + exponential(stalls.1, world);
            begins = begins.max(stalls_until);
            self.stalls_at = stalls_until + exponential(stalls.0, world);
        }
        if self.pause.contains(&begins) {
            begins = self.pause.end;
        }
        self.free_at = begins + exponential(WORK * slowness, world);
        // The way there and back.
        self.free_at + 100e-6
    }
}

impl Measured {
    fn p99(&self) -> f64 {
        self.latencies[self.latencies.len() * 99 / 100]
    }

    /// The largest share of a node over the smallest, in the worst of the windows but for the first two.
    fn unevenness(&self) -> f64 {
        let ratio = |shares: &[usize]| {
            *shares.iter().max().unwrap() as f64 / *shares.iter().min().unwrap().max(&1) as f64
        };
        self.shares.iter().skip(2).map(|(_, shares)| ratio(shares)).fold(1.0, f64::max)
    }

    /// The share of a node in the calls that began between two times, about.
    fn share(&self, node: usize, from: f64, to: f64) -> f64 {
        let windows = || self.shares.iter().filter(|(at, _)| (from..to).contains(at));
        let (its, all): (usize, usize) = windows()
            .fold((0, 0), |(its, all), (_, shares)| (its + shares[node], all + shares.iter().sum::<usize>()));
        its as f64 / all as f64
    }
}

fn exponential(mean: f64, rng: &mut fastrand::Rng) -> f64 {
    -mean * (1.0 - rng.f64()).ln()
}

fn two_of_least_request() -> Strategy {
    Strategy::LeastRequest { choices: 2 }
}

#[test]
fn equal_nodes_that_stall_now_and_then_have_equal_shares() {
    for (nodes, callers) in [(2, 40), (3, 64)] {
        let fleet = Fleet { nodes, ..Fleet::default() };
        let ours = fleet.run(&Strategy::default(), callers, 100_000);
        let fewest_calls = fleet.run(&two_of_least_request(), callers, 100_000);
        assert!(ours.unevenness() < 1.2, "{nodes} nodes: {:?}", ours.shares);
        assert!(ours.p99() < 1.1 * fewest_calls.p99(), "{nodes} nodes: {} s", ours.p99());
    }
}

#[test]
fn one_long_pause_does_not_send_a_busy_node_into_exile() {
    let fleet = Fleet { stalls: (f64::INFINITY, 0.0), pause: 1.0..1.1, ..Fleet::default() };
    let measured = fleet.run(&Strategy::default(), 64, 100_000);
    let (meanwhile, after) = (measured.share(0, 0.9, 1.1), measured.share(0, 1.6, 3.0));
    assert!(meanwhile < 0.25 && after > 0.3, "{meanwhile} {after}: {:?}", measured.shares);
}

#[test]
fn a_busy_node_that_becomes_slow_has_few_calls_soon_and_gets_them_back() {
    let slowness = |node, at| if node == 0 && (1.0..2.0).contains(&at) { 10.0 } else { 1.0 };
    let fleet = Fleet { slowness: &slowness, ..Fleet::default() };
    let measured = fleet.run(&Strategy::default(), 64, 100_000);
    let share = |from, to| measured.share(0, from, to);
    // A tenth of the others' speed makes a twenty-first of the calls.
    assert!(
        share(0.2, 0.9) > 0.3 && share(1.1, 1.9) < 0.07 && share(2.5, 4.0) > 0.3,
        "{:?}",
        measured.shares
    );
}

#[test]
fn when_all_but_one_of_a_small_fleet_are_slow_or_fail_that_one_has_the_calls() {
    let slowness = |node, at| if node != 1 && at > 1.0 { 10.0 } else { 1.0 };
    let fails = |node, at| node != 1 && at > 1.0;
    for callers in [2, 64] {
        let run = |fleet: Fleet<'_>| fleet.run(&Strategy::default(), callers, 100_000);
        let slow = run(Fleet { slowness: &slowness, ..Fleet::default() });
        assert!(slow.share(1, 3.0, f64::INFINITY) > 0.75, "{callers} callers: {:?}", slow.shares);
        let failing = run(Fleet { fails: &fails, ..Fleet::default() });
        assert!(failing.failed < 10, "{callers} callers: {} failed", failing.failed);
    }
}

/// Three nodes on one processor, each of which runs for as long as it has work, or until its 10 ms are over. The p99, in calls
/// that were answered meanwhile.
fn wait_for_a_shared_processor(strategy: &Strategy) -> usize {
    const CALLERS: usize = 60;
    const SLICE: usize = 100;
    let (slate, mut rng, start) = (slate(strategy, members(3)), rng(), Instant::now());
    let mut queues: [VecDeque<(Ticket, usize)>; 3] = Default::default();
    let mut call = |queues: &mut [VecDeque<(Ticket, usize)>; 3], answered| {
        let picked = slate.pick(&PickRequest::default(), &mut rng).unwrap();
        queues[picked.index].push_back((picked.ticket, answered));
    };
    (0..CALLERS).for_each(|_| call(&mut queues, 0));
    let (mut running, mut ran, mut waits) = (0, 0, Vec::new());
    for answered in 0..60_000 {
        while queues[running].is_empty() || ran == SLICE {
            (running, ran) = ((running + 1) % 3, 0);
        }
        ran += 1;
        let (ticket, begun) = queues[running].pop_front().unwrap();
        let second = |calls: usize| Duration::from_secs_f64(calls as f64 * WORK);
        ticket.mark(Outcome::Success, second(answered + 1 - begun), start + second(answered + 1));
        waits.push(answered - begun);
        drop(ticket);
        call(&mut queues, answered + 1);
    }
    waits.sort_unstable();
    waits[waits.len() * 99 / 100]
}

#[test]
fn nodes_that_share_a_processor_do_not_wait_for_one_that_gets_all_its_calls_back() {
    let all = wait_for_a_shared_processor(&Strategy::LeastRequest { choices: 3 });
    let ours = wait_for_a_shared_processor(&Strategy::default());
    assert!(all > 200, "comparing all makes the others wait for whole turns: {all}");
    assert!(ours < 170, "{ours}");
}

#[test]
fn a_far_better_node_is_taken_also_with_hundreds_of_calls_in_flight() {
    let (slate, mut rng, now) = (slate(&Strategy::default(), members(3)), rng(), Instant::now());
    let good = 1;
    for (index, member) in slate.members().iter().enumerate() {
        let (outcome, seconds) =
            if index == good { (Outcome::Success, 0.001) } else { (Outcome::DeadlineExceeded, 10.0) };
        member.load.ticket().mark(outcome, Duration::from_secs_f64(seconds), now);
    }
    let _held: Vec<_> = (0..300).map(|_| slate.members()[good].load.ticket()).collect();
    for _ in 0..100 {
        assert_eq!(slate.pick(&PickRequest::default(), &mut rng).unwrap().index, good);
    }
}
