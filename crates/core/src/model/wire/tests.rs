use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    ErrorKind,
    model::{Domain, Endpoint, Metadata, Node, Value},
};

fn vectors() -> BTreeMap<String, serde_json::Value> {
    serde_json::from_str(include_str!("../../../tests/fixtures/go-micro-registry.json")).unwrap()
}

fn only(text: &str) -> Node {
    let Entry { mut nodes, skipped } = decode(text.as_bytes(), &Domain::default()).unwrap();
    assert!(skipped.is_empty(), "{skipped:?}");
    assert_eq!(nodes.len(), 1);
    nodes.remove(0)
}

#[test]
fn what_go_micro_wrote_is_read_in_both_orders_and_written_back_to_the_byte() {
    let vectors = vectors();
    for name in ["service", "service_minimal", "service_slash_and_escape"] {
        let (new, old) = (vectors[name]["new"].as_str().unwrap(), vectors[name]["old"].as_str().unwrap());
        assert_eq!(encode(&only(new)), new, "{name}");
        assert_eq!(encode(&only(old)), new, "{name}");
    }
}

#[test]
fn every_part_of_an_entry_is_read() {
    let node = only(vectors()["service"]["new"].as_str().unwrap());
    assert_eq!(node.service(), &"greeter");
    assert_eq!(node.id(), &"greeter-7f3c1c1e-0d5b-4a57-9a5e-2f1d6c1b9a10");
    assert_eq!(node.address(), "10.0.0.5:38213");
    assert_eq!(node.version(), "latest");
    assert_eq!(node.metadata().get("protocol"), Some("mucp"));
    let [hello, subscriber] = &node.endpoints()[..] else { panic!("{:?}", node.endpoints()) };
    assert_eq!(hello.name, "Greeter.Hello");
    assert_eq!(hello.request.as_ref().unwrap().values[0].kind, "string");
    assert_eq!(subscriber.response, None);
    assert_eq!(subscriber.metadata.get("topic"), Some("events.topic"));
}

#[test]
fn keys_of_any_case_unknown_keys_and_nulls_are_accepted() {
    let node = only(
        r#"{"Name":"greeter","VERSION":null,"more":[1],"Metadata":null,"endpoints":{},
            "Nodes":[{"Id":"1","Address":"10.0.0.5:80","METADATA":{"weight":7,"up":true,"no":null},"x":1}]}"#,
    );
    assert_eq!(node.version(), "latest");
    assert_eq!(node.weight(), Some(7));
    assert_eq!(node.metadata(), &Metadata::from([("up", "true"), ("weight", "7")]));
    assert!(node.endpoints().is_empty());
}

#[test]
fn the_separate_port_of_old_fleets_is_joined_unless_there_is_one() {
    for (address, port, joined) in [
        ("10.0.0.5", "8080", "10.0.0.5:8080"),
        ("fd00::5", "8080", "[fd00::5]:8080"),
        ("[fd00::5]", "8080", "[fd00::5]:8080"),
        ("10.0.0.5:1", "8080", "10.0.0.5:1"),
        ("10.0.0.5:1", "0", "10.0.0.5:1"),
        ("queue", "null", "queue"),
    ] {
        let text = format!(r#"{{"name":"g","nodes":[{{"id":"1","address":"{address}","port":{port}}}]}}"#);
        assert_eq!(only(&text).address(), joined);
    }
}

#[test]
fn a_bad_node_is_said_and_spoils_no_other() {
    let long = "x".repeat(201);
    let text = format!(
        r#"{{"name":"g","nodes":[7,{{"address":"a:1"}},{{"id":"{long}"}},{{"id":"ok","address":"a:1"}},null]}}"#
    );
    let entry = decode(text.as_bytes(), &Domain::default()).unwrap();
    assert_eq!(entry.nodes.len(), 1);
    assert_eq!(entry.nodes[0].id(), &"ok");
    let said: Vec<_> = entry.skipped.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 4);
    assert!(said[0].contains("a number, not an object"), "{said:?}");
    assert!(said[1].contains("not a node id: it is empty"), "{said:?}");
    assert!(said[2].contains("201 bytes"), "{said:?}");
}

#[test]
fn endpoints_and_metadata_of_the_wrong_shape_do_not_cost_the_node() {
    let deep = "[".repeat(1000) + &"]".repeat(1000);
    for odd in ["7", "\"x\"", "{}", "[1,null]", "[{\"name\":5}]", &deep] {
        let text = format!(
            r#"{{"name":"g","metadata":{odd},"endpoints":{odd},"nodes":[{{"id":"1","address":"a:1","metadata":{odd}}}]}}"#
        );
        let node = only(&text);
        assert!(node.metadata().is_empty());
        assert!(node.endpoints().iter().all(|endpoint| *endpoint == Endpoint::default()));
    }
}

#[test]
fn of_a_key_written_twice_the_last_counts_and_the_exact_one_first() {
    let node =
        only(r#"{"name":"a","name":"b","NAME":"c","nodes":[{"ID":"2","id":"1","Id":"3","address":"a:1"}]}"#);
    assert_eq!((node.service().as_str(), node.id().as_str()), ("b", "1"));
}

#[test]
fn what_is_no_service_is_corrupt_and_says_so() {
    let deep = "[".repeat(100_000);
    for (text, said) in [
        ("", "0 bytes are not JSON"),
        ("{", "not JSON"),
        ("\u{0}\u{1}", "not JSON"),
        (&deep, "not JSON"),
        ("null", "missing, not an object"),
        ("[]", "a list, not an object"),
        ("{}", "name is missing"),
        (r#"{"name":""}"#, "name is empty"),
        (r#"{"name":5}"#, "name is a number"),
    ] {
        let error = decode(text.as_bytes(), &Domain::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains(said), "{error}");
    }
    assert!(decode(br#"{"name":"g","nodes":null}"#, &Domain::default()).unwrap().nodes.is_empty());
}

#[test]
fn control_characters_and_separators_are_escaped_as_go_does() {
    let node =
        Node::builder("g", "1", "a:1").metadata("k", "\u{1}\u{8}\u{c}\u{7f}\u{2028}\"\\\n").build().unwrap();
    assert!(encode(&node).contains(r#""\u0001\b\f"#), "{}", encode(&node));
    assert!(encode(&node).contains(r#"\u2028\"\\\n""#), "{}", encode(&node));
}

#[test]
fn a_decoder_shares_what_entries_have_in_common_and_lets_go_of_the_rest() {
    let text = |id: usize, version: usize| {
        format!(
            r#"{{"name":"g","version":"{version}","endpoints":[{{"name":"G.H{version}"}}],
                "nodes":[{{"id":"{id}","address":"a:1","metadata":{{"protocol":"grpc"}}}}]}}"#
        )
    };
    let mut decoder = Decoder::default();
    let mut read = |id, version| {
        decoder.decode(text(id, version).as_bytes(), &Domain::default()).unwrap().nodes.remove(0)
    };
    let (one, two) = (read(1, 0), read(2, 0));
    assert!(std::sync::Arc::ptr_eq(one.endpoints(), two.endpoints()));
    assert!(std::ptr::eq(one.version(), two.version()));
    assert!(std::ptr::eq(one.service().as_str(), two.service().as_str()));
    assert!(std::ptr::eq(one.metadata().get("protocol").unwrap(), two.metadata().get("protocol").unwrap()));
    for version in 0..1000 {
        read(3, version);
    }
    assert!(decoder.shared() < 300, "{}", decoder.shared());
}

fn any_name() -> impl Strategy<Value = String> {
    ".{1,30}".prop_filter("a name", |name: &String| crate::ServiceName::new(name).is_ok())
}

fn any_metadata() -> impl Strategy<Value = Metadata> {
    prop::collection::vec((any::<String>(), any::<String>()), 0..6).prop_map(Metadata::from_iter)
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf =
        (any::<String>(), any::<String>()).prop_map(|(name, kind)| Value { name, kind, values: vec![] });
    leaf.prop_recursive(3, 12, 3, |inner| {
        (any::<String>(), any::<String>(), prop::collection::vec(inner, 0..3))
            .prop_map(|(name, kind, values)| Value { name, kind, values })
    })
}

fn any_endpoint() -> impl Strategy<Value = Endpoint> {
    let shape = || prop::option::of(any_value());
    (any::<String>(), shape(), shape(), any_metadata())
        .prop_map(|(name, request, response, metadata)| Endpoint { name, request, response, metadata })
}

fn any_node() -> impl Strategy<Value = Node> {
    let names = (any_name(), any_name(), any::<String>(), any::<String>());
    let rest = (any_metadata(), any_metadata(), prop::collection::vec(any_endpoint(), 0..3));
    (names, rest).prop_map(|((service, id, address, version), (metadata, of_service, endpoints))| {
        Node::builder(service, id, address)
            .version(version)
            .endpoints(endpoints)
            .metadata_of(&metadata)
            .service_metadata_of(&of_service)
            .build_as_read()
            .unwrap()
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(node in any_node()) {
        let text = encode(&node);
        prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
        let Entry { nodes, skipped } = decode(text.as_bytes(), &Domain::default()).unwrap();
        prop_assert!(skipped.is_empty());
        prop_assert_eq!(nodes, vec![node]);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let _ = decode(&bytes, &Domain::default());
    }

    #[test]
    fn no_damage_to_an_entry_makes_it_panic(node in any_node(), at: prop::sample::Index, byte: u8, cut: bool) {
        let mut bytes = encode(&node).into_bytes();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        let _ = decode(&bytes, &Domain::default());
    }
}
