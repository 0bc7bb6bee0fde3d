//! What is registered is what is found.

use std::{collections::BTreeMap, sync::Arc};

use super::{Harness, scene::Scene};
use crate::{
    model::{Domain, Endpoint, Metadata, Node, NodeKey, Value},
    registry::{GetOptions, ListOptions, WatchOptions},
};

/// A registered node is found by `get`, `list` and a watch, through its own handle and through another.
pub async fn a_registered_node_is_found(harness: &dyn Harness) {
    let scene = Scene::new(harness, "found");
    let (ours, theirs) = (harness.open().await, harness.open().await);
    let mut watches = [scene.follow_service(&*ours).await, scene.follow_service(&*theirs).await];
    scene.shows(&*ours, &mut watches[0], &[]).await;
    let node = Arc::new(scene.node("1").build().expect("a node"));
    scene.register_and_keep(&*ours, &node).await;
    scene.shows(&*ours, &mut watches[0], std::slice::from_ref(&node)).await;
    scene.shows(&*theirs, &mut watches[1], std::slice::from_ref(&node)).await;
    let mut late = scene.follow_service(&*theirs).await;
    scene.shows(&*theirs, &mut late, &[node]).await;
    scene.end().await;
}

/// `Lease::update` replaces what the entry says: address, version, weight and metadata.
pub async fn an_update_takes_the_place_of_what_was_there(harness: &dyn Harness) {
    let scene = Scene::new(harness, "update");
    let (ours, theirs) = (harness.open().await, harness.open().await);
    let mut watch = scene.follow_service(&*theirs).await;
    let first = Arc::new(scene.node("1").metadata("old", "x").weight(1).build().expect("a node"));
    let mut lease = scene.register(&*ours, &first).await;
    scene.shows(&*theirs, &mut watch, std::slice::from_ref(&first)).await;
    for weight in [0, 2, 65535] {
        let node =
            Node::builder(scene.service(), "1", "[::1]:5000").version("2").weight(weight).group("blue");
        let node = Arc::new(node.build().expect("a node"));
        scene.ok("update", lease.update(&node).await);
        scene.shows(&*theirs, &mut watch, &[node]).await;
    }
    scene.keep(first.key(), lease);
    assert!(watch.removals(&first.key()).is_empty(), "update: the node was gone in between");
    scene.end().await;
}

/// Every field comes back as it was, whatever text is in it.
pub async fn everything_a_node_says_makes_the_round_trip(harness: &dyn Harness) {
    let scene = Scene::new(harness, "round-trip");
    let (ours, theirs) = (harness.open().await, harness.open().await);
    let odd = "<&> \"\\ \u{1}\t\n\u{2028} héllo 日本 🦀 %2F ,=;{}[]";
    let field = Value { name: "name".into(), kind: "string".into(), values: vec![] };
    let message = Value { name: "HelloRequest".into(), kind: "HelloRequest".into(), values: vec![field] };
    let endpoints = vec![
        Endpoint {
            name: "Greeter.Hello".into(),
            request: Some(message.clone()),
            response: Some(message),
            metadata: Metadata::from([("stream", "true"), ("description", odd)]),
        },
        Endpoint { name: "Greeter.Empty".into(), ..Endpoint::default() },
    ];
    let full = scene
        .node("full")
        .version("1.2.0-rc.1+build/7")
        .metadata("odd", odd)
        .metadata(odd, "")
        .metadata("long", "x".repeat(4096))
        .service_metadata("team", "a b")
        .weight(65535)
        .group("blue")
        .zone("eu-1a")
        .started(std::time::Duration::from_millis(1_700_000_000_123))
        .endpoints(endpoints);
    let plain = scene.node("plain");
    let nodes = [full, plain].map(|builder| Arc::new(builder.build().expect("a node")));
    for node in &nodes {
        scene.register_and_keep(&*ours, node).await;
    }
    let mut watch = scene.follow_service(&*theirs).await;
    scene.shows(&*theirs, &mut watch, &nodes).await;
    scene.end().await;
}

/// Two versions, with endpoints of their own, do not get in each other's way; one may go and the other stays.
pub async fn two_versions_of_one_service_live_side_by_side(harness: &dyn Harness) {
    let scene = Scene::new(harness, "versions");
    let registry = harness.open().await;
    let node = |id: &str, version: &str| {
        let endpoint = Endpoint { name: format!("Greeter.V{version}"), ..Endpoint::default() };
        Arc::new(scene.node(id).version(version).endpoints([endpoint]).build().expect("a node"))
    };
    let (old, new, newer) = (node("a", "1"), node("b", "2"), node("c", "2"));
    let lease = scene.register(&*registry, &old).await;
    scene.register_and_keep(&*registry, &new).await;
    scene.register_and_keep(&*registry, &newer).await;
    let mut watch = scene.follow_service(&*registry).await;
    scene.shows(&*registry, &mut watch, &[old, new.clone(), newer.clone()]).await;
    scene.ok("release", lease.release().await);
    scene.shows(&*registry, &mut watch, &[new, newer]).await;
    scene.end().await;
}

/// A thousand nodes, registered all at once, are seen by a watch, by `get` and by `list`, and go again.
pub async fn a_thousand_nodes_are_all_there(harness: &dyn Harness) {
    let scene = Scene::new(harness, "thousand");
    let (ours, theirs) = (harness.open().await, harness.open().await);
    let mut watch = scene.follow_service(&*theirs).await;
    let nodes: Vec<_> = (0..1000)
        .map(|n| Arc::new(scene.node(&format!("node-{n}")).weight(n).build().expect("a node")))
        .collect();
    for node in &nodes {
        scene.register_and_keep_soon(&ours, node);
    }
    scene.shows(&*theirs, &mut watch, &nodes).await;
    scene.end().await;
    watch.until("all thousand have gone", BTreeMap::is_empty).await;
}

/// Names that a key, a path, a pattern or a label would trip over are taken as they are, and never taken for each other.
pub async fn odd_names_are_kept_apart(harness: &dyn Harness) {
    let scene = Scene::new(harness, "names");
    let (ours, theirs) = (harness.open().await, harness.open().await);
    let long = ["x".repeat(200), "日".repeat(66), "a/".repeat(99) + "b"];
    let names = [
        "a/b",
        "a-b",
        "a_b",
        "a.b",
        "a b",
        "a%2Fb",
        "a\\b",
        "/",
        "//",
        "/a",
        "a/",
        ".",
        "..",
        "../a",
        "*",
        "**",
        "-",
        "~",
        "con",
        "a:b",
        "a|b",
        "a?b",
        "a#b",
        "a\"b",
        "a'b",
        "Case",
        "case",
        "héllo",
        "he\u{301}llo",
        "日本",
        "🦀",
        "$HOME",
        "{}",
        "a=b",
        ".tmp",
        "a.lock",
        "a.json",
    ];
    let names: Vec<_> = names.into_iter().chain(long.iter().map(String::as_str)).collect();
    let (domain, odd_domain) = (scene.domain("names"), scene.domain("../a/b *é"));
    let mut nodes = Vec::new();
    for (index, service) in names.iter().enumerate() {
        let id = names[(index + 1) % names.len()];
        for domain in [&domain, &odd_domain] {
            let node = Node::builder(*service, id, "127.0.0.1:4000").in_domain(domain).version(*service);
            let node = Arc::new(node.build().expect("a node"));
            scene.register_and_keep(&*ours, &node).await;
            nodes.push(node);
        }
    }
    for domain in [&domain, &odd_domain] {
        let own = |node: &&Arc<Node>| node.domain() == domain;
        let expected: BTreeMap<_, _> =
            nodes.iter().filter(own).map(|node| (node.key(), node.clone())).collect();
        let mut watch = scene.follow(&*theirs, &WatchOptions::in_domain(domain.clone())).await;
        watch.until("every odd name is there", |nodes| *nodes == expected).await;
        let listing = scene.ok("list", theirs.list(&ListOptions::in_domain(domain.clone())).await);
        assert_eq!(listing.nodes.len(), expected.len(), "names: list");
        for node in expected.values() {
            let options = GetOptions::in_domain(domain.clone());
            let got = scene.ok("get", theirs.get(node.service(), &options).await).nodes;
            assert_eq!(got, std::slice::from_ref(node), "names: get {:?}", node.service());
        }
    }
    scene.end().await;
}

/// A node is found in its domain and in `*`, and in no other; equal names in two domains are two nodes.
pub async fn domains_do_not_see_each_other(harness: &dyn Harness) {
    let scene = Scene::new(harness, "domains");
    let registry = harness.open().await;
    let (one, two) = (scene.domain("one"), scene.domain("two"));
    let in_domain = |domain: &Domain| Arc::new(scene.node("1").in_domain(domain).build().expect("a node"));
    let nodes = [in_domain(&one), in_domain(&two)];
    let mut watches = Vec::new();
    for domain in [&one, &two, &Domain::all(), &Domain::default()] {
        let options = WatchOptions::in_domain(domain.clone()).of(scene.service());
        watches.push(scene.follow(&*registry, &options).await);
    }
    for watch in &mut watches {
        watch.until("nothing is there yet", BTreeMap::is_empty).await;
    }
    scene.register_and_keep(&*registry, &nodes[0]).await;
    let lease = scene.register(&*registry, &nodes[1]).await;
    let map = |nodes: &[Arc<Node>]| -> BTreeMap<NodeKey, Arc<Node>> {
        nodes.iter().map(|node| (node.key(), node.clone())).collect()
    };
    let expected = [map(&nodes[..1]), map(&nodes[1..]), map(&nodes), map(&[])];
    for (watch, expected) in watches.iter_mut().zip(&expected) {
        watch.until("the domain's own node is there", |nodes| nodes == expected).await;
    }
    for (domain, expected) in [one.clone(), two, Domain::all(), Domain::default()].iter().zip(&expected) {
        let got = scene.get(&*registry, &GetOptions::in_domain(domain.clone())).await;
        assert_eq!(&map(&got.nodes), expected, "domains: get in {domain}");
        let mut listed = scene.ok("list", registry.list(&ListOptions::in_domain(domain.clone())).await);
        listed.nodes.retain(|node| *node.service() == scene.service());
        assert_eq!(&map(&listed.nodes), expected, "domains: list in {domain}");
    }
    scene.ok("release", lease.release().await);
    watches[1].until("the second domain is empty again", BTreeMap::is_empty).await;
    watches[2].until("all domains have one node left", |nodes| *nodes == expected[0]).await;
    scene.shows(&*registry, &mut watches[3], &[]).await;
    scene.end().await;
}

/// An entry that cannot be understood is skipped and counted, and hides none of the others from anybody.
pub async fn what_cannot_be_understood_spoils_nothing(harness: &dyn Harness) {
    let scene = Scene::new(harness, "poison");
    let (ours, theirs) = (harness.open().await, harness.open().await);
    let mut early = scene.follow_service(&*theirs).await;
    early.until("nothing is there yet", BTreeMap::is_empty).await;
    let before = Arc::new(scene.node("before").build().expect("a node"));
    scene.register_and_keep(&*ours, &before).await;
    if !harness.poison(&scene.service()).await {
        return scene.end().await;
    }
    let after = Arc::new(scene.node("after").build().expect("a node"));
    scene.register_and_keep(&*ours, &after).await;
    let nodes = [before, after];
    scene.shows(&*theirs, &mut early, &nodes).await;
    let mut late = scene.follow_service(&*theirs).await;
    scene.shows(&*theirs, &mut late, &nodes).await;
    let poisoned = scene.get(&*theirs, &GetOptions::default()).await.poisoned;
    assert!(poisoned > 0, "poison: get does not count what it skipped");
    let poisoned = scene.ok("list", theirs.list(&ListOptions::default()).await).poisoned;
    assert!(poisoned > 0, "poison: list does not count what it skipped");
    scene.end().await;
}
