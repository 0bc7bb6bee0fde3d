//! Over real multicast, between two hosts of the test's own.

use std::net::TcpListener;

use callsign::{core::registration::Registrar, registry::Access};
use callsign_interop::{GoMicro, Peer, Place, Program};
use serde_json::json;

use crate::{
    host::Host,
    scene::{assert_full, cases, full_node, open, register, serve, service},
};

cases![
    a_go_service_is_listed_and_described,
    a_go_service_is_watched_from_its_coming_to_its_going,
    a_go_service_that_is_killed_is_found_out,
    a_service_of_ours_is_found_by_go_to_the_last_field,
    go_watches_a_service_of_ours_come_change_and_go,
    a_process_of_ours_that_is_killed_is_not_found_by_go,
];

/// Where Go's host and ours are, as [`Host::pair`] has it.
const THERE: &str = "10.77.0.1";
const HERE: &str = "10.77.0.2";

/// Two hosts with a cable between them: Go's, and ours, on which the test's thread is.
struct Bed {
    hosts: [Host; 2],
    line: GoMicro,
}

// === impl Bed ===

impl Bed {
    fn new(line: GoMicro) -> Self {
        let hosts = Host::pair();
        hosts[1].enter();
        Self { hosts, line }
    }

    async fn go(&self) -> Peer {
        let command = self.hosts[0].command("true");
        let file = command.get_args().find_map(|arg| arg.to_str()?.strip_prefix("--net=")).unwrap();
        Peer::start(self.line, &Place::Namespace(file.into()), &["mdns"], &[]).await
    }

    fn program(&self) -> Program {
        Program::new(&Place::Here, "mdns")
    }

    fn registrar(&self) -> Registrar {
        Registrar::new(open("mdns:", &Access::new()))
    }
}

/// The request that starts go-micro's own server on its host.
fn served() -> serde_json::Value {
    let mut request = serve("greeter", "one", 60);
    request["serve"]["address"] = format!("{THERE}:0").into();
    request
}

async fn a_go_service_is_listed_and_described(line: GoMicro) {
    let bed = Bed::new(line);
    let mut go = bed.go().await;
    go.ask("serve", served()).await;

    let program = bed.program();
    assert_eq!(
        program.json(&["ls"]).await,
        json!([{
            "domain": "micro", "name": "greeter", "versions": ["1.2.0"], "nodes": 1, "endpoints": ["Greeter.Hello"],
        }])
    );
    let described = program.json(&["describe", "greeter"]).await;
    let node = &described["nodes"][0];
    assert_eq!(
        (&node["id"], &node["metadata"]["team"]),
        (&"greeter-one".into(), &"shop <floor> & more".into())
    );
    assert_eq!(
        (&node["metadata"]["protocol"], &node["metadata"]["registry"]),
        (&"mucp".into(), &"mdns".into())
    );
    assert!(node["address"].as_str().unwrap().starts_with(THERE), "{described}");
    let fields = described["published"][0]["request"]["values"].as_array().unwrap().len();
    assert_eq!(fields, 3, "{described}");

    go.ask("stop", json!({})).await;
    assert_eq!(program.json(&["ls"]).await, json!([]));
}

async fn a_go_service_is_watched_from_its_coming_to_its_going(line: GoMicro) {
    let bed = Bed::new(line);
    let mut go = bed.go().await;
    let mut watch = bed.program().watch(&["greeter"]).await;

    let metadata = json!({ "zone": "a" });
    go.ask("register", json!({ "service": service("greeter", "g-1", &metadata), "ttl": 30 })).await;
    let (event, line) = watch.of("g-1").await;
    assert_eq!((event.as_str(), &line["node"]["zone"]), ("added", &"a".into()), "{line}");
    assert_eq!(line["node"]["endpoints"], json!(["Greeter.Hello"]));

    go.ask("deregister", json!({ "service": service("greeter", "g-1", &metadata) })).await;
    let (event, line) = watch.of("g-1").await;
    assert_eq!((event.as_str(), &line["reason"]), ("removed", &"it deregistered".into()), "{line}");
}

async fn a_go_service_that_is_killed_is_found_out(line: GoMicro) {
    let bed = Bed::new(line);
    let mut go = bed.go().await;
    let mut watch = bed.program().watch(&["greeter"]).await;
    go.ask("serve", served()).await;
    assert_eq!(watch.of("greeter-one").await.0, "added");

    // It says nothing, so it is found out by its silence.
    go.kill().await;
    let (event, line) = watch.of("greeter-one").await;
    assert_eq!(event, "removed");
    assert_ne!(line["reason"], "it deregistered");
}

async fn a_service_of_ours_is_found_by_go_to_the_last_field(line: GoMicro) {
    let bed = Bed::new(line);
    let registrar = bed.registrar();
    let one = register(&registrar, full_node("greeter", "ours-1", "3.0")).await;
    let two = register(&registrar, full_node("greeter", "ours-2", "3.1")).await;
    let mut go = bed.go().await;
    let mut found = go.get("greeter").await;
    found.sort_by_key(|service| service["version"].to_string());
    assert_eq!(found.len(), 2, "{found:?}");
    assert_full(&found[0], "greeter", "ours-1", "3.0");
    assert_full(&found[1], "greeter", "ours-2", "3.1");
    let listed = go.list().await;
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0]["name"], "greeter");

    one.close().await.unwrap();
    let found = go.get("greeter").await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_full(&found[0], "greeter", "ours-2", "3.1");
    two.close().await.unwrap();
    assert!(go.get("greeter").await.is_empty());
    assert!(go.list().await.is_empty());
}

async fn go_watches_a_service_of_ours_come_change_and_go(line: GoMicro) {
    let bed = Bed::new(line);
    let mut go = bed.go().await;
    go.watch("greeter").await;
    let registrar = bed.registrar();
    let registration = register(&registrar, full_node("greeter", "ours-1", "3.0")).await;
    let (action, seen) = go.event().await;
    assert_eq!(action, "create");
    assert_full(&seen, "greeter", "ours-1", "3.0");

    // go-micro's watcher knows no update: what is said anew is created anew. It hears everything several times.
    registration.update(full_node("greeter", "ours-1", "3.1")).await.unwrap();
    let (action, seen) = go.until(|_, service| service["version"] == "3.1").await;
    assert_eq!(action, "create");
    assert_full(&seen, "greeter", "ours-1", "3.1");
    let found = go.get("greeter").await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_full(&found[0], "greeter", "ours-1", "3.1");

    registration.close().await.unwrap();
    let (_, seen) = go.until(|action, _| action == "delete").await;
    assert_eq!(seen["nodes"][0]["id"], "ours-1");
}

async fn a_process_of_ours_that_is_killed_is_not_found_by_go(line: GoMicro) {
    let bed = Bed::new(line);
    let mut go = bed.go().await;
    go.watch("side").await;
    let open_port = TcpListener::bind((HERE, 0)).unwrap();
    let address = open_port.local_addr().unwrap().to_string();
    let sidecar = bed.program().register("side", &address, &["--id", "side-1"]);
    assert_eq!(go.event().await.0, "create");
    assert_eq!(go.get("side").await[0]["nodes"][0]["address"], address);

    sidecar.kill().await;
    assert!(go.get("side").await.is_empty());
}
