//! Nodes that vanish: which losses are believed, and when.

use super::*;

#[test]
fn a_deregistration_is_honoured_at_once_even_of_all_nodes() {
    let mut rig = Rig::knowing(&["a", "b"]);
    rig.remove("a", Removal::Deregistered, 11);
    rig.remove("b", Removal::Deregistered, 12);
    assert!(rig.ids().is_empty());
    assert!(rig.reads.is_empty());
}

#[test]
fn a_few_expired_nodes_are_gone() {
    let mut rig = Rig::knowing(&["a", "b", "c"]);
    rig.remove("b", Removal::Expired, 11);
    assert_eq!(rig.ids(), ["a", "c"]);
    assert!(rig.suspects().is_empty());
}

#[test]
fn more_than_half_expiring_together_are_suspects_for_the_grace() {
    let mut rig = Rig::knowing(&["a", "b", "c", "d"]);
    for (n, id) in ["a", "b", "c"].iter().enumerate() {
        rig.remove(id, Removal::Expired, 11 + n as u64);
        rig.advance(secs(1));
    }
    assert_eq!(rig.ids(), ["a", "b", "c", "d"], "also those that were believed gone come back");
    assert_eq!(rig.suspects(), ["a", "b", "c"]);
    assert!(rig.reads.is_empty(), "reading again can only say the same");
    rig.advance(secs(297));
    assert_eq!(rig.suspects().len(), 3);
    rig.advance(secs(2));
    assert_eq!(rig.ids(), ["d"]);
}

#[test]
fn losses_far_apart_are_not_sudden() {
    let mut rig = Rig::knowing(&["a", "b", "c", "d"]);
    for (n, id) in ["a", "b"].iter().enumerate() {
        rig.remove(id, Removal::Expired, 11 + n as u64);
        rig.advance(secs(16));
    }
    rig.remove("c", Removal::Expired, 20);
    assert_eq!(rig.ids(), ["d"]);
}

#[test]
fn a_suspect_that_reports_again_is_a_node_like_the_others() {
    let mut rig = Rig::knowing(&["a"]);
    rig.remove("a", Removal::Expired, 11);
    assert_eq!(rig.suspects(), ["a"]);
    assert!(rig.view().is_suspect(&node("a")));
    rig.upsert("a", 12);
    rig.advance(secs(1));
    assert_eq!((rig.ids(), rig.suspects().len()), (vec!["a".to_owned()], 0));
    rig.advance(secs(1000));
    assert_eq!(rig.ids(), ["a"]);
}

#[test]
fn a_suspect_that_deregisters_is_gone_at_once() {
    let mut rig = Rig::knowing(&["a"]);
    rig.remove("a", Removal::Expired, 11);
    rig.remove("a", Removal::Deregistered, 12);
    assert!(rig.ids().is_empty());
}

#[test]
fn a_suspect_that_a_caller_found_dead_is_gone_and_any_other_node_stays() {
    let mut rig = Rig::knowing(&["a", "b", "c"]);
    rig.snapshot(&nodes(&["c"]), 11);
    for id in ["a", "c", "unknown"] {
        rig.machine.refute(node(id).key(), rig.now);
    }
    rig.advance(millis(200));
    assert_eq!((rig.ids(), rig.suspects()), (vec!["b".to_owned(), "c".to_owned()], vec!["b".to_owned()]));
}

#[test]
fn an_emptied_snapshot_is_believed_after_two_more_readings_at_about_1_and_5_seconds() {
    let mut rig = Rig::knowing(&["a", "b"]);
    let start = rig.now - rig.start;
    rig.snapshot(&[], 11);
    for planned in [1, 5] {
        assert_eq!(rig.suspects(), ["a", "b"]);
        while rig.reads.is_empty() {
            rig.advance(millis(10));
        }
        let waited = rig.reads[0].0 - start;
        assert!((secs(planned)..=secs(planned) * 6 / 5).contains(&waited), "{waited:?}");
        rig.answer_read(listing(&[], 11));
    }
    assert!(rig.ids().is_empty());
    rig.advance(secs(1000));
    assert!(rig.reads.is_empty());
}

#[test]
fn nodes_that_find_back_in_time_were_never_away() {
    let mut rig = Rig::knowing(&["a", "b", "c"]);
    rig.snapshot(&[], 11);
    rig.advance(millis(1200));
    rig.answer_read(listing(&["a"], 12));
    rig.advance(millis(100));
    assert_eq!((rig.ids().len(), rig.suspects()), (3, vec!["b".to_owned(), "c".to_owned()]));
    rig.upsert("b", 13);
    rig.advance(secs(5));
    rig.answer_read(listing(&["a", "b", "c"], 14));
    rig.advance(secs(1));
    assert_eq!((rig.ids().len(), rig.suspects().len()), (3, 0));
    assert!(rig.reads.is_empty());
}

#[test]
fn a_snapshot_without_half_of_the_nodes_or_fewer_is_believed() {
    let mut rig = Rig::knowing(&["a", "b", "c", "d"]);
    rig.snapshot(&nodes(&["a", "b"]), 11);
    assert_eq!((rig.ids(), rig.suspects().len()), (vec!["a".to_owned(), "b".to_owned()], 0));
}

#[test]
fn a_snapshot_without_more_than_half_is_doubted_and_what_it_adds_is_taken() {
    let mut rig = Rig::knowing(&["a", "b", "c"]);
    rig.snapshot(&nodes(&["c", "d"]), 11);
    assert_eq!(rig.ids(), ["a", "b", "c", "d"]);
    assert_eq!(rig.suspects(), ["a", "b"]);
}

#[test]
fn after_an_outage_every_absence_is_doubted() {
    let mut rig = Rig::knowing(&["a", "b", "c"]);
    rig.outage();
    rig.snapshot(&nodes(&["a", "b"]), 11);
    assert_eq!((rig.ids().len(), rig.suspects()), (3, vec!["c".to_owned()]));
    for _ in 0..2 {
        rig.advance(secs(6));
        rig.answer_read(listing(&["a", "b"], 11));
    }
    rig.advance(secs(1));
    assert_eq!(rig.ids(), ["a", "b"]);
}

#[test]
fn what_a_reading_lacks_while_the_watch_is_away_is_doubted() {
    let mut rig = Rig::new();
    rig.ask();
    rig.snapshot(&nodes(&["a", "b", "c"]), 10);
    rig.outage();
    rig.answer_read(listing(&["a", "b"], 11));
    rig.advance(secs(1));
    assert_eq!((rig.ids().len(), rig.suspects()), (3, vec!["c".to_owned()]));
}

#[test]
fn the_bound_on_suspects_drops_none_while_the_watch_is_away() {
    let mut rig = Rig::new();
    rig.ask();
    rig.snapshot(&nodes(&["a"]), 10);
    rig.snapshot(&[], 11);
    rig.upsert("b", 12);
    rig.outage();
    rig.answer_read(listing(&[], 12));
    rig.advance(secs(1));
    assert_eq!(rig.suspects(), ["a", "b"]);
}

#[test]
fn readings_that_fail_or_are_unreadable_in_part_confirm_nothing() {
    let mut rig = Rig::knowing(&["a"]);
    rig.snapshot(&[], 11);
    for n in 0..10 {
        rig.advance(secs(5).max(secs(n * 10)));
        if rig.reads.is_empty() {
            continue;
        }
        let unreadable = Listing { nodes: Vec::new(), revision: Revision(11), poisoned: 1 };
        rig.answer_read(if n % 2 == 0 { Err(away()) } else { Ok(unreadable) });
        if rig.now - rig.start < secs(355) {
            assert_eq!(rig.suspects(), ["a"], "{n}");
        }
    }
    rig.advance(secs(300));
    assert!(rig.ids().is_empty(), "the grace is over");
}

#[test]
fn a_failing_reading_is_repeated_with_growing_waits() {
    let mut rig = Rig::knowing(&["a"]);
    rig.snapshot(&[], 11);
    let mut answered = 0;
    for _ in 0..60 {
        rig.advance(secs(1));
        if !rig.reads.is_empty() {
            rig.answer_read(Err(away()));
            answered += 1;
        }
    }
    assert!((4..=9).contains(&answered), "{answered} readings in a minute");
}

#[test]
fn while_the_registry_is_away_no_suspect_is_dropped_and_the_grace_starts_anew_when_it_is_back() {
    let mut rig = Rig::knowing(&["a", "b"]);
    rig.remove("a", Removal::Expired, 11);
    rig.remove("b", Removal::Expired, 12);
    rig.outage();
    rig.advance(secs(10_000));
    assert_eq!(rig.suspects(), ["a", "b"]);
    rig.snapshot(&[], 13);
    rig.advance(secs(299));
    assert_eq!(rig.suspects(), ["a", "b"]);
    rig.advance(secs(1));
    assert!(rig.ids().is_empty());
}

#[test]
fn readings_during_an_outage_confirm_nothing_and_are_planned_anew_after_it() {
    let mut rig = Rig::knowing(&["a"]);
    rig.snapshot(&[], 11);
    rig.outage();
    for n in 0..20 {
        rig.advance(secs(150));
        rig.answer_read(if n % 2 == 0 { Err(away()) } else { listing(&[], 11) });
        assert_eq!(rig.suspects(), ["a"], "not even when its grace would be over");
    }
    rig.snapshot(&[], 12);
    rig.advance(secs(2));
    rig.answer_read(listing(&[], 12));
    assert_eq!(rig.suspects(), ["a"]);
    rig.advance(secs(4));
    rig.answer_read(listing(&[], 12));
    assert!(rig.ids().is_empty());
}

#[test]
fn a_second_doubt_has_readings_of_its_own() {
    let mut rig = Rig::knowing(&["a", "b", "c", "d", "e"]);
    rig.snapshot(&nodes(&["d", "e"]), 11);
    rig.advance(millis(1200));
    rig.answer_read(listing(&["d", "e"], 11));
    rig.advance(secs(3));
    rig.snapshot(&[], 12);
    assert_eq!(rig.suspects().len(), 5);
    rig.advance(millis(1200));
    rig.answer_read(listing(&[], 12));
    rig.advance(millis(200));
    assert_eq!(rig.suspects(), ["d", "e"], "the first three were missing twice");
    rig.advance(secs(5));
    rig.answer_read(listing(&[], 12));
    assert!(rig.ids().is_empty());
}

#[test]
fn suspects_are_never_more_than_the_nodes_there_were() {
    let mut rig = Rig::knowing(&["a", "b", "c"]);
    for generation in 0..20 {
        rig.snapshot(&nodes(&[&format!("x{generation}")]), 11 + generation);
        assert!(rig.view().suspects().len() <= 3, "{:?}", rig.suspects());
        rig.advance(millis(150));
    }
    assert!(rig.ids().contains(&"x19".to_owned()));
}

#[test]
fn readings_about_missing_nodes_do_not_shorten_the_grace_of_expired_ones() {
    let mut rig = Rig::knowing(&["a", "b", "c"]);
    rig.remove("a", Removal::Expired, 11);
    rig.remove("b", Removal::Expired, 12);
    rig.advance(secs(1));
    assert_eq!(rig.suspects(), ["a", "b"]);
    rig.snapshot(&[], 13);
    for _ in 0..2 {
        rig.advance(secs(6));
        rig.answer_read(listing(&[], 13));
    }
    rig.advance(secs(1));
    assert_eq!(rig.suspects(), ["a", "b"]);
    rig.advance(secs(300));
    assert!(rig.ids().is_empty());
}

#[test]
fn a_reading_that_was_under_way_when_the_doubt_arose_confirms_nothing() {
    let mut rig = Rig::knowing(&["a", "b"]);
    rig.snapshot(&[], 11);
    rig.advance(secs(2));
    rig.upsert("a", 13);
    rig.remove("a", Removal::Unknown, 14);
    rig.answer_read(listing(&[], 14));
    for _ in 0..2 {
        rig.advance(secs(1));
        assert_eq!(rig.suspects(), ["a", "b"]);
        rig.advance(secs(4));
        rig.answer_read(listing(&[], 14));
    }
    assert!(rig.ids().is_empty());
}
