use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);

/// What calls take who come in turn, each method its own time, a hundred a second for a minute.
fn taught(times: &[(MethodId, Duration)], paces: &Paces, from: Instant) -> Instant {
    let mut now = from;
    for round in 0..6000 {
        let (method, elapsed) = times[round % times.len()];
        paces.learn(method, elapsed, now);
        now += 10 * MS;
    }
    now
}

#[track_caller]
fn assert_near(is: Duration, expected: Duration) {
    assert!(is.abs_diff(expected) < expected / 50, "{is:?} is not {expected:?}");
}

#[test]
fn of_one_method_every_call_counts_as_long_as_it_is() {
    let (paces, now) = (Paces::new(), Instant::now());
    let only = paces.method("/a/B");
    assert_eq!(paces.even(only, 7 * MS), 7 * MS, "nothing is known yet");
    for step in 0..1000_u32 {
        paces.learn(only, MS * (1 + step % 17), now + step * 3 * MS);
        assert_eq!(paces.even(only, 7 * MS), 7 * MS);
    }
}

#[test]
fn methods_that_differ_are_evened_out() {
    let (paces, now) = (Paces::new(), Instant::now());
    let (short, long) = (paces.method("/a/Short"), paces.method("/a/Long"));
    taught(&[(short, 10 * MS), (long, 190 * MS)], &paces, now);
    assert_near(paces.even(short, 10 * MS), 100 * MS);
    assert_near(paces.even(long, 190 * MS), 100 * MS);
    // One that took thrice as long as its like did so all the same.
    assert_near(paces.even(short, 30 * MS), 300 * MS);
    assert_near(paces.even(long, 570 * MS), 300 * MS);
}

#[test]
fn the_first_call_of_a_method_is_like_any_other() {
    let (paces, now) = (Paces::new(), Instant::now());
    let known = paces.method("/a/Known");
    let now = taught(&[(known, 10 * MS)], &paces, now);
    let fresh = paces.method("/a/Fresh");
    assert_eq!(paces.even(fresh, 400 * MS), 400 * MS, "it was never called");
    paces.learn(fresh, 400 * MS, now);
    assert_near(paces.even(fresh, 400 * MS), 10 * MS);
}

#[test]
fn a_method_that_changes_is_followed_within_minutes() {
    let (paces, now) = (Paces::new(), Instant::now());
    let (short, long) = (paces.method("/a/Short"), paces.method("/a/Long"));
    let now = taught(&[(short, 10 * MS), (long, 100 * MS)], &paces, now);
    let now = taught(&[(short, 100 * MS), (long, 100 * MS)], &paces, now);
    let now = taught(&[(short, 100 * MS), (long, 100 * MS)], &paces, now);
    taught(&[(short, 100 * MS), (long, 100 * MS)], &paces, now);
    assert!(paces.even(short, 100 * MS).abs_diff(100 * MS) < 6 * MS);
}

#[test]
fn calls_in_a_rush_count_once_a_millisecond() {
    let (paces, now) = (Paces::new(), Instant::now());
    let (one, other) = (paces.method("/a/One"), paces.method("/a/Other"));
    paces.learn(one, 10 * MS, now);
    for micros in 1..1000 {
        paces.learn(other, 1000 * MS, now + Duration::from_micros(micros));
    }
    // The first of the other's calls stands for it; of all calls only the very first was taken in.
    assert_near(paces.even(other, 1000 * MS), 10 * MS);
    paces.learn(other, 1000 * MS, now + 2 * MS);
    assert_near(paces.even(other, 1000 * MS), 505 * MS);
}

#[test]
fn a_clock_that_goes_back_does_no_harm() {
    let (paces, now) = (Paces::new(), Instant::now() + Duration::from_secs(1000));
    let only = paces.method("/a/B");
    paces.learn(only, 10 * MS, now);
    paces.learn(only, 10 * MS, now - Duration::from_secs(500));
    paces.learn(only, 10 * MS, now + 2 * MS);
    assert_eq!(paces.even(only, 10 * MS), 10 * MS);
}

#[test]
fn methods_without_number_share_one_pace() {
    let paces = Paces::new();
    let first = paces.method("/a/0");
    for name in 1..1000 {
        let _ = paces.method(&format!("/a/{name}"));
    }
    assert_eq!(paces.method("/a/0"), first);
    assert_ne!(paces.method("/a/254"), paces.method("/a/253"));
    assert_eq!(paces.method("/a/255"), paces.method("/a/999"));
    assert_eq!(paces.method("/b/never-seen"), paces.method("/a/999"));
}

proptest! {
    #[test]
    fn whatever_comes_the_answer_is_a_time(
        calls in prop::collection::vec((0..4_u8, 0..400_000_u64, 0..10_000_u64), 1..200),
        asked in any::<Duration>(),
    ) {
        let (paces, mut now) = (Paces::new(), Instant::now());
        for (method, millis, after) in calls {
            let method = paces.method(&method.to_string());
            now += Duration::from_millis(after);
            paces.learn(method, Duration::from_millis(millis), now);
            let even = paces.even(method, Duration::from_millis(1));
            prop_assert!(even < Duration::from_secs(1_000_000), "{even:?}");
            let _ = paces.even(method, asked);
        }
    }
}
