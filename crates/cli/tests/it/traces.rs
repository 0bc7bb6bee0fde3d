//! Spans of commands: a collector gets them when OpenTelemetry's variables say so, and no command fails or waits long for it.

use std::net::TcpListener;

use callsign_testbed::collector::{Collector, Seen};
use rustix::process::Signal;
use tokio::runtime::Runtime;

use crate::harness::{Ran, World};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALL: [&str; 6] = ["call", "greeter", "Greeter.Hello", "--name", "World", "-q"];

/// A collector, and what runs it.
struct Sink {
    collector: Collector,
    _runtime: Runtime,
}

// === impl Sink ===

impl Sink {
    fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { collector: runtime.block_on(Collector::start()), _runtime: runtime }
    }

    fn world(&self) -> World {
        World::new().set(ENDPOINT, &self.collector.endpoint)
    }

    /// What has come of calls of this method.
    fn of(&self, method: &str) -> Vec<Seen> {
        let spans = self.collector.spans();
        let calls: Vec<_> = spans.iter().filter(|seen| seen.span.name == method).collect();
        let belongs = |seen: &Seen| {
            calls.iter().any(|call| {
                let attempt = seen.span.name == "attempt" && seen.span.parent_span_id == call.span.span_id;
                attempt || seen.span.span_id == call.span.span_id
            })
        };
        spans.iter().filter(|seen| belongs(seen)).cloned().collect()
    }
}

#[track_caller]
fn is_answered(ran: &Ran) {
    assert!(ran.stdout.contains("Hello, World!"), "{ran:?}");
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn a_call_and_its_handling_reach_the_collector_as_one_trace() {
    let sink = Sink::start();
    let world = sink.world();
    let node = world.node("greeter-1", "1.0.0", "blue");
    let parent = format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-01");
    let ran = world.run(&[&CALL[..], &["-H", &parent]].concat());
    is_answered(&ran);
    assert_eq!(ran.stderr, "");
    // All there was had been sent when it ended.
    let mut of_client = sink.of("greeter.Greeter/Hello");
    of_client.retain(|seen| seen.service == "callsign");
    node.signal(Signal::TERM);
    assert_eq!(node.end().1, Some(0));

    let names: Vec<_> = of_client.iter().map(|seen| &*seen.span.name).collect();
    assert_eq!(of_client.len(), 2, "{names:?}");
    let call = of_client.iter().find(|seen| seen.span.name != "attempt").unwrap();
    let attempt = of_client.iter().find(|seen| seen.span.name == "attempt").unwrap();
    let all = sink.of("greeter.Greeter/Hello");
    let handled = all.iter().find(|seen| seen.service == "greeter").expect("the node's span");
    assert_eq!(attempt.text("callsign.node"), "greeter-1");
    assert_eq!(handled.span.parent_span_id, attempt.span.span_id);
    for seen in [call, attempt, handled] {
        let trace: String = seen.span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(trace, TRACE, "{}", seen.span.name);
    }
}

#[test]
fn the_probes_of_a_rollout_are_spans_too() {
    let sink = Sink::start();
    let node = sink.world();
    let _node = node.node("greeter-1", "1.0.0", "blue");
    let ran = node.run(&["rollout", "verify", "greeter", "--timeout", "1s"]);
    assert_eq!(ran.code, Some(8), "nothing was restarted: {ran:?}");
    let probes = sink.of("grpc.health.v1.Health/Check");
    assert!(probes.iter().any(|seen| seen.service == "callsign"), "{:?}", sink.collector.spans());
}

#[test]
fn variables_say_where_to_and_as_whom_and_whether_at_all() {
    let sink = Sink::start();
    let world = World::new();
    let _node = world.node("greeter-1", "1.0.0", "blue");
    let call = |set: &[(&str, &str)]| {
        let before = sink.collector.spans().len();
        let mut command = world.command(&CALL);
        let ran = world.finish(command.env(ENDPOINT, &sink.collector.endpoint).envs(set.iter().copied()));
        is_answered(&ran);
        (sink.collector.spans().split_off(before), ran.stderr)
    };
    let (spans, said) = call(&[("OTEL_SERVICE_NAME", "nightly")]);
    assert!(!spans.is_empty() && spans.iter().all(|seen| seen.service == "nightly"), "{spans:?}");
    assert_eq!(said, "");
    // What is said of traces wins over what is said of everything.
    let (spans, said) = call(&[
        (ENDPOINT, "http://127.0.0.1:1"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &sink.collector.endpoint),
    ]);
    assert_eq!((spans.is_empty(), &*said), (false, ""));
    for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none"), (ENDPOINT, "")] {
        let (spans, said) = call(&[off]);
        assert_eq!((spans.len(), &*said), (0, ""), "{off:?}");
    }
    for unknown in [("OTEL_TRACES_EXPORTER", "zipkin"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")] {
        let (spans, said) = call(&[unknown]);
        assert_eq!(spans.len(), 0, "{unknown:?}");
        for word in ["no spans are exported", unknown.0, unknown.1] {
            assert!(said.contains(word), "{said}");
        }
    }
}

#[test]
fn no_command_fails_for_want_of_a_collector_and_each_says_so_once() {
    // One is away; one takes connections, and says nothing on them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoints = ["http://127.0.0.1:1".to_owned(), format!("http://{}", silent.local_addr().unwrap())];
    let world = World::new();
    let _node = world.node("greeter-1", "1.0.0", "blue");
    for endpoint in endpoints {
        let run = |args: &[&str]| {
            let mut command = world.command(args);
            // Whoever waited for an answer would wait longer than any test may take.
            command.env(ENDPOINT, &endpoint).env("OTEL_EXPORTER_OTLP_TIMEOUT", "600000");
            world.finish(&mut command)
        };
        let ran = run(&CALL);
        is_answered(&ran);
        assert_eq!(ran.stderr.matches("not all spans were exported").count(), 1, "{}", ran.stderr);
        assert!(ran.stderr.contains("did not take the last"), "{}", ran.stderr);
        let ran = run(&["call", "greeter", "Greeter.Hello", "-q"]);
        assert_eq!(ran.code, Some(64 + 3), "it still ends with the call's status: {ran:?}");
        let ran = run(&["ls"]);
        assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{endpoint}: nothing was called");
    }
}
