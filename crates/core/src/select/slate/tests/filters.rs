//! Views: what filters leave, and how often they are asked.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::*;

fn grouped(groups: &[&str]) -> Vec<Member<()>> {
    let one = |(n, group): (usize, &&str)| member(&format!("n{n}"), |node| node.group(*group));
    groups.iter().enumerate().map(one).collect()
}

/// A filter that counts how often it is asked.
fn counting() -> (Filters, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let filter = Filter::custom("counted", move |_| {
        counter.fetch_add(1, Relaxed);
        true
    });
    (filter.into(), asked)
}

fn pick_with(slate: &Slate<()>, filters: &Filters) -> Result<usize, NoPick> {
    let request = PickRequest { filters: Some(filters), ..PickRequest::default() };
    slate.pick(&request, &mut rng()).map(|picked| picked.index)
}

#[test]
fn picks_stay_within_the_filters_of_slate_and_request() {
    for strategy in strategies() {
        let node = |id, group, version| member(id, |node| node.group(group).version(version));
        let members = vec![
            node("a", "blue", "1.0"),
            node("b", "blue", "2.0"),
            node("c", "green", "2.0"),
            node("d", "green", "2.1"),
        ];
        let slate = Slate::new(&strategy, &Filter::version("2").into(), members, None, &mut rng());
        let (mut rng, green) = (rng(), Filter::group("green").into());
        let (mut without, mut with) = ([0; 4], [0; 4]);
        for _ in 0..300 {
            without[slate.pick(&PickRequest::default(), &mut rng).unwrap().index] += 1;
            let request = PickRequest { filters: Some(&green), ..PickRequest::default() };
            with[slate.pick(&request, &mut rng).unwrap().index] += 1;
        }
        assert!(without[0] == 0 && without[1..].iter().all(|count| *count > 50), "{strategy}: {without:?}");
        assert!(with[..2] == [0, 0] && with[2..].iter().all(|count| *count > 50), "{strategy}: {with:?}");
        assert!(
            pick_with(&slate, &Filter::version("1").into()).is_err(),
            "{strategy}: the slate's own filters hold"
        );
    }
}

#[test]
fn the_mean_weight_is_that_of_the_view() {
    let node = |id, group, weight: Option<u16>| {
        member(id, |node| match weight {
            Some(weight) => node.group(group).weight(weight),
            None => node.group(group),
        })
    };
    let members = vec![node("a", "blue", None), node("b", "blue", Some(1)), node("c", "green", Some(1000))];
    let slate = slate(&Strategy::Random, members);
    let (mut rng, blue) = (rng(), Filter::group("blue").into());
    let request = PickRequest { filters: Some(&blue), ..PickRequest::default() };
    let of_a = (0..1000).filter(|_| slate.pick(&request, &mut rng).unwrap().index == 0).count();
    assert!(of_a.abs_diff(500) < 60, "{of_a}");
}

#[test]
fn filters_are_asked_once_a_slate_and_not_by_picks() {
    let (filters, asked) = counting();
    let first = slate(&Strategy::RoundRobin, members(10));
    assert_eq!(asked.load(Relaxed), 0);
    for _ in 0..100 {
        pick_with(&first, &filters).unwrap();
    }
    assert_eq!(asked.load(Relaxed), 10);
    // Made for the next slate before its first pick, since this one has used it.
    let second =
        Slate::new(&Strategy::RoundRobin, &Filters::default(), members(10), Some(&first), &mut rng());
    assert_eq!(asked.load(Relaxed), 20);
    pick_with(&second, &filters).unwrap();
    assert_eq!(asked.load(Relaxed), 20);
}

#[test]
fn filters_that_are_no_longer_used_are_dropped_after_a_while() {
    let (filters, asked) = counting();
    let mut slate = slate(&Strategy::RoundRobin, members(1));
    pick_with(&slate, &filters).unwrap();
    for _ in 0..100 {
        slate = Slate::new(&Strategy::RoundRobin, &Filters::default(), members(1), Some(&slate), &mut rng());
    }
    assert_eq!(asked.load(Relaxed), 9, "once, and for eight slates more");
}

#[test]
fn turns_go_on_within_a_view() {
    let members = grouped(&["blue", "green", "blue", "blue"]);
    let (mut slate, blue) = (slate(&Strategy::RoundRobin, members.clone()), Filter::group("blue").into());
    let mut counts = [0; 4];
    for _ in 0..300 {
        counts[pick_with(&slate, &blue).unwrap()] += 1;
        slate =
            Slate::new(&Strategy::RoundRobin, &Filters::default(), members.clone(), Some(&slate), &mut rng());
    }
    assert_eq!(counts, [100, 0, 100, 100]);
}

#[test]
fn more_sets_of_filters_than_the_table_holds_are_still_right() {
    let groups: Vec<String> = (0..300).map(|n| format!("g{n}")).collect();
    let slate = slate(&Strategy::RoundRobin, grouped(&groups.iter().map(String::as_str).collect::<Vec<_>>()));
    for _ in 0..2 {
        for (n, group) in groups.iter().enumerate() {
            assert_eq!(pick_with(&slate, &Filter::group(group).into()).unwrap(), n);
        }
    }
    assert!(pick_with(&slate, &Filter::group("none").into()).is_err());
}

#[test]
fn threads_that_ask_for_the_same_new_view_all_get_it() {
    let slate = slate(&Strategy::RoundRobin, grouped(&["blue", "green", "blue"]));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..200 {
                    let filters =
                        Filters::new([Filter::group("green"), Filter::custom(format!("{round}"), |_| true)]);
                    assert_eq!(pick_with(&slate, &filters).unwrap(), 1);
                }
            });
        }
    });
}
