//! Properties of everything that is read from text: nothing panics, what is accepted keeps the rules, and what is written is
//! read back.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;

use super::*;
use crate::ErrorKind;

/// Text that is more often close to a rule's edge than random text is.
fn odd_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-z0-9:.\\[\\]/%+ -]{0,24}",
        "[ \\t]?[a-zé日\u{200b}]{0,3}[\\n\u{a0} ]?",
        (190..210usize).prop_map(|length| "x".repeat(length)),
        (60..70usize).prop_map(|length| "日".repeat(length)),
    ]
}

fn name() -> impl Strategy<Value = String> {
    "[a-zé*][a-z0-9/. %日-]{0,20}[a-z0-9]"
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<Ipv4Addr>().prop_map(|ip| ip.to_string()),
        any::<Ipv6Addr>().prop_map(|ip| format!("[{ip}]")),
        "[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?",
    ]
}

fn small_metadata() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec(("[a-z]{1,8}", ".{0,12}"), 0..6)
}

proptest! {
    #[test]
    fn a_name_is_accepted_exactly_if_it_keeps_the_rules(text in odd_text()) {
        let keeps = !text.is_empty()
            && text.len() <= 200
            && !text.chars().any(char::is_control)
            && text.trim() == text;
        match ServiceName::new(&text) {
            Ok(name) => {
                prop_assert!(keeps);
                prop_assert_eq!(name.as_str(), &text);
                prop_assert_eq!(name.to_string().parse::<ServiceName>().unwrap(), name.clone());
                prop_assert_eq!(String::from(name), text.clone());
            }
            Err(error) => {
                prop_assert!(!keeps);
                prop_assert_eq!(error.kind(), ErrorKind::InvalidInput);
            }
        }
        prop_assert_eq!(NodeId::new(&text).is_ok(), keeps);
        prop_assert_eq!(Domain::new(&text).is_ok(), keeps);
    }

    #[test]
    fn names_are_ordered_and_compared_as_their_text(a in name(), b in name()) {
        let (one, other) = (ServiceName::new(&a).unwrap(), ServiceName::new(&b).unwrap());
        prop_assert_eq!(one.cmp(&other), a.cmp(&b));
        prop_assert_eq!(one == other, a == b);
        prop_assert!(one == *a.as_str());
    }

    #[test]
    fn every_socket_address_but_port_0_is_an_address(address: SocketAddr) {
        // Scopes and flows have a meaning on one machine only.
        let address = SocketAddr::new(address.ip(), address.port());
        match address.to_string().parse::<Address>() {
            Ok(read) => {
                prop_assert_eq!(read.socket_addr(), Some(address));
                prop_assert_eq!(read.to_string(), address.to_string());
            }
            Err(_) => prop_assert_eq!(address.port(), 0),
        }
    }

    #[test]
    fn an_address_is_read_written_and_read_again(host in host(), port in 1..=u16::MAX) {
        let text = format!("{host}:{port}");
        let address: Address = text.parse().unwrap();
        prop_assert_eq!(address.to_string(), text);
        prop_assert_eq!((address.host(), address.port()), (host.trim_matches(['[', ']']), port));
    }

    #[test]
    fn no_text_makes_an_address_panic_and_what_is_accepted_can_be_written_and_read(text in odd_text()) {
        match text.parse::<Address>() {
            Ok(address) => {
                prop_assert!(address.port() > 0);
                prop_assert!(!address.host().is_empty());
                prop_assert!(!address.host().chars().any(|c| c.is_whitespace() || c.is_control() || c == '/'));
                prop_assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
            }
            Err(error) => {
                prop_assert_eq!(error.kind(), ErrorKind::InvalidInput);
                prop_assert!(error.hint().is_some());
            }
        }
    }

    #[test]
    fn nothing_that_a_builder_is_told_makes_it_panic(
        texts in prop::array::uniform5(odd_text()), metadata in prop::collection::vec(("[a-z]{0,3}", odd_text()), 0..70),
    ) {
        let [domain, service, id, address, version] = texts;
        let builder = Node::builder(&service, &id, &address)
            .domain(&domain)
            .version(&version)
            .metadata_of(&metadata.into_iter().collect());
        let names_are_good = [&service, &id].into_iter().all(|name| ServiceName::new(name).is_ok())
            && Domain::new(&domain).is_ok_and(|domain| !domain.is_all());
        prop_assert_eq!(builder.clone().build_as_read().is_ok(), names_are_good);
        if let Ok(node) = builder.build() {
            prop_assert!(names_are_good && node.dial_address().is_ok());
            prop_assert!(node.metadata().len() <= 64);
        }
    }

    #[test]
    fn a_good_node_is_built_and_says_what_it_was_told(
        service in name(), id in name(), host in host(), port in 1..=u16::MAX, weight: Option<u16>,
        started in prop::option::of(0..u64::MAX / 2), metadata in small_metadata(),
    ) {
        let mut builder = Node::builder(&service, &id, format!("{host}:{port}"));
        for (key, value) in metadata.iter().filter(|(key, _)| !["weight", "started"].contains(&&**key)) {
            builder = builder.metadata(key, value);
        }
        if let Some(weight) = weight {
            builder = builder.weight(weight);
        }
        if let Some(started) = started {
            builder = builder.started(Duration::from_millis(started));
        }
        let node = builder.build().unwrap();
        prop_assert_eq!(node.key().to_string(), format!("micro/{service}/{id}"));
        prop_assert_eq!(node.weight(), weight);
        prop_assert_eq!(node.started(), started.map(Duration::from_millis));
        prop_assert_eq!(node.dial_address().unwrap().port(), port);
        prop_assert_eq!(node.group(), node.metadata().get("group"));
        prop_assert_eq!(node.to_builder().build().unwrap(), node);
    }

    #[test]
    fn a_weight_is_a_number_or_unknown_and_a_builder_refuses_any_other(text in "[-+]?[0-9]{0,6}[a-z.]?") {
        let builder = Node::builder("greeter", "greeter-1", "127.0.0.1:1").metadata(keys::WEIGHT, &text);
        let weight = if text.starts_with('+') { None } else { text.parse::<u16>().ok() };
        prop_assert_eq!(builder.clone().build_as_read().unwrap().weight(), weight);
        prop_assert_eq!(builder.build().is_ok(), weight.is_some());
    }

    #[test]
    fn grouping_loses_and_doubles_nothing(
        nodes in prop::collection::vec((0..3u8, 0..3u8, 0..20u8, 0..3u8), 0..40)
    ) {
        let nodes: Vec<_> = nodes
            .into_iter()
            .map(|(domain, service, id, version)| {
                let builder = Node::builder(format!("s{service}"), format!("n{id}"), "127.0.0.1:1");
                Arc::new(builder.domain(format!("d{domain}")).version(format!("v{version}")).build().unwrap())
            })
            .collect();
        let services = Service::group(nodes.clone());
        prop_assert_eq!(services.iter().map(|service| service.nodes().len()).sum::<usize>(), nodes.len());
        for service in &services {
            prop_assert!(!service.nodes().is_empty());
            prop_assert!(service.nodes().is_sorted_by_key(|node| node.id().clone()));
            let mut nodes = service.nodes().iter();
            prop_assert!(nodes.all(|node| node.service() == service.name() && node.domain() == service.domain()));
            let versions: BTreeSet<_> = service.nodes().iter().map(|node| node.version()).collect();
            prop_assert_eq!(service.versions(), versions);
        }
        let names: Vec<_> = services.iter().map(|service| (service.name().clone(), service.domain().clone())).collect();
        prop_assert!(names.is_sorted_by(|a, b| a < b), "each once, in order");
    }
}
