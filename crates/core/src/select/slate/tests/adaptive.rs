//! The adaptive strategy on a fleet that is simulated: calls begin at a steady rate, nodes answer after a while.

use super::*;

const MS: Duration = Duration::from_millis(1);

fn adaptive(choices: u8) -> AdaptiveConfig {
    AdaptiveConfig::default().choices(Choices::Fixed(choices))
}

/// What one node does with a call that begins at a time since the start.
type Behaviour<'a> = &'a dyn Fn(usize, Duration) -> (Outcome, Duration);

/// Calls per node and failed calls, when one call begins each `gap`.
fn simulate(slate: &Slate<()>, gap: Duration, span: Duration, behaviour: Behaviour<'_>) -> (Vec<u32>, u32) {
    let (mut rng, start) = (rng(), Instant::now());
    let (mut calls, mut failed) = (vec![0; slate.members().len()], 0);
    let mut running: Vec<(Duration, Outcome, Duration, Ticket)> = Vec::new();
    let mut now = Duration::ZERO;
    while now < span {
        running.retain(|(end, outcome, elapsed, ticket)| {
            if *end <= now {
                ticket.mark(*outcome, *elapsed, start + *end);
            }
            *end > now
        });
        let picked = slate.pick(&PickRequest::default(), &mut rng).unwrap();
        let (outcome, elapsed) = behaviour(picked.index, now);
        calls[picked.index] += 1;
        failed += u32::from(outcome == Outcome::Failure);
        running.push((now + elapsed, outcome, elapsed, picked.ticket));
        now += gap;
    }
    (calls, failed)
}

/// Eleven nodes that answer within 20 ms, one of which fails within 1 ms during the second half of a minute.
fn failed_share_of_a_gray_failure(config: AdaptiveConfig) -> f64 {
    let strategy = Strategy::Adaptive(config);
    let mut members = members(11);
    members.iter_mut().for_each(|member| {
        member.load = strategy.new_load();
        member.load.set_ready(true);
    });
    let slate = slate(&strategy, members);
    let (calls, failed) = simulate(&slate, MS, Duration::from_secs(60), &|index, at| match index {
        4 if at >= Duration::from_secs(30) => (Outcome::Failure, MS),
        _ => (Outcome::Success, 20 * MS),
    });
    f64::from(failed) / f64::from(calls.iter().sum::<u32>())
}

#[test]
fn a_node_that_fails_fast_loses_its_traffic_because_failures_are_charged() {
    for choices in [2, 4, 8] {
        let share = failed_share_of_a_gray_failure(adaptive(choices));
        assert!(share <= 0.0005, "{choices} choices: {share}");
    }
}

#[test]
fn without_the_charge_it_would_draw_the_traffic_of_the_others() {
    let share = failed_share_of_a_gray_failure(adaptive(8).error_charge(Duration::ZERO).unwrap());
    assert!(share > 0.2, "{share}");
}

#[test]
fn a_slow_node_gets_few_calls_and_a_fast_fleet_is_balanced() {
    let slate = slate(&Strategy::Adaptive(adaptive(8)), members(10));
    let (calls, _) = simulate(&slate, MS, Duration::from_secs(20), &|index, at| {
        let wobble = MS * (at.as_millis() as u32 * 7 % 5);
        (Outcome::Success, if index == 0 { 500 * MS } else { 20 * MS + wobble })
    });
    assert!(calls[0] < 100, "{calls:?}");
    assert!(calls[1..].iter().all(|calls| (1700..2800).contains(calls)), "{calls:?}");
}

#[test]
fn nodes_that_answer_faster_than_the_floor_share_the_calls_evenly() {
    let slate = slate(&Strategy::Adaptive(adaptive(8)), members(3));
    // One call at a time; the nodes differ eightfold, but by less than anybody notices.
    let (calls, _) = simulate(&slate, MS, Duration::from_secs(3), &|index, _| {
        (Outcome::Success, Duration::from_micros(100 << index))
    });
    assert!(calls.iter().all(|calls| calls.abs_diff(1000) < 100), "{calls:?}");
}

#[test]
fn equal_nodes_that_are_called_now_and_then_share_by_weight() {
    let weighted = weighted(&[Some(1), Some(3), Some(4)]);
    let slate = slate(&Strategy::Adaptive(adaptive(8)), weighted);
    // Ten milliseconds each, ten a second: estimates differ by what they have decayed since the last call.
    let (calls, _) =
        simulate(&slate, 100 * MS, Duration::from_secs(800), &|_, _| (Outcome::Success, 10 * MS));
    for (calls, expected) in calls.iter().zip([1000, 3000, 4000_u32]) {
        assert!(calls.abs_diff(expected) < expected / 5, "{calls:?}");
    }
}

#[test]
fn a_repaired_node_is_tried_again() {
    let slate = slate(&Strategy::Adaptive(adaptive(8)), members(4));
    let bad_until = Duration::from_secs(1);
    let (calls, failed) = simulate(&slate, MS, Duration::from_secs(120), &|index, at| {
        let bad = index == 0 && at < bad_until;
        if bad { (Outcome::Failure, MS) } else { (Outcome::Success, 10 * MS) }
    });
    assert_eq!(failed, 1, "the first call, while nothing is known of any node");
    assert!(calls[0] > 10_000, "five seconds decay to ten milliseconds within about a minute: {calls:?}");
}

#[test]
fn a_new_node_begins_at_the_median_of_the_others() {
    let (strategy, mut rng, now) = (Strategy::default(), rng(), Instant::now());
    let mut members = members(5);
    for (n, member) in members.iter().enumerate() {
        let cost = MS * 10 * (n as u32 + 1);
        member.load.ticket().mark(Outcome::Success, cost, now - Duration::from_secs(1));
        member.load.ticket().mark(Outcome::Success, cost, now);
    }
    members.push(member("late", |node| node));
    let slate = Slate::new(&strategy, &Filters::default(), members, None, &mut rng);
    let cost = slate.members()[5].load.cost(now).unwrap();
    assert!(cost.abs_diff(30 * MS) < MS, "{cost:?}");
    assert_eq!(slate.members()[5].load.latency(), None, "assumed, not measured");
}

/// A zone that comes back after a minute must not look better than the nodes that have carried its calls meanwhile.
#[test]
fn a_node_not_heard_of_for_a_while_is_taken_for_the_median_of_those_that_answer() {
    let (members, start) = (members(6), Instant::now());
    let slate = slate(&Strategy::default(), members.clone());
    let heard = |n: usize, cost: Duration, second: u64| {
        let now = start + Duration::from_secs(second);
        members[n].load.ticket().mark(Outcome::Success, cost, now);
        slate.tick(now);
    };
    for second in 0..5 {
        (0..6).for_each(|n| heard(n, 20 * MS, second));
    }
    members[0].load.ticket().mark(Outcome::Failure, MS, start + Duration::from_secs(5));
    let cost = |n: usize, second: u64| members[n].load.cost(start + Duration::from_secs(second)).unwrap();
    for second in 5..90 {
        // The first two are gone; the last is faster than the others, and may be.
        (2..5).for_each(|n| heard(n, 20 * MS, second));
        heard(5, 2 * MS, second);
    }
    for (n, least, most) in [(0, 19, 21), (1, 19, 21), (3, 19, 21), (5, 2, 3)] {
        assert!((least * MS..most * MS).contains(&cost(n, 89)), "{n}: {:?}", cost(n, 89));
    }
    heard(0, 10 * MS, 90);
    assert!(
        cost(0, 90).abs_diff(15 * MS) < MS,
        "an answer and what was assumed count alike: {:?}",
        cost(0, 90)
    );
}

/// With nobody heard of, all have decayed alike, and there is nothing to hold them to.
#[test]
fn after_a_quiet_night_nodes_stand_to_each_other_as_before() {
    let (members, start) = (members(3), Instant::now());
    let slate = slate(&Strategy::default(), members.clone());
    for (n, member) in members.iter().enumerate() {
        (0..2).for_each(|_| member.load.ticket().mark(Outcome::Success, MS * 10 * (n as u32 + 1), start));
    }
    let cost = |n: usize, now| members[n].load.cost(now).unwrap().as_secs_f64();
    let ratio = |now| cost(2, now) / cost(0, now);
    let (evening, morning) = (ratio(start), start + Duration::from_secs(60));
    slate.tick(morning);
    assert!((ratio(morning) / evening - 1.0).abs() < 1e-6);
}

#[test]
fn a_cold_client_tries_every_node_once_before_any_twice() {
    let slate = slate(&Strategy::Adaptive(adaptive(8)), members(8));
    let mut rng = rng();
    let mut picked: Vec<_> = (0..8).map(|_| slate.pick(&PickRequest::default(), &mut rng).unwrap()).collect();
    picked.sort_by_key(|picked| picked.index);
    picked.dedup_by_key(|picked| picked.index);
    assert_eq!(picked.len(), 8);
}

#[test]
fn a_node_that_fails_first_does_not_draw_the_calls_while_the_others_have_yet_to_answer() {
    for choices in [2, 8] {
        let slate = slate(&Strategy::Adaptive(adaptive(choices)), members(6));
        let (_, failed) = simulate(&slate, MS, Duration::from_secs(1), &|index, _| match index {
            0 => (Outcome::Failure, MS),
            _ => (Outcome::Success, 100 * MS),
        });
        assert!(failed <= 2, "{choices} choices: {failed}");
    }
}

#[test]
fn with_hardly_any_calls_two_are_compared_and_with_many_eight() {
    let (slate, start) = (slate(&Strategy::default(), members(10)), Instant::now());
    assert_eq!(slate.choices(&mut rng()), 8);
    let second = |n: u64| start + Duration::from_secs(n);
    for n in 0..60 {
        slate.tick(second(n));
    }
    assert_eq!(slate.choices(&mut rng()), 2);
    for n in 60..180 {
        (0..10).for_each(|_| slate.members()[0].load.ticket().mark(Outcome::Success, MS, second(n)));
        slate.tick(second(n));
    }
    assert_eq!(slate.choices(&mut rng()), 8);
}

#[test]
fn picks_keep_to_the_aperture_and_another_node_takes_the_place_of_one_that_is_lost() {
    let config = AdaptiveConfig::default().aperture(crate::select::Aperture::Fixed(12));
    let (strategy, mut rng) = (Strategy::Adaptive(config), rng());
    let members = members(100);
    let first = slate(&strategy, members.clone());
    let used = |slate: &Slate<()>| -> Vec<usize> {
        let counts = shares(slate, 2000);
        (0..100).filter(|n| counts[*n] > 0).collect()
    };
    let before = used(&first);
    assert_eq!(before.len(), 12);
    members[before[3]].load.set_ready(false);
    assert_eq!(used(&first).len(), 11, "until there is a new slate, the others do");
    let second = Slate::new(&strategy, &Filters::default(), members.clone(), Some(&first), &mut rng);
    let after = used(&second);
    assert_eq!((after.len(), after.iter().filter(|n| before.contains(n)).count()), (12, 11));
    members.iter().for_each(|member| member.load.set_ready(false));
    let other = (0..100).find(|n| !after.contains(n)).unwrap();
    members[other].load.set_ready(true);
    assert_eq!(used(&second), [other], "outside of the aperture is better than nobody");
}

#[test]
fn nodes_that_differ_by_chance_alone_have_about_equal_shares() {
    let strategy = Strategy::Adaptive(adaptive(8));
    let mut members = members(20);
    members.iter_mut().for_each(|member| {
        member.load = strategy.new_load();
        member.load.set_ready(true);
    });
    let slate = slate(&strategy, members);
    let chance = std::cell::RefCell::new(rng());
    // Three milliseconds on average, exponentially distributed, whichever node it is.
    let (calls, _) = simulate(&slate, 3 * MS, Duration::from_secs(120), &|_, _| {
        (Outcome::Success, MS.mul_f64(-3.0 * (1.0 - chance.borrow_mut().f64()).ln()))
    });
    let mean = calls.iter().sum::<u32>() as f64 / calls.len() as f64;
    let most = f64::from(*calls.iter().max().unwrap());
    // Where the least of eight estimates wins, the luckiest has more than twice the mean.
    assert!(most / mean <= 1.3, "{calls:?}");
}
