//! go-micro's nodes, by the packets that they sent.

use super::*;
use crate::mdns::tests::{unhex, vectors};

fn packet(name: &str) -> Vec<u8> {
    unhex(vectors()["observed_packets"][name].as_str().unwrap()).unwrap()
}

#[test]
fn a_go_micro_node_is_seen_when_it_announces_itself_and_when_it_leaves() {
    let mut link = Link::new(1, 1);
    link.say(0, &packet("announce"));
    link.run(Duration::from_millis(10));
    assert_eq!(link.stations[0].ids(), ["greeter-1"]);
    link.say(0, &packet("goodbye"));
    // What was on its way over the other family of addresses comes late.
    link.say(0, &packet("announce"));
    link.run(Duration::from_millis(10));
    assert!(link.stations[0].nodes.is_empty());
    assert_eq!(link.stations[0].removals[0].1, Removal::Deregistered);
    // Back for good.
    link.run(Duration::from_secs(1));
    link.say(0, &packet("announce"));
    link.run(Duration::from_millis(10));
    assert_eq!(link.stations[0].ids(), ["greeter-1"]);
}

#[test]
fn a_go_micro_node_that_answers_stays_and_one_that_does_not_is_gone() {
    let mut link = Link::new(1, 1);
    let watch = Arc::new(());
    let _listing = link.begin_to_look(0, Some("greeter"), Some(&watch));
    let (mut seen, mut answered) = (0, 0);
    while answered < 30 {
        let end = link.now + Duration::from_secs(30);
        assert!(link.run_until(end, |link| link.stations[0].sent.len() > seen), "nobody asked");
        for sent in link.stations[0].sent.split_off(seen) {
            // Its own name, by which go-micro is not to be found, is asked for in vain.
            let question = dns::read(&sent.bytes).unwrap().questions.remove(0);
            assert_eq!(question.name.to_string(), "greeter.micro.");
            answered += 1;
            link.say(0, &packet("response_get"));
        }
        seen = link.stations[0].sent.len();
    }
    assert_eq!(link.stations[0].ids(), ["greeter-1"]);
    assert!(link.stations[0].removals.is_empty());
    link.run(Duration::from_secs(17));
    assert_eq!(link.stations[0].removals[0].1, Removal::Expired);
}

#[test]
fn a_service_on_go_micros_list_is_asked_for() {
    let mut link = Link::new(1, 1);
    let _listing = link.begin_to_look(0, None, None);
    link.run(Duration::from_millis(10));
    link.say(0, &packet("response_list"));
    link.run(Duration::from_millis(10));
    assert_eq!(link.stations[0].sent.last().unwrap().bytes[12..], packet("query_get")[12..]);
}

#[test]
fn go_micro_is_answered_to_its_own_address() {
    let mut link = Link::new(1, 1);
    let _one = link.register(0, &node("1", 1)).unwrap();
    link.run(Duration::from_secs(10));
    let before = link.stations[0].sent.len();
    link.say(0, &packet("query_get"));
    link.say(0, &packet("query_list"));
    link.run(Duration::from_millis(10));
    let answers = &link.stations[0].sent[before..];
    let to = To::One(SocketAddr::from(([10, 0, 0, 99], 5353)));
    assert_eq!(answers.iter().map(|packet| packet.to).collect::<Vec<_>>(), [to, to]);
    for (answer, query) in answers.iter().zip(["query_get", "query_list"]) {
        let (answer, query) = (dns::read(&answer.bytes).unwrap(), dns::read(&packet(query)).unwrap());
        assert_eq!(answer.questions, query.questions);
    }
}

#[test]
fn a_node_of_go_micro_stands_in_the_way_of_ours_with_its_id() {
    let mut link = Link::new(1, 1);
    let ours = Node::builder("greeter", "greeter-1", "10.0.0.1:4000").build().unwrap();
    let answer = link.begin_to_register(0, &Arc::new(ours));
    link.run(Duration::from_millis(50));
    // It does not answer for its own name, and yet for its service's.
    link.say(0, &packet("response_get"));
    let error = link.answer(answer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("192.0.2.10:8080"), "{error}");
}

#[test]
fn a_go_micro_node_can_be_deregistered_and_comes_back_if_it_lives() {
    let mut link = Link::new(1, 1);
    link.say(0, &packet("announce"));
    let key = link.stations[0].machine.cache.listing(&Domain::all(), None).nodes[0].key();
    let (reply, answer) = oneshot::channel();
    link.ask(0, Request::Deregister { key, reply });
    link.answer(answer).unwrap();
    link.run(Duration::from_secs(1));
    assert!(link.stations[0].nodes.is_empty());
    let goodbye = dns::read(&link.stations[0].sent[0].bytes).unwrap();
    assert!(goodbye.answers.iter().all(|record| record.ttl_s == 0));
    link.say(0, &packet("response_get"));
    link.run(Duration::from_millis(10));
    assert_eq!(link.stations[0].ids(), ["greeter-1"]);
}

#[test]
fn what_is_said_of_printers_is_no_poisoned_entry_of_ours() {
    let mut link = Link::new(1, 1);
    let watch = Arc::new(());
    let _listing = link.begin_to_look(0, None, Some(&watch));
    let say = |link: &mut Link, name: &[&str]| {
        let instance = Name::of(name.iter().map(|label| label.as_bytes())).unwrap();
        let srv = dns::Srv { priority: 0, weight: 0, port: 631, target: instance.clone() };
        let record = |data| dns::Record { name: instance.clone(), ttl_s: 120, data };
        let answers = [record(dns::Data::Srv(srv)), record(dns::Data::Txt(b"txtvers=1".to_vec()))];
        let message =
            dns::Message { id: 0, flags: dns::RESPONSE, questions: &[], answers: &answers, authorities: &[] };
        link.say(0, &message.write(dns::Names::Full));
        link.stations[0].machine.cache.listing(&Domain::default(), None).poisoned
    };
    assert_eq!(say(&mut link, &["Laser", "_ipp", "_tcp", "local"]), 0);
    assert_eq!(say(&mut link, &["Laser", "greeter", "micro"]), 1);
    assert_eq!(say(&mut link, &["Laser", "greeter", "micro"]), 1);
    // It is forgotten when it was to be.
    link.run(Duration::from_secs(121));
    assert_eq!(link.stations[0].machine.cache.listing(&Domain::default(), None).poisoned, 0);
}
