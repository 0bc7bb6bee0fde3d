//! The gate and its machine on virtual time: servers that have too much to do, and servers that only look like it.

mod world;

use std::time::Duration;

use proptest::prelude::*;

use self::world::World;
use super::{
    ConcurrencyLimit, Gate, Left, Place, Priority,
    gradient::{Gradient, Sum, Times, Window},
};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Half as long to half longer.
fn about(time: Duration, rng: &mut fastrand::Rng) -> Duration {
    time.mul_f64(0.5 + rng.f64())
}

/// Five workers, each of which does fifty pieces of work a second, so that 250 calls a second is all there is; and twice that.
fn small() -> World {
    World {
        workers: 5,
        rate: |_| 500.0,
        work: |rng, _| (0, about(millis(20), rng)),
        patience: seconds(1),
        limit: ConcurrencyLimit::adaptive(),
    }
}

/// A server whose work waits for something else, and many more calls.
fn wide() -> World {
    World { workers: usize::MAX, rate: |_| 2000.0, work: |rng, _| (0, about(millis(10), rng)), ..small() }
}

#[test]
fn at_twice_the_capacity_a_server_answers_as_many_as_it_can_and_without_a_limit_none() {
    for patience in [millis(200), millis(600), seconds(2)] {
        // From a cold start, which is the worst: it never saw how long calls take when they are few.
        let limited = World { patience, ..small() }.run(seconds(100), 1);
        let goodput = limited.goodput(40, 100) / 250.0;
        assert!(goodput > 0.95, "with callers that wait {patience:?}: {goodput}");
        let p99 = limited.p99(40, 100);
        assert!(p99 < millis(150), "the work takes 20 ms; with callers that wait {patience:?}: {p99:?}");

        let unlimited = World { patience, limit: ConcurrencyLimit::none(), ..small() }.run(seconds(60), 1);
        let goodput = unlimited.goodput(20, 60) / 250.0;
        assert!(goodput < 0.1, "all of its work is for nobody: {goodput}");
    }
}

#[test]
fn a_server_that_was_at_ease_before_loses_nothing_when_the_load_becomes_too_much() {
    let rate = |now| if now < seconds(60) { 125.0 } else { 500.0 };
    let outcome = World { rate, ..small() }.run(seconds(120), 2);
    assert_eq!(outcome.refused(0, 60), 0);
    let goodput = outcome.goodput(60, 120) / 250.0;
    assert!(goodput > 0.95, "{goodput}");
    assert!(outcome.p99(90, 120) < millis(150), "{:?}", outcome.p99(90, 120));
}

#[test]
fn callers_that_wait_for_little_lose_little_more_than_the_first_two_seconds_of_an_overload() {
    // Forty times as long as the work takes, and twenty-five, and ten.
    for (patience, seed) in [(400, 0), (400, 1), (250, 2), (250, 3), (100, 4), (100, 5)] {
        let rate = |now| if now < seconds(10) { 500.0 } else { 2000.0 };
        let work = |rng: &mut fastrand::Rng, _| (0, about(millis(10), rng));
        let patience = millis(patience);
        let outcome = World { workers: 10, rate, work, patience, ..small() }.run(seconds(60), seed);
        let early = outcome.goodput(12, 20) / 1000.0;
        assert!(early > 0.85, "with callers that wait {patience:?}: {early}");
        for second in 13..60 {
            let goodput = outcome.goodput(second, second + 1) / 1000.0;
            // Half of what keeps it busy is tried now and then.
            assert!(goodput > 0.7, "with callers that wait {patience:?}, at {second} s: {goodput}");
        }
    }
}

#[test]
fn an_overload_that_lasts_does_not_let_more_and_more_in() {
    let outcome = small().run(seconds(900), 3);
    assert!(outcome.limits[60..].iter().all(|&limit| limit < 40), "{:?}", outcome.limits);
    assert!(outcome.goodput(60, 900) / 250.0 > 0.95);
}

#[test]
fn a_load_that_a_server_can_carry_is_never_refused() {
    let bimodal = World {
        work: |rng, _| {
            if rng.f64() < 0.1 { (1, about(seconds(1), rng)) } else { (0, about(millis(10), rng)) }
        },
        patience: seconds(30),
        ..wide()
    };
    let spike = World {
        rate: |now| if now < seconds(30) { 50.0 } else { 2000.0 },
        work: |rng, _| (0, about(millis(50), rng)),
        ..wide()
    };
    let nearly_full = World { rate: |_| 235.0, ..small() };
    // Something that it waits for takes six times as long, for a while.
    let slow = World {
        work: |rng, now| (0, about(millis(if now.as_secs() % 40 < 20 { 10 } else { 60 }), rng)),
        ..wide()
    };
    let idle = World { rate: |_| 0.5, ..small() };
    for (what, world) in
        [("bimodal", bimodal), ("spike", spike), ("nearly full", nearly_full), ("slow", slow), ("idle", idle)]
    {
        let outcome = world.run(seconds(100), 4);
        assert_eq!(outcome.refused(0, 100), 0, "{what}");
        assert_eq!(outcome.limits.last(), Some(&1000), "{what}");
    }
}

#[test]
fn callers_that_give_up_for_another_reason_than_the_queue_cost_the_others_little() {
    // What it waits for takes twenty times as long, and for a quarter of the calls too long: but they do not wait for each other.
    let work =
        |rng: &mut fastrand::Rng, now| (0, about(millis(if now < seconds(10) { 10 } else { 200 }), rng));
    for seed in 7..11 {
        let outcome = World { work, patience: millis(250), ..wide() }.run(seconds(70), seed);
        let goodput = outcome.goodput(10, 70) / 1500.0;
        assert!(goodput > 0.8, "{goodput}");
    }
}

#[test]
fn a_part_that_hangs_costs_the_rest_of_the_calls_little() {
    // One call in eight is never answered, the others at once: fewer of them at a time would help nobody.
    let work = |rng: &mut fastrand::Rng, _| {
        if rng.f64() < 0.125 { (0, seconds(100)) } else { (0, about(millis(10), rng)) }
    };
    let outcome = World { work, ..wide() }.run(seconds(200), 5);
    let refused = outcome.refused(60, 200) as f64 / (140.0 * 2000.0);
    assert!(refused < 0.06, "{refused}");
}

#[test]
fn a_server_that_hung_takes_all_calls_again_soon_after() {
    let work = |rng: &mut fastrand::Rng, now: Duration| {
        let hangs = (30..60).contains(&now.as_secs());
        (0, if hangs { seconds(100) } else { about(millis(50), rng) })
    };
    let outcome = World { work, ..wide() }.run(seconds(120), 6);
    assert!(outcome.refused(30, 60) > 0, "meanwhile it takes few");
    assert_eq!(outcome.refused(80, 120), 0);
    assert!(outcome.goodput(80, 120) > 1900.0);
}

fn gate(least: u32, most: u32) -> std::sync::Arc<Gate> {
    Gate::new(&ConcurrencyLimit::adaptive().with_least(least).with_most(most), 7).unwrap()
}

#[test]
fn what_matters_less_is_kept_out_first() {
    let gate = gate(10, 10);
    let fill = |priority| {
        let mut places = Vec::new();
        while let Ok(place) = gate.enter(priority, 0, Duration::ZERO) {
            places.push(place);
        }
        places
    };
    let sheddable = fill(Priority::Sheddable);
    let default = fill(Priority::Default);
    let critical = fill(Priority::Critical);
    assert_eq!((sheddable.len(), default.len(), critical.len()), (6, 3, 1));
    let refused = gate.enter(Priority::Critical, 0, Duration::ZERO).unwrap_err();
    assert_eq!(refused.limit, 10);
    assert!(refused.pushback > Duration::ZERO && refused.pushback < seconds(2));
    assert_eq!(gate.refused(), 4);
}

#[test]
fn a_call_that_waits_for_its_caller_gives_its_place_to_others() {
    let gate = gate(1, 1);
    let enter = || gate.enter(Priority::Critical, 0, Duration::ZERO);
    let first = enter().unwrap();
    assert!(enter().is_err());
    first.wait();
    let second = enter().unwrap();
    // It was let in before, so it does not ask again.
    first.resume(seconds(1));
    drop(second);
    assert!(enter().is_err());
    first.leave(Left::Answered, seconds(2));
    assert!(enter().is_ok());
}

#[test]
fn told_to_observe_it_counts_and_refuses_nothing() {
    let limit = ConcurrencyLimit::adaptive().with_least(1).with_most(1).observe_only();
    let gate = Gate::new(&limit, 7).unwrap();
    let places: Vec<_> = (0..5).map(|_| gate.enter(Priority::Default, 0, Duration::ZERO).unwrap()).collect();
    assert_eq!((places.len(), gate.refused()), (5, 4));
}

#[test]
fn a_limit_that_cannot_be_is_refused_by_name() {
    for (limit, said) in [
        (ConcurrencyLimit::adaptive().with_least(0), "between 0 and 1000"),
        (ConcurrencyLimit::adaptive().with_most(5), "between 20 and 5"),
    ] {
        assert!(limit.check().unwrap_err().to_string().contains(said));
    }
    ConcurrencyLimit::none().check().unwrap();
    ConcurrencyLimit::adaptive().check().unwrap();
}

fn windows() -> impl Strategy<Value = Vec<Window>> {
    let sum = (0_u32..1000, 0_u64..u64::from(u32::MAX))
        .prop_map(|(calls, nanos)| Sum { calls, total: Duration::from_nanos(nanos) * calls });
    let times = (sum.clone(), sum).prop_map(|(answered, given_up)| Times { answered, given_up });
    let window = (0_u32..2000, prop_oneof![Just(0_u32), 0_u32..1000], proptest::collection::vec(times, 3))
        .prop_map(|(peak, refused, times)| {
            let mut window = Window { peak, refused, ..Window::default() };
            window.classes[..3].copy_from_slice(&times);
            window
        });
    proptest::collection::vec(window, 0..60)
}

proptest! {
    #[test]
    fn whatever_happens_the_limit_stays_within_its_bounds(
        windows in windows(),
        least in 1_u32..50,
        more in 0_u32..2000,
        steps in proptest::collection::vec(0_u64..5000, 60),
    ) {
        let most = least + more;
        let mut gradient = Gradient::new(&(least..=most), 8);
        let mut now = Duration::ZERO;
        for (window, step) in windows.iter().zip(steps) {
            now += millis(step);
            gradient.close(window, now);
            // Half of what is in use may be tried for a moment.
            prop_assert!((1..=most).contains(&gradient.limit()), "{}", gradient.limit());
        }
    }

    #[test]
    fn in_whichever_order_calls_come_and_go_all_places_are_given_back(
        steps in proptest::collection::vec((0_usize..4, 0_usize..8), 0..200),
    ) {
        let gate = gate(4, 4);
        let mut places: Vec<Option<Place>> = (0..8).map(|_| None).collect();
        for (time, (step, at)) in steps.into_iter().enumerate() {
            let now = millis(time as u64);
            match (step, &places[at]) {
                (0, None) => places[at] = gate.enter(Priority::Critical, at, now).ok(),
                (0, Some(_)) => places[at] = None,
                (1, Some(place)) => place.wait(),
                (2, Some(place)) => place.resume(now),
                (3, Some(place)) => place.leave(Left::Answered, now),
                _ => {}
            }
        }
        drop(places);
        let free = (0..4).map(|_| gate.enter(Priority::Critical, 0, Duration::ZERO)).collect::<Vec<_>>();
        prop_assert!(free.iter().all(Result::is_ok));
        prop_assert!(gate.enter(Priority::Critical, 0, Duration::ZERO).is_err());
    }
}
