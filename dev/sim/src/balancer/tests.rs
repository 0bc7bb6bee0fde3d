use super::*;
use crate::{
    fleet::Machine,
    random::{Seeds, Stream},
    scenario::Scenario,
};

const NAMES: [&str; 17] = [
    "random",
    "round-robin",
    "weighted-round-robin",
    "least-request",
    "adaptive",
    "peer-random",
    "peer-round-robin",
    "peer-least-loaded",
    "peer-p2c",
    "tower-peak-ewma",
    "cpu-weighted",
    "fresh-p2c",
    "yarp-p2c",
    "peer-prequal",
    "c3",
    "prequal",
    "oracle",
];

struct Bed {
    balancer: Box<dyn Balancer>,
    fleet: Fleet,
    rng: Rng,
}

impl Bed {
    fn new(name: &str, nodes: usize) -> Self {
        let text = format!(
            "title = ''\nabout = ''\nduration = '1s'\nshow = ['mean']\nclients = {{ count = 1, rate = 1.0 }}\n\
             network = {{ rtt = '0ms' }}\nwork = {{ law = 'constant', mean = '1s' }}\n\
             fleet = {{ count = {nodes}, server = {{ model = 'queue' }} }}\npolicy = [{{ use = '{name}' }}]\n"
        );
        let scenario = Scenario::read(&text).unwrap();
        let mut fleet = Fleet::new();
        let mut rng = Seeds(1).stream(Stream::Policy, 0);
        (0..nodes).for_each(|node| fleet.push(Machine::new(&scenario, node, 0, &mut rng)));
        let balancer = new(&scenario.policy[0], 0, Clock::new()).unwrap();
        Self { balancer, fleet, rng }
    }

    fn seat(&mut self, ready: &[bool]) {
        let seats: Vec<Seat> = ready
            .iter()
            .enumerate()
            .map(|(node, ready)| Seat { node, ready: *ready, weight: None, zone: node % 2 })
            .collect();
        self.balancer.update(&seats, 0, &mut self.rng);
    }

    fn pick(&mut self, exclude: &[usize], now: Nanos) -> Option<Choice> {
        let ask = Ask { now, exclude, work: 1.0, is_long: false, fleet: &self.fleet };
        self.balancer.pick(&ask, &mut self.rng)
    }

    fn done(&mut self, choice: Choice, millis: u64, now: Nanos) {
        self.balancer.done(Mark {
            node: choice.node,
            ticket: choice.ticket,
            is_long: false,
            outcome: Outcome::Success,
            elapsed: Duration::from_millis(millis),
            now,
            fleet: &self.fleet,
        });
    }
}

#[test]
fn nobody_picks_a_node_that_cannot_be_reached_or_was_tried() {
    for name in NAMES {
        let mut bed = Bed::new(name, 4);
        bed.seat(&[true, false, true, true]);
        for step in 0..200 {
            let choice = bed.pick(&[2], step).unwrap();
            assert!([0, 3].contains(&choice.node), "{name} picked {}", choice.node);
            bed.done(choice, 10, step);
        }
        // Better the same again than none.
        bed.seat(&[false, false, true, false]);
        assert_eq!(bed.pick(&[2], 1000).map(|choice| choice.node), Some(2), "{name}");
        bed.seat(&[false; 4]);
        assert!(bed.pick(&[], 1000).is_none(), "{name}");
    }
}

#[test]
fn those_that_count_avoid_the_node_that_has_most() {
    for name in ["peer-least-loaded", "peer-p2c", "least-request", "tower-peak-ewma", "adaptive"] {
        let mut bed = Bed::new(name, 2);
        bed.seat(&[true, true]);
        for step in 0..20 {
            let choice = bed.pick(&[], step).unwrap();
            bed.done(choice, 10, step);
        }
        // Thirty calls that nobody answers lie on the two in equal parts.
        let held: Vec<Choice> = (0..30).map(|step| bed.pick(&[], 100 + step).unwrap()).collect();
        let first = held.iter().filter(|choice| choice.node == 0).count();
        assert!((10..=20).contains(&first), "{name}: {first} of 30");
    }
}

#[test]
fn turns_are_even_from_the_first_to_the_last() {
    for name in ["round-robin", "peer-round-robin"] {
        let mut bed = Bed::new(name, 5);
        bed.seat(&[true; 5]);
        let mut counts = [0; 5];
        (0..50).for_each(|step| counts[bed.pick(&[], step).unwrap().node] += 1);
        assert_eq!(counts, [10; 5], "{name}");
    }
}

#[test]
fn prequal_takes_the_fastest_of_the_cool_and_then_the_emptiest_of_the_hot() {
    for name in ["peer-prequal", "prequal"] {
        let mut bed = Bed::new(name, 40);
        bed.seat(&[true; 40]);
        // Most nodes have few calls in flight, so that five are many.
        for _ in 0..64 {
            bed.balancer.probed(probe(39, 1, 900), 0);
        }
        for (node, inflight, millis) in [(0, 5, 10), (1, 1, 50), (2, 0, 30)] {
            bed.balancer.probed(probe(node, inflight, millis), 1);
        }
        assert_eq!(bed.pick(&[], 2).unwrap().node, 2, "{name}");
        // Replies that are older than a second are not used.
        bed.balancer.tick(3_000_000_000, &bed.fleet, &mut bed.rng);
        assert!((0..20).any(|_| bed.pick(&[], 3_000_000_000).unwrap().node > 2), "{name}");
    }
}

#[test]
fn c3_weighs_the_cube_of_the_calls_against_latency() {
    let mut bed = Bed::new("c3", 40);
    bed.seat(&[true; 40]);
    // 2^3 x 10 ms is less than 3^3 x 4 ms, though the latter is faster.
    bed.balancer.probed(probe(0, 2, 4), 1);
    bed.balancer.probed(probe(1, 1, 10), 1);
    assert_eq!(bed.pick(&[], 2).unwrap().node, 1);
}

#[test]
fn methods_that_are_apart_know_nothing_of_each_other() {
    let mut bed = Bed::new("round-robin', apart = true, label = 'apart", 4);
    bed.seat(&[true; 4]);
    let mut counts = [[0; 4]; 2];
    for step in 0..80 {
        let ask = Ask { now: step, exclude: &[], work: 1.0, is_long: step % 4 == 0, fleet: &bed.fleet };
        let choice = bed.balancer.pick(&ask, &mut bed.rng).unwrap();
        counts[usize::from(ask.is_long)][choice.node] += 1;
    }
    assert_eq!(counts, [[15; 4], [5; 4]]);
}

#[test]
fn who_prefers_what_is_near_calls_its_own_zone() {
    let mut bed = Bed::new("adaptive', near = true, label = 'near", 4);
    bed.seat(&[true; 4]);
    assert!((0..50).all(|step| [0, 2].contains(&bed.pick(&[], step).unwrap().node)), "it lives in zone 0");
    bed.seat(&[false, true, false, true]);
    assert!((0..50).all(|step| [1, 3].contains(&bed.pick(&[], step).unwrap().node)), "that zone is gone");
}

fn probe(node: usize, inflight: u32, millis: u64) -> Probe {
    Probe { node, inflight, latency: Some(millis * 1_000_000) }
}

#[test]
fn weights_follow_the_reports_once_the_blackout_is_over() {
    let mut bed = Bed::new("cpu-weighted", 2);
    bed.seat(&[true; 2]);
    let second = crate::clock::SECOND;
    // Node 0 needs half a second of a core for a call, node 1 an eighth.
    for step in 0..80_u64 {
        let now = step * second / 2;
        for (node, busy) in [(0, second / 2), (1, second / 8)] {
            let job = crate::fleet::Job { call: node, generation: 0 };
            let machine = bed.fleet.get_mut(node as usize);
            machine.take(job, 1.0, now);
            machine.answered(busy, 0, false, now + busy);
            machine.next_in_queue(now + busy, &[0, 0]);
            let choice = Choice { node: node as usize, ticket: None };
            bed.done(choice, 1, now + busy);
        }
    }
    bed.balancer.tick(40 * second, &bed.fleet, &mut bed.rng);
    let first = (0..1000).filter(|_| bed.pick(&[], 40 * second).unwrap().node == 0).count();
    assert!((150..250).contains(&first), "{first} of 1000, and 200 is four to one");
}
