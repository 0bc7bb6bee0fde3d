//! What is measured in a run, and what is read from it.

mod settle;

use std::{collections::BTreeSet, fmt, ops::Range};

use serde::{Deserialize, Serialize};

use crate::{
    clock::{Nanos, SECOND, seconds},
    fleet::Fleet,
    histogram::Histogram,
    scenario::Scenario,
    world::SAMPLE,
};

/// One number of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Metric {
    /// Time to the answer, of calls that were answered or given up.
    Mean,
    P50,
    P90,
    P99,
    P999,
    /// Calls without a good answer, of all.
    Errors,
    /// Good answers within the goal, of all calls.
    Within,
    /// Attempts per call.
    Attempts,
    /// Attempts sent to the watched nodes per run, while there is trouble or after nodes came.
    Watched,
    /// Their share of all attempts in that time.
    WatchedShare,
    /// The most used node's use, as a multiple of the mean over all nodes, each by what its machine can do.
    Imbalance,
    /// The 99th percentile of calls that a node has in flight, over nodes and time.
    TailInflight,
    /// The most calls that watched nodes had in flight during a tenth of a second, as a multiple of what the others had on average.
    Peak,
    /// Seconds from the first change of membership until the watched nodes' share stays within a tenth of the fair one.
    Settled,
    /// Probes per call.
    Probes,
}

/// What is shown over the seconds of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Over {
    /// Of calls that began in that second.
    P50,
    P99,
    Errors,
    /// Attempts sent in that second, by the calls that began in it.
    Attempts,
    /// The watched nodes' share of attempts, as a multiple of the fair one.
    Share,
    /// Calls in flight on watched nodes, as a multiple of those on the others.
    Inflight,
}

/// Counts of one run, or of several added up.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    warmup: Nanos,
    goal: std::time::Duration,
    /// From the first trouble or change to the last.
    eventful: Range<Nanos>,
    latency: Histogram,
    within: u64,
    calls: u64,
    errors: u64,
    attempts: u64,
    pub(crate) probes: u64,
    pub(crate) events: u64,
    /// Nodes in trouble and nodes that are new.
    watched: BTreeSet<usize>,
    watched_attempts: u64,
    sent: u64,
    /// What happened when, if anybody wants to know: over hours that is a lot.
    keeps_time: bool,
    seconds: Vec<Second>,
    samples: Vec<Sample>,
    inflight: Histogram,
    /// Seconds of use of each node, by what its machine can do.
    used: Vec<f64>,
    before: Vec<f64>,
    at_sample: Vec<f64>,
    speeds: Vec<f64>,
    change: Option<f64>,
    runs: u64,
}

/// What happened in one second.
#[derive(Debug, Clone)]
struct Second {
    latency: Histogram,
    calls: u64,
    errors: u64,
    attempts: u64,
    watched: u64,
    fair: f64,
}

/// Calls in flight during a tenth of a second, per node.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    watched: f64,
    others: f64,
}

// === impl Tally ===

impl Tally {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let faulty = scenario.fault.iter().flat_map(|fault| fault.nodes(&scenario.fleet));
        Self {
            warmup: scenario.warmup.nanos(),
            goal: scenario.goal.duration(),
            eventful: eventful(scenario),
            latency: Histogram::fine(),
            within: 0,
            calls: 0,
            errors: 0,
            attempts: 0,
            probes: 0,
            events: 0,
            watched: faulty.collect(),
            watched_attempts: 0,
            sent: 0,
            keeps_time: scenario.wants_time(),
            seconds: Vec::new(),
            samples: Vec::new(),
            inflight: Histogram::fine(),
            used: Vec::new(),
            before: Vec::new(),
            at_sample: Vec::new(),
            speeds: scenario.fleet.speeds.clone(),
            change: scenario.change.first().map(|change| change.at.seconds()),
            runs: 1,
        }
    }

    /// From now on this node is watched too.
    pub(crate) fn watch(&mut self, node: usize) {
        self.watched.insert(node);
    }

    pub(crate) fn sent(&mut self, node: usize, now: Nanos) {
        let watched = self.watched.contains(&node);
        if self.keeps_time {
            let second = self.second(now);
            second.attempts += 1;
            second.watched += u64::from(watched);
        }
        if now >= self.warmup && self.eventful.contains(&now) {
            self.sent += 1;
            self.watched_attempts += u64::from(watched);
        }
    }

    /// A call is over.
    pub(crate) fn call(&mut self, began: Nanos, took: Nanos, well: bool, timed_out: bool, attempts: u8) {
        if self.keeps_time {
            let second = self.second(began);
            second.calls += 1;
            second.errors += u64::from(!well);
            if well || timed_out {
                second.latency.record(took);
            }
        }
        if began < self.warmup {
            return;
        }
        self.calls += 1;
        self.errors += u64::from(!well);
        self.attempts += u64::from(attempts);
        if well || timed_out {
            self.latency.record(took);
        }
        self.within += u64::from(well && took <= self.goal.as_nanos() as Nanos);
    }

    /// Looks at the calls in flight since the last sample.
    pub(crate) fn sample(&mut self, fleet: &Fleet, members: &[usize], now: Nanos) {
        self.at_sample.resize(fleet.len(), 0.0);
        let (mut watched, mut others) = ((0.0, 0_u32), (0.0, 0_u32));
        for &node in members {
            let meter = fleet.get(node).meter;
            let inflight = (meter.call_seconds - self.at_sample[node]) / seconds(SAMPLE);
            let sum = if self.watched.contains(&node) { &mut watched } else { &mut others };
            *sum = (sum.0 + inflight, sum.1 + 1);
            if now > self.warmup {
                self.inflight.record((inflight * 1000.0) as u64);
            }
        }
        for (node, machine) in fleet.iter().enumerate() {
            self.at_sample[node] = machine.meter.call_seconds;
        }
        if now <= self.warmup {
            self.before = fleet.iter().map(|machine| machine.meter.core_seconds).collect();
        }
        if !self.keeps_time {
            return;
        }
        let mean = |(sum, count): (f64, u32)| sum / f64::from(count);
        self.samples.push(Sample { watched: mean(watched), others: mean(others) });
        let fair =
            members.iter().filter(|node| self.watched.contains(node)).count() as f64 / members.len() as f64;
        self.second(now.saturating_sub(1)).fair = fair;
    }

    pub(crate) fn finish(&mut self, fleet: &Fleet, events: u64) {
        self.before.resize(fleet.len(), 0.0);
        self.used = fleet.iter().map(|machine| machine.meter.core_seconds).collect();
        for (node, used) in self.used.iter_mut().enumerate() {
            *used -= self.before[node];
        }
        self.events = events;
    }

    /// Adds the counts of another run of the same scenario and policy.
    pub(crate) fn add(&mut self, other: &Self) {
        self.latency.add(&other.latency);
        self.inflight.add(&other.inflight);
        self.within += other.within;
        self.calls += other.calls;
        self.errors += other.errors;
        self.attempts += other.attempts;
        self.probes += other.probes;
        self.events += other.events;
        self.watched_attempts += other.watched_attempts;
        self.sent += other.sent;
        self.runs += other.runs;
        for (mine, theirs) in self.used.iter_mut().zip(&other.used) {
            *mine += theirs;
        }
        for (mine, theirs) in self.seconds.iter_mut().zip(&other.seconds) {
            mine.add(theirs);
        }
        for (mine, theirs) in self.samples.iter_mut().zip(&other.samples) {
            mine.watched += theirs.watched;
            mine.others += theirs.others;
        }
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls
    }

    /// In seconds, shares or plain numbers; NaN where there is none.
    pub(crate) fn read(&self, metric: Metric) -> f64 {
        let share = |part: u64, whole: u64| part as f64 / whole as f64;
        let quantile = |share| self.latency.quantile(share) / SECOND as f64;
        match metric {
            Metric::Mean => self.latency.mean() / SECOND as f64,
            Metric::P50 => quantile(0.5),
            Metric::P90 => quantile(0.9),
            Metric::P99 => quantile(0.99),
            Metric::P999 => quantile(0.999),
            Metric::Errors => share(self.errors, self.calls),
            Metric::Within => share(self.within, self.calls),
            Metric::Attempts => share(self.attempts, self.calls),
            Metric::Watched => share(self.watched_attempts, self.runs),
            Metric::WatchedShare => share(self.watched_attempts, self.sent),
            Metric::Imbalance => self.imbalance(),
            Metric::TailInflight => self.inflight.quantile(0.99) / 1000.0,
            Metric::Peak => self.peak(),
            Metric::Settled => self.settled(),
            Metric::Probes => share(self.probes, self.calls),
        }
    }

    /// Over the seconds of the run, each at its middle.
    pub(crate) fn over(&self, over: Over) -> Vec<(f64, f64)> {
        let at = |second: usize| second as f64 + 0.5;
        if over == Over::Inflight {
            let sum = |samples: &[Sample], of: fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>();
            let share = |samples| sum(samples, |one| one.watched) / sum(samples, |one| one.others);
            let of_a_second = self.samples.chunks((SECOND / SAMPLE) as usize);
            return of_a_second.enumerate().map(|(second, samples)| (at(second), share(samples))).collect();
        }
        let read = |second: &Second| match over {
            Over::P50 => second.latency.quantile(0.5) / SECOND as f64,
            Over::P99 => second.latency.quantile(0.99) / SECOND as f64,
            Over::Errors => second.errors as f64 / second.calls as f64,
            Over::Attempts => second.attempts as f64 / second.calls as f64,
            Over::Share | Over::Inflight => second.share() / second.fair,
        };
        self.seconds.iter().enumerate().map(|(second, one)| (at(second), read(one))).collect()
    }

    fn imbalance(&self) -> f64 {
        let speed = |node: usize| self.speeds[node % self.speeds.len()];
        // Nodes that were only there for a while say nothing here.
        let lasting: Vec<f64> = (0..self.used.len())
            .filter(|node| self.lasted(*node))
            .map(|node| self.used[node] / speed(node))
            .collect();
        let mean = lasting.iter().sum::<f64>() / lasting.len() as f64;
        lasting.iter().copied().fold(0.0, f64::max) / mean
    }

    fn lasted(&self, node: usize) -> bool {
        self.change.is_none() || !self.watched.contains(&node)
    }

    fn peak(&self) -> f64 {
        let from = (self.warmup / SAMPLE) as usize;
        let after = self.samples.iter().skip(from);
        let count = self.samples.len().saturating_sub(from) as f64;
        let usual = after.clone().map(|sample| sample.others).sum::<f64>() / count;
        after.map(|sample| sample.watched).filter(|watched| watched.is_finite()).fold(f64::NAN, f64::max)
            / usual
    }

    fn second(&mut self, at: Nanos) -> &mut Second {
        let place = (at / SECOND) as usize;
        if place >= self.seconds.len() {
            self.seconds.resize_with(place + 1, Second::new);
        }
        &mut self.seconds[place]
    }
}

// === impl Second ===

impl Second {
    fn new() -> Self {
        Self { latency: Histogram::coarse(), calls: 0, errors: 0, attempts: 0, watched: 0, fair: f64::NAN }
    }

    fn add(&mut self, other: &Self) {
        self.latency.add(&other.latency);
        self.calls += other.calls;
        self.errors += other.errors;
        self.attempts += other.attempts;
        self.watched += other.watched;
    }

    /// The watched nodes' share of the attempts.
    fn share(&self) -> f64 {
        self.watched as f64 / self.attempts as f64
    }
}

// === impl Metric ===

impl Metric {
    pub(crate) const ALL: [Self; 15] = [
        Self::Mean,
        Self::P50,
        Self::P90,
        Self::P99,
        Self::P999,
        Self::Errors,
        Self::Within,
        Self::Attempts,
        Self::Watched,
        Self::WatchedShare,
        Self::Imbalance,
        Self::TailInflight,
        Self::Peak,
        Self::Settled,
        Self::Probes,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P99 => "p99",
            Self::P999 => "p99.9",
            Self::Errors => "errors",
            Self::Within => "in time",
            Self::Attempts => "attempts a call",
            Self::Watched => "calls to the watched",
            Self::WatchedShare => "share of the watched",
            Self::Imbalance => "busiest / mean",
            Self::TailInflight => "p99 in flight",
            Self::Peak => "peak / others",
            Self::Settled => "settled after",
            Self::Probes => "probes a call",
        }
    }

    /// A value as a person reads it.
    pub(crate) fn format(self, value: f64) -> String {
        if value.is_nan() {
            return "-".to_owned();
        }
        match self {
            Self::Mean | Self::P50 | Self::P90 | Self::P99 | Self::P999 => Time(value).to_string(),
            Self::Errors | Self::Within | Self::WatchedShare => format!("{:.2} %", value * 100.0),
            Self::Watched => format!("{value:.0}"),
            Self::Settled if value.is_infinite() => "never".to_owned(),
            Self::Settled => format!("{value:.0} s"),
            Self::Attempts | Self::Imbalance | Self::TailInflight | Self::Peak | Self::Probes => {
                format!("{value:.2}")
            }
        }
    }

    /// The unit of an axis, and what a value is divided by to be in it.
    pub(crate) fn unit(self) -> (&'static str, f64) {
        match self {
            Self::Mean | Self::P50 | Self::P90 | Self::P99 | Self::P999 => ("ms", 0.001),
            Self::Errors | Self::Within | Self::WatchedShare => ("%", 0.01),
            Self::Settled => ("s", 1.0),
            Self::Watched => ("calls", 1.0),
            Self::Attempts | Self::Imbalance | Self::TailInflight | Self::Peak | Self::Probes => ("", 1.0),
        }
    }
}

// === impl Over ===

impl Over {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::Errors => "errors",
            Self::Attempts => "attempts a call",
            Self::Share => "share of the watched nodes, of their fair one",
            Self::Inflight => "calls in flight on the watched nodes, of those on the others",
        }
    }

    pub(crate) fn unit(self) -> (&'static str, f64) {
        match self {
            Self::P50 | Self::P99 => ("ms", 0.001),
            Self::Errors => ("%", 0.01),
            Self::Attempts | Self::Share | Self::Inflight => ("", 1.0),
        }
    }
}

/// Seconds, in the unit that fits.
struct Time(f64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, unit) = match self.0 {
            seconds if seconds >= 10.0 => return write!(f, "{seconds:.1} s"),
            seconds if seconds >= 1.0 => return write!(f, "{seconds:.3} s"),
            seconds => (seconds * 1e3, "ms"),
        };
        match value {
            value if value >= 100.0 => write!(f, "{value:.0} {unit}"),
            value if value >= 10.0 => write!(f, "{value:.1} {unit}"),
            value => write!(f, "{value:.2} {unit}"),
        }
    }
}

/// From the first trouble to the end of the last, or from the first change on.
fn eventful(scenario: &Scenario) -> Range<Nanos> {
    let first_fault = scenario.fault.iter().map(|fault| fault.from.nanos());
    let first = first_fault.chain(scenario.change.iter().map(|change| change.at.nanos())).min();
    let last =
        scenario.fault.iter().map(|fault| fault.to.nanos()).max().filter(|_| scenario.change.is_empty());
    first.unwrap_or_default()..last.unwrap_or(Nanos::MAX)
}
