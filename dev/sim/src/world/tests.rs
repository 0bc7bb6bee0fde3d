use std::time::Duration;

use super::*;

/// A small fleet with all that can happen to one.
const EVENTFUL: &str = "
title = ''
about = ''
duration = '12s'
show = ['mean']
clients = { count = 5, rate = 300.0, timeout = '2s' }
network = { rtt = '1ms', jitter = '1ms', propagation = '100ms' }
work = { law = 'normal', mean = '20ms' }
[fleet]
count = 6
speeds = [1.0, 0.5]
server = { model = 'shared', cores = 4.0, free = 2.0, contended = 0.5, contended_share = 0.3, dwell = '2s' }
[[fault]]
nodes = [0]
from = '2s'
to = '4s'
share = 0.5
what = { fail = '1ms' }
[[fault]]
nodes = [1]
from = '3s'
to = '6s'
what = { gone = '200ms' }
[[fault]]
nodes = [2]
from = '4s'
to = '7s'
what = { slow = 4.0 }
[[fault]]
nodes = [3]
from = '5s'
to = '6s'
what = 'hang'
[[change]]
at = '8s'
add = 3
remove = [4]
cold = 2.0
cold_for = '1s'
[[policy]]
use = 'NAME'
retries = true
";

fn eventful(name: &str) -> Scenario {
    Scenario::read(&EVENTFUL.replace("NAME", name)).unwrap()
}

fn trace(scenario: &Scenario, seed: u64, clock: Clock) -> String {
    World::new(scenario, seed, clock).unwrap().traced().run_traced()
}

#[test]
fn the_same_seed_gives_the_same_trace_to_the_byte() {
    for name in ["adaptive", "least-request", "round-robin", "prequal", "peer-prequal", "c3", "cpu-weighted"]
    {
        let scenario = eventful(name);
        let first = trace(&scenario, 7, Clock::new());
        assert!(first.lines().count() > 3000, "{name}: {}", first.lines().count());
        assert!(first == trace(&scenario, 7, Clock::new()), "{name}: two traces of one seed");
        assert!(first != trace(&scenario, 8, Clock::new()), "{name}: one trace of two seeds");
    }
}

#[test]
fn a_trace_does_not_depend_on_when_it_is_made() {
    for name in ["adaptive", "prequal"] {
        let scenario = eventful(name);
        for seed in 0..12 {
            let later = Clock::later(Duration::from_secs(1000));
            assert!(trace(&scenario, seed, Clock::new()) == trace(&scenario, seed, later), "{name}, {seed}");
        }
    }
}

#[test]
fn all_policies_face_the_same_calls() {
    let calls = |name: &str| {
        let mut began: Vec<String> = trace(&eventful(name), 7, Clock::new())
            .lines()
            .map(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                format!("{} {}", words[2], words[6])
            })
            .collect();
        began.sort_unstable();
        began.dedup();
        began
    };
    assert!(calls("random") == calls("adaptive"));
}

#[test]
fn every_call_ends_and_no_node_keeps_any() {
    for name in ["random", "adaptive", "peer-least-loaded", "oracle"] {
        let scenario = eventful(name);
        let mut world = World::new(&scenario, 3, Clock::new()).unwrap();
        world.go_on();
        assert_eq!(world.calls.iter().count(), 0, "{name}");
        assert!(world.fleet.iter().all(|machine| machine.inflight() == 0), "{name}");
        let tally = world.finish();
        assert!((3300..3900).contains(&tally.calls()), "{name}: {}", tally.calls());
        assert!(tally.read(crate::measure::Metric::Attempts) >= 1.0);
    }
}

/// One M/M/1 queue at half load: twice the service time.
#[test]
fn a_queue_is_as_long_as_theory_says() {
    let text = "title = ''\nabout = ''\nduration = '40000s'\nshow = ['mean']\n\
        clients = { count = 1, load = 0.5, timeout = '1h' }\nnetwork = { rtt = '0ms' }\n\
        work = { law = 'exponential', mean = '1s' }\nfleet = { count = 1, server = { model = 'queue' } }\n\
        policy = [{ use = 'random' }]\n";
    let scenario = Scenario::read(text).unwrap();
    let tally = World::new(&scenario, 1, Clock::new()).unwrap().run();
    let mean = tally.read(crate::measure::Metric::Mean);
    assert!((mean / 2.0 - 1.0).abs() < 0.05, "{mean}");
    let p99 = tally.read(crate::measure::Metric::P99);
    assert!((p99 / (2.0 * 100_f64.ln()) - 1.0).abs() < 0.08, "{p99}");
}
