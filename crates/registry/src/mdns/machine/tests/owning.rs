//! Speaking for nodes.

use super::*;

fn announced(link: &Link, at: usize) -> usize {
    link.stations[at].sent.iter().filter(|packet| matches!(packet.to, To::All(_))).count()
}

#[test]
fn a_node_is_there_after_three_objections_were_waited_for_and_is_announced_three_times() {
    let mut link = Link::new(2, 1);
    let began = link.now;
    let _one = link.register(0, &node("1", 1)).unwrap();
    assert_eq!(link.now - began, Link::TIMING.probe * 3);
    link.run(Duration::from_secs(10));
    assert_eq!(announced(&link, 0), 3);
    assert_eq!(link.stations[1].ids(), ["1"]);
}

#[test]
fn a_second_owner_is_refused_and_told_who_the_first_is() {
    let mut link = Link::new(2, 1);
    let _one = link.register(0, &node("1", 1)).unwrap();
    link.run(Duration::from_secs(200));
    let error = link.register(1, &node("1", 2)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("10.0.0.1:4000"), "{error}");
}

#[test]
fn of_two_who_want_one_name_at_the_same_time_just_one_gets_it() {
    for seed in 0..200 {
        let mut link = Link::new(2, seed);
        let mine = link.begin_to_register(0, &node("1", 1));
        link.run(Duration::from_millis(seed % 150));
        let yours = link.begin_to_register(1, &node("1", 2));
        let got = [link.answer(mine), link.answer(yours)];
        assert_eq!(got.iter().filter(|got| got.is_ok()).count(), 1, "seed {seed}: {got:?}");
        let refused = got.iter().find_map(|got| got.as_ref().err()).unwrap();
        assert_eq!(refused.kind(), ErrorKind::Conflict);
    }
}

#[test]
fn two_who_got_one_name_apart_from_each_other_do_not_both_keep_it() {
    for seed in 0..50 {
        let mut link = Link::new(3, seed);
        link.cut = vec![0];
        let (mine, yours) =
            (link.register(0, &node("1", 1)).unwrap(), link.register(1, &node("1", 2)).unwrap());
        link.run(Duration::from_secs(5));
        link.cut.clear();
        let watch = Arc::new(());
        let answer = link.begin_to_look(2, Some("greeter"), Some(&watch));
        link.answer(answer).unwrap();
        let now = link.now;
        link.stations[0].machine.restart(now);
        link.run(Duration::from_secs(30));
        let lost = [&mine, &yours].map(|held| held.lost.borrow().clone());
        assert_eq!(lost.iter().flatten().count(), 1, "seed {seed}: {lost:?}");
        assert_eq!(lost.iter().flatten().next().unwrap().kind(), ErrorKind::Conflict);
        let survivor = if lost[0].is_none() { 1 } else { 2 };
        assert_eq!(link.stations[2].nodes.values().next().unwrap().weight(), Some(survivor), "seed {seed}");
    }
}

#[test]
fn a_node_that_leaves_is_gone_at_once_and_nothing_said_before_brings_it_back() {
    let mut link = Link::new(2, 1);
    let one = link.register(0, &node("1", 1)).unwrap();
    link.run(Duration::from_secs(5));
    let old: Vec<_> = link.stations[0].sent.iter().map(|packet| packet.bytes.clone()).collect();
    drop(one);
    link.run(Duration::from_millis(20));
    assert_eq!(link.stations[1].removals, [(node("1", 1).key(), Removal::Deregistered)]);
    old.iter().for_each(|bytes| link.say(1, bytes));
    link.run(Duration::from_secs(1));
    assert!(link.stations[1].nodes.is_empty());
    // It said so three times, for those who did not hear.
    assert_eq!(announced(&link, 0), 3 + 3);
}

#[test]
fn a_node_that_comes_back_at_once_is_back() {
    let mut link = Link::new(2, 1);
    for round in 1..20 {
        let one = link.register(0, &node("1", round)).unwrap();
        link.run(Duration::from_millis(150));
        assert_eq!(link.stations[1].nodes.values().next().unwrap().weight(), Some(round));
        drop(one);
    }
    link.run(Duration::from_secs(5));
    assert!(link.stations[1].nodes.is_empty());
}

#[test]
fn changes_in_quick_succession_are_told_together_and_the_last_one_is_told() {
    let mut link = Link::new(2, 1);
    let one = link.register(0, &node("1", 0)).unwrap();
    let before = announced(&link, 0);
    for weight in 1..=1000 {
        link.update(0, &one, &node("1", weight)).unwrap();
        link.run(Duration::from_millis(1));
    }
    link.run(Duration::from_millis(120));
    assert_eq!(link.stations[1].nodes.values().next().unwrap().weight(), Some(1000));
    assert!(announced(&link, 0) - before <= 12, "{}", announced(&link, 0) - before);
}

#[test]
fn an_older_description_that_comes_late_is_not_believed() {
    let mut link = Link::new(2, 1);
    let one = link.register(0, &node("1", 1)).unwrap();
    link.run(Duration::from_secs(5));
    let old = link.stations[0].sent.last().unwrap().bytes.clone();
    link.update(0, &one, &node("1", 2)).unwrap();
    link.run(Duration::from_secs(1));
    link.say(1, &old);
    assert_eq!(link.stations[1].nodes.values().next().unwrap().weight(), Some(2));
}

#[test]
fn somebody_elses_goodbye_ends_a_registration_and_its_own_echo_does_not() {
    let mut link = Link::new(2, 1);
    let one = link.register(0, &node("1", 1)).unwrap();
    link.run(Duration::from_secs(1));
    let (reply, answer) = oneshot::channel();
    link.ask(1, Request::Deregister { key: node("1", 1).key(), reply });
    link.answer(answer).unwrap();
    link.run(Duration::from_secs(1));
    let lost = one.lost.borrow().clone().unwrap();
    assert_eq!((lost.kind(), lost.is_retryable()), (ErrorKind::NotFound, true));
    assert!(link.stations.iter().all(|station| station.nodes.is_empty()));

    let again = link.register(0, &node("1", 1)).unwrap();
    drop(one);
    drop(link.register(0, &node("1", 2)).unwrap());
    let last = link.register(0, &node("1", 3)).unwrap();
    link.run(Duration::from_secs(5));
    assert_eq!(again.lost.borrow().as_ref().unwrap().kind(), ErrorKind::Conflict);
    assert!(last.lost.borrow().is_none());
    assert_eq!(link.stations[1].ids(), ["1"]);
}

#[test]
fn a_registration_that_was_given_up_is_not_made_and_one_given_up_late_is_taken_back() {
    let mut link = Link::new(2, 1);
    drop(link.begin_to_register(0, &node("1", 1)));
    let late = link.begin_to_register(0, &node("2", 1));
    link.run(Duration::from_millis(150));
    drop(late);
    let unread = link.begin_to_register(0, &node("3", 1));
    link.run(Duration::from_secs(1));
    drop(unread);
    link.run(Duration::from_secs(1));
    assert!(link.stations.iter().all(|station| station.nodes.is_empty()));
    assert!(link.stations[0].machine.responder.find(&node("1", 1).key()).is_none());
}

#[test]
fn an_update_of_what_is_not_held_says_why() {
    let mut link = Link::new(1, 1);
    let one = link.register(0, &node("1", 1)).unwrap();
    let error = link.update(0, &one, &node("2", 1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let _newer = link.register(0, &node("1", 2)).unwrap();
    let error = link.update(0, &one, &node("1", 3)).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::NotFound, true));
}

#[test]
fn a_node_on_the_loopback_interface_is_nobody_elses_business() {
    let mut link = Link::new(2, 1);
    let local = Node::builder("greeter", "1", "127.0.0.1:4000").build().unwrap();
    let _one = link.register(0, &Arc::new(local)).unwrap();
    assert!(link.look(1, Some("greeter")).unwrap().is_empty());
    assert!(link.look(1, None).unwrap().is_empty());
    let told = |packet: &Packet| matches!(packet.to, To::All(Reach::Everybody) | To::One(_));
    assert!(!link.stations[0].sent.iter().any(told));
}

#[test]
fn a_handle_that_closes_takes_its_nodes_along() {
    let mut link = Link::new(2, 1);
    let _held: Vec<_> = ["1", "2"].map(|id| link.register(0, &node(id, 1)).unwrap()).into();
    link.run(Duration::from_secs(1));
    assert_eq!(link.stations[1].ids(), ["1", "2"]);
    let now = link.now;
    link.stations[0].machine.close(now);
    link.run(Duration::from_millis(50));
    assert!(link.stations[1].nodes.is_empty());
}

#[test]
fn a_node_that_crashed_and_starts_again_elsewhere_is_believed_at_once() {
    let mut link = Link::new(3, 1);
    let watch = Arc::new(());
    let _listing = link.begin_to_look(0, None, Some(&watch));
    let _first = link.register(1, &node("1", 1)).unwrap();
    link.run(Duration::from_secs(1));
    link.kill(1);
    // What was under way arrives.
    link.run(Duration::from_millis(50));
    let _second = link.register(2, &node("1", 2)).unwrap();
    link.run(Duration::from_millis(20));
    assert_eq!(link.stations[0].nodes.values().next().unwrap().weight(), Some(2));
    assert!(link.stations[0].removals.is_empty());
}

/// What station 0 said last to everybody.
fn last_word(link: &Link) -> Vec<u8> {
    let mut said = link.stations[0].sent.iter().rev();
    said.find(|packet| matches!(packet.to, To::All(_))).unwrap().bytes.clone()
}

#[test]
fn a_goodbye_that_comes_back_late_does_not_end_the_next_registration() {
    let mut link = Link::new(1, 1);
    drop(link.register(0, &node("1", 1)).unwrap());
    link.run(Duration::from_secs(5));
    let goodbye = last_word(&link);
    let again = link.register(0, &node("1", 2)).unwrap();
    link.say(0, &goodbye);
    link.run(Duration::from_secs(1));
    assert!(again.lost.borrow().is_none());
    assert_eq!(link.stations[0].ids(), ["1"]);
}

#[test]
fn what_a_node_said_before_it_left_is_no_objection_to_the_next_of_its_name() {
    let mut link = Link::new(2, 1);
    let one = link.register(0, &node("1", 1)).unwrap();
    link.run(Duration::from_secs(1));
    let announcement = last_word(&link);
    drop(one);
    link.run(Duration::from_secs(1));
    let next = link.begin_to_register(1, &node("1", 2));
    link.run(Duration::from_millis(50));
    link.say(1, &announcement);
    assert!(link.answer(next).is_ok());
}
