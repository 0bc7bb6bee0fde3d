//! Listings and events that overlap, repeat, come late or not at all.

use super::*;

#[test]
fn a_name_asked_for_first_is_pending_and_read_once() {
    let mut rig = Rig::new();
    rig.ask();
    rig.ask();
    assert!(rig.seen().is_pending());
    assert_eq!(rig.reads.len(), 1);
    rig.answer_read(listing(&["b", "a"], 3));
    assert_eq!(rig.ids(), ["a", "b"]);
    assert_eq!(rig.view().revision(), Revision(3));
}

#[test]
fn a_name_that_the_registry_does_not_have_is_absent_until_its_first_node_comes() {
    let mut rig = Rig::new();
    rig.ask();
    rig.answer_read(listing(&[], 3));
    assert!(matches!(rig.seen(), Answer::Absent));
    rig.upsert("a", 4);
    assert_eq!(rig.ids(), ["a"]);
}

#[test]
fn a_name_whose_last_node_deregistered_is_known_and_empty() {
    let mut rig = Rig::knowing(&["a"]);
    rig.remove("a", Removal::Deregistered, 11);
    assert!(rig.ids().is_empty());
}

#[test]
fn a_name_whose_entries_cannot_be_understood_is_known_and_empty() {
    let mut rig = Rig::new();
    rig.ask();
    rig.answer_read(Ok(Listing { nodes: Vec::new(), revision: Revision(3), poisoned: 2 }));
    assert!(rig.ids().is_empty());
}

#[test]
fn a_snapshot_answers_a_name_before_its_reading_does() {
    let mut rig = Rig::new();
    rig.ask();
    rig.snapshot(&nodes(&["a"]), 5);
    assert_eq!(rig.ids(), ["a"]);
    rig.answer_read(listing(&["a", "old"], 4));
    assert_eq!(rig.ids(), ["a"]);
    assert!(rig.reads.is_empty());
}

#[test]
fn nothing_is_shown_of_a_snapshot_before_it_is_whole() {
    let mut rig = Rig::new();
    rig.ask();
    rig.event(WatchEvent::SnapshotStart);
    rig.event(WatchEvent::Node(node("a")));
    assert!(rig.seen().is_pending());
    rig.event(WatchEvent::Error(away()));
    rig.event(WatchEvent::SnapshotStart);
    rig.event(WatchEvent::Node(node("b")));
    assert!(rig.seen().is_pending());
    rig.event(WatchEvent::SnapshotDone(Revision(5)));
    assert_eq!(rig.ids(), ["b"]);
}

#[test]
fn events_that_come_while_a_name_is_read_are_neither_lost_nor_doubled() {
    let mut rig = Rig::new();
    rig.ask();
    rig.upsert("older", 4);
    rig.upsert("newer", 7);
    rig.remove("gone", Removal::Deregistered, 8);
    rig.remove("returned", Removal::Deregistered, 4);
    assert!(rig.seen().is_pending(), "one node is not all nodes");
    rig.answer_read(listing(&["a", "gone", "returned"], 6));
    assert_eq!(rig.ids(), ["a", "newer", "returned"]);
    rig.upsert("older", 4);
    rig.remove("a", Removal::Deregistered, 5);
    rig.advance(secs(1));
    assert_eq!(rig.ids(), ["a", "newer", "returned"]);
}

#[test]
fn a_node_that_goes_before_its_name_was_read_is_not_held_in_doubt() {
    let mut rig = Rig::new();
    rig.ask();
    rig.upsert("a", 4);
    rig.remove("a", Removal::Expired, 5);
    rig.answer_read(listing(&[], 5));
    assert!(matches!(rig.seen(), Answer::Absent));
}

#[test]
fn a_reading_older_than_what_the_watch_had_shown_is_not_believed_and_repeated() {
    let mut rig = Rig::new();
    rig.snapshot(&[], 10);
    rig.ask();
    rig.answer_read(listing(&["a"], 9));
    let Answer::Failed(error) = rig.seen() else { panic!("{:?}", rig.seen()) };
    assert!(error.to_string().contains("its state 9, older than 10"), "{error}");
    rig.advance(secs(2));
    rig.answer_read(listing(&["a", "b"], 10));
    assert_eq!(rig.ids(), ["a", "b"]);
}

#[test]
fn repeated_and_late_events_change_nothing() {
    let mut rig = Rig::knowing(&["a", "b", "c"]);
    rig.upsert("d", 12);
    rig.remove("a", Removal::Deregistered, 13);
    let before = rig.publications();
    rig.upsert("d", 12);
    rig.upsert("d", 11);
    rig.upsert("a", 12);
    rig.remove("d", Removal::Deregistered, 11);
    rig.remove("a", Removal::Deregistered, 13);
    rig.remove("unknown", Removal::Deregistered, 13);
    rig.remove("unknown", Removal::Expired, 14);
    rig.event(WatchEvent::Node(node("x")));
    rig.event(WatchEvent::SnapshotDone(Revision(99)));
    rig.advance(secs(1));
    assert_eq!(rig.ids(), ["b", "c", "d"]);
    assert_eq!(rig.publications(), before);
}

#[test]
fn a_departed_node_is_not_revived_by_an_older_word_however_many_departed_since() {
    let mut rig = Rig::knowing(&["a"]);
    for n in 0..1000 {
        rig.upsert(&format!("n{n}"), 11 + 2 * n);
        rig.remove(&format!("n{n}"), Removal::Deregistered, 12 + 2 * n);
    }
    for n in 0..1000 {
        rig.upsert(&format!("n{n}"), 11 + 2 * n);
    }
    rig.advance(secs(1));
    assert_eq!(rig.ids(), ["a"]);
}

#[test]
fn an_older_snapshot_is_not_believed_until_two_more_say_the_same() {
    let mut rig = Rig::knowing(&["a", "b"]);
    rig.snapshot(&nodes(&["a"]), 4);
    assert_eq!((rig.ids(), rig.reopened.len()), (vec!["a".into(), "b".into()], 1));
    assert!(rig.view().freshness().is_stale());
    rig.snapshot(&nodes(&["a"]), 5);
    assert_eq!((rig.ids(), rig.reopened.clone()), (vec!["a".into(), "b".into()], vec![secs(1), secs(4)]));
    rig.snapshot(&nodes(&["a", "c"]), 6);
    assert_eq!(rig.ids(), ["a", "b", "c"]);
    assert_eq!(rig.suspects(), ["b"]);
    rig.upsert("d", 7);
    rig.advance(secs(1));
    assert_eq!(rig.ids(), ["a", "b", "c", "d"], "the registry counts anew, and is followed");
}

#[test]
fn a_replica_that_lags_once_is_passed_over() {
    let mut rig = Rig::knowing(&["a", "b"]);
    rig.snapshot(&nodes(&["a"]), 4);
    rig.snapshot(&nodes(&["a", "b", "c"]), 11);
    assert_eq!(rig.ids(), ["a", "b", "c"]);
    assert!(rig.suspects().is_empty());
    assert!(!rig.view().freshness().is_stale());
    rig.snapshot(&nodes(&["a"]), 4);
    assert_eq!(rig.reopened, [secs(1), secs(1)], "the count begins again");
}

#[test]
fn a_name_let_go_and_asked_for_again_is_read_again_and_an_old_result_is_dropped() {
    let mut rig = Rig::new();
    rig.ask();
    rig.machine.forget(&greeter());
    rig.ask();
    assert_eq!(rig.reads.len(), 2);
    rig.answer_read(listing(&["old"], 3));
    assert!(rig.machine.answer(&greeter()).unwrap().is_pending());
    rig.answer_read(listing(&["new"], 3));
    assert_eq!(rig.ids(), ["new"]);
}

#[test]
fn nodes_of_other_names_and_domains_do_not_slip_in() {
    let mut rig = Rig::new();
    rig.ask();
    let foreign = Node::builder("greeter", "foreign", "127.0.0.1:1").domain("shop").build().unwrap();
    let other = node_of("other", "other");
    let listing = Listing {
        nodes: vec![node("a"), Arc::new(foreign.clone()), other.clone()],
        revision: Revision(3),
        poisoned: 0,
    };
    rig.answer_read(Ok(listing));
    rig.event(WatchEvent::Upsert(Arc::new(foreign.clone()), Revision(4)));
    rig.event(WatchEvent::Upsert(other, Revision(5)));
    let twin = NodeKey { id: node("a").id().clone(), ..foreign.key() };
    rig.event(WatchEvent::Remove(twin, Removal::Deregistered, Revision(6)));
    rig.snapshot(&[node("a"), Arc::new(foreign)], 7);
    rig.advance(secs(1));
    assert_eq!(rig.ids(), ["a"]);
}

#[test]
fn one_id_in_two_domains_is_two_nodes_when_all_domains_are_followed() {
    let mut rig = Rig::with_config(DirectoryConfig::in_domain(crate::Domain::all()));
    rig.ask();
    let twin = Arc::new(Node::builder("greeter", "a", "127.0.0.1:1").domain("shop").build().unwrap());
    rig.snapshot(&[node("a"), twin.clone()], 3);
    assert_eq!(rig.ids(), ["a", "a"]);
    rig.event(WatchEvent::Remove(twin.key(), Removal::Deregistered, Revision(4)));
    assert_eq!(rig.view().nodes()[0].domain(), node("a").domain());
    assert_eq!(rig.view().nodes().len(), 1);
}

#[test]
fn the_names_that_exist_are_known_without_being_asked_for() {
    let mut rig = Rig::new();
    rig.snapshot(&[node_of("greeter", "a"), node_of("cart", "a")], 3);
    rig.event(WatchEvent::Upsert(node_of("stock", "a"), Revision(4)));
    let names = |rig: &Rig| rig.names.list().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&rig), ["cart", "greeter", "stock"]);
    rig.snapshot(&[node_of("greeter", "a")], 5);
    assert_eq!(names(&rig), ["greeter"]);
    rig.ask();
    rig.answer_read(listing(&["a"], 5));
    rig.remove("a", Removal::Deregistered, 6);
    assert!(names(&rig).is_empty(), "its last node went");
    rig.upsert("a", 7);
    assert_eq!(names(&rig), ["greeter"]);
}
