use std::{sync::Arc, time::Duration};

use proptest::prelude::*;

use super::*;

/// What happens to a budget, at milliseconds since its start.
#[derive(Debug, Clone, Copy)]
enum Step {
    Call,
    Retry,
}

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let step = prop_oneof![3 => Just(Step::Call), 2 => Just(Step::Retry)];
    prop::collection::vec((0u64..120, step), 0..2000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_window_of_ten_seconds_holds_more_retries_than_the_budget(
        steps in steps(), ratio in 0.0..1.0, per_second in 0u32..3,
    ) {
        let budget = RetryBudget::new(ratio, per_second).unwrap();
        let start = Instant::now();
        let (mut at, mut calls, mut retries) = (0, Vec::new(), Vec::new());
        for (gap, step) in steps {
            at += gap;
            let now = start + Duration::from_millis(at);
            match step {
                Step::Call => { budget.deposit(now); calls.push(at); }
                Step::Retry => if budget.withdraw(now) {
                    retries.push(at);
                    let within = |times: &[u64]| times.iter().filter(|then| **then + 10_000 > at).count();
                    let allowed = (ratio * within(&calls) as f64).max(f64::from(per_second) * 10.0);
                    prop_assert!(within(&retries) as f64 <= allowed + 1e-6, "{retries:?} of {allowed}");
                }
            }
        }
    }
}

#[test]
fn a_fifth_of_the_calls_may_be_retried_and_of_few_calls_ten_a_second() {
    for (calls, expected) in [(1000, 200), (500, 100), (499, 100), (0, 100)] {
        let (budget, now) = (RetryBudget::default(), Instant::now());
        (0..calls).for_each(|_| budget.deposit(now));
        let granted = (0..1000).filter(|_| budget.withdraw(now)).count();
        assert_eq!(granted, expected, "of {calls}");
        assert_eq!(budget.balance(now), 0);
    }
}

#[test]
fn calls_are_forgotten_after_the_window_and_slots_are_used_again() {
    let (budget, start) = (RetryBudget::new(1.0, 0).unwrap(), Instant::now());
    budget.deposit(start);
    assert_eq!(budget.balance(start + Duration::from_secs(9)), 1);
    assert_eq!(budget.balance(start + Duration::from_secs(10)), 0);
    for hour in 1..100 {
        let now = start + Duration::from_secs(3600 * hour);
        assert!(!budget.withdraw(now));
        budget.deposit(now);
        assert!(budget.withdraw(now) && !budget.withdraw(now));
    }
}

#[test]
fn a_clock_that_goes_back_neither_panics_nor_grants_more() {
    let (budget, start) = (RetryBudget::new(1.0, 0).unwrap(), Instant::now() + Duration::from_secs(60));
    budget.deposit(start);
    assert!(budget.withdraw(start));
    assert!(!budget.withdraw(start - Duration::from_secs(30)));
}

#[test]
fn threads_together_are_granted_no_more_than_the_budget() {
    let (budget, now) = (Arc::new(RetryBudget::new(0.5, 0).unwrap()), Instant::now());
    for _ in 0..10_000 {
        budget.deposit(now);
    }
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let budget = budget.clone();
            std::thread::spawn(move || (0..3000).filter(|_| budget.withdraw(now)).count())
        })
        .collect();
    let granted: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(granted, 5000);
}

#[test]
fn settings_that_cannot_work_are_refused_by_name() {
    assert!(RetryBudget::new(f64::NAN, 1).unwrap_err().to_string().contains("ratio"));
    assert!(RetryBudget::new(-0.1, 1).unwrap_err().to_string().contains("ratio"));
    assert!(RetryBudget::new(0.1, 1001).unwrap_err().to_string().contains("floor"));
}

#[test]
fn five_failures_close_a_bucket_of_ten_and_successes_open_it() {
    let (budget, now) = (RetryBudget::tokens(10, 0.1).unwrap(), Instant::now());
    for left in (1..=4).rev() {
        budget.failed();
        assert!(budget.withdraw(now));
        assert_eq!(budget.balance(now), left - 1);
    }
    budget.failed();
    assert!(!budget.withdraw(now), "half is not more than half");
    budget.succeeded();
    assert!(budget.withdraw(now), "a tenth more is");
    for _ in 0..1000 {
        budget.failed();
    }
    for successes in 0..=50 {
        assert!(!budget.withdraw(now), "{successes}");
        budget.succeeded();
    }
    assert!(budget.withdraw(now));
}

/// Where calls fail independently, retries stop between 9.09 % less and more a little: `ratio / (1 + ratio)`.
#[test]
fn tokens_run_out_where_more_than_one_in_eleven_fails() {
    let share_allowed = |failing: f64| {
        let (budget, now) = (RetryBudget::tokens(1000, 0.1).unwrap(), Instant::now());
        let mut rng = fastrand::Rng::with_seed(7);
        let (warm, counted) = (200_000, 200_000);
        let mut allowed = 0;
        for call in 0..warm + counted {
            if rng.f64() < failing {
                budget.failed()
            } else {
                budget.succeeded()
            }
            allowed += usize::from(call >= warm && budget.withdraw(now));
        }
        allowed as f64 / f64::from(counted)
    };
    assert!(share_allowed(0.0879) > 0.999);
    assert!(share_allowed(0.0939) < 0.001);
}

#[test]
fn buckets_that_cannot_work_are_refused_by_name() {
    for (max, ratio, said) in
        [(0, 0.1, "tokens"), (1001, 0.1, "tokens"), (10, 0.0, "ratio"), (10, f64::NAN, "ratio")]
    {
        assert!(RetryBudget::tokens(max, ratio).unwrap_err().to_string().contains(said));
    }
}
