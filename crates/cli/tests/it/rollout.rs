//! `callsign rollout verify`: a real rolling restart is told, and so is one that loses calls or does not end.

use std::process::Stdio;

use rustix::process::Signal;

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

#[test]
fn each_node_is_told_as_it_drains_leaves_and_comes_back_and_no_call_is_lost() {
    let world = World::new();
    let ids = ["a", "b", "c"];
    let mut nodes: Vec<_> = ids.iter().map(|id| world.node(id, "1.0.0", "blue")).collect();
    let verify = verify(&world, &["-o", "json", "--rate", "200", "--timeout", "60s"]);
    for (node, id) in nodes.iter_mut().zip(ids) {
        node.signal(Signal::TERM);
        let old = std::mem::replace(node, world.node(id, "2.0.0", "blue"));
        assert_eq!(old.end().1, Some(0));
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
