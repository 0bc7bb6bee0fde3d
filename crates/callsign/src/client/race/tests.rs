//! The arithmetic of hedging on virtual time: the race and its guards as calls have them, on servers whose latency is drawn.

use std::{cell::Cell, collections::VecDeque, pin::Pin, rc::Rc};

use callsign_core::retry::{Latencies, RetryBudget, Surge};
use tokio::{task::LocalSet, time::Sleep};

use super::*;

/// One method's calls, each of which takes as long as is drawn for it.
struct Method {
    latencies: Latencies,
    surge: Surge,
    budget: RetryBudget,
    attempts: Cell<u32>,
    /// How many times slower everything has become.
    slowness: Cell<f64>,
    rng: Cell<u64>,
}

struct Call<'a>(&'a Method);

/// What a run of calls took.
struct Run {
    seconds: Vec<f64>,
    /// Attempts for each call.
    load: f64,
}

impl Method {
    fn new(share: f64) -> Rc<Self> {
        Rc::new(Self {
            latencies: Latencies::new(0.95).unwrap(),
            surge: Surge::new(),
            budget: RetryBudget::new(share, 0).unwrap(),
            attempts: Cell::new(0),
            slowness: Cell::new(1.0),
            rng: Cell::new(7),
        })
    }

    /// Exponential, with a mean of one second.
    fn attempt(&self) -> Sleep {
        let mut rng = fastrand::Rng::with_seed(self.rng.get());
        let seconds = -(1.0 - rng.f64()).ln() * self.slowness.get();
        self.rng.set(rng.u64(..));
        self.attempts.set(self.attempts.get() + 1);
        sleep(Duration::from_secs_f64(seconds))
    }

    async fn call(&self) -> f64 {
        let since = Instant::now();
        self.surge.call(since);
        self.budget.deposit(since);
        match self.latencies.quantile(since) {
            Some(delay) => assert!(race(&mut Call(self), self.attempt(), delay, 2).await.is_some()),
            None => self.attempt().await,
        }
        self.latencies.record(since.elapsed(), Instant::now());
        since.elapsed().as_secs_f64()
    }

    /// A hundred calls a second.
    async fn calls(self: &Rc<Self>, total: usize) -> Run {
        let before = self.attempts.get();
        let mut calls = Vec::with_capacity(total);
        for _ in 0..total {
            let method = self.clone();
            calls.push(tokio::task::spawn_local(async move { method.call().await }));
            sleep(Duration::from_millis(10)).await;
        }
        let mut seconds = Vec::with_capacity(total);
        for call in calls {
            seconds.push(call.await.unwrap());
        }
        seconds.sort_by(f64::total_cmp);
        Run { seconds, load: f64::from(self.attempts.get() - before) / total as f64 }
    }
}

impl Run {
    fn quantile(&self, quantile: f64) -> f64 {
        self.seconds[(quantile * self.seconds.len() as f64) as usize]
    }
}

impl Course for Call<'_> {
    type Runner = Sleep;
    type Won = ();

    fn start(&mut self, _: Due) -> Option<Sleep> {
        let (Self(method), now) = (self, Instant::now());
        (!method.surge.slow(now) && method.budget.withdraw(now)).then(|| method.attempt())
    }

    fn arrive(&mut self, (): ()) -> Arrival<()> {
        Arrival::Won(())
    }
}

/// With exponential latency of mean 1 and a second attempt at p95, the quantile p beyond p95 is `-ln(1-q) + ½ ln((1-q)/(1-p))`, and
/// the load 5 % more.
#[tokio::test(start_paused = true)]
async fn hedged_latencies_are_what_arithmetic_says() {
    let run = async {
        let method = Method::new(0.1);
        method.calls(10_000).await;
        method.calls(100_000).await
    };
    let run = LocalSet::new().run_until(run).await;
    for (quantile, expected, alone) in [(0.99, 3.800, 4.605), (0.999, 4.952, 6.908), (0.9999, 6.103, 9.210)] {
        let found = run.quantile(quantile);
        println!("p{:<5} {found:.3} s, by arithmetic {expected} s, and {alone} s without", quantile * 100.0);
        assert!((found / expected - 1.0).abs() < 0.05, "p{}: {found}, not {expected}", quantile * 100.0);
    }
    println!("load   {:.4}", run.load);
    assert!((run.load - 1.05).abs() < 0.0025, "load {}", run.load);
}

/// What was p95 is nothing when everything is ten times slower: nearly all calls pass it, and nobody would gain.
#[tokio::test(start_paused = true)]
async fn when_everything_becomes_slow_the_load_stays() {
    let run = async {
        let method = Method::new(0.05);
        method.calls(10_000).await;
        method.slowness.set(10.0);
        method.calls(3_000).await
    };
    let run = LocalSet::new().run_until(run).await;
    println!("load   {:.4}", run.load);
    assert!(run.load <= 1.05, "load {}", run.load);
}

/// Attempts that end as they are told to, and when and why each of the further ones began.
struct Script {
    attempts: VecDeque<Attempt>,
    since: Instant,
    begun: Vec<(u64, Due)>,
}

/// After so many seconds, and how.
type Attempt = (u64, fn() -> Arrival<()>);

const GOOD: fn() -> Arrival<()> = || Arrival::Won(());
const BAD: fn() -> Arrival<()> = || Arrival::Failed;
const LAST: fn() -> Arrival<()> = || Arrival::Last;
/// Asks for a pause of ten seconds.
const PAUSED: fn() -> Arrival<()> = || Arrival::Paused(Duration::from_secs(10));

impl Script {
    /// A race with a delay of 3 s between all of these: whether it was won, after how many seconds, and what was begun.
    async fn run(attempts: impl Into<VecDeque<Attempt>>) -> (bool, u64, Vec<(u64, Due)>) {
        let mut script = Self { attempts: attempts.into(), since: Instant::now(), begun: Vec::new() };
        let (all, first) = (script.attempts.len() as u32, script.next());
        let won = race(&mut script, first, Duration::from_secs(3), all).await.is_some();
        (won, script.since.elapsed().as_secs(), script.begun)
    }

    fn next(&mut self) -> <Self as Course>::Runner {
        let (seconds, end) = self.attempts.pop_front().unwrap();
        Box::pin(async move {
            sleep(Duration::from_secs(seconds)).await;
            end()
        })
    }
}

impl Course for Script {
    type Runner = Pin<Box<dyn Future<Output = Arrival<()>>>>;
    type Won = ();

    fn start(&mut self, why: Due) -> Option<Self::Runner> {
        self.begun.push((self.since.elapsed().as_secs(), why));
        Some(self.next())
    }

    fn arrive(&mut self, end: Arrival<()>) -> Arrival<()> {
        end
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_does_not_wait_for_the_delay_and_attempts_are_counted() {
    assert_eq!(Script::run([(1, BAD), (5, GOOD)]).await, (true, 6, vec![(1, Due::Failed)]));
    assert_eq!(Script::run([(60, GOOD), (5, GOOD)]).await, (true, 8, vec![(3, Due::Slow)]));
    assert_eq!(Script::run([(1, BAD)]).await, (false, 1, vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_a_node_asks_for_takes_the_place_of_the_delay() {
    // Nobody is under way meanwhile.
    assert_eq!(Script::run([(1, PAUSED), (1, GOOD)]).await, (true, 12, vec![(11, Due::Failed)]));
    // Another one is, and the delay would have been over after 6 s.
    let begun = vec![(3, Due::Slow), (14, Due::Failed), (17, Due::Slow)];
    assert_eq!(Script::run([(60, GOOD), (1, PAUSED), (50, BAD), (1, GOOD)]).await, (true, 18, begun));
    // The failure of another does not cut it short.
    let begun = vec![(3, Due::Slow), (14, Due::Failed)];
    assert_eq!(Script::run([(6, BAD), (1, PAUSED), (1, GOOD)]).await, (true, 15, begun));
    // The attempts are used up: it would be waited for in vain.
    assert_eq!(Script::run([(1, PAUSED)]).await, (false, 1, vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_wants_no_other_attempt_is_obeyed_and_those_under_way_go_on() {
    assert_eq!(Script::run([(60, GOOD), (1, LAST), (1, GOOD)]).await, (true, 60, vec![(3, Due::Slow)]));
    assert_eq!(Script::run([(6, BAD), (1, LAST), (1, GOOD)]).await, (false, 6, vec![(3, Due::Slow)]));
    assert_eq!(Script::run([(1, LAST), (1, GOOD)]).await, (false, 1, vec![]));
}
