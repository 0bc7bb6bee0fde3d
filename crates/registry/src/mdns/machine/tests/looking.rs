//! Looking for nodes.

use super::*;

/// Longer than any check of silent nodes takes.
const CHECKED: Duration = Duration::from_secs(17);

#[test]
fn a_cold_lookup_returns_with_the_first_node_and_goes_on_listening() {
    let mut link = Link::new(3, 1);
    let _one = link.register(1, &node("1", 1)).unwrap();
    let _two = link.register(2, &node("2", 1)).unwrap();
    // Long after the announcements, which nobody listened to.
    let mut late = Link::new(1, 2);
    link.stations.append(&mut late.stations);
    link.run(Duration::from_secs(30));
    let began = link.now;
    assert!(!link.look(3, Some("greeter")).unwrap().is_empty());
    assert!(link.now - began < Duration::from_millis(100), "{:?}", link.now - began);
    link.run(Duration::from_secs(1));
    assert_eq!(link.stations[3].ids(), ["1", "2"]);
}

#[test]
fn a_lookup_of_nobody_ends_when_its_time_is_up() {
    let mut link = Link::new(2, 1);
    let began = link.now;
    assert!(link.look(0, Some("greeter")).unwrap().is_empty());
    assert_eq!(link.now - began, Link::TIMING.lookup);
}

#[test]
fn what_is_known_is_answered_at_once() {
    let mut link = Link::new(2, 1);
    let _one = link.register(1, &node("1", 1)).unwrap();
    link.look(0, Some("greeter")).unwrap();
    link.look(0, None).unwrap();
    for _ in 0..100 {
        link.run(Duration::from_millis(700));
        let began = link.now;
        assert_eq!(link.look(0, Some("greeter")).unwrap(), ["1"]);
        assert_eq!(link.look(0, None).unwrap(), ["1"]);
        assert_eq!(link.now, began);
    }
}

#[test]
fn a_list_shows_services_that_nobody_has_asked_for() {
    let mut link = Link::new(3, 1);
    let mut held = Vec::new();
    for (at, service) in [(1, "greeter"), (1, "cart"), (2, "a.b"), (2, "..")] {
        let node = Node::builder(service, service, "10.0.0.1:1").build().unwrap();
        held.push(link.register(at, &Arc::new(node)).unwrap());
    }
    let mut late = Link::new(1, 2);
    link.stations.append(&mut late.stations);
    link.run(Duration::from_secs(30));
    assert_eq!(link.look(3, None).unwrap(), ["..", "a.b", "cart", "greeter"]);
}

#[test]
fn a_list_of_all_domains_finds_the_domains() {
    let mut link = Link::new(2, 1);
    let mut held = Vec::new();
    for domain in ["micro", "shop", "../odd *"] {
        let node = Node::builder("greeter", domain, "10.0.0.1:1").domain(domain).build().unwrap();
        held.push(link.register(0, &Arc::new(node)).unwrap());
    }
    let mut late = Link::new(1, 2);
    link.stations.append(&mut late.stations);
    link.run(Duration::from_secs(30));
    let (reply, answer) = oneshot::channel();
    let look = Look { domain: Domain::all(), service: None, hasty: false, watch: None, reply };
    link.ask(2, Request::Look(look));
    // Domains are found one question later than services, so it may be that not all are known at first.
    link.answer(answer).unwrap();
    link.run(Duration::from_secs(1));
    assert_eq!(link.stations[2].ids(), ["../odd *", "micro", "shop"]);
}

#[test]
fn a_node_that_crashed_is_found_out_while_somebody_is_interested() {
    for seed in 0..20 {
        let mut link = Link::new(2, seed);
        let _one = link.register(1, &node("1", 1)).unwrap();
        let watch = Arc::new(());
        let answer = link.begin_to_look(0, Some("greeter"), Some(&watch));
        assert_eq!(link.answer(answer).unwrap().nodes.len(), 1);
        link.run(Duration::from_secs(60));
        assert!(link.stations[0].removals.is_empty(), "{:?}", link.stations[0].removals);
        link.kill(1);
        link.run(CHECKED);
        assert_eq!(link.stations[0].removals, [(node("1", 1).key(), Removal::Expired)]);
    }
}

#[test]
fn a_crowd_of_which_some_crashed_is_told_apart() {
    let mut link = Link::new(2, 3);
    let mut held = Vec::new();
    for n in 0..100 {
        held.push(link.begin_to_register(1, &node(&n.to_string(), 1)));
    }
    let held: Vec<_> = held.into_iter().map(|answer| link.answer(answer).unwrap()).collect();
    let watch = Arc::new(());
    let answer = link.begin_to_look(0, None, Some(&watch));
    link.answer(answer).unwrap();
    link.run(Duration::from_secs(1));
    assert_eq!(link.stations[0].nodes.len(), 100);
    for n in 0..40 {
        link.ask(1, Request::Abandon { key: node(&n.to_string(), 1).key() });
    }
    link.run(CHECKED);
    assert_eq!(link.stations[0].nodes.len(), 60);
    assert_eq!(link.stations[0].removals.len(), 40);
    drop(held);
}

#[test]
fn nobody_is_asked_for_what_nobody_wants_to_know() {
    let mut link = Link::new(2, 1);
    let _one = link.register(1, &node("1", 1)).unwrap();
    link.look(0, Some("greeter")).unwrap();
    link.run(Duration::from_secs(100));
    let sent = link.stations[0].sent.len();
    link.run(Duration::from_secs(3600));
    assert_eq!(link.stations[0].sent.len(), sent);
    // What was heard is not believed for ever.
    assert!(link.stations[0].nodes.is_empty());
    assert_eq!(link.look(0, Some("greeter")).unwrap(), ["1"]);
}

#[test]
fn a_node_heard_of_long_ago_is_not_the_answer_to_a_new_question() {
    let mut link = Link::new(2, 1);
    // Its announcements are heard, and then it dies.
    let _one = link.register(1, &node("1", 1)).unwrap();
    link.run(Duration::from_secs(5));
    link.kill(1);
    assert_eq!(link.stations[0].ids(), ["1"]);
    link.run(Duration::from_secs(30));
    assert!(link.look(0, Some("greeter")).unwrap().is_empty());
}

#[test]
fn silence_is_no_sign_of_death_while_nobody_can_be_heard() {
    let mut link = Link::new(2, 1);
    let _one = link.register(1, &node("1", 1)).unwrap();
    let watch = Arc::new(());
    let answer = link.begin_to_look(0, Some("greeter"), Some(&watch));
    link.answer(answer).unwrap();
    let waiting = link.begin_to_look(0, Some("cart"), None);
    let away = Error::new(ErrorKind::Unavailable, "use mDNS", "no interface");
    let now = link.now;
    link.stations[0].machine.set_away(Some(away.clone()), now);
    assert_eq!(link.answer(waiting).unwrap_err().kind(), ErrorKind::Unavailable);
    for _ in 0..10 {
        link.run(Duration::from_secs(60));
        let now = link.now;
        link.stations[0].machine.set_away(Some(away.clone()), now);
        assert_eq!(link.look(0, Some("greeter")).unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(link.register(0, &node("2", 1)).unwrap_err().kind(), ErrorKind::Unavailable);
    }
    assert_eq!(link.stations[0].ids(), ["1"]);
    assert_eq!(link.stations[0].errors, 1);
    let now = link.now;
    link.stations[0].machine.set_away(None, now);
    // The others take a moment to come back, too.
    link.cut = vec![1];
    link.run(Duration::from_secs(3));
    assert_eq!(link.stations[0].ids(), ["1"]);
    link.cut.clear();
    link.run(Duration::from_secs(60));
    assert_eq!((link.stations[0].ids(), link.stations[0].recovered), (vec!["1".to_owned()], 1));
    assert!(link.stations[0].removals.is_empty());
}

#[test]
fn a_look_that_was_given_up_is_not_waited_for() {
    let mut link = Link::new(1, 1);
    drop(link.begin_to_look(0, Some("greeter"), None));
    link.run(Duration::from_secs(1));
    assert!(link.stations[0].machine.looks.is_empty());
}
