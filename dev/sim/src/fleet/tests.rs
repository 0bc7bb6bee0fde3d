use super::*;
use crate::{clock::SECOND, random::Seeds};

fn machine(server: &str) -> Machine {
    let text = format!(
        "title = ''\nabout = ''\nduration = '1s'\nshow = ['mean']\n[clients]\ncount = 1\nrate = 1.0\n\
         [network]\nrtt = '0ms'\n[work]\nlaw = 'constant'\nmean = '1s'\n[[policy]]\nuse = 'random'\n\
         [fleet]\ncount = 1\nserver = {server}\n"
    );
    let mut rng = Seeds(1).stream(crate::random::Stream::Machines, 0);
    Machine::new(&Scenario::read(&text).unwrap(), 0, 0, &mut rng)
}

fn job(call: u32) -> Job {
    Job { call, generation: 0 }
}

/// Runs calls that come at the given seconds with the given work through a shared machine; when each was done, in seconds.
fn run_shared(machine: &mut Machine, arrivals: &[(f64, f64)]) -> Vec<f64> {
    let generations = vec![0; arrivals.len()];
    let (mut done, mut next, mut plan) = (vec![f64::NAN; arrivals.len()], 0, None);
    loop {
        let arrival = arrivals.get(next).map(|(at, _)| crate::clock::nanos(*at));
        let now = match (arrival, plan) {
            (Some(arrival), Some((at, _))) if arrival > at => at,
            (Some(arrival), _) => arrival,
            (None, Some((at, _))) => at,
            (None, None) => return done,
        };
        if arrival == Some(now) {
            machine.take(job(next as u32), arrivals[next].1, now);
            next += 1;
        } else if let Some(job) = machine.finish_shared(plan.unwrap().1, now, &generations) {
            done[job.call as usize] = seconds(now);
            machine.answered(now, 0, false, now);
            plan = None;
        }
        plan = machine.next_of_shared(now, &generations).or(plan);
    }
}

#[test]
fn a_call_alone_takes_its_work_and_two_on_one_core_share_it() {
    let done = run_shared(&mut machine("{ model = 'shared', cores = 1.0 }"), &[(0.0, 1.0), (0.5, 1.0)]);
    // Half a second alone, then both at half the pace.
    assert_eq!(done, [1.5, 2.0]);
}

#[test]
fn no_call_has_more_than_one_core() {
    let done = run_shared(&mut machine("{ model = 'shared', cores = 4.0 }"), &[(0.0, 1.0), (0.0, 2.0)]);
    assert_eq!(done, [1.0, 2.0]);
}

#[test]
fn a_line_is_worked_off_in_order_and_who_has_left_it_is_passed_over() {
    let mut machine = machine("{ model = 'queue' }");
    assert_eq!(machine.take(job(0), 1.0, 0), Some(SECOND));
    assert_eq!(machine.take(job(1), 1.0, 0), None);
    assert_eq!(machine.take(job(2), 1.0, 0), None);
    assert_eq!(machine.inflight(), 3);
    machine.drop_job(0);
    machine.answered(SECOND, 0, false, SECOND);
    assert_eq!(machine.next_in_queue(SECOND, &[0, 1, 0]), Some((job(2), 2 * SECOND)));
    assert_eq!(machine.next_in_queue(2 * SECOND, &[0, 1, 0]), None);
}

#[test]
fn a_report_tells_the_rate_and_the_use_of_the_last_seconds() {
    let mut machine = machine("{ model = 'shared', cores = 2.0 }");
    for call in 0..2000_u64 {
        let at = call * SECOND / 20;
        machine.take(job(0), 0.05, at);
        machine.drop_job(at + SECOND / 20);
        machine.inflight += 1;
        machine.answered(1, 0, call % 2 == 0, at + SECOND / 20);
    }
    let report = machine.report(100 * SECOND);
    assert!((report.utilisation - 0.5).abs() < 0.01, "{report:?}");
    assert!((report.calls_per_second - 20.0).abs() < 0.5, "{report:?}");
    assert!((report.failures_per_second - 10.0).abs() < 0.5, "{report:?}");
}

#[test]
fn a_probe_tells_how_long_calls_took_among_as_many() {
    let mut machine = machine("{ model = 'delay' }");
    assert_eq!(machine.probe(), (0, None));
    for (among, took) in [(0, 10), (0, 30), (0, 20), (5, 500)] {
        machine.inflight += 1;
        machine.answered(took, among, false, 1);
    }
    assert_eq!(machine.probe(), (0, Some(20)));
    machine.inflight = 4;
    assert_eq!(machine.probe(), (4, Some(500)));
}
