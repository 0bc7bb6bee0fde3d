use std::net::SocketAddr;

use callsign_core::{Domain, Endpoint};
use proptest::prelude::*;

use super::*;
use crate::mdns::{
    dns::{self, CLASS_IN},
    tests::{unhex, vectors},
};

fn packet(name: &str) -> Vec<u8> {
    unhex(vectors()["observed_packets"][name].as_str().unwrap()).unwrap()
}

fn host() -> Name {
    Name::of([&b"host1"[..]]).unwrap()
}

/// The node of go-micro's packets.
fn greeter() -> Arc<Node> {
    let node = Node::builder("greeter", "greeter-1", "192.0.2.10:8080").metadata("protocol", "mucp");
    Arc::new(node.build().unwrap())
}

/// What we say of it, in the very text that go-micro wrote: how well a text is packed is everybody's own affair.
fn telling() -> Telling {
    let text = vectors()["txt"][0]["strings_go_current"][0].as_str().unwrap().as_bytes().to_vec();
    Telling { text, ..Telling::new("test", &greeter(), &host(), None).unwrap() }
}

fn hear(bytes: &[u8]) -> Vec<Heard> {
    heard(&dns::read(bytes).unwrap(), None, &mut wire::Decoder::default())
}

fn hear_node(bytes: &[u8]) -> HeardNode {
    match &mut hear(bytes)[..] {
        [Heard::Node(_)] => {}
        other => panic!("{other:?}"),
    }
    match hear(bytes).pop() {
        Some(Heard::Node(node)) => *node,
        _ => unreachable!(),
    }
}

#[test]
fn probe_announcement_and_goodbye_are_go_micros_to_the_byte() {
    assert_eq!(telling().probe(0xd439), packet("probe"));
    assert_eq!(telling().announcement(), packet("announce"));
    assert_eq!(telling().goodbye(), packet("goodbye"));
}

#[test]
fn questions_are_go_micros_to_the_byte() {
    let domain = Domain::default();
    let service = names::service(&domain, &"greeter".parse().unwrap());
    assert_eq!(query(0x1234, &service, kind::PTR), packet("query_get"));
    let services = names::services(&names::domain(&domain));
    assert_eq!(query(0x1234, &services, kind::PTR), packet("query_list"));
}

#[test]
fn answers_are_go_micros_to_the_byte() {
    let question = |query| dns::read(&packet(query)).unwrap().questions.remove(0);
    assert_eq!(telling().answer(&question("query_get"), 0x1234), packet("response_get"));

    let (domain, service) = (names::domain(&Domain::default()), telling().service);
    let list = question("query_list");
    assert_eq!(listed(&list, 0x1234, &service, &domain, &host()).unwrap(), packet("response_list"));
    let meta = Question::new(names::dns_sd_services(&domain), kind::PTR);
    assert_eq!(named(&meta, 0x1234, &service), packet("response_dnssd_meta"));
}

#[test]
fn an_answer_by_unicast_has_the_questions_number() {
    let question = Question { class: CLASS_IN | CLASS_TOP, ..Question::new(telling().service, kind::PTR) };
    let answer = dns::read(&telling().answer(&question, 0x1234)).unwrap();
    assert_eq!((answer.id, &answer.questions[0]), (0x1234, &question));
}

#[test]
fn names_are_go_micros() {
    for vector in vectors()["names"].as_array().unwrap() {
        let text = |field: &str| vector[field].as_str().unwrap_or_default().to_owned();
        let node = Node::builder(text("service"), text("node"), "192.0.2.10:8080").build().unwrap();
        let telling = Telling::new("test", &Arc::new(node), &host(), None).unwrap();
        assert_eq!(telling.service.to_string(), text("query"));
        assert_eq!(telling.instance.to_string(), text("instance"));
        let services = names::services(&names::domain(&Domain::default()));
        let question = Question::new(services, kind::PTR);
        let domain = names::domain(&Domain::default());
        let answer = dns::read(&listed(&question, 0, &telling.service, &domain, &host()).unwrap()).unwrap();
        assert_eq!(answer.answers[1].name.to_string(), text("list_instance"));
    }
}

#[test]
fn what_go_micro_says_is_heard() {
    for (name, lives) in [("announce", true), ("goodbye", false), ("response_get", true)] {
        let heard = hear_node(&packet(name));
        assert_eq!(heard.node, *greeter(), "{name}");
        assert_eq!(heard.lives, lives.then_some(Duration::from_secs(120)), "{name}");
        assert_eq!((heard.stamp, &heard.service), (None, &telling().service), "{name}");
    }
    let listed = hear(&packet("response_list"));
    assert!(
        matches!(&listed[..], [Heard::Listed { service, .. }] if *service == telling().service),
        "{listed:?}"
    );
    for name in ["probe", "query_get", "response_dnssd_meta"] {
        assert!(hear(&packet(name)).is_empty(), "{name}");
    }
}

#[test]
fn go_micros_texts_are_read_however_they_were_packed_and_in_both_orders() {
    for vector in vectors()["txt"].as_array().unwrap() {
        for packing in ["strings_zlib_level6", "strings_go_current"] {
            let strings = vector[packing].as_array().unwrap().iter().map(|s| s.as_str().unwrap());
            let text = text::decode(strings.collect::<String>().as_bytes()).unwrap();
            let mut decoder = wire::Decoder::default();
            let node = text.node(&Domain::default(), "greeter-1", "192.0.2.10:8080", &mut decoder).unwrap();
            let plain = vector["plain"].as_str().unwrap();
            if plain.starts_with("{\"Metadata\"") {
                assert_eq!(text::json(&node, Beside::default()), plain);
            } else {
                assert_eq!(node, *greeter());
            }
        }
        // The record on the wire: one text in pieces of 255 bytes.
        let strings = vector["strings_zlib_level6"].as_array().unwrap().iter();
        let text: String = strings.map(|s| s.as_str().unwrap()).collect();
        let record = Record { name: host(), ttl_s: 0, data: Data::Txt(text.into_bytes()) };
        let written = Message { id: 0, flags: 0, questions: &[], answers: &[record], authorities: &[] };
        let content = unhex(vector["rdata_hex"].as_str().unwrap()).unwrap();
        assert!(written.write(Names::Full).ends_with(&content));
    }
}

#[test]
fn what_go_micros_client_insists_on_is_so() {
    // It repeats the question; one node a packet; the host before the host's address.
    let message = dns::read(&telling().answer(&Question::new(telling().service, kind::PTR), 0)).unwrap();
    assert_eq!(message.questions[0].name, telling().service);
    let at = |wanted: fn(&Data) -> bool| message.answers.iter().position(|r| wanted(&r.data)).unwrap();
    assert!(at(|d| matches!(d, Data::Srv(_))) < at(|d| matches!(d, Data::A(_))));
    assert_eq!(message.answers.iter().filter(|r| matches!(r.data, Data::Srv(_))).count(), 1);
}

#[test]
fn every_packet_that_go_micros_client_understood_is_understood_here() {
    let telling = telling();
    let srv = Data::Srv(Srv { priority: 10, weight: 1, port: 8080, target: host() });
    let record = |name: &Name, data| Record { name: name.clone(), ttl_s: TTL_S, data };
    let a = Data::A([192, 0, 2, 10].into());
    let parts = [
        pointer(&telling.service, &telling.instance),
        record(&telling.instance, srv),
        record(&host(), a.clone()),
        record(&telling.instance, Data::Txt(telling.text.clone())),
    ];
    let mut orders = vec![[0, 1, 2, 3], [0, 3, 1, 2], [1, 2, 3, 0], [0, 2, 1, 3]];
    let own = [parts[0].clone(), parts[1].clone(), record(&telling.instance, a), parts[3].clone()];
    for order in orders.drain(..) {
        let answers = order.map(|at| parts[at].clone());
        let message = Message { id: 0, flags: RESPONSE, questions: &[], answers: &answers, authorities: &[] };
        assert_eq!(hear_node(&message.write(Names::Short)).node, *greeter(), "{order:?}");
    }
    let message = Message { id: 0, flags: RESPONSE, questions: &[], answers: &own, authorities: &[] };
    assert_eq!(hear_node(&message.write(Names::Short)).node, *greeter());
}

#[test]
fn a_node_with_all_it_can_have_is_heard_as_it_was_said() {
    let endpoint = Endpoint { name: "Greeter.Hello".into(), ..Endpoint::default() };
    let stamp = Some(Stamp { owner: 7, revision: u64::MAX });
    for (domain, service, id, address) in [
        ("micro", "greeter", "1", "192.0.2.10:8080"),
        ("shop", "a.b", "c.d", "[2001:db8::1]:1"),
        ("a.b", "c", "d", "greeter.example:65535"),
        ("micro", "..", ".", "[fe80::1]:80"),
        ("micro", "_services", "_domains", "127.0.0.1:1"),
        ("_services", "x._services", "x", "127.0.0.1:1"),
        ("micro", &"x".repeat(200), &"y".repeat(200), "127.0.0.1:1"),
        (&"é".repeat(100), &"a.".repeat(99), &"🦀".repeat(50), "127.0.0.1:1"),
        ("_h-", "_h-x", "_h-y", "[::1]:1"),
        ("micro", "a/b c", "日本 1", "0.0.0.0:1"),
    ] {
        let service = service.trim_end_matches("a.");
        let service = if service.is_empty() { "a" } else { service };
        let node = Node::builder(service, id, address).domain(domain).service_metadata("team", "a");
        let node = Arc::new(node.version("2").weight(3).endpoints([endpoint.clone()]).build().unwrap());
        let said = Telling::new("test", &node, &host(), stamp).unwrap();
        let question = Question::new(said.service.clone(), kind::PTR);
        for packet in [said.announcement(), said.goodbye(), said.answer(&question, 0)] {
            let heard = hear_node(&packet);
            assert_eq!((heard.node, heard.stamp), ((*node).clone(), stamp));
            assert_eq!((heard.key, heard.service), (node.key(), said.service.clone()));
        }
    }
}

#[test]
fn the_interface_of_an_address_is_the_hearers_own() {
    let node = Node::builder("greeter", "1", "[fe80::1%eth7]:80").build().unwrap();
    let said = Telling::new("test", &Arc::new(node), &host(), None).unwrap().announcement();
    let message = dns::read(&said).unwrap();
    let mut decoder = wire::Decoder::default();
    let Some(Heard::Node(heard)) = heard(&message, Some("wlan0"), &mut decoder).pop() else { panic!() };
    assert_eq!(heard.node.address(), "[fe80::1%wlan0]:80");
}

#[test]
fn one_name_for_two_keys_is_told_apart_by_the_text() {
    let say = |service: &str, id: &str| {
        let node = Node::builder(service, id, "192.0.2.10:1").build().unwrap();
        Telling::new("test", &Arc::new(node), &host(), None).unwrap()
    };
    let (one, other) = (say("c", "a.b"), say("b.c", "a"));
    assert_eq!(one.instance, other.instance);
    assert_eq!(hear_node(&one.announcement()).key, one.key);
    assert_eq!(hear_node(&other.announcement()).key, other.key);
}

#[test]
fn a_go_micro_node_of_another_domain_is_found_in_it() {
    let telling = telling();
    let instance = Name::of([&b"greeter-1"[..], b"greeter", b"global"]).unwrap();
    let moved = Telling { instance, ..telling };
    assert_eq!(hear_node(&moved.announcement()).key.domain, "global");
}

#[test]
fn an_entry_that_is_too_large_says_what_takes_the_room() {
    // What cannot be packed any smaller.
    let noise = |seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        std::iter::repeat_with(|| rng.alphanumeric()).take(4000).collect::<String>()
    };
    let node = Node::builder("greeter", "1", "192.0.2.10:1").metadata("a", noise(1)).build().unwrap();
    assert!(Telling::new("register node", &Arc::new(node.clone()), &host(), None).is_ok());
    let node = node.to_builder().metadata("certificate", noise(2)).build().unwrap();
    let error = Telling::new("register node", &Arc::new(node), &host(), None).unwrap_err();
    assert_eq!(error.kind(), callsign_core::ErrorKind::InvalidInput);
    let said = error.to_string();
    for part in ["takes 12", "room for 8952", "2 pairs of metadata", "4000 bytes under", "0 endpoints"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(error.hint().unwrap().contains("shorten the metadata"));
}

#[test]
fn a_text_that_unpacks_without_end_is_refused() {
    let bomb = miniz_oxide::deflate::compress_to_vec_zlib(&vec![b' '; 8 * 1024 * 1024], 9);
    let text: String = bomb.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(text.len() < PACKET_BYTES_MAX * 2);
    let error = text::decode(text.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("cannot be unpacked"), "{error}");
}

#[test]
fn what_is_no_entry_is_garbled_with_the_reason_and_what_has_no_text_is_nothing() {
    let telling = telling();
    let srv = |port| Data::Srv(Srv { priority: 0, weight: 0, port, target: host() });
    let record = |data| Record { name: telling.instance.clone(), ttl_s: 120, data };
    let say = |answers: &[Record]| {
        hear(
            &Message { id: 0, flags: RESPONSE, questions: &[], answers, authorities: &[] }.write(Names::Full),
        )
    };
    assert!(say(&[record(srv(1))]).is_empty());
    let address: SocketAddr = "192.0.2.1:1".parse().unwrap();
    let a = record(address_data(address.ip()));
    for (answers, reason) in [
        (vec![record(srv(1)), a.clone(), record(Data::Txt(b"txtvers=1".to_vec()))], "hexadecimal"),
        (vec![record(srv(1)), a.clone(), record(Data::Txt(Vec::new()))], "hexadecimal"),
        (vec![record(srv(1)), a.clone(), record(Data::Txt(b"00ff".to_vec()))], "unpacked"),
        (vec![record(srv(1)), record(Data::Txt(telling.text.clone()))], "no address"),
        (vec![record(srv(0)), a, record(Data::Txt(telling.text.clone()))], "no port"),
    ] {
        let heard = say(&answers);
        let [Heard::Garbled { reason: said, .. }] = &heard[..] else { panic!("{heard:?}") };
        assert!(said.contains(reason), "{said}");
    }
}

/// Names as they may be: of any letters, and often of what means something in the DNS or here.
fn parts() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![".", "_services", "_h-", "_domains", "_dns-sd", "micro", "x", "é"]);
    prop_oneof!["\\PC{1,40}", prop::collection::vec(odd, 1..12).prop_map(|parts| parts.concat())]
        .prop_filter("names of services", |name| name.parse::<callsign_core::ServiceName>().is_ok())
}

proptest! {
    #[test]
    fn whatever_a_node_is_called_it_is_heard_under_that_name(service in parts(), id in parts(), domain in parts()) {
        prop_assume!(domain != Domain::ALL);
        let node = Node::builder(service, id, "192.0.2.10:1").domain(domain).build().unwrap();
        let said = Telling::new("test", &Arc::new(node.clone()), &host(), None).unwrap();
        let heard = hear_node(&said.announcement());
        prop_assert_eq!(&heard.node, &node);
        prop_assert_eq!(heard.service, said.service.clone());
        // And its service is found on the list under the name that it is asked for by.
        let domain = names::domain(node.domain());
        let question = Question::new(names::services(&domain), kind::PTR);
        let list = hear(&listed(&question, 0, &said.service, &domain, &host()).unwrap());
        let found = matches!(&list[..], [Heard::Listed { service, .. }] if *service == said.service);
        prop_assert!(found, "{:?}", list);
    }

    #[test]
    fn whatever_an_entrys_text_unpacks_to_nothing_breaks(
        json in prop_oneof![
            "\\PC{0,200}",
            r#"\{("(Service|Metadata|Version|Endpoints|Callsign|Owner)":("greeter"|null|7|\[\]|\{"Id":"1","Owner":"zz","Revision":-1\}),){0,5}"Service":"greeter"\}"#,
        ],
    ) {
        let packed = miniz_oxide::deflate::compress_to_vec_zlib(json.as_bytes(), 6);
        let text = packed.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes();
        let heard = hear(&Telling { text, ..telling() }.announcement());
        prop_assert_eq!(heard.len(), 1);
    }
}
