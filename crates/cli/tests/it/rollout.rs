//! `callsign rollout verify`: a real rolling restart is told, and so is one that loses calls or does not end.

mod client;

use std::process::Stdio;

use rustix::process::Signal;

use self::client::Client;
use crate::harness::{Running, World};

/// Starts to watch, and waits until the restart may begin.
fn verify(world: &World, args: &[&str]) -> Running {
    let mut command = world.command(&["rollout", "verify", "greeter"]);
    let mut running = Running::start(command.args(args).stderr(Stdio::piped()));
    let mut said = std::io::BufReader::new(running.child.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut said, &mut line).unwrap();
    assert!(line.contains("begin the restart"), "{line}");
    // Somebody must read what else it says.
    std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
    running
}

/// Lets another process take the node's place, once it has left in order.
fn restart(world: &World, node: &mut Running, id: &str) {
    node.signal(Signal::TERM);
    let old = std::mem::replace(node, world.node(id, "2.0.0", "blue"));
    assert_eq!(old.end().1, Some(0));
}

#[test]
fn each_node_is_told_as_it_drains_leaves_and_comes_back_and_no_call_is_lost() {
    let world = World::new();
    let mut nodes = ["a", "b", "c"].map(|id| world.node(id, "1.0.0", "blue"));
    let verify = verify(&world, &["-o", "json", "--rate", "200", "--timeout", "60s"]);
    for (node, id) in nodes.iter_mut().zip(["a", "b", "c"]) {
        restart(&world, node, id);
    }
    let (shown, code) = verify.end();
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (code, &shown["complete"], &shown["probes"]["failed"]),
        (Some(0), &true.into(), &0.into()),
        "{shown}"
    );
    assert!(shown["probes"]["sent"].as_u64().unwrap() > 0);
    let rows = shown["nodes"].as_array().unwrap();
    assert_eq!(rows.len(), 3);
    for row in rows {
        let at = |key: &str| row[key].as_u64().unwrap();
        assert!(at("left_ms") <= at("back_ms"), "{row}");
        assert_eq!((&row["old"]["version"], &row["new"]["version"]), (&"1.0.0".into(), &"2.0.0".into()));
        assert_eq!(row["old"]["id"], row["new"]["id"]);
    }
}

#[test]
fn a_restart_that_does_not_end_is_a_check_that_failed() {
    let world = World::new();
    let (_a, b) = (world.node("a", "1.0.0", "blue"), world.node("b", "1.0.0", "blue"));
    let verify = verify(&world, &["--timeout", "3s"]);
    b.signal(Signal::TERM);
    let (shown, code) = verify.end();
    assert_eq!(code, Some(8), "{shown}");
    assert!(shown.starts_with("greeter: 0 of 2 nodes replaced in 3."), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
}

#[test]
fn attempts_that_failed_are_those_of_the_clients_at_nodes_that_are_gone_too() {
    let world = World::new();
    let [mut a, mut b] = ["a", "b"].map(|id| world.node(id, "1.0.0", "blue"));
    let client = Client::calling(&world);
    let url = client.url();
    let verify = verify(&world, &["-o", "json", "--timeout", "60s", "--metrics", &url]);

    // One is killed with calls in flight, which nobody said are safe to repeat.
    a.signal(Signal::STOP);
    client.until_all_wait_for("a");
    a.signal(Signal::KILL);
    a = world.node("a", "2.0.0", "blue");
    restart(&world, &mut b, "b");

    let (shown, code) = verify.end();
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let failed = client.stop();
    assert_eq!(failed, client::CALLERS, "all were waiting for the one that was killed");
    let seen = &shown["clients"][0];
    assert_eq!((&seen["url"], &seen["failed_attempts"]), (&url.into(), &failed.into()), "{shown}");
    assert!(seen["attempts"].as_u64().unwrap() > failed as u64, "{shown}");
    assert_eq!((&seen["restarted"], &seen["unreadable"]), (&false.into(), &serde_json::Value::Null));
    // It is for the probes to decide.
    let verdict = if shown["probes"]["failed"] == 0 { 0 } else { 8 };
    assert_eq!((code, &shown["complete"]), (Some(verdict), &true.into()), "{shown}");
    drop((a, b));
}

#[test]
fn a_client_that_is_gone_at_the_end_leaves_the_verdict_incomplete_and_the_rest_is_shown() {
    let world = World::new();
    let [mut a, mut b] = ["a", "b"].map(|id| world.node(id, "1.0.0", "blue"));
    let client = Client::calling(&world);
    let verify = verify(&world, &["-o", "json", "--timeout", "60s", "--metrics", &client.url()]);
    client.stop();
    restart(&world, &mut a, "a");
    restart(&world, &mut b, "b");
    let (shown, code) = verify.end();
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let unreadable = shown["clients"][0]["unreadable"].as_str().unwrap();
    assert!(unreadable.contains("no answer: Connection refused"), "{unreadable}");
    let kept = (&shown["complete"], &shown["probes"]["failed"], &shown["nodes"][0]["new"]["version"]);
    assert_eq!(kept, (&true.into(), &0.into(), &"2.0.0".into()), "{shown}");
    assert_eq!(code, Some(1), "{shown}");
    drop((a, b));
}

#[test]
fn what_cannot_be_watched_is_told() {
    let world = World::new();
    let _a = world.node("a", "1.0.0", "blue");
    world.run(&["rollout", "verify", "greter"]).fails(4, &["no service greter", "did you mean `greeter`?"]);
    world.run(&["rollout", "verify", "greeter", "--rate", "0"]).fails(2, &["0 is not in 1..=1000"]);
    world
        .run(&["rollout", "verify", "greeter", "--metrics", "localhost"])
        .fails(2, &["does not begin with http://"]);
    let nobody = ["rollout", "verify", "greeter", "--metrics", "http://127.0.0.1:1/metrics"];
    world.run(&nobody).fails(1, &["cannot read http://127.0.0.1:1/metrics: no answer", "refused"]);
}
