//! `callsign call`: by reflection, JSON in and out.

use std::io::Write as _;

use serde_json::json;

use crate::harness::{Ran, Running, World};

const HELLO: &str = "Greeter.Hello";

/// A world with one node, which answers everything.
fn greeter() -> (World, Running) {
    let world = World::new();
    let node = world.node("greeter-1", "1.0.0", "blue");
    (world, node)
}

fn call(world: &World, args: &[&str]) -> Ran {
    let mut all = vec!["call", "greeter"];
    all.extend(args);
    world.run(&all)
}

#[test]
fn one_message_gives_one_reply_and_a_line_about_who_answered() {
    let (world, _node) = greeter();
    let ran = call(&world, &[HELLO, "-d", r#"{"name": "World"}"#]);
    assert_eq!(ran.stdout, "{\n  \"message\": \"Hello, World!\",\n  \"node\": \"greeter-1\"\n}\n");
    let words: Vec<_> = ran.stderr.trim_end().split(" · ").collect();
    assert_eq!(words[..3], ["greeter-1 at 127.0.0.1:[PORT]", "adaptive", "1 attempt"], "{}", ran.stderr);
    assert!(words[3].ends_with("ms") || words[3].ends_with("µs"), "{}", ran.stderr);
    assert_eq!(ran.code, Some(0));
    call(&world, &[HELLO, "--name", "World", "-q", "-o", "json"]).expect(0, &ran.stdout, "");
}

#[test]
fn each_format_shows_the_same_reply() {
    let (world, _node) = greeter();
    let shown = |format: &str| {
        let ran = call(&world, &[HELLO, "--name", "A: B", "-q", "-o", format]);
        assert_eq!((ran.stderr.as_str(), ran.code), ("", Some(0)));
        ran.stdout
    };
    assert_eq!(shown("table"), "FIELD    VALUE\nmessage  Hello, A: B!\nnode     greeter-1\n");
    assert_eq!(shown("yaml"), "message: \"Hello, A: B!\"\nnode: greeter-1\n");
    assert_eq!(shown("name"), "Hello, A: B!\ngreeter-1\n");
}

#[test]
fn all_four_shapes_of_a_call_work() {
    let (world, _node) = greeter();
    let names = r#"{"name":"a"} {"name":"b"}{"name":"c"}"#;
    let line = |name: &str| format!("{{\"message\":\"Hello, {name}!\",\"node\":\"greeter-1\"}}\n");
    let each = ["a", "b", "c"].map(line).concat();

    call(&world, &["Greeter.Repeat", "--name", "x", "--times", "2", "-q"]).expect(
        0,
        &line("x").repeat(2),
        "",
    );
    let gathered = call(&world, &["Greeter.Gather", "-d", names, "-q"]);
    assert_eq!(gathered.json(), json!({"message": "Hello, a, b, c!", "node": "greeter-1"}));
    call(&world, &["Greeter.Chat", "-d", names, "-q"]).expect(0, &each, "");
    // A method that takes one message is called once for each.
    world.run_with(&["call", "greeter", HELLO, "-d", "@-", "-q"], names).expect(0, &each, "");
    std::fs::write(world.path().join("names.json"), names).unwrap();
    call(&world, &["Greeter.Chat", "-d", "@names.json", "-q"]).expect(0, &each, "");
}

#[test]
fn a_conversation_goes_back_and_forth_while_stdin_is_open() {
    let (world, _node) = greeter();
    let mut command = world.command(&["call", "greeter", "Greeter.Chat", "-d", "@-", "-q"]);
    let mut running = Running::start(command.stdin(std::process::Stdio::piped()));
    let mut stdin = running.child.stdin.take().unwrap();
    for name in ["first", "second"] {
        writeln!(stdin, r#"{{"name": "{name}"}}"#).unwrap();
        assert_eq!(running.line(), format!(r#"{{"message":"Hello, {name}!","node":"greeter-1"}}"#));
    }
    drop(stdin);
    assert_eq!(running.end(), (String::new(), Some(0)));
}

#[test]
fn a_method_is_called_by_any_of_its_names_and_by_address_too() {
    let (world, _node) = greeter();
    for method in ["Hello", "Greeter.Hello", "greeter.Greeter.Hello", "greeter.Greeter/Hello"] {
        assert_eq!(call(&world, &[method, "--name", "x"]).code, Some(0), "{method}");
    }
    let nodes = std::process::Command::output(&mut world.command(&["ls", "nodes", "-o", "json"])).unwrap();
    let nodes: serde_json::Value = serde_json::from_slice(&nodes.stdout).unwrap();
    let target = format!("static://{}", nodes[0]["address"].as_str().unwrap());
    assert_eq!(world.run(&["call", &target, HELLO, "--name", "x"]).json()["message"], "Hello, x!");
}

#[test]
fn a_body_that_does_not_fit_is_told_by_its_field_and_is_not_sent() {
    let (world, _node) = greeter();
    let body = |json: &str| call(&world, &[HELLO, "-d", json]);
    body(r#"{"name": 5}"#).expect(
        2,
        "",
        "error: the body does not fit greeter.HelloRequest\n  because: `name` must be text (string), and the number 5 is given\n",
    );
    body(r#"{"nmae": "x"}"#).fails(2, &["no field `nmae` in greeter.HelloRequest", "did you mean `name`?"]);
    body(r#"{"language": "FRENSH"}"#).fails(2, &["`language` must be one of", "did you mean `FRENCH`?"]);
    body("[]").fails(2, &["the body must be an object (greeter.HelloRequest), and an empty list is given"]);
    body(r#"{"name": "#).fails(2, &["the body is not JSON", "line 1 column"]);
    body("@nowhere.json").fails(2, &["cannot read the body from nowhere.json", "No such file"]);
    call(&world, &[HELLO, "--nmae", "x"])
        .fails(2, &["--nmae is neither an option nor a field", "did you mean `--name`?"]);
    call(&world, &[HELLO, "-F", "name"]).fails(2, &["has no value"]);
    call(&world, &[HELLO, "-H", "team"]).fails(2, &["no colon"]);
    call(&world, &[HELLO, "--timeout", "5"]).fails(2, &["the unit is missing"]);
    call(&world, &[HELLO, "--strategy", "rnd"]).fails(2, &["no strategy \"rnd\""]);
    // The second message of a stream counts as well.
    call(&world, &["Greeter.Gather", "-d", r#"{"name":"a"}{"name":[]}"#]).fails(2, &["`name` must be text"]);
}

#[test]
fn an_unknown_service_or_method_ends_with_4_and_the_nearest_one() {
    let (world, _node) = greeter();
    world.run(&["call", "greter", HELLO]).expect(
        4,
        "",
        "error: there is no service greter in the registry local:[WORLD]/run/callsign\n  because: the services are `greeter`\n  \
         hint: did you mean `greeter`?\n",
    );
    call(&world, &["Greeter.Helo"]).expect(
        4,
        "",
        "error: there is no method Greeter.Helo\n  because: the methods are `Greeter.Hello`, `Greeter.Repeat`, \
         `Greeter.Gather` and `Greeter.Chat`\n  hint: did you mean `Greeter.Hello`?\n",
    );
}

#[test]
fn the_services_own_status_and_the_want_of_a_node_end_otherwise() {
    let (world, _node) = greeter();
    let ran = call(&world, &[HELLO]);
    ran.fails(
        67,
        &["greeter.Greeter/Hello failed with INVALID_ARGUMENT (3)", "because: there is nobody to greet"],
    );
    assert!(ran.stderr.starts_with("greeter-1 at "), "{}", ran.stderr);
    for (option, value) in [("--group", "green"), ("--node-version", "9.9"), ("--node", "greeter-9")] {
        call(&world, &[HELLO, "--name", "x", option, value])
            .fails(5, &["no node of greeter can be called", value]);
    }
    world
        .run(&["call", "static://127.0.0.1:1", HELLO])
        .fails(5, &["no node of static://127.0.0.1:1", "refused"]);
}

#[test]
fn a_call_is_explained_on_stderr() {
    let (world, _node) = greeter();
    let _other = world.node("greeter-2", "2.0.0", "green");
    let ran = call(&world, &[HELLO, "--name", "x", "--group", "green", "-q", "--explain"]);
    assert_eq!((ran.json()["node"].as_str(), ran.code), (Some("greeter-2"), Some(0)));
    let first = ran.stderr.lines().next().unwrap();
    assert!(first.starts_with("greeter-2 took the call and answered after "), "{first}");
    assert!(
        first.ends_with("; greeter-1 was passed over: group=green is asked for, and it has blue"),
        "{first}"
    );
    let ran = call(&world, &[HELLO, "--name", "x", "--group", "green", "-q", "--explain", "-o", "json"]);
    let explained: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(ran.json()["node"], "greeter-2");
    assert_eq!(
        (&explained["attempts"][0]["node"], &explained["method"]),
        (&json!("greeter-2"), &json!("/greeter.Greeter/Hello"))
    );
    assert_eq!(
        (&explained["nodes"][0]["because"], &explained["nodes"][0]["id"]),
        (&json!("filter"), &json!("greeter-1"))
    );

    // One that reaches nobody says why, in the words of `callsign explain`.
    let ran = call(&world, &[HELLO, "--name", "x", "--group", "red", "--explain"]);
    ran.fails(5, &["the call failed with UNAVAILABLE: greeter: none of 2 nodes passes group=red"]);
    let explained = world.run(&["explain", "greeter", "--group", "red"]);
    let summary = explained.stdout.lines().next().unwrap();
    assert!(ran.stderr.lines().next().unwrap().ends_with(summary), "{}", ran.stderr);
}

#[test]
fn filters_choose_the_node() {
    let (world, _node) = greeter();
    let _other = world.node("greeter-2", "2.0.0", "green");
    for (option, value, node) in [
        ("--group", "blue", "greeter-1"),
        ("--group", "green", "greeter-2"),
        ("--node-version", "2.0.0", "greeter-2"),
        ("--node", "greeter-1", "greeter-1"),
    ] {
        for _ in 0..3 {
            let ran = call(&world, &[HELLO, "--name", "x", option, value]);
            assert_eq!(ran.json()["node"], node, "{option} {value}");
        }
    }
}

#[test]
fn a_node_that_never_answers_costs_no_more_than_the_timeout() {
    let world = World::new();
    // It takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let mut watch = world.watch(&[]);
    let _sidecar = world.start(&["register", "greeter", "--address", &address, "--", "sleep", "60"]);
    watch.until(|change| change["event"] == "added");
    let started = tokio::time::Instant::now();
    call(&world, &[HELLO, "--timeout", "300ms"])
        .fails(6, &["greeter did not answer in time", "--timeout 60s"]);
    assert!(started.elapsed() < std::time::Duration::from_secs(5));
}

#[test]
fn waiting_for_a_node_is_a_choice() {
    let world = World::new();
    let mut command = world.command(&["call", "greeter", HELLO, "--name", "x", "--wait", "--timeout", "20s"]);
    let running = Running::start(&mut command);
    let _node = world.node("greeter-1", "1.0.0", "blue");
    let (reply, code) = running.end();
    assert!(reply.contains("Hello, x!"), "{reply}");
    assert_eq!(code, Some(0));
}
