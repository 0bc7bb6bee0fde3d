//! The program on a real etcd, and what it says when etcd is not what it was said to be.

use std::{fs, net::TcpListener, process::Stdio, time::Duration};

use callsign_testbed::{EtcdServer, certs::Authority};
use rustix::process::Signal;
use serde_json::Value;

use crate::{
    demo::{Exits, processes},
    harness::{Ran, Running, World},
};

/// A runtime for as long as etcd runs.
struct Bed {
    world: World,
    etcd: EtcdServer,
    _runtime: tokio::runtime::Runtime,
}

// === impl Bed ===

impl Bed {
    fn new(etcd: impl Future<Output = EtcdServer>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let etcd = runtime.block_on(etcd);
        Self { world: World::new(), etcd, _runtime: runtime }
    }

    /// The program, with variables.
    fn run(&self, args: &[&str], env: &[(&str, &str)]) -> Ran {
        self.world.finish(self.world.command(args).envs(env.iter().copied()))
    }
}

#[test]
fn the_registry_and_its_address_come_from_go_micros_variables_and_flags_win() {
    let bed = Bed::new(EtcdServer::start());
    let address = bed.etcd.endpoint();
    let env = [("MICRO_REGISTRY", "etcd"), ("MICRO_REGISTRY_ADDRESS", address.as_str())];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = listener.local_addr().unwrap().to_string();
    let sidecar =
        ["register", "shop/till", "--address", &here, "--id", "till-1", "--group", "A", "--", "cat"];
    let mut watch = bed.world.command(&["watch", "-o", "json"]);
    let mut watch = Running::watching(watch.envs(env));
    let mut command = bed.world.command(&sidecar);
    let mut node = Running::start(command.envs(env).stdin(Stdio::piped()));
    watch.until(|change| change["event"] == "added" && change["node"]["id"] == "till-1");

    for args in [
        &["ls", "nodes", "-o", "json"][..],
        &[
            "ls",
            "nodes",
            "-o",
            "json",
            "--registry",
            "etcd",
            "--registry-address",
            &format!("http://{address}/"),
        ],
        &["ls", "nodes", "-o", "json", "--registry", &format!("etcd://{address}")],
    ] {
        let listed = bed.run(args, &env).json();
        assert_eq!(
            (&listed[0]["service"], &listed[0]["group"]),
            (&"shop/till".into(), &"A".into()),
            "{listed}"
        );
    }
    let listed = bed.run(&["ls", "-o", "json", "--registry", "local"], &env).json();
    assert_eq!(listed, Value::Array(Vec::new()), "the address was meant for another registry");

    drop(node.child.stdin.take());
    let gone = watch.until(|change| change["event"] == "removed");
    assert_eq!(gone["reason"], "it deregistered");
}

#[test]
fn a_target_names_the_registry_and_the_service() {
    let bed = Bed::new(EtcdServer::start());
    let registry = format!("--registry=etcd://{}", bed.etcd.endpoint());
    let mut watch = bed.world.watch(&["greeter", &registry]);
    let mut command = bed.world.command(&["demo-node", "--id", "g-1", "--node-version", "1", "--group", "A"]);
    let _node = Running::start(command.arg(&registry).stdin(Stdio::piped()));
    watch.until(|change| change["event"] == "added");
    let target = |query: &str| format!("etcd://{}/greeter{query}", bed.etcd.endpoint());
    let called = bed.run(&["call", &target("?group=A"), "Greeter.Hello", "--name", "x"], &[]);
    assert_eq!(called.json()["node"], "g-1");
    bed.run(&["call", &target("?group=B"), "Greeter.Hello", "--name", "x"], &[]).fails(5, &["group"]);
    bed.run(&["call", &format!("etcd://{}", bed.etcd.endpoint()), "Greeter.Hello"], &[])
        .fails(2, &["name of the service is missing"]);
}

#[test]
fn an_etcd_that_is_not_there_is_told_with_its_address() {
    let world = World::new();
    world.run(&["ls", "--registry", "etcd://127.0.0.1:1"]).fails(3, &["127.0.0.1:1", "refused"]);
    world.run(&["demo", "--registry", "etcd://127.0.0.1:1"]).fails(3, &["127.0.0.1:1", "refused"]);

    // It accepts, and says nothing.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = mute.local_addr().unwrap().to_string();
    let began = tokio::time::Instant::now();
    let ran = world.run(&["ls", "--registry", &format!("etcd://{address}")]);
    ran.fails(3, &["no answer"]);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[test]
fn who_may_not_come_in_is_told_apart_from_an_outage() {
    let bed = Bed::new(EtcdServer::builder().user("shop", "s3cret").start());
    let registry = format!("--registry=etcd://{}", bed.etcd.endpoint());
    let env = |user, password| [("ETCD_USERNAME", user), ("ETCD_PASSWORD", password)];
    assert_eq!(bed.run(&["ls", &registry], &env("shop", "s3cret")).code, Some(0));
    let wrong = bed.run(&["ls", &registry], &env("shop", "guess"));
    wrong.fails(7, &["authentication failed", "ETCD_PASSWORD"]);
    assert!(!wrong.stderr.contains("guess"), "{}", wrong.stderr);
    bed.run(&["ls", &registry], &[]).fails(7, &["ETCD_USERNAME"]);
    bed.run(&["ls", &registry], &env("shop", "")).fails(2, &["not a password", "ETCD_PASSWORD"]);
}

#[test]
fn tls_and_its_absence_are_named_as_such() {
    let bed = Bed::new(EtcdServer::start());
    let address = bed.etcd.endpoint();
    bed.run(&["ls", "--registry", "etcd", "--registry-address", &format!("https://{address}")], &[])
        .fails(3, &["TLS", "plaintext", "no answer from etcd at 127.0.0.1:"]);
    bed.run(&["ls", "--registry", &format!("etcd://{address}"), "--registry-ca", "nowhere.pem"], &[])
        .fails(2, &["nowhere.pem"]);
    bed.run(&["ls", "--registry", &format!("etcd://{address}"), "--registry-cert", "me.pem"], &[])
        .fails(2, &["--registry-key"]);
}

#[test]
fn certificates_of_both_sides_are_taken_from_files() {
    let authority = Authority::new("the shop");
    let bed =
        Bed::new(EtcdServer::builder().tls(authority.server()).client_authority(authority.pem()).start());
    let own = authority.client("callsign");
    let file = |name: &str, pem: &str| {
        let path = bed.world.path().join(name);
        fs::write(&path, pem).unwrap();
        path.display().to_string()
    };
    let (ca, cert, key) =
        (file("ca.pem", authority.pem()), file("own.pem", &own.pem), file("own.key", &own.key));
    let registry = format!("--registry=etcd://https://{}", bed.etcd.endpoint());
    assert_eq!(
        bed.run(
            &["ls", &registry, "--registry-ca", &ca, "--registry-cert", &cert, "--registry-key", &key],
            &[]
        )
        .code,
        Some(0)
    );
    let variables = [
        ("CALLSIGN_REGISTRY_CA", &*ca),
        ("CALLSIGN_REGISTRY_CERT", &*cert),
        ("CALLSIGN_REGISTRY_KEY", &*key),
    ];
    assert_eq!(bed.run(&["ls", &registry], &variables).code, Some(0));

    // Nobody in particular, somebody whom nobody knows, and whoever speaks plaintext.
    bed.run(&["ls", &registry, "--registry-ca", &ca], &[]).fails(7, &["wants a client certificate"]);
    bed.run(&["ls", &registry, "--registry-cert", &cert, "--registry-key", &key], &[])
        .fails(3, &["certificate"]);
    bed.run(&["ls", "--registry", &format!("etcd://{}", bed.etcd.endpoint())], &[]).fails(3, &["TLS"]);
}

#[test]
fn what_is_no_address_of_an_etcd_is_told_before_anything_is_tried() {
    let world = World::new();
    for (registry, said) in [
        ("ectd://127.0.0.1:2379", "did you mean `etcd`?"),
        ("http://127.0.0.1:2379", "etcd://127.0.0.1:2379"),
        ("etcd://127.0.0.1:port", "port"),
        ("etcd://127.0.0.1:2379/prefix", "/micro/registry"),
        ("etcd://https://a:1,b:2", "https"),
        ("etcd://me:s3cret@127.0.0.1:2379", "ETCD_PASSWORD"),
    ] {
        let ran = world.run(&["ls", "--registry", registry]);
        ran.fails(2, &[said]);
        assert!(!ran.stderr.contains("s3cret"), "{}", ran.stderr);
    }
}

#[test]
fn the_demo_brings_an_etcd_of_its_own_and_takes_it_along() {
    let world = World::new();
    let temp = world.path().join("tmp");
    fs::create_dir(&temp).unwrap();
    let mut command = world.command(&["demo", "--registry", "etcd", "--duration", "6s", "-o", "json"]);
    let ran = world.finish(command.env("TMPDIR", &temp));
    let summary = ran.json();
    assert_eq!(
        (&summary["failed"], &summary["nodes"][3]["id"]),
        (&0.into(), &"greeter-4".into()),
        "{summary}"
    );
    assert!(summary["killed"]["seen_after_ms"].is_number(), "{summary}");
    assert!(ran.stderr.contains("starting "), "{}", ran.stderr);
    assert_eq!(fs::read_dir(&temp).unwrap().count(), 0, "its folder is left");
    let mut command = world.command(&["demo", "--registry", "etcd"]);
    let nothing = world.path().join("empty");
    fs::create_dir(&nothing).unwrap();
    world
        .finish(command.env("PATH", &nothing))
        .fails(1, &["no program `etcd`", "apt-get install etcd-server", "--registry etcd://"]);
}

#[test]
fn an_interrupt_and_even_a_kill_take_the_demos_etcd_along() {
    for signal in [Signal::INT, Signal::KILL] {
        let world = World::new();
        let temp = world.path().join("tmp");
        fs::create_dir(&temp).unwrap();
        let mut command = world.command(&["demo", "--registry", "etcd", "--plain"]);
        let mut demo = Running::start(command.env("TMPDIR", &temp).stderr(Stdio::null()));
        while !demo.line().contains("callers call greeter") {}
        // It ends the etcd, and itself last.
        let host = processes(&world, "demo-etcd");
        assert_eq!(host.len(), 1);
        let exits = Exits::of(&host);
        demo.signal(signal);
        assert_eq!(demo.end().1, (signal == Signal::INT).then_some(130));
        exits.wait();
        assert_eq!(fs::read_dir(&temp).unwrap().count(), 0, "its folder is left");
    }
}
