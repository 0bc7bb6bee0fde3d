use super::*;
use crate::shelf;

const GOOD: &str = "
title = 't'
about = 'a'
duration = '10s'
show = ['p99']
clients = { count = 2, load = 0.5 }
network = { rtt = '1ms' }
work = { law = 'normal', mean = '80ms' }
fleet = { count = 3, server = { model = 'queue' } }
policy = [{ use = 'adaptive' }, { use = 'oracle', label = 'all-knowing' }]
";

#[test]
fn every_scenario_on_the_shelf_can_be_read() {
    assert!(shelf::choose(&[]).unwrap().len() > 5);
}

#[test]
fn the_load_is_work_by_what_the_fleet_can_do() {
    let mut scenario = Scenario::read(GOOD).unwrap();
    assert!((scenario.rate() - 0.5 * 3.0 / 0.08).abs() < 1e-9);
    scenario.fleet.speeds = vec![1.0, 0.5];
    assert!((scenario.rate() - 0.5 * 2.5 / 0.08).abs() < 1e-9);
}

#[test]
fn what_makes_no_sense_is_refused_in_words() {
    for (from, to, said) in [
        ("load = 0.5", "load = 0.5, rate = 3.0", "either rate or load"),
        ("load = 0.5", "rate = -1.0", "above zero"),
        ("load = 0.5", "rate = nan", "above zero"),
        ("count = 2", "count = 0", "at least 1"),
        ("duration = '10s'", "duration = '10 parsecs'", "no duration"),
        ("duration = '10s'", "duration = '10s'\nwarmup = '10s'", "warm-up"),
        ("use = 'adaptive'", "use = 'adaptiv'", "did you mean \"adaptive\""),
        ("use = 'adaptive'", "use = 'xyz'", "tower-peak-ewma"),
        ("use = 'adaptive'", "use = 'adaptive', budget = 11.0", "ratio"),
        ("use = 'adaptive'", "use = 'adaptive', decay = '0s'", "decay"),
        ("label = 'all-knowing'", "label = 'adaptive'", "same label"),
        ("show = ['p99']", "show = []", "no metric"),
        ("show = ['p99']", "shew = ['p99']", "unknown field"),
        ("model = 'queue'", "model = 'delay'", "never full"),
        ("count = 3", "count = 3, speeds = [0.0]", "speeds"),
    ] {
        let error = Scenario::read(&GOOD.replace(from, to)).unwrap_err();
        assert!(error.contains(said), "{to}: {error}");
    }
}

#[test]
fn a_sweep_sets_what_it_says() {
    let text = format!("{GOOD}sweep = {{ by = 'clients', values = [5, 50] }}\n");
    let scenario = Scenario::read(&text).unwrap();
    let at = scenario.at(50.0, &scenario.policy[1]);
    assert_eq!((at.clients.count, at.policy.len(), at.policy[0].label()), (50, 1, "all-knowing"));
}

#[test]
fn spans_are_read_with_their_unit() {
    for (text, seconds) in [("250ms", 0.25), ("1.5s", 1.5), ("10m", 600.0), ("7us", 7e-6)] {
        assert_eq!(text.parse::<Span>().unwrap().seconds(), seconds);
    }
    for wrong in ["", "5", "s", "-1s", "1e400s", "5 s"] {
        assert!(wrong.parse::<Span>().is_err(), "{wrong}");
    }
}
