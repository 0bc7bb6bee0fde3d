//! `callsign ls`.

use serde_json::json;

use crate::harness::World;

fn two_versions() -> (World, [crate::harness::Running; 2]) {
    let world = World::new();
    let nodes = [world.node("greeter-1", "1.0.0", "blue"), world.node("greeter-2", "1.1.0", "green")];
    (world, nodes)
}

/// Lines without what differs between two runs: the age of a node.
fn without_age(text: &str) -> Vec<String> {
    let is_age = |word: &str| {
        word.ends_with('s') && word.len() > 1 && word[..word.len() - 1].bytes().all(|b| b.is_ascii_digit())
    };
    text.lines()
        .map(|line| line.split_whitespace().filter(|word| !is_age(word)).collect::<Vec<_>>().join(" "))
        .collect()
}

#[test]
fn nothing_is_no_failure_and_says_what_to_do_on_stderr() {
    let world = World::new();
    world.run(&["ls"]).expect(
        0,
        "",
        "no service is registered in local:[WORLD]/run/callsign, domain micro; start a service, or `callsign demo --keep` \
         to have some nodes to look at\n",
    );
    assert_eq!(world.run(&["ls", "-o", "json"]).stdout, "[]\n");
    assert_eq!(world.run(&["ls", "-o", "yaml"]).stdout, "[]\n");
    assert_eq!(world.run(&["ls", "-o", "name"]).stdout, "");
}

#[test]
fn services_are_listed_in_each_format() {
    let (world, _nodes) = two_versions();
    world.run(&["ls"]).expect(0, "SERVICE  VERSIONS      NODES\ngreeter  1.0.0, 1.1.0      2\n", "");
    world.run(&["ls", "-o", "wide"]).expect(
        0,
        "DOMAIN  SERVICE  VERSIONS      NODES  ENDPOINTS\n\
         micro   greeter  1.0.0, 1.1.0      2  Greeter.Chat, Greeter.Gather, Greeter.Hello, Greeter.Repeat\n",
        "",
    );
    world.run(&["ls", "services", "-o", "json"]).expect(
        0,
        r#"[
  {
    "domain": "micro",
    "name": "greeter",
    "versions": [
      "1.0.0",
      "1.1.0"
    ],
    "nodes": 2,
    "endpoints": [
      "Greeter.Chat",
      "Greeter.Gather",
      "Greeter.Hello",
      "Greeter.Repeat"
    ]
  }
]
"#,
        "",
    );
    world.run(&["ls", "-o", "yaml"]).expect(
        0,
        "- domain: micro\n  name: greeter\n  versions:\n    - \"1.0.0\"\n    - \"1.1.0\"\n  nodes: 2\n  endpoints:\n    \
         - Greeter.Chat\n    - Greeter.Gather\n    - Greeter.Hello\n    - Greeter.Repeat\n",
        "",
    );
    world.run(&["ls", "-o", "name"]).expect(0, "greeter\n", "");
}

#[test]
fn nodes_are_listed_in_each_format() {
    let (world, _nodes) = two_versions();
    assert_eq!(
        without_age(&world.run(&["ls", "nodes"]).stdout),
        [
            "SERVICE ID ADDRESS VERSION UP",
            "greeter greeter-1 127.0.0.1:[PORT] 1.0.0",
            "greeter greeter-2 127.0.0.1:[PORT] 1.1.0"
        ]
    );
    world.run(&["ls", "nodes", "-o", "name"]).expect(0, "greeter/greeter-1\ngreeter/greeter-2\n", "");
    let mut nodes = world.run(&["ls", "nodes", "-o", "json"]).json();
    let node = nodes[0].as_object_mut().unwrap();
    assert!(node.remove("started").unwrap().as_str().unwrap().ends_with('Z'));
    let metadata = node.remove("metadata").unwrap();
    assert_eq!(metadata["group"], "blue");
    assert_eq!(
        nodes[0],
        json!({
            "domain": "micro", "service": "greeter", "id": "greeter-1", "address": "127.0.0.1:[PORT]", "version": "1.0.0",
            "weight": null, "group": "blue", "zone": null,
            "endpoints": ["Greeter.Chat", "Greeter.Gather", "Greeter.Hello", "Greeter.Repeat"]
        })
    );
}

#[test]
fn domains_are_apart_unless_all_are_asked_for() {
    let world = World::new();
    let _node = world.node("greeter-1", "1.0.0", "blue");
    assert_eq!(world.run(&["ls", "--domain", "other", "-o", "name"]).stdout, "");
    assert_eq!(world.run(&["ls", "--domain", "*", "-o", "name"]).stdout, "greeter\n");
    world.run(&["describe", "greeter", "--domain", "other"]).fails(4, &["add --domain micro"]);
}
