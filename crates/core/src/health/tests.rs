use super::*;
use crate::{
    Node,
    select::{Filters, Member, Outcome, PickRequest, Slate, Strategy},
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Nodes under judgement, and a clock.
struct Fleet {
    health: Health,
    nodes: Vec<(NodeKey, Load)>,
    now: Instant,
}

impl Fleet {
    fn new(count: usize) -> Self {
        Self::with(HealthConfig::default(), count)
    }

    fn with(config: HealthConfig, count: usize) -> Self {
        let mut health = Health::new(config, 7);
        let node = |n| Node::builder("greeter", format!("n{n:03}"), "127.0.0.1:1").build().unwrap().key();
        let nodes: Vec<_> = (0..count).map(|n| (node(n), Load::new())).collect();
        for (key, load) in &nodes {
            load.set_ready(true);
            health.enter(key.clone(), load.clone());
        }
        let now = Instant::now();
        assert!(health.review(now).is_empty());
        Self { health, nodes, now }
    }

    /// Ends `count` calls to a node with `outcome` after `elapsed`. Whether any wants a look.
    fn calls(&self, node: usize, count: usize, outcome: Outcome, elapsed: Duration) -> bool {
        let ticket = self.nodes[node].1.ticket();
        (0..count).for_each(|_| ticket.mark(outcome, elapsed, self.now));
        ticket.wants_review()
    }

    /// The same, as a share of good ones evenly mixed with bad ones.
    fn mixed(&self, node: usize, count: usize, good: f64) {
        for n in 0..count {
            let is_good = ((n + 1) as f64 * good).floor() > (n as f64 * good).floor();
            self.calls(node, 1, if is_good { Outcome::Success } else { Outcome::Failure }, MS);
        }
    }

    fn after(&mut self, time: Duration) -> Vec<HealthEvent> {
        self.now += time;
        self.health.review(self.now)
    }

    fn verdict(&self, node: usize) -> Verdict {
        self.health.verdict(&self.nodes[node].0)
    }

    fn ejected(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|n| matches!(self.verdict(*n), Verdict::Ejected { .. })).collect()
    }

    /// How long the node is still ejected for.
    fn left(&self, node: usize) -> Duration {
        match self.verdict(node) {
            Verdict::Ejected { until, .. } => until - self.now,
            other => panic!("n{node} is {other}"),
        }
    }
}

#[test]
fn five_failures_in_a_row_eject_at_once_and_a_success_in_between_does_not() {
    let mut fleet = Fleet::new(3);
    assert!(!fleet.calls(1, 4, Outcome::Failure, MS));
    fleet.calls(1, 1, Outcome::Success, MS);
    assert!(!fleet.calls(1, 4, Outcome::Failure, MS));
    assert!(fleet.after(MS).is_empty());
    assert!(fleet.calls(1, 1, Outcome::Failure, MS), "the fifth is worth a look");
    let events = fleet.after(MS);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].node, fleet.nodes[1].0);
    assert_eq!(events[0].verdict.to_string(), "ejected: 5 calls failed in a row");
    assert!(fleet.nodes[1].1.is_ejected());
    let left = fleet.left(1);
    assert!((24 * SECOND..36 * SECOND).contains(&left), "{left:?}");
}

#[test]
fn a_node_alone_is_never_ejected_and_of_two_only_one_is() {
    let mut alone = Fleet::new(1);
    alone.calls(0, 1000, Outcome::Failure, MS);
    alone.after(20 * SECOND);
    alone.calls(0, 1000, Outcome::Failure, MS);
    assert!(alone.after(20 * SECOND).is_empty());

    let mut two = Fleet::new(2);
    two.calls(0, 5, Outcome::Failure, MS);
    two.calls(1, 9, Outcome::Failure, MS);
    two.after(MS);
    assert_eq!(two.ejected(), [1], "the worst");
}

#[test]
fn after_its_time_one_call_decides_and_each_failure_makes_the_next_time_longer() {
    let mut fleet = Fleet::new(3);
    fleet.calls(0, 5, Outcome::Failure, MS);
    fleet.after(MS);
    let mut before = Duration::ZERO;
    for round in 1..=12_u32 {
        let left = fleet.left(0);
        let expected = (30 * SECOND * round).min(300 * SECOND);
        assert!(left.abs_diff(expected) <= expected / 5, "{round}: {left:?}");
        assert!(left > before.mul_f64(0.6));
        before = left;
        assert!(fleet.after(left - MS).is_empty());
        let events = fleet.after(MS);
        assert_eq!(events[0].verdict, Verdict::Probing);
        assert!(fleet.calls(0, 1, Outcome::Failure, MS), "the outcome of a probe is worth a look");
        let events = fleet.after(MS);
        assert!(matches!(events[0].verdict, Verdict::Ejected { reason: Reason::Probe, .. }));
    }
    let left = fleet.left(0);
    fleet.after(left);
    assert!(fleet.calls(0, 1, Outcome::Success, MS));
    assert_eq!(fleet.after(MS)[0].verdict, Verdict::Ok);
    assert!(!fleet.nodes[0].1.is_ejected());
}

#[test]
fn quiet_intervals_make_the_next_ejection_shorter_again() {
    let mut fleet = Fleet::new(3);
    for _ in 0..2 {
        fleet.calls(0, 5, Outcome::Failure, MS);
        fleet.after(MS);
        let left = fleet.left(0);
        fleet.after(left);
        fleet.calls(0, 1, Outcome::Success, MS);
        fleet.after(MS);
    }
    for _ in 0..3 {
        fleet.after(10 * SECOND);
    }
    fleet.calls(0, 5, Outcome::Failure, MS);
    fleet.after(MS);
    let left = fleet.left(0);
    assert!(left < 37 * SECOND, "as the first time: {left:?}");
}

#[test]
fn one_that_answers_worse_than_the_others_is_ejected_at_the_end_of_the_interval() {
    let mut fleet = Fleet::new(10);
    for n in 0..10 {
        fleet.mixed(n, 200, if n == 4 { 0.7 } else { 1.0 });
    }
    assert!(fleet.after(5 * SECOND).is_empty());
    let events = fleet.after(5 * SECOND);
    assert_eq!(fleet.ejected(), [4]);
    assert!(events[0].verdict.to_string().contains("70.0 % of its calls went well, and 97.0 % on average"));
}

#[test]
fn among_perfect_nodes_a_nearly_perfect_one_is_left_alone() {
    let mut fleet = Fleet::new(20);
    for n in 0..20 {
        fleet.mixed(n, 1000, if n == 4 { 0.96 } else { 1.0 });
    }
    assert!(fleet.after(10 * SECOND).is_empty());
}

#[test]
fn the_share_of_failures_catches_what_deviation_cannot_see() {
    // Of ten nodes three that are as bad as each other are no outliers: each is 1.53 deviations below the mean.
    for (bad, good, expected) in [(2, 0.5, 1), (3, 0.5, 0), (3, 0.1, 1)] {
        let mut fleet = Fleet::new(10);
        for n in 0..10 {
            fleet.mixed(n, 200, if n < bad { good } else { 1.0 });
        }
        fleet.after(10 * SECOND);
        let ejected = fleet.ejected();
        assert!(
            ejected.len() == expected && ejected.iter().all(|n| *n < bad),
            "{bad} of {good}: {ejected:?}"
        );
    }
}

#[test]
fn in_a_set_too_small_for_deviation_the_share_holds_with_few_calls() {
    // Many in a row are no reason here: only the share is.
    let config = HealthConfig::default().consecutive(1000).unwrap();
    for (calls, ejected) in [(19, vec![]), (25, vec![0])] {
        let mut fleet = Fleet::with(config.clone(), 4);
        fleet.mixed(0, calls, 0.1);
        (1..4).for_each(|n| fleet.mixed(n, calls, 1.0));
        fleet.after(10 * SECOND);
        assert_eq!(fleet.ejected(), ejected, "{calls} calls");
    }
    let mut few = Fleet::new(4);
    (0..22).for_each(|n| {
        few.calls(0, 1, if n % 4 == 3 { Outcome::Success } else { Outcome::Failure }, MS);
    });
    few.after(10 * SECOND);
    assert!(few.ejected().is_empty(), "three quarters are not nearly all");
}

#[test]
fn no_more_than_a_tenth_is_ejected_whatever_fails() {
    for count in [2, 5, 10, 19, 20, 35, 100] {
        let mut fleet = Fleet::new(count);
        for _ in 0..50 {
            (0..count).for_each(|n| {
                fleet.calls(n, 20, Outcome::Failure, MS);
            });
            fleet.after(SECOND);
            let ejected = fleet.nodes.iter().filter(|(_, load)| load.is_ejected()).count();
            assert!(ejected <= (count / 10).max(1), "{ejected} of {count}");
        }
    }
}

#[test]
fn a_caller_in_a_hurry_ejects_nobody_and_a_node_that_never_answers_is_caught() {
    let mut fleet = Fleet::new(3);
    (0..3).for_each(|n| {
        fleet.calls(n, 20, Outcome::Success, 50 * MS);
    });
    fleet.after(10 * SECOND);
    assert!(!fleet.calls(0, 100, Outcome::DeadlineExceeded, MS));
    assert!(fleet.after(SECOND).is_empty());
    // In the interval it has answered: what is late now and then is not dead.
    fleet.calls(0, 2, Outcome::Success, 50 * MS);
    assert!(!fleet.calls(0, 10, Outcome::DeadlineExceeded, 100 * MS));
    fleet.after(10 * SECOND);
    assert!(fleet.ejected().is_empty());
    assert!(fleet.calls(0, 5, Outcome::DeadlineExceeded, 100 * MS));
    fleet.after(MS);
    assert_eq!(fleet.ejected(), [0]);
}

#[test]
fn what_says_nothing_of_the_node_counts_for_nothing() {
    let mut fleet = Fleet::new(3);
    assert!(!fleet.calls(0, 500, Outcome::Cancelled, MS));
    assert!(!fleet.calls(0, 500, Outcome::NotSent, MS));
    assert!(!fleet.calls(1, 19, Outcome::Overloaded { retry_after: None }, MS), "busy is not broken");
    assert!(fleet.after(20 * SECOND).is_empty());
}

#[test]
fn a_verdict_survives_the_absence_of_its_node_and_a_new_load() {
    let mut fleet = Fleet::new(3);
    fleet.calls(0, 5, Outcome::Failure, MS);
    fleet.after(MS);
    let key = fleet.nodes[0].0.clone();
    fleet.health.leave(&key, fleet.now);
    fleet.after(10 * SECOND);
    let load = Load::new();
    load.set_ready(true);
    fleet.health.enter(key.clone(), load.clone());
    assert!(load.is_ejected() && fleet.ejected() == [0]);

    fleet.health.leave(&key, fleet.now);
    for _ in 0..62 {
        fleet.after(10 * SECOND);
    }
    assert_eq!(fleet.verdict(0), Verdict::Ok, "forgotten after ten minutes");
}

#[test]
fn a_blacklisted_node_is_out_for_its_time_and_does_not_use_up_the_places() {
    let mut fleet = Fleet::new(3);
    let key = fleet.nodes[0].0.clone();
    let event = fleet.health.blacklist(&key, 60 * SECOND, fleet.now).unwrap();
    assert_eq!(event.verdict.to_string(), "ejected: it was put on the blacklist");
    fleet.calls(1, 5, Outcome::Failure, MS);
    fleet.after(MS);
    assert_eq!(fleet.ejected(), [0, 1]);
    fleet.after(60 * SECOND);
    assert_eq!(fleet.verdict(0), Verdict::Probing);
    assert_eq!(fleet.health.reset().len(), 2);
    assert!(fleet.ejected().is_empty() && fleet.verdict(0) == Verdict::Ok);
    assert!(fleet.nodes.iter().all(|(_, load)| !load.is_ejected()));
    let unknown = NodeKey { id: "nobody".parse().unwrap(), ..key };
    assert!(fleet.health.blacklist(&unknown, SECOND, fleet.now).is_none());
}

#[test]
fn with_health_off_only_the_blacklist_counts() {
    let mut fleet = Fleet::with(HealthConfig::off(), 10);
    fleet.calls(0, 500, Outcome::Failure, MS);
    assert!(fleet.after(20 * SECOND).is_empty());
    let key = fleet.nodes[1].0.clone();
    fleet.health.blacklist(&key, 60 * SECOND, fleet.now);
    assert_eq!(fleet.ejected(), [1]);
    fleet.after(60 * SECOND);
    assert!(fleet.ejected().is_empty());
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let config = HealthConfig::default;
    assert!(config().consecutive(0).is_err());
    assert!(config().deviations(f64::NAN).is_err());
    assert!(config().failed_share(-1.0).is_err());
    assert!(config().failed_share(f64::NAN).is_err());
    assert!(config().interval(Duration::ZERO).is_err());
    assert!(config().ejection(2 * SECOND, SECOND).is_err());
    assert!(config().ejected_percent_max(51).is_err());
    assert_eq!(config().ejection(30 * SECOND, 300 * SECOND).unwrap(), config());
}

fn slate(strategy: &Strategy, fleet: &Fleet, previous: Option<&Slate<()>>) -> Slate<()> {
    let member = |(key, load): &(NodeKey, Load)| Member {
        node: std::sync::Arc::new(Node::builder("greeter", key.id.as_str(), "127.0.0.1:1").build().unwrap()),
        load: load.clone(),
        handle: (),
    };
    let members = fleet.nodes.iter().map(member).collect();
    Slate::new(strategy, &Filters::default(), members, previous, &mut fastrand::Rng::with_seed(1))
}

fn strategies() -> Vec<Strategy> {
    Strategy::NAMES.iter().map(|name| name.parse().unwrap()).collect()
}

fn picks(slate: &Slate<()>, count: usize) -> Vec<usize> {
    let (mut counts, mut rng) = (vec![0; slate.members().len()], fastrand::Rng::with_seed(2));
    for _ in 0..count {
        counts[slate.pick(&PickRequest::default(), &mut rng).unwrap().index] += 1;
    }
    counts
}

#[test]
fn picks_avoid_an_ejected_node_at_once_and_give_a_probing_one_a_single_call() {
    for strategy in strategies() {
        let mut fleet = Fleet::new(5);
        let before = slate(&strategy, &fleet, None);
        fleet.calls(3, 5, Outcome::Failure, MS);
        fleet.after(MS);
        assert_eq!(picks(&before, 500)[3], 0, "{strategy}: by the flag");
        let after = slate(&strategy, &fleet, Some(&before));
        assert_eq!(picks(&after, 500)[3], 0, "{strategy}: by the tables");
        let left = fleet.left(3);
        fleet.after(left);
        let probing = slate(&strategy, &fleet, Some(&after));
        let mut rng = fastrand::Rng::with_seed(3);
        let held: Vec<_> =
            (0..500).map(|_| probing.pick(&PickRequest::default(), &mut rng).unwrap()).collect();
        let on_it = held.iter().filter(|picked| picked.index == 3).count();
        assert_eq!(on_it, 1, "{strategy}");
    }
}

#[test]
fn with_less_than_half_of_the_nodes_usable_verdicts_do_not_count_until_there_are_enough_again() {
    for strategy in strategies() {
        let config = HealthConfig::default().ejected_percent_max(50).unwrap();
        let mut fleet = Fleet::with(config, 20);
        (0..10).for_each(|n| {
            fleet.calls(n, 5, Outcome::Failure, MS);
        });
        fleet.after(MS);
        assert_eq!(fleet.ejected().len(), 10);
        let half = slate(&strategy, &fleet, None);
        assert!(!half.is_in_panic());
        fleet.nodes[15].1.set_ready(false);
        let panic = slate(&strategy, &fleet, Some(&half));
        assert!(panic.is_in_panic());
        let counts = picks(&panic, 2000);
        assert!(
            counts.iter().enumerate().all(|(n, count)| (*count > 0) == (n != 15)),
            "{strategy}: {counts:?}"
        );
        fleet.nodes[15].1.set_ready(true);
        let still = slate(&strategy, &fleet, Some(&panic));
        assert!(still.is_in_panic(), "ten of twenty are not enough to leave");
        fleet.nodes[0].1.acquit();
        let calm = slate(&strategy, &fleet, Some(&still));
        assert!(!calm.is_in_panic());
    }
}

#[test]
fn the_only_node_that_passes_the_filters_is_taken_although_it_is_ejected() {
    let mut fleet = Fleet::new(3);
    fleet.calls(0, 5, Outcome::Failure, MS);
    fleet.after(MS);
    let only = Filters::from(crate::select::Filter::custom("the bad one", |node| node.id() == "n000"));
    let request = PickRequest { filters: Some(&only), ..PickRequest::default() };
    for strategy in strategies() {
        let slate = slate(&strategy, &fleet, None);
        let picked = slate.pick(&request, &mut fastrand::Rng::with_seed(2)).unwrap();
        assert_eq!(picked.index, 0, "{strategy}: a strict filter is not left");
    }
}

#[test]
fn a_node_that_is_back_gets_its_share_little_by_little() {
    let mut fleet = Fleet::new(4);
    fleet.calls(0, 5, Outcome::Failure, MS);
    fleet.after(MS);
    let left = fleet.left(0);
    fleet.after(left);
    fleet.calls(0, 1, Outcome::Success, MS);
    fleet.after(MS);
    let slate = slate(&Strategy::Random, &fleet, None);
    let mut shares = Vec::new();
    for seconds in [0, 15, 31] {
        slate.tick(fleet.now + seconds * SECOND);
        shares.push(picks(&slate, 4000)[0]);
    }
    assert!(shares[0] < 200 && (400..800).contains(&shares[1]) && shares[2] > 850, "{shares:?}");
}

#[test]
fn while_most_nodes_are_new_none_is_spared() {
    let fleet = Fleet::new(4);
    fleet.nodes.iter().take(3).for_each(|(_, load)| load.ramp_up(30 * SECOND, Duration::ZERO, fleet.now));
    let counts = picks(&slate(&Strategy::Random, &fleet, None), 4000);
    assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
}
