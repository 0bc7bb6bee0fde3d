//! On a real etcd.

use std::{collections::BTreeSet, net::TcpListener};

use callsign::{
    core::{
        ServiceName, WatchEvent,
        registration::Registrar,
        registry::{GetOptions, RegistryExt as _, Removal, WatchOptions},
    },
    registry::Access,
};
use callsign_interop::{GoMicro, Peer, Place, Program};
use callsign_testbed::EtcdServer;
use serde_json::{Value, json};

use crate::scene::{assert_full, cases, full_node, only_node, open, register, serve, service};

cases![
    a_go_service_is_listed_and_described,
    a_go_service_is_watched_from_its_coming_to_its_going,
    a_go_service_that_is_killed_expires,
    a_service_of_ours_is_found_by_go_to_the_last_field,
    go_watches_a_service_of_ours_come_change_and_go,
    go_sees_each_of_many_nodes_of_ours_come_and_go,
    a_process_of_ours_that_is_killed_expires_for_go,
    one_name_may_have_nodes_of_both,
    names_with_slashes_are_the_same_names_on_both_sides,
    both_log_in_with_the_same_user_and_password,
];

/// An etcd with go-micro, the library and the program on it.
struct Bed {
    etcd: EtcdServer,
    line: GoMicro,
}

// === impl Bed ===

impl Bed {
    async fn new(line: GoMicro) -> Self {
        Self { etcd: EtcdServer::start().await, line }
    }

    fn address(&self) -> String {
        self.etcd.endpoint()
    }

    fn url(&self) -> String {
        format!("etcd://{}", self.address())
    }

    async fn go(&self) -> Peer {
        Peer::start(self.line, &Place::Here, &["etcd", &self.address()], &[]).await
    }

    fn program(&self) -> Program {
        Program::new(&Place::Here, "etcd").at(&self.address())
    }

    fn registrar(&self) -> Registrar {
        Registrar::new(open(&self.url(), &Access::new()))
    }
}

async fn a_go_service_is_listed_and_described(line: GoMicro) {
    let bed = Bed::new(line).await;
    let mut go = bed.go().await;
    go.ask("serve", serve("greeter", "one", 30)).await;

    let program = bed.program();
    assert_eq!(
        program.json(&["ls"]).await,
        json!([{
            "domain": "micro", "name": "greeter", "versions": ["1.2.0"], "nodes": 1, "endpoints": ["Greeter.Hello"],
        }])
    );
    let described = program.json(&["describe", "greeter"]).await;
    assert_eq!(described["versions"], json!({ "1.2.0": 1 }));
    let node = &described["nodes"][0];
    assert_eq!(node["id"], "greeter-one");
    assert_eq!(node["metadata"]["team"], "shop <floor> & more");
    for (key, value) in
        [("protocol", "mucp"), ("server", "mucp"), ("registry", "etcd"), ("transport", "http")]
    {
        assert_eq!(node["metadata"][key], value, "{described}");
    }
    let hello = &described["published"][0];
    let fields = hello["request"]["values"].as_array().unwrap().iter();
    let fields: Vec<_> = fields.map(|field| (field["name"].as_str(), field["type"].as_str())).collect();
    assert_eq!(
        fields,
        [("name", "string"), ("times", "int64"), ("tags", "[]string")].map(|(n, t)| (Some(n), Some(t)))
    );
    assert_eq!(hello["response"]["values"][0]["name"], "msg");
    // The library sees the same.
    let seen = open(&bed.url(), &Access::new()).service("greeter").await.unwrap();
    assert_eq!(seen.nodes()[0].address(), node["address"].as_str().unwrap());
    assert_eq!(seen.endpoints()[0].response.as_ref().unwrap().kind, "HelloResponse");

    go.ask("stop", json!({})).await;
    assert_eq!(program.json(&["ls"]).await, json!([]));
}

async fn a_go_service_is_watched_from_its_coming_to_its_going(line: GoMicro) {
    let bed = Bed::new(line).await;
    let mut go = bed.go().await;
    let mut watch = bed.program().watch(&["greeter"]).await;

    go.ask("register", json!({ "service": service("greeter", "g-1", &json!({ "zone": "a" })), "ttl": 30 }))
        .await;
    let (event, line) = watch.of("g-1").await;
    assert_eq!((event.as_str(), &line["node"]["zone"]), ("added", &"a".into()), "{line}");
    assert_eq!(line["node"]["endpoints"], json!(["Greeter.Hello"]));

    go.ask("register", json!({ "service": service("greeter", "g-1", &json!({ "zone": "b" })), "ttl": 30 }))
        .await;
    let (event, line) = watch.of("g-1").await;
    assert_eq!((event.as_str(), &line["changes"]), ("changed", &json!(["zone a -> b"])), "{line}");

    go.ask("deregister", json!({ "service": service("greeter", "g-1", &json!({})) })).await;
    let (event, line) = watch.of("g-1").await;
    assert_eq!((event.as_str(), &line["reason"]), ("removed", &"it deregistered".into()), "{line}");
}

async fn a_go_service_that_is_killed_expires(line: GoMicro) {
    let bed = Bed::new(line).await;
    let registry = open(&bed.url(), &Access::new());
    let name: ServiceName = "greeter".parse().unwrap();
    let mut watch = registry.watch(&WatchOptions::default().of(name.clone())).await.unwrap();
    // Until it has begun it has nothing to tell the difference to.
    while !matches!(watch.next().await, Some(WatchEvent::SnapshotDone(_))) {}
    let mut told = bed.program().watch(&["greeter"]).await;
    let mut go = bed.go().await;
    go.ask("serve", serve("greeter", "one", 2)).await;
    assert_eq!(told.of("greeter-one").await.0, "added");

    go.kill().await;
    assert_eq!(told.of("greeter-one").await.0, "removed");
    let removal = loop {
        if let WatchEvent::Remove(_, removal, _) = watch.next().await.unwrap() {
            break removal;
        }
    };
    assert_ne!(removal, Removal::Deregistered, "nobody took it away");
    assert!(registry.get(&name, &GetOptions::default()).await.unwrap().nodes.is_empty());
}

async fn a_service_of_ours_is_found_by_go_to_the_last_field(line: GoMicro) {
    let bed = Bed::new(line).await;
    let registrar = bed.registrar();
    let registration = register(&registrar, full_node("greeter", "ours-1", "3.0")).await;
    let mut go = bed.go().await;
    for found in [go.get("greeter").await, go.list().await] {
        assert_eq!(found.len(), 1, "{found:?}");
        assert_full(&found[0], "greeter", "ours-1", "3.0");
    }
    registration.close().await.unwrap();
    assert!(go.get("greeter").await.is_empty());
    assert!(go.list().await.is_empty());
}

async fn go_watches_a_service_of_ours_come_change_and_go(line: GoMicro) {
    let bed = Bed::new(line).await;
    let mut go = bed.go().await;
    go.watch("greeter").await;
    let registrar = bed.registrar();
    let registration = register(&registrar, full_node("greeter", "ours-1", "3.0")).await;
    let (action, seen) = go.event().await;
    assert_eq!(action, "create");
    assert_full(&seen, "greeter", "ours-1", "3.0");

    registration.update(full_node("greeter", "ours-1", "3.1")).await.unwrap();
    let (action, seen) = go.event().await;
    assert_eq!(action, "update");
    assert_full(&seen, "greeter", "ours-1", "3.1");

    registration.close().await.unwrap();
    let (action, seen) = go.event().await;
    assert_eq!(action, "delete");
    assert_full(&seen, "greeter", "ours-1", "3.1");
}

/// go-micro's watcher reads the first event of a batch only, so there must never be two in one.
async fn go_sees_each_of_many_nodes_of_ours_come_and_go(line: GoMicro) {
    let bed = Bed::new(line).await;
    let mut go = bed.go().await;
    go.watch("").await;
    let registrar = bed.registrar();
    let ids: BTreeSet<_> = (0..20).map(|number| format!("ours-{number}")).collect();
    let registrations: Vec<_> =
        ids.iter().map(|id| registrar.register(full_node("greeter", id, "1"), Default::default())).collect();
    assert_eq!(ids_of(&mut go, "create", ids.len()).await, ids);

    // All at once.
    drop(registrations);
    assert_eq!(ids_of(&mut go, "delete", ids.len()).await, ids);
}

/// The ids in the next `count` events, all of which are of one kind.
async fn ids_of(go: &mut Peer, wanted: &str, count: usize) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for _ in 0..count {
        let (action, service) = go.event().await;
        assert_eq!(action, wanted, "{service}");
        ids.insert(only_node(&service)["id"].as_str().unwrap().to_owned());
    }
    ids
}

async fn a_process_of_ours_that_is_killed_expires_for_go(line: GoMicro) {
    let bed = Bed::new(line).await;
    let mut go = bed.go().await;
    go.watch("").await;
    let open_port = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = open_port.local_addr().unwrap().to_string();
    let options = ["--id", "side-1", "--ttl", "2s", "--protocol", "http"];
    let sidecar = bed.program().register("side", &address, &options);
    let (action, seen) = go.event().await;
    assert_eq!((action.as_str(), &only_node(&seen)["address"]), ("create", &address.into()));

    sidecar.kill().await;
    let (action, seen) = go.event().await;
    assert_eq!((action.as_str(), &only_node(&seen)["id"]), ("delete", &"side-1".into()));
    assert!(go.get("side").await.is_empty());
}

async fn one_name_may_have_nodes_of_both(line: GoMicro) {
    let bed = Bed::new(line).await;
    let mut go = bed.go().await;
    go.ask("serve", serve("greeter", "one", 30)).await;
    let registration = register(&bed.registrar(), full_node("greeter", "ours-1", "3.0")).await;

    let found = go.get("greeter").await;
    let versions: BTreeSet<_> = found.iter().map(|service| service["version"].as_str().unwrap()).collect();
    assert_eq!(versions, BTreeSet::from(["1.2.0", "3.0"]), "{found:?}");
    let listed = bed.program().json(&["ls", "nodes"]).await;
    let ids: Vec<_> = listed.as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["greeter-one", "ours-1"]);

    // Each takes away its own and no more.
    go.ask("stop", json!({})).await;
    assert_full(&go.get("greeter").await[0], "greeter", "ours-1", "3.0");
    registration.close().await.unwrap();
    assert!(go.get("greeter").await.is_empty());
}

async fn names_with_slashes_are_the_same_names_on_both_sides(line: GoMicro) {
    let bed = Bed::new(line).await;
    let mut go = bed.go().await;
    // To etcd these two lie side by side.
    for (name, id) in [("a/b", "a/b-1"), ("a-b", "a-b-2")] {
        let request = json!({ "service": service(name, id, &json!({})), "ttl": 30 });
        go.ask("register", request).await;
    }
    let program = bed.program();
    for (name, id) in [("a/b", "a/b-1"), ("a-b", "a-b-2")] {
        let described = program.json(&["describe", name]).await;
        let nodes: Vec<&Value> =
            described["nodes"].as_array().unwrap().iter().map(|node| &node["id"]).collect();
        assert_eq!(nodes, [id], "{described}");
    }

    let registration = register(&bed.registrar(), full_node("shop/küche", "k/1", "1")).await;
    let found = go.get("shop/küche").await;
    assert_full(&found[0], "shop/küche", "k/1", "1");
    registration.close().await.unwrap();
    assert!(go.get("shop/küche").await.is_empty());
}

async fn both_log_in_with_the_same_user_and_password(line: GoMicro) {
    let etcd = EtcdServer::builder().user("shop", "s3cret").start().await;
    let address = etcd.endpoint();
    let env = [("ETCD_USERNAME", "shop"), ("ETCD_PASSWORD", "s3cret")];
    let mut go = Peer::start(line, &Place::Here, &["etcd", &address], &env).await;
    go.ask("serve", serve("greeter", "one", 30)).await;
    let mut program = Program::new(&Place::Here, "etcd").at(&address);
    for (name, value) in env {
        program = program.with_env(name, value);
    }
    assert_eq!(program.json(&["ls"]).await[0]["name"], "greeter");

    let access = Access::new().with_password("shop", "s3cret").unwrap();
    let registrar = Registrar::new(open(&format!("etcd://{address}"), &access));
    let registration = register(&registrar, full_node("ours", "ours-1", "1")).await;
    assert_full(&go.get("ours").await[0], "ours", "ours-1", "1");
    registration.close().await.unwrap();
}
