//! All runs of a scenario: each policy, at each value of the sweep, with each seed; on all cores.

use std::{
    num::NonZero,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::{
    clock::Clock,
    measure::{Metric, Tally},
    scenario::{Expect, Scenario},
    world::World,
};

/// What came of a scenario.
pub(crate) struct Results {
    /// By policy, then by value of the sweep.
    cells: Vec<Vec<Cell>>,
}

/// One policy at one value of the sweep.
pub(crate) struct Cell {
    pub(crate) all: Tally,
    /// The same by seed.
    each: Vec<Tally>,
}

/// A result that is not as expected.
#[derive(Debug, PartialEq)]
pub(crate) struct Miss(pub(crate) String);

/// Factors of Student's distribution that make 95 % intervals of 2, 3, 4 ... runs.
const STUDENT: [f64; 12] = [12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18];

/// Runs it all. `progress` is told of each run that is over.
pub(crate) fn run(scenario: &Scenario, progress: &(dyn Fn() + Sync)) -> Result<Results, String> {
    let points = scenario.points();
    let jobs: Vec<(Scenario, u64)> = scenario
        .policy
        .iter()
        .flat_map(|policy| points.iter().map(move |value| scenario.at(*value, policy)))
        .flat_map(|at| (1..=scenario.seeds).map(move |seed| (at.clone(), seed)))
        .collect();
    let tallies = run_all(&jobs, progress)?;
    let mut tallies = tallies.into_iter();
    let mut cell = || {
        let each: Vec<Tally> = tallies.by_ref().take(scenario.seeds as usize).collect();
        let mut all = each[0].clone();
        each[1..].iter().for_each(|one| all.add(one));
        Cell { all, each }
    };
    let cells = scenario.policy.iter().map(|_| points.iter().map(|_| cell()).collect()).collect();
    Ok(Results { cells })
}

/// How many runs [`run`] makes.
pub(crate) fn count(scenario: &Scenario) -> u64 {
    scenario.policy.len() as u64 * scenario.points().len() as u64 * scenario.seeds
}

/// Runs the jobs on all cores; the results are in the order of the jobs, whoever was first.
fn run_all(jobs: &[(Scenario, u64)], progress: &(dyn Fn() + Sync)) -> Result<Vec<Tally>, String> {
    let clock = Clock::new();
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((index, (scenario, seed))) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            jobs.get(index).map(|job| (index, job))
        } {
            let tally = World::new(scenario, *seed, clock).map(World::run);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((index, tally));
            progress();
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(work);
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, tally)| tally).collect()
}

// === impl Results ===

impl Results {
    pub(crate) fn cell(&self, policy: usize, point: usize) -> &Cell {
        &self.cells[policy][point]
    }

    pub(crate) fn events(&self) -> u64 {
        self.cells.iter().flatten().map(|cell| cell.all.events).sum()
    }

    pub(crate) fn calls(&self) -> u64 {
        self.cells.iter().flatten().map(|cell| cell.all.calls()).sum()
    }

    /// What is not as the scenario expects. `quick` leaves out what short runs cannot tell.
    pub(crate) fn misses(&self, scenario: &Scenario, quick: bool) -> Vec<Miss> {
        let asked = scenario.expect.iter().filter(|expect| !(quick && expect.thorough));
        asked.flat_map(|expect| self.misses_of(scenario, expect)).collect()
    }

    fn misses_of(&self, scenario: &Scenario, expect: &Expect) -> Vec<Miss> {
        let place = |label: &String| scenario.policy.iter().position(|policy| policy.label() == label);
        let Some(policy) = place(&expect.policy) else { return Vec::new() };
        let mut misses = Vec::new();
        for (point, value) in scenario.points().into_iter().enumerate() {
            if expect.at.is_some_and(|at| at != value) {
                continue;
            }
            let read = |policy| self.cell(policy, point).all.read(expect.metric);
            let (is, times) = (read(policy), expect.times.as_ref().and_then(place).map_or(1.0, read));
            let least = expect.least.map(|least| least * times);
            let most = expect.most.map(|most| most * times);
            let near = expect.near.map(|near| near * times);
            let well = least.is_none_or(|least| is >= least)
                && most.is_none_or(|most| is <= most)
                && near.is_none_or(|near| (is / near - 1.0).abs() <= expect.within);
            if !well {
                let show = |limit: Option<f64>, word: &str| {
                    limit.map(|limit| format!("{word} {}", expect.metric.format(limit)))
                };
                let limits = [show(least, "at least"), show(most, "at most"), show(near, "near")];
                let limits: Vec<String> = limits.into_iter().flatten().collect();
                let at = if value.is_nan() { String::new() } else { format!(" at {value}") };
                misses.push(Miss(format!(
                    "{}: {}{at} is {}, and was to be {}",
                    expect.policy,
                    expect.metric.title(),
                    expect.metric.format(is),
                    limits.join(" and "),
                )));
            }
        }
        misses
    }
}

// === impl Cell ===

impl Cell {
    /// Half the width of the interval in which the mean over seeds lies with 95 %; none for a single seed.
    pub(crate) fn spread(&self, metric: Metric) -> Option<f64> {
        let values: Vec<f64> =
            self.each.iter().map(|one| one.read(metric)).filter(|value| value.is_finite()).collect();
        let count = values.len();
        if count < 2 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / count as f64;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1) as f64;
        let student = STUDENT.get(count - 2).copied().unwrap_or(2.0);
        Some(student * (variance / count as f64).sqrt())
    }
}

#[cfg(test)]
mod tests;
