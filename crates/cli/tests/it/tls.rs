//! Calls over TLS, and what is told when they cannot be made.

use std::fs;

use callsign::{
    Server,
    registry::open,
    server::Handle,
    tls::{ClientCertificates, ServerTls},
};
use callsign_testbed::certs::{Authority, Certificate, Validity};

use crate::harness::{Ran, World};

/// A node that speaks TLS and wants to know its clients, in a thread of its own.
struct Node {
    world: World,
    handle: Handle,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Node {
    fn start() -> Self {
        let world = World::new();
        let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
        let Certificate { pem, key } = authority.sign("greeter", &["greeter"], Validity::Now);
        let tls = ServerTls::builder()
            .identity_pem(pem, key)
            .clients_pem(clients.pem(), ClientCertificates::Required)
            .build()
            .unwrap();
        fs::write(world.path().join("ca.pem"), authority.pem()).unwrap();
        let Certificate { pem, key } = clients.client("me");
        fs::write(world.path().join("me.pem"), pem).unwrap();
        fs::write(world.path().join("me.key"), key).unwrap();

        let registry = open(&format!("local://{}", world.registry().display()).parse().unwrap()).unwrap();
        let (say, served) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let builder = Server::builder("greeter").registry(registry).tls(tls);
                let server = builder.routes(axum::Router::new()).build().await.unwrap();
                say.send(server.handle()).unwrap();
                server.serve_until(std::future::pending()).await.unwrap();
            });
        });
        Self { world, handle: served.recv().unwrap(), thread: Some(thread) }
    }

    /// Asks after the health of the node, as soon as it is registered.
    fn call(&self, args: &[&str]) -> Ran {
        let mut all = vec!["call", "greeter", "grpc.health.v1.Health/Check", "-d", "{}", "--quiet"];
        all.extend(args);
        self.world.run(&all)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.handle.shutdown();
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

#[test]
fn a_node_with_tls_is_called_with_what_it_takes_and_each_lack_is_named() {
    let node = Node::start();
    let identity = ["--tls-cert", "me.pem", "--tls-key", "me.key"];
    let name = ["--tls-server-name", "greeter"];
    let ca = ["--tls-ca", "ca.pem"];
    let ran = node.call(&[&["--wait"], &ca[..], &name, &identity].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.json()["status"], "SERVING");

    node.call(&[&ca[..], &identity].concat()).fails(5, &["is for greeter, and not for \"127.0.0.1\""]);
    node.call(&[&ca[..], &name].concat()).fails(5, &["wants a client certificate, and there is none"]);
    node.call(&[&name[..], &identity, &["--tls-ca", "me.pem"]].concat()).fails(5, &["not trusted here"]);
    node.call(&["--tls-cert", "me.pem"]).fails(2, &["give its key by --tls-key"]);

    let target = format!("static://{}", node.handle.local_addr());
    let command = ["call", &target, "grpc.health.v1.Health/Check", "-d", "{}"];
    node.world.run(&command).fails(5, &["it wants TLS"]);
    let target = format!("{target}?ca=ca.pem&cert=me.pem&key=me.key&server_name=greeter");
    let ran = node.world.run(&["call", &target, "grpc.health.v1.Health/Check", "-d", "{}", "--quiet"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}
