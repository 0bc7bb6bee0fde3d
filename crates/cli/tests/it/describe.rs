//! `callsign describe`.

use serde_json::json;

use crate::harness::World;

const SCHEMA: &str = "message HelloRequest {
  string name = 1;
  Language language = 2;
}

message HelloReply {
  string message = 1;
  string node = 2;
}

message RepeatRequest {
  string name = 1;
  uint32 times = 2;
}

enum Language {
  ENGLISH = 0;
  FRENCH = 1;
  GERMAN = 2;
  JAPANESE = 3;
}
";

#[test]
fn a_service_is_shown_with_its_versions_nodes_methods_and_messages() {
    let world = World::new();
    let _nodes = [world.node("greeter-1", "1.0.0", "blue"), world.node("greeter-2", "1.1.0", "blue")];
    let ran = world.run(&["describe", "greeter"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let (head, rest) = ran.stdout.split_once("\nMETHODS\n").unwrap();
    assert!(head.starts_with(
        "Service   greeter\nDomain    micro\nVersions  1.0.0 (1 node), 1.1.0 (1 node)\n\nID         ADDRESS"
    ));
    let methods = "Greeter.Hello(HelloRequest) -> HelloReply\n\
        Greeter.Repeat(RepeatRequest) -> stream HelloReply\n\
        Greeter.Gather(stream HelloRequest) -> HelloReply\n\
        Greeter.Chat(stream HelloRequest) -> stream HelloReply\n";
    assert_eq!(rest, format!("{methods}\nMESSAGES\n{SCHEMA}"));
    world.run(&["describe", "greeter", "-o", "name"]).expect(
        0,
        "Greeter.Hello\nGreeter.Repeat\nGreeter.Gather\nGreeter.Chat\n",
        "",
    );
}

#[test]
fn the_json_is_stable() {
    let world = World::new();
    let _node = world.node("greeter-1", "1.0.0", "blue");
    let mut data = world.run(&["describe", "greeter", "-o", "json"]).json();
    let (nodes, published) = (data["nodes"].take(), data["published"].take());
    assert_eq!(nodes[0]["id"], "greeter-1");
    assert_eq!(
        (&published[2]["name"], &published[2]["request"]["values"][0]["type"]),
        (&"Greeter.Hello".into(), &"string".into()),
        "{published}"
    );
    let endpoints = ["Greeter.Chat", "Greeter.Gather", "Greeter.Hello", "Greeter.Repeat"];
    let method = |name: &str, shape: &str, request: &str| {
        json!({
            "name": format!("greeter.Greeter/{name}"), "shape": shape,
            "request": format!("greeter.{request}"), "response": "greeter.HelloReply"
        })
    };
    assert_eq!(
        data,
        json!({
            "domain": "micro", "name": "greeter", "versions": {"1.0.0": 1}, "nodes": null, "endpoints": endpoints, "published": null,
            "methods": [
                method("Hello", "unary", "HelloRequest"),
                method("Repeat", "server stream", "RepeatRequest"),
                method("Gather", "client stream", "HelloRequest"),
                method("Chat", "both stream", "HelloRequest")
            ],
            "schema": SCHEMA
        })
    );
}

#[test]
fn what_the_registry_knows_is_shown_when_no_node_tells_its_schema() {
    let world = World::new();
    let listening = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listening.local_addr().unwrap().to_string();
    let mut watch = world.watch(&[]);
    let _sidecar =
        world.start(&["register", "web", "--id", "web-1", "--address", &address, "--", "sleep", "60"]);
    watch.until(|change| change["event"] == "added");
    drop(listening);
    let ran = world.run(&["describe", "web"]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.stdout.starts_with("Service   web\n") && ran.stdout.contains("web-1"), "{}", ran.stdout);
    assert!(ran.stderr.contains("what the registry knows is shown"), "{}", ran.stderr);
}

#[test]
fn an_unknown_service_ends_with_4_and_says_what_there_is() {
    let world = World::new();
    world.run(&["describe", "greeter"]).expect(
        4,
        "",
        "error: there is no service greeter in the registry local:[WORLD]/run/callsign\n  because: no service is registered \
         there at all\n  hint: start a service, or `callsign demo --keep` to have some nodes to look at\n",
    );
    let _node = world.node("greeter-1", "1.0.0", "blue");
    world.run(&["describe", "greetr"]).fails(4, &["the services are `greeter`", "did you mean `greeter`?"]);
    world.run(&["describe", "zebra"]).fails(4, &["run `callsign ls` to see the services"]);
}
