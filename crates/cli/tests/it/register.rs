//! `callsign register`: the life of a sidecar.

use std::{net::TcpListener, process::Stdio};

use rustix::process::Signal;

use crate::harness::{Running, World};

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A program that listens on a port: this very binary has one.
fn listener(world: &World, port: u16) -> String {
    let script = format!(
        "import socket, signal, sys\n\
         signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n\
         s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n\
         s.bind(('127.0.0.1', {port})); s.listen()\n\
         while True: s.accept()[0].close()\n"
    );
    let path = world.path().join("listener.py");
    std::fs::write(&path, script).unwrap();
    path.display().to_string()
}

#[test]
fn a_program_is_registered_once_it_answers_and_deregistered_before_it_is_told_to_end() {
    let world = World::new();
    let port = free_port();
    let script = listener(&world, port);
    let address = format!("127.0.0.1:{port}");
    let mut watch = world.watch(&[]);
    let mut command = world.command(&[
        "register",
        "web",
        "--address",
        &address,
        "--id",
        "web-1",
        "--node-version",
        "2.0",
        "--group",
        "blue",
        "--zone",
        "a",
        "--weight",
        "7",
        "--metadata",
        "team=payments",
        "--drain",
        "10ms",
        "--",
        "python3",
        &script,
    ]);
    let sidecar = Running::start(command.stderr(Stdio::null()));
    let change = watch.until(|change| change["event"] == "added");
    let node = &change["node"];
    assert_eq!(
        (&node["id"], &node["address"], &node["version"]),
        (&"web-1".into(), &address.into(), &"2.0".into())
    );
    assert_eq!((&node["group"], &node["zone"], &node["weight"]), (&"blue".into(), &"a".into(), &7.into()));
    assert_eq!(node["metadata"]["team"], "payments");
    sidecar.signal(Signal::TERM);
    let change = watch.until(|change| change["event"] == "removed");
    assert_eq!(change["reason"], "it deregistered");
    // The program's own code on SIGTERM.
    assert_eq!(sidecar.end().1, Some(7));
}

#[test]
fn a_program_that_ends_by_itself_is_deregistered_and_its_code_passed_on() {
    let world = World::new();
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listening.local_addr().unwrap().to_string();
    let mut watch = world.watch(&[]);
    let mut command =
        world.command(&["register", "web", "--address", &address, "--", "sh", "-c", "read line; exit 42"]);
    let mut sidecar = Running::start(command.stdin(Stdio::piped()).stderr(Stdio::null()));
    watch.until(|change| change["event"] == "added");
    drop(sidecar.child.stdin.take());
    watch.until(|change| change["event"] == "removed");
    assert_eq!(sidecar.end().1, Some(42));
}

#[test]
fn a_program_that_never_answers_is_never_registered() {
    let world = World::new();
    let address = format!("127.0.0.1:{}", free_port());
    let ran = world.run(&[
        "register",
        "web",
        "--address",
        &address,
        "--id",
        "web-1",
        "--",
        "sh",
        "-c",
        "echo out; exit 3",
    ]);
    ran.expect(
        3,
        "out\n",
        "callsign: the program ended before 127.0.0.1:[PORT] answered, so web-1 was never registered\n",
    );
    assert_eq!(world.run(&["ls", "-o", "name"]).stdout, "");
}

#[test]
fn a_program_that_cannot_be_run_ends_as_shells_have_it() {
    let world = World::new();
    let run = |program: &str| world.run(&["register", "web", "--address", "127.0.0.1:1", "--", program]);
    run("./no-such-program").fails(127, &["cannot run ./no-such-program", "No such file"]);
    std::fs::write(world.path().join("plain"), "text").unwrap();
    run("./plain").fails(126, &["cannot run ./plain", "Permission denied"]);
}

#[test]
fn signals_that_are_not_about_ending_reach_the_program() {
    let world = World::new();
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listening.local_addr().unwrap().to_string();
    let script = "trap 'echo hup; exit 5' HUP; echo ready; while :; do sleep 0.05; done";
    let mut command = world.command(&["register", "web", "--address", &address, "--", "sh", "-c", script]);
    let mut sidecar = Running::start(command.stderr(Stdio::null()));
    assert_eq!(sidecar.line(), "ready");
    sidecar.signal(Signal::HUP);
    assert_eq!(sidecar.line(), "hup");
    assert_eq!(sidecar.end().1, Some(5));
}

#[test]
fn of_two_programs_with_one_id_the_second_waits_and_takes_over() {
    let world = World::new();
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listening.local_addr().unwrap().to_string();
    let command = |script: &str| {
        let mut command = world.command(&[
            "register",
            "web",
            "--address",
            &address,
            "--id",
            "web-1",
            "--",
            "sh",
            "-c",
            script,
        ]);
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let mut watch = world.watch(&[]);
    let mut first = Running::start(&mut command("read line"));
    let started = watch.until(|change| change["event"] == "added")["node"]["started"].clone();
    let mut second = Running::start(&mut command("read line"));
    let mut said = std::io::BufReader::new(second.child.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut said, &mut line).unwrap();
    assert!(line.contains("not registered, trying again") && line.contains("web-1"), "{line}");
    drop(first.child.stdin.take());
    assert_eq!(first.end().1, Some(1));
    // One may see the first go and the second come, or, if that was quick, the one entry become the other.
    watch.until(|change| change["event"] != "removed" && change["node"]["started"] != started);
}
