//! `callsign watch`.

use rustix::process::Signal;

use crate::harness::World;

#[test]
fn what_changes_is_told_with_its_reason() {
    let world = World::new();
    let _first = world.node("greeter-1", "1.0.0", "blue");
    let mut watch = world.watch(&[]);
    let event = |id: &str, what: &str| {
        let (id, what) = (id.to_owned(), what.to_owned());
        move |change: &serde_json::Value| change["node"]["id"] == *id && change["event"] == *what
    };
    watch.until(event("greeter-1", "present"));
    let killed = world.node("greeter-2", "1.0.0", "blue");
    watch.until(event("greeter-2", "added"));
    killed.signal(Signal::KILL);
    let change = watch.until(event("greeter-2", "removed"));
    assert!(change["reason"].as_str().unwrap().starts_with("it died"), "{change}");
    let left = world.node("greeter-3", "1.0.0", "blue");
    watch.until(event("greeter-3", "added"));
    left.signal(Signal::TERM);
    assert_eq!(left.end().1, Some(0));
    let change = watch.until(event("greeter-3", "removed"));
    assert_eq!(change["reason"], "it deregistered");
    assert_eq!(change["node"]["version"], "1.0.0");
    assert!(change["at"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn lines_are_for_people_and_an_interrupt_ends_it_with_130() {
    let world = World::new();
    let _node = world.node("greeter-1", "1.0.0", "blue");
    let mut watch = world.start(&["watch", "greeter"]);
    let line = watch.line();
    assert!(line[8..].starts_with(" = greeter/greeter-1  127.0.0.1:"), "{line}");
    watch.signal(Signal::INT);
    assert_eq!(watch.end(), (String::new(), Some(130)));
}
