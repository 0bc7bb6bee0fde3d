//! `callsign demo`: the main job, with real processes.

use std::{os::fd::OwnedFd, process::Stdio};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};
use serde_json::Value;

use crate::harness::{Running, World};

/// Process ids of the demo's nodes.
fn nodes(world: &World) -> Vec<i32> {
    processes(world, "demo-node")
}

/// Process ids of a hidden command of ours in this world, from the system's list.
pub(crate) fn processes(world: &World, command: &str) -> Vec<i32> {
    let mark = world.path().display().to_string();
    let mut pids = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let read = |file: &str| std::fs::read(entry.path().join(file)).unwrap_or_default();
        let (arguments, environment) = (read("cmdline"), read("environ"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if text(&arguments).contains(command) && text(&environment).contains(&mark) {
            pids.push(pid);
        }
    }
    pids
}

/// Processes whose end can be waited for, although they are not children of this one.
pub(crate) struct Exits(Vec<OwnedFd>);

/// A node ends sooner than this once it has been left alone.
const EXIT_MAX: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

impl Exits {
    pub(crate) fn of(pids: &[i32]) -> Self {
        let open = |pid: &i32| pidfd_open(Pid::from_raw(*pid).unwrap(), PidfdFlags::empty()).unwrap();
        Self(pids.iter().map(open).collect())
    }

    pub(crate) fn wait(self) {
        for process in self.0 {
            let ended = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&EXIT_MAX)).unwrap();
            assert_eq!(ended, 1, "a node goes on");
        }
    }
}

#[test]
fn no_call_fails_while_nodes_come_die_and_leave() {
    let world = World::new();
    let ran = world.run(&["demo", "--plain", "--duration", "6s"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout);
    for said in [
        "starting 3 nodes of greeter",
        "adding a fourth node, greeter-4",
        "killing greeter-2 with SIGKILL",
        "greeter-2 is dead and left the view",
        "restarting greeter-3 as 1.1.0 with SIGTERM",
        "greeter-3 left, finished its calls and ended after",
        "exit code 0",
        "greeter-3 is back as 1.1.0",
    ] {
        assert!(ran.stdout.contains(said), "{said:?} is not in:\n{}", ran.stdout);
    }
    let (_, summary) = ran.stdout.rsplit_once("\n\n").unwrap();
    let line = |name: &str| summary.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(line("Calls").ends_with("; 0 failed"), "{summary}");
    assert!(
        line("Killed").contains("greeter-2 by SIGKILL: ") && line("Restarted").contains("greeter-3: "),
        "{summary}"
    );
    let calls: u64 = line("Calls").split_whitespace().nth(1).unwrap().replace(',', "").parse().unwrap();
    assert!(calls > 100, "{summary}");
    assert_eq!(line("Spread").matches('%').count(), 4, "{summary}");
    assert_eq!(nodes(&world), [0; 0]);
}

#[test]
fn the_summary_is_data_too() {
    let world = World::new();
    let ran = world.run(&["demo", "--duration", "4s", "-o", "json"]);
    let summary = ran.json();
    assert_eq!(
        (&summary["failed"], &summary["failures"]),
        (&0.into(), &Value::Array(Vec::new())),
        "{summary}"
    );
    assert_eq!(
        (&summary["killed"]["node"], &summary["restarted"]["node"]),
        (&"greeter-2".into(), &"greeter-3".into())
    );
    // A dead node may be tried by calls that were under way; a second later nobody tries it any more.
    let last = summary["killed"]["last_attempt_after_ms"].as_f64();
    assert!(last.is_none_or(|last| last < 1000.0), "{summary}");
    assert!(summary["killed"]["seen_after_ms"].as_f64().unwrap() < 2000.0, "{summary}");
    let nodes = summary["nodes"].as_array().unwrap();
    let shares: f64 = nodes.iter().map(|node| node["share"].as_f64().unwrap()).sum();
    assert!(nodes.len() == 4 && (shares - 1.0).abs() < 0.01, "{summary}");
}

#[test]
fn nodes_that_are_kept_can_be_called_and_are_left_alone_by_the_next_demo() {
    let world = World::new();
    let ran = world.run(&["demo", "--plain", "--duration", "4s", "--keep"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
    let kept = nodes(&world);
    assert_eq!(kept.len(), 3, "{}", ran.stderr);
    let kill = ran.stderr.lines().find(|line| line.trim().starts_with("kill ")).unwrap();
    for pid in &kept {
        assert!(kill.contains(&pid.to_string()), "{kill}");
    }
    assert!(ran.stderr.contains("call greeter Greeter.Hello -d '{\"name\":\"World\"}'"), "{}", ran.stderr);
    assert_eq!(
        world.run(&["call", "greeter", "Greeter.Hello", "--name", "x"]).json()["message"],
        "Hello, x!"
    );

    let again = world.run(&["demo", "--duration", "4s", "-o", "json"]).json();
    let ids: Vec<_> =
        again["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["greeter-2", "greeter-5", "greeter-6", "greeter-7"]);
    assert_eq!(again["failed"], 0);
    // The nodes of the first demo answer the same name, and got none of these calls.
    let answered: u64 =
        again["nodes"].as_array().unwrap().iter().map(|node| node["calls"].as_u64().unwrap()).sum();
    assert_eq!(again["calls"], answered, "{again}");
    assert_eq!(nodes(&world).len(), 3);
    let exits = Exits::of(&kept);
    for pid in &kept {
        kill_process(Pid::from_raw(*pid).unwrap(), Signal::TERM).unwrap();
    }
    exits.wait();
    assert_eq!(world.run(&["ls", "-o", "name"]).stdout, "");
}

#[test]
fn an_interrupt_and_even_a_kill_take_the_nodes_along() {
    for signal in [Signal::INT, Signal::KILL] {
        let world = World::new();
        let mut command = world.command(&["demo", "--plain"]);
        let mut demo = Running::start(command.stderr(Stdio::null()));
        while !demo.line().contains("callers call greeter") {}
        let pids = nodes(&world);
        assert_eq!(pids.len(), 3);
        let exits = Exits::of(&pids);
        demo.signal(signal);
        let (_, code) = demo.end();
        assert_eq!(code, (signal == Signal::INT).then_some(130));
        exits.wait();
        assert_eq!(world.run(&["ls", "-o", "name"]).stdout, "");
    }
}

#[test]
fn a_registry_that_cannot_be_used_is_told_before_anything_is_started() {
    let world = World::new();
    world.run(&["demo", "--registry", "etcd://127.0.0.1:1"]).fails(3, &["127.0.0.1:1", "refused"]);
    world.run(&["demo", "--registry", "memory"]).fails(2, &["do not share this memory"]);
    world.run(&["demo", "--domain", "*"]).fails(2, &["stands for all"]);
}
