//! The etcd registry over a real etcd.

#![allow(clippy::unwrap_used, reason = "tests, helpers included")]

mod access;
mod breaking;
mod conformance;
mod entries;
mod tls;

use std::time::Duration;

use callsign_registry::etcd::{EtcdConfig, EtcdRegistry};
use callsign_testbed::EtcdServer;

/// Long enough for anything here on a busy machine; never waited for in full unless the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

#[path = "../../proto/generate.rs"]
mod generate;

fn config(server: &EtcdServer) -> EtcdConfig {
    EtcdConfig::new(&server.endpoint()).unwrap()
}

fn open(server: &EtcdServer) -> EtcdRegistry {
    EtcdRegistry::open(config(server))
}

#[test]
fn the_messages_are_those_of_the_proto_file() {
    let kept = std::fs::read_to_string(generate::TARGET).unwrap();
    assert!(
        kept == generate::api().unwrap(),
        "run `cargo run -p callsign-registry --example etcd-api`: proto/etcd.proto or the generator has changed"
    );
}
