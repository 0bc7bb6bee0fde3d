use std::collections::BTreeMap;

use callsign_core::NodeKey;
use proptest::prelude::*;

use super::*;

/// Any file: the table only compares stamps.
fn stamp() -> Stamp {
    Stamp::of(&rustix::fs::stat("/").unwrap())
}

fn node(domain: &str, service: &str, id: u8, version: u8) -> Arc<Node> {
    let node =
        Node::builder(service, format!("n{id}"), "127.0.0.1:1").domain(domain).version(version.to_string());
    Arc::new(node.build().unwrap())
}

fn keys(listing: &Listing) -> BTreeMap<NodeKey, String> {
    listing.nodes.iter().map(|node| (node.key(), node.version().to_owned())).collect()
}

#[test]
fn the_same_entry_again_is_no_change() {
    let mut table = Table::default();
    table.upsert("a", node("d", "s", 1, 1), stamp());
    assert_eq!(table.take_changes().len(), 1);
    table.upsert("a", node("d", "s", 1, 1), stamp());
    assert!(table.take_changes().is_empty());
    assert_eq!(table.listing(&Domain::all(), None).revision, Revision(1));
}

#[test]
fn what_cannot_be_understood_counts_for_its_own_service_and_domain() {
    let mut table = Table::default();
    table.poison("d+s+1.json", "bad".into());
    table.poison(&format!("+{:032x}.json", 7), "bad".into());
    let service = |name: &str| ServiceName::new(name).unwrap();
    let domain = |name: &str| Domain::new(name).unwrap();
    let poisoned = |domain: &Domain, service: Option<&ServiceName>| table.listing(domain, service).poisoned;
    assert_eq!(poisoned(&Domain::all(), None), 2);
    assert_eq!(poisoned(&domain("d"), Some(&service("s"))), 1);
    assert_eq!(poisoned(&domain("d"), Some(&service("t"))), 0);
    assert_eq!(poisoned(&domain("e"), Some(&service("s"))), 0);
}

proptest! {
    /// The oracle: one map, and a listing that filters it.
    #[test]
    fn it_agrees_with_a_plain_map_and_its_changes_tell_the_whole_story(
        steps in proptest::collection::vec((0u8..3, 0u8..3, 0u8..4, 0u8..3, 0u8..4), 0..60),
    ) {
        let mut table = Table::default();
        let (mut model, mut told) = (BTreeMap::new(), BTreeMap::new());
        let mut last = Revision(0);
        for (domain, service, id, version, action) in steps {
            let node = node(&format!("d{domain}"), &format!("s{service}"), id, version);
            let file = name::file_name(&node.key());
            match action {
                0 => { table.remove(&file, Removal::Expired); model.remove(&node.key()); }
                1 => { table.poison(&file, "bad".into()); model.remove(&node.key()); }
                _ => {
                    table.upsert(&file, node.clone(), stamp());
                    model.insert(node.key(), node.version().to_owned());
                }
            }
            for change in table.take_changes() {
                let revision = match change {
                    WatchEvent::Upsert(node, revision) => {
                        told.insert(node.key(), node.version().to_owned());
                        revision
                    }
                    WatchEvent::Remove(key, _, revision) => { told.remove(&key); revision }
                    other => panic!("{other:?}"),
                };
                prop_assert!(revision > last);
                last = revision;
            }
            prop_assert_eq!(&told, &model);
        }
        prop_assert_eq!(keys(&table.listing(&Domain::all(), None)), model.clone());
        for domain in 0..3 {
            let domain = Domain::new(format!("d{domain}")).unwrap();
            for service in 0..3 {
                let service = ServiceName::new(format!("s{service}")).unwrap();
                let wanted: BTreeMap<_, _> = model.iter()
                    .filter(|(key, _)| key.domain == domain && key.service == service)
                    .map(|(key, version)| (key.clone(), version.clone()))
                    .collect();
                prop_assert_eq!(keys(&table.listing(&domain, Some(&service))), wanted);
            }
        }
    }
}
