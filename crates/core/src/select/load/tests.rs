use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use proptest::prelude::*;

use super::*;
use crate::select::AdaptiveConfig;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Success),
        Just(Outcome::Failure),
        any::<Option<Duration>>().prop_map(|retry_after| Outcome::Overloaded { retry_after }),
        Just(Outcome::DeadlineExceeded),
        Just(Outcome::Cancelled),
        Just(Outcome::NotSent),
    ]
}

/// Two good answers, the first of which only proves that the node works.
fn load_with_cost(cost: Duration, now: Instant) -> Load {
    let load = Load::new();
    load.ticket().mark(Outcome::Success, cost, now - SECOND);
    load.ticket().mark(Outcome::Success, cost, now);
    load
}

#[track_caller]
fn assert_cost(load: &Load, expected: Duration, now: Instant) {
    let cost = load.cost(now).unwrap();
    assert!(cost.abs_diff(expected) < expected / 1000, "{cost:?} is not {expected:?}");
}

proptest! {
    #[test]
    fn tickets_in_flight_are_counted_whatever_else_is_done(
        steps in prop::collection::vec((0u8..6, any::<prop::sample::Index>(), outcomes(), any::<Duration>()), 0..200),
    ) {
        let (load, now) = (Load::new(), Instant::now());
        let (mut tickets, mut handles) = (Vec::new(), Vec::new());
        for (step, which, outcome, elapsed) in steps {
            match step {
                0 | 1 => tickets.push(load.ticket()),
                2 if !tickets.is_empty() => drop(tickets.swap_remove(which.index(tickets.len()))),
                3 if !tickets.is_empty() => tickets[which.index(tickets.len())].mark(outcome, elapsed, now),
                4 => handles.push(load.clone()),
                5 if !handles.is_empty() => drop(handles.swap_remove(which.index(handles.len()))),
                _ => {}
            }
            prop_assert_eq!(load.inflight() as usize, tickets.len());
            prop_assert_eq!(load.about_inflight() as usize, tickets.len());
            prop_assert!(!cost::score(load.g(), load.inflight()).is_nan());
        }
        drop(tickets);
        prop_assert_eq!(load.inflight(), 0);
    }
}

#[test]
fn a_call_that_panics_is_no_longer_in_flight() {
    let load = Load::new();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _ticket = load.ticket();
        assert_eq!(load.inflight(), 2, "fails: there is one");
    }));
    assert!(panicked.is_err());
    assert_eq!(load.inflight(), 0);
}

#[test]
fn threads_that_take_tickets_and_handles_never_hide_a_call() {
    let load = Load::new();
    let held = load.ticket();
    thread::scope(|scope| {
        let churn = |seed| {
            let load = load.clone();
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(seed);
                for _ in 0..20_000 {
                    let handle = load.clone();
                    if rng.bool() {
                        drop(handle.ticket());
                    }
                    // The held ticket is there all the time. What others do in between may show, but never less.
                    assert!((1..=8).contains(&load.inflight()), "{}", load.inflight());
                }
            })
        };
        (0..3).for_each(|seed| drop(churn(seed)));
    });
    assert_eq!(load.inflight(), 1);
    drop(held);
    assert_eq!(load.inflight(), 0);
}

#[test]
fn each_outcome_teaches_what_it_should() {
    let now = Instant::now();
    // What a second leaves of 20 ms.
    let kept = Duration::from_micros(18_097);
    for (outcome, elapsed, cost, failures) in [
        (Outcome::Success, 40 * MS, 40 * MS, 0),
        (Outcome::Success, 10 * MS, kept + Duration::from_micros(952), 0),
        (Outcome::Failure, MS, 5000 * MS, 1),
        (Outcome::Failure, 7000 * MS, 7000 * MS, 1),
        (Outcome::Overloaded { retry_after: None }, MS, 5000 * MS, 1),
        (Outcome::Overloaded { retry_after: Some(MS) }, MS, 5000 * MS, 1),
        (Outcome::Overloaded { retry_after: Some(60_000 * MS) }, MS, 60_000 * MS, 1),
        (Outcome::Overloaded { retry_after: Some(Duration::MAX) }, MS, 300_000 * MS, 1),
        (Outcome::DeadlineExceeded, 1000 * MS, 1000 * MS, 1),
        (Outcome::DeadlineExceeded, MS, kept, 1),
        (Outcome::Cancelled, 1000 * MS, 1000 * MS, 0),
        (Outcome::Cancelled, MS, kept, 0),
        (Outcome::NotSent, 1000 * MS, kept, 0),
    ] {
        let load = load_with_cost(20 * MS, now);
        let calls = load.calls();
        load.ticket().mark(outcome, elapsed, now + SECOND);
        assert_cost(&load, cost, now + SECOND);
        assert_eq!(load.failures(), failures, "{outcome:?}");
        assert_eq!(load.calls() - calls, u64::from(outcome != Outcome::NotSent), "{outcome:?}");
    }
}

#[test]
fn cost_decays_while_nothing_is_called() {
    let now = Instant::now();
    let load = load_with_cost(100 * MS, now);
    assert_cost(&load, 100 * MS, now);
    assert_cost(&load, 36_788 * Duration::from_micros(1), now + Duration::from_secs(10));
    assert_eq!(load.latency(), Some(100 * MS));
}

#[test]
fn nothing_is_known_of_a_new_load() {
    let load = Load::default();
    assert!(!load.is_ready());
    assert_eq!((load.inflight(), load.calls(), load.failures()), (0, 0, 0));
    assert_eq!((load.latency(), load.cost(Instant::now())), (None, None));
    load.set_ready(true);
    assert!(load.clone().is_ready());
    assert!(format!("{load:?}").contains("ready: true"));
}

#[test]
fn an_assumption_counts_as_much_as_the_first_answer_and_never_replaces_one() {
    let now = Instant::now();
    let known = load_with_cost(50 * MS, now);
    let new = Load::new();
    new.assume_g(known.known_g().unwrap());
    assert_cost(&new, 50 * MS, now);
    new.ticket().mark(Outcome::Success, 10 * MS, now);
    assert_cost(&new, 30 * MS, now);
    new.assume_g(known.known_g().unwrap());
    assert_cost(&new, 30 * MS, now);
}

#[test]
fn settings_of_the_strategy_reach_the_load() {
    let config = AdaptiveConfig::default().error_charge(2000 * MS).unwrap();
    let (load, now) = (crate::select::Strategy::Adaptive(config).new_load(), Instant::now());
    load.ticket().mark(Outcome::Failure, MS, now);
    assert_cost(&load, 2000 * MS, now);
}

#[test]
fn a_node_s_state_fits_four_cache_lines_with_its_reference_counts() {
    // What a pick reads comes first: 16 bytes of counts, 8 of handles, 8 of cost, 4 of flags.
    assert_eq!(std::mem::offset_of!(Hot, handles), 0);
    assert_eq!(std::mem::offset_of!(Hot, g), 8);
    assert_eq!(std::mem::offset_of!(Hot, flags), 16);
    assert_eq!(16 + size_of::<Hot>(), 248);
}
