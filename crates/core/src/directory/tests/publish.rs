//! When answers are published, and what becomes of them while the registry is away.

use super::*;

#[test]
fn the_first_change_is_published_at_once_and_the_next_ones_together() {
    let mut rig = Rig::knowing(&["a"]);
    rig.upsert("b", 11);
    assert_eq!((rig.publications(), rig.ids().len()), (1, 2));
    rig.advance(millis(10));
    rig.upsert("c", 12);
    rig.advance(millis(10));
    rig.upsert("d", 13);
    assert_eq!((rig.publications(), rig.ids().len()), (1, 2));
    rig.advance(millis(80));
    assert_eq!((rig.publications(), rig.ids().len()), (2, 4));
    rig.advance(secs(10));
    assert_eq!(rig.publications(), 2);
}

#[test]
fn a_deregistration_and_a_drain_do_not_wait() {
    let mut rig = Rig::knowing(&["a", "b"]);
    rig.upsert("c", 11);
    rig.advance(millis(10));
    rig.upsert("d", 12);
    rig.remove("a", Removal::Deregistered, 13);
    assert_eq!(rig.ids(), ["b", "c", "d"], "what was waiting goes along");
    let draining = Node::builder("greeter", "b", "127.0.0.1:4000").weight(0).build().unwrap();
    rig.event(WatchEvent::Upsert(Arc::new(draining), Revision(14)));
    assert_eq!(rig.view().nodes()[0].weight(), Some(0));
    assert_eq!(rig.publications(), 3);
}

#[test]
fn what_does_not_change_a_name_is_not_published() {
    let mut rig = Rig::knowing(&["a"]);
    rig.upsert("a", 11);
    rig.event(WatchEvent::Upsert(node_of("other", "x"), Revision(12)));
    rig.snapshot(&nodes(&["a"]), 13);
    rig.advance(secs(10));
    assert_eq!(rig.publications(), 0);
}

#[test]
fn a_burst_handed_in_together_is_one_publication() {
    let mut rig = Rig::knowing(&["a", "b", "c"]);
    for (id, at) in [("a", 11), ("b", 12)] {
        let removal = WatchEvent::Remove(node(id).key(), Removal::Deregistered, Revision(at));
        rig.machine.on_event(removal, rig.now);
    }
    rig.settle();
    assert_eq!((rig.publications(), rig.ids()), (1, vec!["c".to_owned()]));
}

#[test]
fn an_outage_takes_nothing_away_and_says_since_when_and_why() {
    let mut rig = Rig::knowing(&["a", "b"]);
    let (before, since) = (rig.view(), rig.now);
    rig.outage();
    rig.advance(secs(3600));
    rig.outage();
    assert_eq!(rig.publications(), 1, "the same trouble is told once");
    let view = rig.view();
    assert_eq!(view.nodes(), before.nodes());
    let Freshness::Stale { since: told, error } = view.freshness() else { panic!("fresh") };
    assert_eq!((*told, error.kind()), (since, ErrorKind::Unavailable));
    assert_eq!(view.freshness().age(rig.now), secs(3600));
    assert_eq!(view.confirmed(), before.confirmed());
    assert!(rig.freshness.is_stale());
}

#[test]
fn another_reason_for_the_same_outage_is_told_and_the_outage_is_no_younger() {
    let mut rig = Rig::knowing(&["a"]);
    let since = rig.now;
    rig.outage();
    rig.advance(secs(5));
    rig.event(WatchEvent::Error(Error::new(ErrorKind::PermissionDenied, "reach registry", "bad password")));
    let Freshness::Stale { since: told, error } = rig.view().freshness().clone() else { panic!("fresh") };
    assert_eq!((told, error.kind()), (since, ErrorKind::PermissionDenied));
}

#[test]
fn any_word_from_the_watch_ends_an_outage() {
    for snapshot in [true, false] {
        let mut rig = Rig::knowing(&["a"]);
        rig.outage();
        if snapshot {
            rig.snapshot(&nodes(&["a"]), 10);
        } else {
            rig.event(WatchEvent::Upsert(node_of("other", "x"), Revision(11)));
        }
        assert!(!rig.view().freshness().is_stale());
        assert!(!rig.freshness.is_stale());
    }
}

#[test]
fn absent_stays_absent_while_the_registry_is_away() {
    let mut rig = Rig::new();
    rig.ask();
    rig.answer_read(listing(&[], 3));
    rig.outage();
    assert!(matches!(rig.seen(), Answer::Absent));
    assert_eq!(rig.publications(), 1);
}

#[test]
fn a_name_read_while_the_watch_is_away_is_known_and_stale_from_then_on() {
    let mut rig = Rig::new();
    rig.outage();
    rig.advance(secs(5));
    rig.ask();
    rig.answer_read(listing(&["a"], 3));
    let view = rig.view();
    assert_eq!(view.freshness().age(rig.now), Duration::ZERO);
    assert!(view.freshness().is_stale());
}

#[test]
fn a_cold_name_that_cannot_be_read_has_failed_and_is_read_again_with_growing_waits() {
    let mut rig = Rig::new();
    rig.ask();
    let mut times = Vec::new();
    while times.len() < 6 {
        if let Some((at, ..)) = rig.reads.first() {
            times.push(at.as_secs_f64());
            rig.answer_read(Err(away()));
        }
        assert!(matches!(rig.seen(), Answer::Failed(_)));
        rig.advance(millis(1));
    }
    assert_eq!(rig.publications(), 1, "the same failure is told once");
    for (n, pair) in times.windows(2).enumerate() {
        let (wait, planned) = (pair[1] - pair[0], 1.6_f64.powi(n as i32));
        assert!((0.8 * planned..=1.2 * planned + 0.01).contains(&wait), "{times:?}");
    }
    rig.advance(secs(30));
    rig.answer_read(listing(&["a"], 3));
    assert_eq!(rig.ids(), ["a"]);
    rig.advance(secs(1000));
    assert!(rig.reads.is_empty(), "once known it is followed, not read");
}

#[test]
fn a_cold_name_that_failed_is_answered_as_soon_as_the_watch_has_a_snapshot() {
    let mut rig = Rig::new();
    rig.ask();
    rig.answer_read(Err(away()));
    rig.snapshot(&nodes(&["a"]), 3);
    assert_eq!(rig.ids(), ["a"]);
    rig.advance(secs(1000));
    assert!(rig.reads.is_empty());
}

#[test]
fn times_beyond_the_clock_mean_never_and_break_nothing() {
    let config = DirectoryConfig {
        merge: Duration::MAX,
        rereads: [Duration::MAX; 2],
        grace: Duration::MAX,
        sudden: Duration::MAX,
        ..DirectoryConfig::default()
    };
    let mut rig = Rig::with_config(config);
    rig.ask();
    rig.snapshot(&nodes(&["a"]), 3);
    rig.upsert("b", 4);
    rig.snapshot(&[], 5);
    rig.advance(secs(100_000));
    assert_eq!(rig.ids(), ["a"]);
    rig.remove("b", Removal::Deregistered, 6);
    assert_eq!(rig.suspects(), ["a"]);
}
