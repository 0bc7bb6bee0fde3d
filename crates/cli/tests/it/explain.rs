//! `callsign explain`: planted faults are named, in the first line and by the node.

use serde_json::Value;

use crate::harness::{Ran, Running, World};

/// A world with one node, and more entries for the same server, each with something of its own.
struct Fleet {
    world: World,
    address: String,
    running: Vec<Running>,
}

// === impl Fleet ===

impl Fleet {
    fn new() -> Self {
        let world = World::new();
        let node = world.node("good", "2.0.0", "blue");
        let ran = world.command(&["ls", "nodes", "-o", "json"]).output().unwrap();
        let nodes: Value = serde_json::from_slice(&ran.stdout).unwrap();
        let address = nodes[0]["address"].as_str().unwrap().to_owned();
        Self { world, address, running: vec![node] }
    }

    /// Another entry, registered with these options.
    fn add(&mut self, id: &str, options: &[&str]) {
        let mut watch = self.world.watch(&["greeter"]);
        let mut args = vec!["register", "greeter", "--address", &self.address, "--id", id];
        args.extend(options);
        args.extend(["--", "sleep", "60"]);
        self.running.push(self.world.start(&args));
        watch.until(|change| change["node"]["id"] == id);
    }

    fn explain(&self, args: &[&str]) -> Ran {
        let mut all = vec!["explain"];
        all.extend(args);
        self.world.run(&all)
    }
}

/// The first line, and the line of a node, in words.
fn lines<'a>(ran: &'a Ran, id: &str) -> (&'a str, &'a str) {
    let first = ran.stdout.lines().next().unwrap();
    let line = ran.stdout.lines().skip(1).find(|line| line.split_whitespace().nth(1) == Some(id)).unwrap();
    (first, line)
}

#[test]
fn each_planted_fault_is_named_in_the_first_line() {
    for (options, args, words, because) in [
        (&["--node-version", "1.0.0"][..], &["greeter", "--node-version", "2"][..], "it has 1.0.0", "filter"),
        (
            &["--zone", "b"],
            &["greeter", "--group", "blue"],
            "group=blue is asked for, and it has none",
            "filter",
        ),
        (
            &["--group", "blue", "--zone", "b"],
            &["registry://greeter?group=blue&prefer=version:2"],
            "nodes of version=2 are preferred",
            "preference",
        ),
        (&["--weight", "0"], &["greeter"], "its weight is 0: it is draining", "draining"),
        (&["--protocol", "http"], &["greeter"], "faulty speaks http", "unfit"),
        (&[], &["registry://greeter?subset=1"], "keeps to 1 of the 2 nodes", "subset"),
    ] {
        let mut fleet = Fleet::new();
        fleet.add("faulty", options);
        let ran = fleet.explain(args);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        // Which one a subset leaves out is the client's own.
        let passed = if because == "subset" && ran.stdout.starts_with("faulty") { "good" } else { "faulty" };
        let (first, line) = lines(&ran, passed);
        assert!(first.contains(words) && first.contains(passed), "{}", ran.stdout);
        assert!(line.contains(words) && line.trim_start().starts_with("no "), "{}", ran.stdout);

        let mut json = args.to_vec();
        json.extend(["-o", "json"]);
        let nodes = fleet.explain(&json).json()["nodes"].as_array().unwrap().clone();
        let passed: Vec<_> = nodes.iter().filter(|node| node["candidate"] == false).collect();
        assert_eq!((passed.len(), &passed[0]["because"]), (1, &Value::from(because)), "{nodes:?}");
    }
}

#[test]
fn a_node_that_cannot_be_reached_is_told_with_its_cause_and_the_others_take_the_call() {
    let fleet = Fleet::new();
    let mut watch = fleet.world.watch(&["greeter"]);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap().to_string();
    let gone = fleet.world.start(&[
        "register",
        "greeter",
        "--address",
        &address,
        "--id",
        "away",
        "--",
        "sleep",
        "60",
    ]);
    watch.until(|change| change["node"]["id"] == "away");
    drop(port);
    let ran = fleet.explain(&["greeter", "-o", "wide"]);
    let (first, line) = lines(&ran, "away");
    assert!(
        first.starts_with("good of 2 nodes takes the next call; away does not: it is out of reach"),
        "{first}"
    );
    assert!(line.contains("refused"), "{}", ran.stdout);
    assert_eq!(fleet.explain(&["greeter", "-o", "name"]).stdout, "good\n");
    drop(gone);
}

#[test]
fn when_no_node_takes_the_call_it_says_why_and_ends_with_5() {
    let fleet = Fleet::new();
    let ran = fleet.explain(&["greeter", "--zone", "moon"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(5), ""));
    assert!(ran.stdout.starts_with("greeter: none of 1 nodes passes zone=moon"), "{}", ran.stdout);
    assert!(ran.stdout.contains("zone=moon is asked for, and it has none"), "{}", ran.stdout);
    let ran = fleet.explain(&["greeter", "--node", "nobody", "-o", "yaml"]);
    assert!(ran.stdout.starts_with("summary: greeter has no node nobody\n"), "{}", ran.stdout);
    assert_eq!(ran.code, Some(5));
    fleet.explain(&["greter"]).fails(4, &["there is no service greter", "did you mean `greeter`?"]);
    fleet.explain(&["greeter", "--strategy", "rnd"]).fails(2, &["no strategy \"rnd\""]);
    let ran = fleet.explain(&["greeter"]);
    let only = "good takes the next call: it is the only node";
    assert_eq!((ran.stdout.lines().next(), ran.code), (Some(only), Some(0)));
}

#[test]
fn a_service_config_counts_and_what_is_wrong_with_it_is_told_with_its_line() {
    let fleet = Fleet::new();
    let file = |name: &str, text: &str| std::fs::write(fleet.world.path().join(name), text).unwrap();
    file("good.json", "{\"loadBalancingConfig\": [{\"round_robin\": {}}]}");
    file("bad.json", "{\n  \"methodConfig\": [\n    {\"name\": [{}], \"timeout\": \"-1s\"}\n  ]\n}");
    let strategy = |args: &[&str]| fleet.explain(args).json()["strategy"].clone();
    assert_eq!(strategy(&["greeter", "--service-config", "good.json", "-o", "json"]), "round-robin");
    assert_eq!(strategy(&["registry://greeter?service_config=good.json", "-o", "json"]), "round-robin");
    let both = "registry://greeter?service_config=good.json&strategy=random";
    assert_eq!(strategy(&[both, "-o", "json"]), "random");
    let called = ["call", "greeter", "Hello", "--name", "World", "--service-config", "good.json"];
    assert_eq!(fleet.world.run(&called).code, Some(0));

    for args in
        [&["greeter", "--service-config", "bad.json"][..], &["registry://greeter?service_config=bad.json"]]
    {
        fleet
            .explain(args)
            .fails(2, &["service config: bad.json: line 3: methodConfig[0].timeout must not be negative"]);
    }
    let ran = fleet.explain(&["greeter", "--service-config", "none.json"]);
    ran.fails(2, &["cannot read service config: none.json cannot be opened", "No such file"]);
}
