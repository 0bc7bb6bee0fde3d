//! `callsign drain` and `undrain`: real nodes go out of everybody's choice and come back, without ending.

mod elsewhere;

use std::{fs, process::Stdio};

use callsign::{
    Server,
    registry::open,
    server::{Handle, Operators},
};

use crate::harness::{Running, World};

/// Which nodes may take the next call.
fn candidates(world: &World) -> String {
    world.run(&["explain", "greeter", "-o", "name"]).stdout
}

/// Drains the node `a`, named by its id or its address, and waits until it has no call in flight.
#[track_caller]
fn drains(world: &World, name: &str) {
    let ran = world.run(&["drain", "greeter", name, "--wait"]);
    let said = (ran.code, ran.stdout.as_str());
    assert_eq!(said, (Some(0), "a drained, 0 calls in flight\n"), "{}", ran.stderr);
}

/// Takes the node `a` back.
#[track_caller]
fn takes_back(world: &World, name: &str) {
    let ran = world.run(&["undrain", "greeter", name]);
    let said = (ran.code, ran.stdout.as_str());
    assert_eq!(said, (Some(0), "a takes calls again, 0 calls in flight\n"), "{}", ran.stderr);
}

#[test]
fn a_drained_node_gets_no_calls_until_it_is_undrained() {
    let world = World::new();
    let (_a, _b) = (world.node("a", "1.0.0", "blue"), world.node("b", "1.0.0", "blue"));
    drains(&world, "a");
    assert_eq!(candidates(&world), "b\n");
    let nodes = world.run(&["explain", "greeter", "-o", "json"]).json();
    let nodes = nodes["nodes"].as_array().unwrap();
    let a = nodes.iter().find(|node| node["id"] == "a").unwrap();
    assert_eq!((&a["because"], &a["weight"]), (&"draining".into(), &0.into()));

    // The last one is drained too if that is wanted, and is called rather than nobody.
    let ran = world.run(&["drain", "greeter", "b", "-o", "json"]);
    assert!(ran.stderr.contains("warning: no other node of greeter takes calls"), "{}", ran.stderr);
    assert_eq!((&ran.json()["drained"], &ran.json()["carried_out"]), (&true.into(), &true.into()));
    let called = world.run(&["call", "greeter", "Hello", "--name", "World"]);
    assert_eq!(called.code, Some(0), "{}", called.stderr);

    takes_back(&world, "a");
    assert_eq!(candidates(&world), "a\n");
}

#[test]
fn one_that_leaves_the_registry_is_brought_back_by_its_address() {
    let world = World::new();
    let (_a, _b) = (world.node("a", "1.0.0", "blue"), world.node("b", "1.0.0", "blue"));
    let ran = world.command(&["drain", "greeter", "a", "--unlist", "-o", "json"]).output().unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(world.run(&["ls", "nodes", "-o", "name"]).stdout, "greeter/b\n");
    world.run(&["undrain", "greeter", "a"]).fails(4, &["greeter has no node a", "found by its address"]);
    takes_back(&world, shown["address"].as_str().unwrap());
    assert_eq!(candidates(&world), "a\nb\n");
}

#[test]
fn calls_in_flight_are_told_and_waited_for() {
    let world = World::new();
    let (_a, _b) = (world.node("a", "1.0.0", "blue"), world.node("b", "1.0.0", "blue"));
    let mut chat = world.command(&["call", "greeter", "Chat", "-d", "@-", "--node", "a", "-o", "json"]);
    let mut chat = Running::start(chat.stdin(Stdio::piped()).stderr(Stdio::null()));
    let mut stdin = chat.child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, b"{\"name\": \"World\"}\n").unwrap();
    assert!(chat.line().contains("Hello, World!"));
    let ran = world.run(&["drain", "greeter", "a", "--wait", "--timeout", "1s"]);
    ran.fails(6, &["waiting for 1 call in flight", "a still has 1 call in flight", "it stays drained"]);
    drop(stdin);
    assert_eq!(chat.end().1, Some(0), "what was in flight is not cut");
    drains(&world, "a");
}

#[test]
fn a_node_that_is_started_again_is_not_drained() {
    let world = World::new();
    let (a, _b) = (world.node("a", "1.0.0", "blue"), world.node("b", "1.0.0", "blue"));
    assert_eq!(world.run(&["drain", "greeter", "a"]).code, Some(0));
    a.signal(rustix::process::Signal::TERM);
    assert_eq!(a.end().1, Some(0));
    let _a = world.node("a", "1.0.0", "blue");
    assert_eq!(candidates(&world), "a\nb\n");
}

#[test]
fn what_cannot_be_drained_is_told_with_its_reason() {
    let world = World::new();
    let _a = world.node("green-1", "1.0.0", "blue");
    world.run(&["drain", "greter", "a"]).fails(4, &["no service greter", "did you mean `greeter`?"]);
    world.run(&["drain", "greeter", "green-2"]).fails(4, &["has no node green-2", "did you mean `green-1`?"]);

    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap().to_string();
    let mut watch = world.watch(&["greeter"]);
    let _away =
        world.start(&["register", "greeter", "--address", &address, "--id", "away", "--", "sleep", "60"]);
    watch.until(|change| change["node"]["id"] == "away");
    drop(port);
    world
        .run(&["drain", "greeter", "away", "--timeout", "5s"])
        .fails(5, &["away at 127.0.0.1:", "does not answer"]);
}

#[test]
fn a_node_that_does_not_allow_it_says_so() {
    let world = World::new();
    let deaf = Node::start(&world, "deaf", None);
    world.run(&["drain", "deaf", "deaf-1"]).fails(7, &["takes no operator's word", "`Builder::operators`"]);
    let wary = Node::start(&world, "wary", Some(Operators::with_token("sesame").unwrap()));
    world.run(&["drain", "wary", "wary-1"]).fails(7, &["none was shown"]);
    let wrong =
        world.finish(world.command(&["drain", "wary", "wary-1"]).env("CALLSIGN_OPERATOR_TOKEN", "open"));
    wrong.fails(7, &["not the one that this node wants"]);
    assert!(!deaf.handle.is_drained() && !wary.handle.is_drained());
    fs::write(world.path().join("token"), "sesame\n").unwrap();
    let ran = world.run(&["drain", "wary", "wary-1", "--token-file", "token"]);
    assert_eq!((ran.code, wary.handle.is_drained()), (Some(0), true), "{}", ran.stderr);
    world.run(&["undrain", "wary", "wary-1", "--token-file", "nowhere"]).fails(2, &["cannot read the token"]);
}

/// A node in a thread of the test.
struct Node {
    handle: Handle,
    thread: Option<std::thread::JoinHandle<()>>,
}

// === impl Node ===

impl Node {
    fn start(world: &World, name: &str, operators: Option<Operators>) -> Self {
        let registry = open(&format!("local://{}", world.registry().display()).parse().unwrap()).unwrap();
        let name = name.to_owned();
        let (say, served) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let routes = axum::Router::new();
                let builder =
                    Server::builder(&name).id(format!("{name}-1")).registry(registry).routes(routes);
                let builder = match operators {
                    Some(operators) => builder.operators(operators),
                    None => builder,
                };
                let server = builder.build().await.unwrap();
                let handle = server.handle();
                let registered = handle.clone();
                let serving = server.serve_until(std::future::pending());
                let telling = async move {
                    registered.registered().await.unwrap();
                    say.send(registered).unwrap();
                };
                tokio::join!(async { serving.await.unwrap() }, telling);
            });
        });
        Self { handle: served.recv().unwrap(), thread: Some(thread) }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.handle.stop_now();
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}
