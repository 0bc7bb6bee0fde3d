use super::*;
use crate::{
    report::Docs,
    shelf::{self, Kind},
};

/// Short enough for every run of the tests, and still what they are run for.
const QUICK: [&str; 2] = ["slow-node", "gray-failure"];

#[test]
fn one_slow_node_and_one_that_fails_fast_cost_what_was_published() {
    for item in shelf::choose(&QUICK.map(str::to_owned)).unwrap() {
        let Kind::Scenario(mut scenario) = item.kind else { panic!("{} is a scenario", item.name) };
        scenario.seeds = 1;
        let results = run(&scenario, &|| {}).unwrap();
        assert_eq!(results.misses(&scenario, true), [], "{}", item.name);
    }
}

#[test]
fn a_result_that_is_not_as_expected_is_told() {
    let item = shelf::choose(&["gray-failure".to_owned()]).unwrap().remove(0);
    let Kind::Scenario(mut scenario) = item.kind else { panic!("it is a scenario") };
    scenario.seeds = 1;
    scenario.policy.retain(|policy| policy.label() == "adaptive");
    // Without the charge for errors it is what the expectation guards against.
    scenario.policy[0].error_charge = Some("0s".parse().unwrap());
    scenario.expect.retain(|expect| expect.policy == "adaptive" && expect.times.is_none());
    let misses = run(&scenario, &|| {}).unwrap().misses(&scenario, true);
    assert!(misses[0].0.starts_with("adaptive: errors is 3"), "{misses:?}");
}

#[test]
fn the_results_page_has_a_section_for_each_scenario_as_it_is_now() {
    for item in shelf::choose(&[]).unwrap() {
        let fresh = Docs::new().is_fresh(&item.name, &item.source);
        assert!(fresh, "run `cargo xtask sim {} --docs`", item.name);
    }
}
